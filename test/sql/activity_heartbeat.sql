-- wf_heartbeat(), wf_heartbeat_by_id()
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_heartbeat');

-- Let time pass until the table shows what heartbeats said: that may take a
-- moment, no heartbeat waits for it.
CREATE PROCEDURE pg_temp.shows(run text, expected jsonb) LANGUAGE plpgsql AS $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
	found jsonb;
BEGIN
	LOOP
		PERFORM wf_tick();
		SELECT heartbeat_details INTO found FROM wf.activity WHERE run_id = run_id_of(run);
		EXIT WHEN found IS NOT DISTINCT FROM expected;
		COMMIT;
		IF clock_timestamp() > give_up THEN
			RAISE EXCEPTION 'details are still %', found;
		END IF;
	END LOOP;
END $$;

-- Alive, and nothing else to tell: no event, no workflow task.
SELECT new_started('a', '{"heartbeat_timeout": "600s"}');
SELECT * FROM wf_heartbeat(token_of('1@a'));
SELECT * FROM wf_heartbeat(token_of('1@a'), '{"done": 1}', 'worker 2');
CALL pg_temp.shows('a', '{"done": 1}');
SELECT state, attempt, last_heartbeat_time > started_time, last_worker_identity FROM wf.activity WHERE run_id = run_id_of('a');
SELECT h('a'), poll('a');
-- By id, with and without a run id.
SELECT * FROM wf_heartbeat_by_id('a', '1', '[2]');
SELECT * FROM wf_heartbeat_by_id('a', '1', '[3]', run_id_of('a'), 'test_activity_heartbeat', 'worker 3');
CALL pg_temp.shows('a', '[3]');
SELECT last_worker_identity FROM wf.activity WHERE run_id = run_id_of('a');
-- Details that are absent stand for none.
SELECT beat('1@a'), beat('1@a', '4'), beat('1@a');
CALL pg_temp.shows('a', NULL);
-- Without a heartbeat time-out as well.
SELECT new_started('b'), beat('1@b', '"x"');
CALL pg_temp.shows('b', '"x"');
-- JSON null is details.
SELECT beat('1@b', 'null');
CALL pg_temp.shows('b', 'null');

-- The next attempt gets the details of the last heartbeat, of whatever attempt.
SELECT new_started('c', '{"retry_policy": {"initial_interval": "0.001s"}}');
SELECT beat('1@c', '{"row": 10}'), beat('1@c', '{"row": 20}'), failed('1@c');
SELECT wait_apoll('c'), failed('1@c');
SELECT wait_apoll('c'), beat('1@c', '{"row": 30}'), beat('1@c'), failed('1@c');
SELECT wait_apoll('c'), failed('1@c', details => '{"row": 40}');
SELECT wait_apoll('c'), beat('1@c', '{"row": 50}'), failed('1@c', details => '{"row": 60}');
SELECT wait_apoll('c'), done('1@c');
SELECT h('c');

-- After a cancel request: legal, and told each time.
SELECT new_started('cancel', force => true), poll('cancel');
SELECT beat('1@cancel');
SELECT reply('cancel', commands(c_cancel_act(5)));
SELECT beat('1@cancel', '1'), beat('1@cancel');
SELECT * FROM wf_heartbeat(token_of('1@cancel'));
SELECT * FROM wf_heartbeat_by_id('cancel', '1');
SELECT h('cancel'), acts('cancel');
-- The workflow's own cancel request is another matter.
SELECT new_started('wf'), wf_cancel('wf');
SELECT beat('1@wf');
-- Paused, reset.
SELECT new_started('flags', '{"retry_policy": {"initial_interval": "0.001s"}}'), wf_pause_activity('flags', '1');
SELECT beat('1@flags'), beat('1@flags');
SELECT wf_unpause_activity('flags', '1');
SELECT beat('1@flags');
SELECT wf_reset_activity('flags', '1');
SELECT beat('1@flags'), beat('1@flags');
SELECT failed('1@flags'), wait_apoll('flags'), beat('1@flags');

-- All of it also in the transaction that brings it about.
BEGIN;
SELECT wf_pause_activity('flags', '1'), beat('1@flags');
SELECT wf_unpause_activity('flags', '1'), beat('1@flags');
SELECT wf_reset_activity('flags', '1'), beat('1@flags');
COMMIT;
BEGIN;
SELECT new_started('same', '{"heartbeat_timeout": "60s", "retry_policy": {"initial_interval": "0.001s"}}'), beat('1@same', '{"row": 1}');
SELECT work('same') <> '', reply('same', commands(c_cancel_act(5))), beat('1@same', '{"row": 2}');
SELECT canceled('1@same');
SELECT raises($$SELECT beat('1@same')$$);
COMMIT;

