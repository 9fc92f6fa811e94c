-- Life of a workflow task: polls, tokens, replies, attempts, time-outs
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_workflow_task');

-- A poll starts the task and returns all that a worker needs.
SELECT new('a');
SELECT poll('no such queue');
CREATE TEMP TABLE polled AS SELECT * FROM wf_poll_workflow_task('a', identity => 'worker');
SELECT workflow_id, run_id = run_id_of('a'), workflow_type, attempt, previous_started_event_id, started_event_id, task_token <> ''
	FROM polled;
-- The table cannot tell the token's secret.
SELECT position(replace(e.task_token::text, '-', '') IN replace(p.task_token, '-', ''))
	FROM wf.execution e JOIN polled p USING (run_id);
SELECT clean((e - 'event_time')::text) FROM polled, jsonb_array_elements(history) e;
-- It is the history as wf_history() shows it.
SELECT count(*), count(*) FILTER (WHERE (e ->> 'event_time')::timestamptz = v.event_time
		AND e ->> 'event_type' = v.event_type::text AND e -> 'attributes' = v.attributes AND v.run_id = p.run_id)
	FROM polled p, jsonb_array_elements(history) e FULL JOIN wf_history('a') v ON v.event_id = (e ->> 'event_id')::bigint;
SELECT h('a');
-- The task is taken.
SELECT poll('a');
-- Reply.
SELECT accepted, cause, message FROM polled, wf_respond_workflow_task_completed(task_token, identity => 'worker 2');
SELECT h('a');
SELECT ev('a', 2);
-- By default the session's user did it.
SELECT new('id');
SELECT wf_respond_workflow_task_failed(task_token) FROM wf_poll_workflow_task('id');
SELECT accepted FROM wf_poll_workflow_task('id'), wf_respond_workflow_task_completed(task_token);
SELECT event_id, event_type, attributes ->> 'identity' = session_user FROM wf.event
	WHERE run_id = run_id_of('id') AND event_id > 1 AND attributes ? 'identity' ORDER BY 1;
-- A token works once.
SELECT raises($$SELECT wf_respond_workflow_task_completed((SELECT task_token FROM polled))$$);
SELECT raises($$SELECT wf_respond_workflow_task_failed((SELECT task_token FROM polled))$$);
-- The next task: where the previous one began, and a token of its own.
SELECT wf_signal('a', 's');
SELECT poll('a');
SELECT token_of('a') <> task_token FROM polled;
SELECT raises($$SELECT wf_respond_workflow_task_completed((SELECT task_token FROM polled))$$);
SELECT reply('a');
SELECT h('a');

-- Several at once, roughly in order of arrival; never more than asked for.
SELECT named('m' || i, wf_start('m' || i, 'Type', task_queue => 'many')) FROM generate_series(1, 5) i;
SELECT workflow_id FROM wf_poll_workflow_task('many', 2);
SELECT workflow_id FROM wf_poll_workflow_task('many', max_tasks => 1000);
SELECT workflow_id FROM wf_poll_workflow_task('many');
SELECT raises($$SELECT wf_poll_workflow_task('many', 0)$$);
SELECT raises($$SELECT wf_poll_workflow_task('many', 1001)$$);
SELECT raises($$SELECT wf_poll_workflow_task('many', -1)$$);

-- Work created earlier in the same transaction.
BEGIN;
SELECT new('same');
SELECT poll('same');
SELECT reply('same', commands(c_marker('m')), true);
SELECT poll('same');
COMMIT;
SELECT h('same');

-- A task of a run that closed meanwhile is never handed out.
SELECT named('gone' || i, wf_start('gone' || i, 'Type', task_queue => 'gone')) FROM generate_series(1, 3) i;
SELECT wf_terminate('gone1'), wf_terminate('gone3');
SELECT workflow_id FROM wf_poll_workflow_task('gone', 10);
SELECT workflow_id FROM wf_poll_workflow_task('gone', 10);

