-- RequestCancelActivityTask, and what may come of it
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_cancel');

-- Scheduled, and no worker had it: canceled at once, with a new workflow task.
SELECT new_act('scheduled', force => true), poll('scheduled');
SELECT reply('scheduled', commands(c_cancel_act(5)));
SELECT h('scheduled');
SELECT ev('scheduled', 9);
SELECT acts('scheduled'), pending_activities, apoll('scheduled') FROM wf.execution WHERE run_id = run_id_of('scheduled');
SELECT poll('scheduled');
-- ... among other commands
SELECT new_act('order', n => 2, force => true), poll('order');
SELECT reply('order', commands(c_marker('1'), c_cancel_act(6), c_marker('2'), c_act('3'), c_cancel_act(5), c_marker('3')));
SELECT h('order'), acts('order');
SELECT event_id, attributes ->> 'scheduled_event_id', attributes ->> 'latest_cancel_requested_event_id' FROM wf.event
	WHERE run_id = run_id_of('order') AND event_type IN ('ActivityTaskCancelRequested', 'ActivityTaskCanceled') ORDER BY 1;
-- ... its id is free.
SELECT poll('order') <> 'nothing', reply('order', commands(c_act('1')));
SELECT acts('order');

-- Waiting for a retry: likewise, and no ActivityTaskStarted.
SELECT new_waiting('waiting'), work('waiting');
SELECT reply('waiting', commands(c_cancel_act(5)));
SELECT h('waiting'), acts('waiting');
SELECT ev('waiting', 10, 11);
-- Due for a retry, and in the queue.
SELECT new_waiting('due', '{"retry_policy": {"initial_interval": "0.001s"}}'), let_pass('due', '2 milliseconds'), work('due');
SELECT reply('due', commands(c_cancel_act(5)));
SELECT h('due'), acts('due'), apoll('due');
-- Paused, and no worker has it: likewise.
SELECT new_act('paused', force => true), poll('paused'), wf_pause_activity('paused', '1');
SELECT acts('paused');
SELECT reply('paused', commands(c_cancel_act(5)));
SELECT h('paused'), acts('paused');
SELECT raises($$SELECT wf_unpause_activity('paused', '1')$$);

