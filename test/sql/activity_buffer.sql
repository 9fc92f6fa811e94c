-- Order of activities' events, buffered or not, and ends of runs that have
-- activities
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_buffer');

-- Started and finished while a workflow task is started: invisible, then
-- behind the commands.
SELECT new_act('a', force => true), poll('a'), apoll('a'), done('1@a');
SELECT h('a'), shown('a'), acts('a'), buffered_count, pending_activities FROM wf.execution WHERE run_id = run_id_of('a');
SELECT reply('a', commands(c_marker('m')));
SELECT h('a');
SELECT ev('a', 9);
-- Ends come behind everything else in the buffer, in their order.
SELECT new_act('b', n => 3, force => true), apoll('b'), apoll('b'), apoll('b'), poll('b');
SELECT wf_signal('b', 's1'), done('2@b'), wf_signal('b', 's2'), failed('1@b', '{"message": "m", "non_retryable": true}'), wf_cancel('b'), wf_signal('b', 's3');
SELECT h('b'), acts('b'), buffered_count FROM wf.execution WHERE run_id = run_id_of('b');
SELECT reply('b', commands(c_cancel_act(7)));
SELECT h('b'), acts('b');
SELECT ev('b', 10);
-- Ends of timers stay where they are.
SELECT new_polled('t');
SELECT reply('t', commands(c_act('1'), c_timer('t', '0.2s')), true), poll('t'), apoll('t'), done('1@t');
SELECT let_pass('t', '0.2s');
SELECT reply('t');
SELECT h('t');
-- No workflow task: at once.  One scheduled: the events come behind it.
SELECT new_act('c', n => 2), apoll('c'), apoll('c'), done('1@c'), done('2@c');
SELECT h('c');
-- The workflow task fails, in its first attempt or a later one: they follow.
SELECT new_started('d', force => true), poll('d'), done('1@d'), wt_fail('d');
SELECT h('d'), shown('d');
SELECT new_started('d2', n => 2, force => true), poll('d2'), wt_fail('d2'), poll('d2'), done('1@d2');
SELECT h('d2'), shown('d2');
SELECT wt_fail('d2');
SELECT h('d2');
-- A transient one that completes.
SELECT new_started('d3', force => true), poll('d3'), wt_fail('d3'), poll('d3'), done('1@d3'), reply('d3');
SELECT h('d3');
-- A transient one that is scheduled: it becomes a normal one.
SELECT new_started('d4', force => true), poll('d4'), wt_fail('d4'), done('1@d4'), poll('d4');
SELECT h('d4');
-- The workflow task times out.
BEGIN;
SELECT new('e', task_timeout => '0.3s'), poll('e'), reply('e', commands(c_act('1')), true), apoll('e'), poll('e'), done('1@e');
SELECT let_pass('e', '0.3s');
COMMIT;
-- Too much in the buffer: the engine fails the workflow task.
SET workflow_interrupt.max_buffered_events = 3;
SELECT new_act('f', n => 2, force => true), apoll('f'), apoll('f'), poll('f'), wf_signal('f', 's'), done('1@f');
SELECT h('f');
SELECT done('2@f');
SELECT h('f');
SELECT attributes ->> 'cause' FROM wf.event WHERE run_id = run_id_of('f') AND event_type = 'WorkflowTaskFailed';
SELECT raises($$SELECT reply('f')$$);
RESET workflow_interrupt.max_buffered_events;

-- A reply that closes the run but has not seen the end of an activity.
SELECT new_started('u', force => true), poll('u'), done('1@u');
SELECT reply('u', commands(c_marker('lost'), c_complete()));
SELECT h('u'), acts('u');
SELECT ev('u', 8);
SELECT poll('u');
SELECT reply('u', commands(c_complete()));
SELECT h('u');
SELECT new_started('u2', force => true), poll('u2'), done('1@u2');
SELECT reply('u2', commands(c_cancel_act(5), c_fail()));
SELECT h('u2'), acts('u2');
-- A failed attempt that is retried is nothing to have seen.
SELECT new_started('u3', force => true), poll('u3'), failed('1@u3');
SELECT reply('u3', commands(c_complete()));
SELECT h('u3'), acts('u3');

-- Runs that end while activities are pending: scheduled, started, waiting,
-- asked to cancel, paused.  Nothing is written for them.
CREATE FUNCTION pg_temp.pending(wid text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM new_act(wid, '{"retry_policy": {"initial_interval": "3600s"}}', 5, true);
	PERFORM apoll(wid), apoll(wid), apoll(wid), poll(wid);
	PERFORM failed('1@' || wid), reply(wid, commands(c_cancel_act(6))), wf_pause_activity(wid, '5');
	RETURN acts(wid);
END $$;
SELECT pg_temp.pending('x1'), wf_terminate('x1', 'r');
SELECT h('x1'), acts('x1'), apoll('x1');
SELECT pg_temp.pending('x2'), work('x2') <> '', reply('x2', commands(c_complete()));
SELECT h('x2'), acts('x2'), apoll('x2');
SELECT pg_temp.pending('x3'), work('x3') <> '', reply('x3', commands(c_fail()));
SELECT h('x3'), acts('x3'), apoll('x3');
SELECT pg_temp.pending('x4'), work('x4') <> '', reply('x4', commands(c_cancel()));
SELECT h('x4'), acts('x4'), apoll('x4');
SELECT wf_start('x5', 'Type', task_queue => 'other', id_conflict_policy => 'TerminateExisting') IS NOT NULL FROM pg_temp.pending('x5');
SELECT h('x5'), acts('x5'), apoll('x5');
SELECT pending_activities, count(*) FROM wf.execution WHERE namespace = 'test_activity_buffer' AND workflow_id LIKE 'x%' GROUP BY 1;
SELECT raises(format('SELECT done(%L)', a || '@x1')) FROM generate_series(1, 3) a;
SELECT jsonb_array_length(wf_describe('x1') -> 'pending_activities');
-- The end of an activity in the buffer when the run is terminated: with its
-- start, before the end.
SELECT new_started('y', n => 2, force => true), poll('y'), done('1@y'), wf_signal('y', 's'), wf_terminate('y', 'r');
SELECT h('y'), acts('y');
SELECT new_started('y2', force => true), poll('y2'), wt_fail('y2'), poll('y2'), done('1@y2'), wf_terminate('y2', 'r');
SELECT h('y2');
-- A paused run.
SELECT new_started('z'), wf_pause('z'), done('1@z'), wf_terminate('z');
SELECT h('z');
-- A cancel request of the run does not touch its activities.
SELECT pg_temp.pending('cancel'), wf_cancel('cancel');
SELECT h('cancel'), acts('cancel');

SELECT activity_end();