-- Failed by its worker: WorkflowTaskFailed, and a second attempt at once,
-- which is only shown.
SELECT new_polled('f');
SELECT wt_fail('f', 'NonDeterministicError', '{"message": "odd", "type": "Oops"}');
SELECT h('f');
SELECT shown('f');
SELECT ev('f', 4);
SELECT shown_ev('f', 5);
SELECT next_event_id FROM wf.execution WHERE run_id = run_id_of('f');
SELECT raises($$SELECT reply('f')$$);
SELECT poll('f', 'f attempt 2');
SELECT h('f');
SELECT shown('f');
-- Failing that writes nothing.
SELECT wt_fail('f', 'WorkflowWorkerUnhandledFailure');
SELECT h('f');
SELECT shown_ev('f', 5);
SELECT poll('f');
-- Tokens of other attempts do not fit, though the event ids are the same.
SELECT raises($$SELECT reply('f attempt 2')$$);
SELECT raises($$SELECT wt_fail('f attempt 2')$$);
-- When it completes its rows are written.
SELECT reply('f', commands(c_marker('m')));
SELECT h('f');
SELECT ev('f', 5);
-- The next one is a first attempt again.
SELECT wf_signal('f', 's');
SELECT ev('f', 9);
SELECT poll('f');
SELECT raises($$SELECT wt_fail('f', 'NoSuchCause')$$);
SELECT raises($$SELECT wt_fail('f', '')$$);
SELECT raises($$SELECT wt_fail('f', NULL)$$);
SELECT raises($$SELECT wt_fail('f', failure => '"text"')$$);
SELECT wt_fail('f');
SELECT ev('f', 12);

-- A new event while the second attempt is scheduled: it becomes a normal
-- first attempt, scheduled after the event.
SELECT new_polled('n');
SELECT wt_fail('n');
SELECT wf_signal('n', 's');
SELECT h('n');
SELECT poll('n');
SELECT h('n');
SELECT attributes ->> 'attempt' FROM wf.event WHERE run_id = run_id_of('n') AND event_id = 6;
SELECT reply('n');
SELECT h('n');

-- A new event while the second attempt is started: buffered.
SELECT new_transient('b');
SELECT wf_signal('b', 's');
SELECT h('b'), shown('b');
SELECT reply('b', commands(c_marker('m')));
SELECT h('b');
-- ... and when that attempt fails: nothing is written for it, the event
-- comes into history and a first attempt follows.
SELECT new_transient('bf');
SELECT wf_signal('bf', 's');
SELECT wt_fail('bf');
SELECT h('bf');
SELECT shown('bf');
SELECT poll('bf');
SELECT wt_fail('bf');
SELECT h('bf');
-- A buffered event when the first attempt fails.
SELECT new_polled('b1');
SELECT wf_signal('b1', 's');
SELECT wt_fail('b1');
SELECT h('b1');
SELECT poll('b1');

-- A worker that says nothing: the task times out, late replies do not fit.
SELECT new('t', task_timeout => '1 millisecond');
SELECT poll('t', 't attempt 1');
SELECT wait_for('t', 'WtTimedOut');
SELECT ev('t', 4);
SELECT raises($$SELECT reply('t attempt 1')$$);
SELECT raises($$SELECT wt_fail('t attempt 1')$$);
-- The second attempt times out too: nothing is written.
BEGIN;
SELECT wait_poll('t');
SELECT shown('t');
COMMIT;
SELECT wait_poll('t');
SELECT h('t');
-- A signal is not lost, and makes a normal task of the retry.
SELECT new('ts', task_timeout => '1 millisecond');
SELECT poll('ts');
SELECT wait_for('ts', 'WtTimedOut');
BEGIN;
SELECT wf_signal('ts', 's');
SELECT poll('ts');
SELECT h('ts');
COMMIT;
-- Buffered while the task that times out is started.
BEGIN;
SELECT new('tb', task_timeout => '1 millisecond');
SELECT poll('tb');
SELECT wf_signal('tb', 's1'), wf_signal('tb', 's2');
SELECT wait_for('tb', 'WtTimedOut');
COMMIT;
-- A scheduled task does not time out however long nobody polls.
SELECT new('patient', task_timeout => '1 millisecond');
SELECT let_pass('patient', '5 milliseconds');

-- From the fourth attempt on workers get more time: 5 s more, then twice
-- that, and so on, up to 10 minutes.
CREATE FUNCTION pg_temp.growth(wid text, task_timeout interval, attempts int) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM new(wid, task_timeout => task_timeout);
	FOR i IN 1 .. attempts LOOP
		PERFORM poll(wid);
		RETURN NEXT (SELECT concat_ws(' ', attributes ->> 'attempt', attributes ->> 'start_to_close_timeout')
			FROM wf_history(wid) WHERE event_type = 'WorkflowTaskScheduled' ORDER BY event_id DESC LIMIT 1);
		PERFORM wt_fail(wid);
	END LOOP;