-- Started: only a flag, no workflow task.
SELECT new_started('s', force => true), poll('s');
SELECT reply('s', commands(c_cancel_act(5)));
SELECT h('s'), acts('s'), apoll('s'), poll('s');
SELECT ev('s', 9);
SELECT cancel_requested, state FROM wf.activity WHERE run_id = run_id_of('s');
-- ... the worker learns of it and cleans up
SELECT beat('1@s', '7');
SELECT canceled('1@s');
SELECT h('s'), acts('s');
SELECT ev('s', 10);
-- ... without a word
SELECT new_started('s2', force => true), poll('s2'), reply('s2', commands(c_cancel_act(5)));
SELECT canceled('1@s2', NULL);
SELECT ev('s2', 10, 11);
-- ... by id
SELECT new_started('s3', force => true), poll('s3'), reply('s3', commands(c_cancel_act(5)));
SELECT wf_respond_activity_task_canceled_by_id('s3', '1', '[1]', identity => 'by hand');
SELECT ev('s3', 10, 11);
-- ... or has a result all the same
SELECT new_started('s4', force => true), poll('s4'), reply('s4', commands(c_cancel_act(5)));
SELECT done('1@s4', '"too late"');
SELECT h('s4');
SELECT ev('s4', 10, 11);
-- ... or fails: no further attempt, whatever failure
SELECT new_started('s5', force => true), poll('s5'), reply('s5', commands(c_cancel_act(5)));
SELECT failed('1@s5');
SELECT h('s5'), acts('s5');
SELECT ev('s5', 10, 11);
SELECT new_started('s6', force => true), poll('s6'), reply('s6', commands(c_cancel_act(5)));
SELECT failed('1@s6', '{"message": "fatal", "non_retryable": true}');
SELECT outcome('s6');
-- ... or times out
SELECT new_started('s7', '{"start_to_close_timeout": "0.1s"}', force => true), poll('s7'), reply('s7', commands(c_cancel_act(5)));
SELECT wait_for('s7', 'ActivityTaskTimedOut');
SELECT ev('s7', 10, 11);
SELECT new_started('s8', '{"heartbeat_timeout": "0.1s"}', force => true), poll('s8'), reply('s8', commands(c_cancel_act(5)));
SELECT wait_for('s8', 'ActivityTaskTimedOut');
SELECT outcome('s8');
SELECT new_started('s9', '{"schedule_to_close_timeout": "0.1s"}', force => true), poll('s9'), reply('s9', commands(c_cancel_act(5)));
SELECT wait_for('s9', 'ActivityTaskTimedOut');
SELECT outcome('s9');
-- ... or the workflow does not care.
SELECT new_started('s10', force => true), poll('s10'), reply('s10', commands(c_cancel_act(5)), true), poll('s10') <> 'nothing';
SELECT reply('s10', commands(c_complete()));
SELECT h('s10'), acts('s10');
SELECT raises($$SELECT beat('1@s10')$$);
-- In its second attempt.
SELECT new_started('s11', '{"retry_policy": {"initial_interval": "0.001s"}}', force => true), poll('s11'), failed('1@s11'), wait_apoll('s11');
SELECT reply('s11', commands(c_cancel_act(5)));
SELECT beat('1@s11'), canceled('1@s11');
SELECT h('s11');
SELECT ev('s11', 10, 11);
-- Paused while it runs.
SELECT new_started('s12', force => true), poll('s12'), wf_pause_activity('s12', '1');
SELECT reply('s12', commands(c_cancel_act(5)));
SELECT acts('s12');
SELECT beat('1@s12');
SELECT canceled('1@s12');
SELECT h('s12');
-- ... and fails: no further attempt when it goes on, nor after a reset.
SELECT new_started('s13', force => true), poll('s13'), wf_pause_activity('s13', '1');
SELECT reply('s13', commands(c_cancel_act(5))), failed('1@s13'), acts('s13'), outcome('s13');
SELECT new_started('s14', force => true), poll('s14'), reply('s14', commands(c_cancel_act(5)));
SELECT wf_reset_activity('s14', '1'), beat('1@s14'), failed('1@s14'), acts('s14'), outcome('s14');
-- Paused while it ran, which has failed: no worker has it any more.
SELECT new_started('s15', force => true), poll('s15'), wf_pause_activity('s15', '1'), failed('1@s15'), acts('s15');
SELECT reply('s15', commands(c_cancel_act(5)));
SELECT h('s15'), acts('s15');

-- Its end is in the buffer: only the request, then what is in the buffer.
SELECT new_started('b', force => true), poll('b'), done('1@b');
SELECT reply('b', commands(c_cancel_act(5), c_marker('m')));
SELECT h('b');
SELECT ev('b', 9, 12);
SELECT new_started('b2', force => true), poll('b2'), failed('1@b2', '{"message": "fatal", "non_retryable": true}');
SELECT reply('b2', commands(c_cancel_act(5)));
SELECT h('b2');
-- ... but once
SELECT new_started('b3', force => true), poll('b3'), done('1@b3');
SELECT reply('b3', commands(c_cancel_act(5), c_cancel_act(5)));
SELECT h('b3');
-- ... and afterwards it is closed.
SELECT new_started('b4', force => true), poll('b4'), done('1@b4');
SELECT reply('b4', '[]'), poll('b4') <> 'nothing';
SELECT reply('b4', commands(c_cancel_act(5)));
SELECT h('b4');