-- Not started: waiting for a worker, or for the next attempt.
SELECT new_act('n');
SELECT raises($$SELECT wf_heartbeat_by_id('n', '1')$$);
SELECT new_waiting('n2');
SELECT raises($$SELECT wf_heartbeat_by_id('n2', '1')$$);
SELECT raises($$SELECT beat('1@n2')$$);
-- Another attempt.
SELECT new_started('at', '{"retry_policy": {"initial_interval": "0.001s"}}');
INSERT INTO worker_token VALUES ('first', token_of('1@at'));
SELECT failed('1@at'), wait_apoll('at');
SELECT raises($$SELECT beat('first')$$);
SELECT beat('1@at');
-- Finished.
SELECT done('1@at');
SELECT raises($$SELECT beat('1@at')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('at', '1')$$);
-- Finished, and its end still in the buffer.
SELECT new_started('buf', force => true), poll('buf'), done('1@buf');
SELECT raises($$SELECT beat('1@buf')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('buf', '1')$$);
-- The run is closed.
SELECT new_started('closed'), wf_terminate('closed');
SELECT raises($$SELECT beat('1@closed')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('closed', '1')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('closed', '1', run_id => run_id_of('closed'))$$);
SELECT raises($$SELECT wf_heartbeat_by_id('closed', 'unknown')$$);
-- Another run of that id.
SELECT new_started('closed');
SELECT raises($$SELECT beat('first')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('closed', '1', run_id => run_id_of('closed'))$$);
SELECT beat('1@closed'), run_id = run_id_of('closed/2') FROM wf.activity WHERE run_id = run_id_of('closed/2');
-- Unknown.
SELECT raises($$SELECT wf_heartbeat_by_id('nobody', '1')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('a', '1', run_id => '00000000-0000-7000-8000-000000000000')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('a', 'unknown')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('a', '1', namespace => 'default')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('a', '1', namespace => 'nowhere')$$);

-- A start that was rolled back, whole or to a savepoint, has not happened.
SELECT new_act('back');
BEGIN;
SELECT task_token AS token FROM wf_poll_activity_task('back') \gset
SELECT * FROM wf_heartbeat(:'token', '{"row": 1}');
ROLLBACK;
SELECT raises(format('SELECT wf_heartbeat(%L)', :'token'));
SELECT acts('back'), apoll('back');
SELECT raises(format('SELECT wf_heartbeat(%L)', :'token')), beat('1@back');
SELECT new_act('back2');
BEGIN;
SAVEPOINT s;
SELECT task_token AS token FROM wf_poll_activity_task('back2') \gset
ROLLBACK TO s;
SELECT apoll('back2');
COMMIT;
SELECT raises(format('SELECT wf_heartbeat(%L)', :'token')), beat('1@back2');
-- An end that was rolled back, neither.
SELECT new_started('back3');
BEGIN;
SELECT done('1@back3');
SELECT raises($$SELECT beat('1@back3')$$);
ROLLBACK;
SELECT beat('1@back3');
BEGIN;
SELECT wf_terminate('back3');
SELECT raises($$SELECT beat('1@back3')$$);
ROLLBACK;
SELECT beat('1@back3'), acts('back3');
BEGIN;
SELECT wf_pause_activity('back3', '1');
ROLLBACK;
SELECT beat('1@back3');

-- Bad input.
SELECT raises($$SELECT wf_heartbeat(NULL)$$);
SELECT raises($$SELECT wf_heartbeat('')$$);
SELECT raises($$SELECT wf_heartbeat('nonsense')$$);
SELECT raises($$SELECT wf_heartbeat(token_of('1@a') || 'x')$$);
SELECT raises($$SELECT wf_heartbeat(left(token_of('1@a'), -1))$$);
SELECT raises($$SELECT wf_heartbeat(repeat('0', 100000))$$);
SELECT raises($$SELECT wf_heartbeat_by_id(NULL, '1')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('a', NULL)$$);
SELECT raises($$SELECT wf_heartbeat_by_id('', '1')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('a', '')$$);
SELECT raises($$SELECT wf_heartbeat_by_id(repeat('x', 1001), '1')$$);
SELECT raises($$SELECT wf_heartbeat_by_id('a', repeat('x', 1001))$$);
-- Tokens of workflow tasks are none of activities, and the other way round.
SELECT new_started('kind', force => true), poll('kind');
SELECT raises($$SELECT wf_heartbeat(token_of('kind'))$$);
SELECT raises($$SELECT wf_respond_workflow_task_completed(token_of('1@kind'))$$);
SELECT raises($$SELECT wf_respond_workflow_task_failed(token_of('1@kind'))$$);
-- Each character counts: no changed token is taken for the real one.
SELECT i, e FROM generate_series(1, length(token_of('1@a'))) i,
	raises(format('SELECT wf_heartbeat(%L)', overlay(token_of('1@a')
		placing CASE substr(token_of('1@a'), i, 1) WHEN '1' THEN '2' ELSE '1' END from i))) e
	WHERE e !~ '^(22023|WF00[235]) ';
SELECT beat('1@a');

-- Details over the limit fail the activity at once, for good.
SET workflow_interrupt.payload_size_limit = '1kB';
SELECT new_started('large'), beat('1@large', to_jsonb(repeat('x', 900)));
SELECT beat('1@large', to_jsonb(repeat('x', 1100)));
SELECT h('large'), acts('large');
SELECT ev('large', 6, 7);
SELECT raises($$SELECT beat('1@large')$$);
SELECT new_started('large2');
SELECT * FROM wf_heartbeat_by_id('large2', '1', to_jsonb(repeat('x', 1100)));
SELECT h('large2'), outcome('large2');
-- While a workflow task is started that is buffered.
SELECT new_started('large3', force => true), poll('large3');
SELECT beat('1@large3', to_jsonb(repeat('x', 1100)));
SELECT h('large3'), acts('large3');
SELECT reply('large3');
SELECT h('large3'), outcome('large3');
-- Even when a cancel was requested.
SELECT new_started('large4', force => true), poll('large4'), reply('large4', commands(c_cancel_act(5)));
SELECT beat('1@large4', to_jsonb(repeat('x', 1100)));
SELECT h('large4'), outcome('large4');
RESET workflow_interrupt.payload_size_limit;

SELECT activity_end();