END $$;
SELECT pg_temp.growth('growth', '30 seconds', 13);
SELECT h('growth');
SELECT pg_temp.growth('long', '2 minutes', 12);

-- A forced new task: for workers that need more time than one task has.
SELECT new_polled('beat');
SELECT reply('beat', '[]', true);
SELECT h('beat');
SELECT poll('beat');
SELECT reply('beat', commands(c_marker('m')), true);
SELECT poll('beat');
SELECT wf_signal('beat', 's');
SELECT reply('beat', '[]', true);
SELECT h('beat');
-- Not for ever: a row of tasks with nothing but that reply has a time limit,
-- counted from its first one.  Then the task has timed out.
SELECT new_polled('slow'), new_polled('slow2'), new_polled('slow3');
SELECT reply('slow', '[]', true), poll('slow'), reply('slow2', '[]', true), poll('slow2'), reply('slow3', '[]', true), poll('slow3');
SET workflow_interrupt.task_heartbeat_timeout = '1s';
SELECT let_pass('slow', '1s');
SELECT reply('slow', '[]', true);
SELECT h('slow'), shown('slow');
SELECT ev('slow', 7);
SELECT raises($$SELECT reply('slow')$$);
SELECT poll('slow');
-- Other replies are in time, and end the row.
SELECT reply('slow2'), reply('slow3', commands(c_marker('m')), true), poll('slow3'), reply('slow3', '[]', true);
SELECT h('slow2');
SELECT h('slow3');
RESET workflow_interrupt.task_heartbeat_timeout;
-- Of a run that closes with the reply it means nothing.
SELECT poll('beat');
SELECT reply('beat', commands(c_complete()), true);
SELECT h('beat');

-- A worker whose reply is too large for its transport gives up the run.
SELECT new_polled('large');
SELECT wf_signal('large', 's');
SELECT wt_fail('large', 'GrpcMessageTooLarge', '{"message": "5 MB"}');
SELECT h('large');
SELECT ev('large', 4);

-- Tokens: opaque, of one kind; anything else is refused.
SELECT new_polled('tok');
SELECT raises($$SELECT wf_respond_workflow_task_completed('')$$);
SELECT raises($$SELECT wf_respond_workflow_task_completed('nonsense')$$);
SELECT raises($$SELECT wf_respond_workflow_task_completed(token_of('tok') || 'x')$$);
SELECT raises($$SELECT wf_respond_workflow_task_completed(left(token_of('tok'), -1))$$);
SELECT raises($$SELECT wf_respond_workflow_task_completed(upper(token_of('tok')) || ' ')$$);
SELECT raises($$SELECT wf_respond_workflow_task_completed(repeat('0', 100000))$$);
SELECT raises($$SELECT wf_respond_workflow_task_failed('nonsense')$$);
SELECT raises($$SELECT wf_respond_workflow_task_completed(NULL)$$);
SELECT raises($$SELECT wf_respond_workflow_task_failed(NULL)$$);
-- Each character counts: no changed token is taken for the real one.
SELECT i, e FROM generate_series(1, length(token_of('tok'))) i,
	raises(format('SELECT wf_respond_workflow_task_completed(%L)', overlay(token_of('tok')
		placing CASE substr(token_of('tok'), i, 1) WHEN '1' THEN '2' ELSE '1' END from i))) e
	WHERE e !~ '^(22023|WF005) ';
SELECT reply('tok');

-- A transient task that succeeds is recorded as its worker saw it.
SELECT new('as seen');
SELECT wf_respond_workflow_task_failed(task_token) FROM wf_poll_workflow_task('as seen');
CREATE TEMP TABLE seen AS SELECT * FROM wf_poll_workflow_task('as seen');
SELECT accepted FROM seen, wf_respond_workflow_task_completed(task_token);
SELECT s.attempt, v.event_id, v.event_type, v.attributes = s.history -> -1 -> 'attributes'
	FROM seen s, wf_history('as seen') v WHERE v.event_id = s.started_event_id;

SELECT test_end();