-- Unknown, closed before, requested before, no id, no activity's: the task fails.
CREATE FUNCTION pg_temp.bad(VARIADIC c jsonb[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	wid text := (SELECT 'bad ' || count(*) FROM pg_temp.known_run);
BEGIN
	PERFORM new_act(wid, n => 2, force => true);
	PERFORM apoll(wid), apoll(wid), done('2@' || wid), poll(wid);
	SET LOCAL client_min_messages = error;
	RETURN NEXT reply(wid, commands(c_marker('lost')) || to_jsonb(c));
	IF h(wid) <> 'Running: 1 WfStarted 2 WtSched | 3 WtStarted | 4 WtDone 5 ActivityTaskScheduled 6 ActivityTaskScheduled 7 WtSched'
		' | 8 ActivityTaskStarted 9 ActivityTaskCompleted | 10 WtStarted | 11 WtFailed' THEN
		RETURN NEXT h(wid);
	END IF;
	IF acts(wid) <> '1: Started attempt 1' THEN
		RETURN NEXT acts(wid);
	END IF;
	IF beat('1@' || wid) <> 'go on' THEN
		RETURN NEXT 'IT IS TO STOP';
	END IF;
	IF poll(wid) NOT LIKE '% attempt 2, previous 3, started 13: %' THEN
		RETURN NEXT 'NO SECOND ATTEMPT';
	END IF;
END $$;
SELECT pg_temp.bad(c_cancel_act(77));
SELECT pg_temp.bad(c_cancel_act(6));
SELECT pg_temp.bad(c_cancel_act(5), c_cancel_act(5));
SELECT pg_temp.bad(c_cancel_act(0));
SELECT pg_temp.bad(c_cancel_act(-5));
SELECT pg_temp.bad(c_cancel_act(4));
SELECT pg_temp.bad('{"command_type": "RequestCancelActivityTask"}');
SELECT pg_temp.bad(c_cancel_act(9223372036854775807));
SELECT attributes ->> 'cause', count(*) FROM wf.event WHERE event_type = 'WorkflowTaskFailed'
	AND run_id IN (SELECT run_id FROM pg_temp.known_run WHERE name LIKE 'bad%') GROUP BY 1 ORDER BY 1;
SELECT new_started('again', force => true), poll('again'), reply('again', commands(c_cancel_act(5)), true), poll('again') <> 'nothing';
SELECT reply('again', commands(c_cancel_act(5)));
SELECT h('again'), acts('again'), beat('1@again');
SELECT new_act('again2', force => true), poll('again2');
SELECT reply('again2', commands(c_cancel_act(5), c_cancel_act(5)));
SELECT h('again2'), acts('again2');
-- Scheduled in the same reply.
SELECT new_polled('same');
SELECT reply('same', commands(c_act('1'), c_cancel_act(5)));
SELECT h('same'), acts('same'), apoll('same');

-- Not started, and the reply closes the workflow, too: its end is dropped.
SELECT new_act('close', force => true), poll('close');
SELECT reply('close', commands(c_cancel_act(5), c_complete()));
SELECT h('close'), acts('close');
SELECT new_waiting('close2'), work('close2');
SELECT reply('close2', commands(c_cancel_act(5), c_cancel('"bye"')));
SELECT h('close2'), acts('close2');
SELECT new_started('close3', force => true), poll('close3');
SELECT reply('close3', commands(c_cancel_act(5), c_fail()));
SELECT h('close3'), acts('close3');
-- A signal in the buffer: the reply is refused as a whole, and nothing has happened.
SELECT new_act('close4', force => true), poll('close4'), wf_signal('close4', 's');
SELECT reply('close4', commands(c_cancel_act(5), c_complete()));
SELECT h('close4'), acts('close4'), apoll('close4');
-- A signal in the buffer and no close: before the activity's end.
SELECT new_act('signal', force => true), poll('signal'), wf_signal('signal', 's');
SELECT reply('signal', commands(c_cancel_act(5)));
SELECT h('signal');

-- Nobody asked it to cancel.
SELECT new_started('n');
SELECT raises($$SELECT canceled('1@n')$$);
SELECT raises($$SELECT wf_respond_activity_task_canceled_by_id('n', '1')$$);
SELECT wf_cancel('n');
SELECT raises($$SELECT canceled('1@n')$$);
SELECT wf_pause_activity('n', '1');
SELECT raises($$SELECT canceled('1@n')$$);
-- Not started: there is nothing to cancel.
SELECT new_act('n2');
SELECT raises($$SELECT wf_respond_activity_task_canceled_by_id('n2', '1')$$);
SELECT new_waiting('n3');
SELECT raises($$SELECT wf_respond_activity_task_canceled_by_id('n3', '1')$$);
SELECT raises($$SELECT canceled('1@n3')$$);

SELECT activity_end();
