-- Replies of activity workers, by token and by id
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_reply');

-- Completed.
SELECT new_started('c'), done('1@c', '{"total": 12.50}');
SELECT h('c'), acts('c');
SELECT ev('c', 6, 7);
SELECT new_started('c2'), done('1@c2', NULL);
SELECT ev('c2', 7, 7);
SELECT new_started('c3'), done('1@c3', 'null');
SELECT ev('c3', 7, 7);
-- By default the session's user did it.
SELECT new_started('c4');
SELECT wf_respond_activity_task_completed(token_of('1@c4'));
SELECT ev('c4', 6, 7);
-- By id: of the current run, of a run.
SELECT new_started('c5');
SELECT wf_respond_activity_task_completed_by_id('c5', '1', '[1]', identity => 'by hand');
SELECT ev('c5', 6, 7);
SELECT new_started('c6');
SELECT wf_respond_activity_task_completed_by_id('c6', '1', '[1]', run_id_of('c6'), 'test_activity_reply');
SELECT h('c6');
-- By id also what no worker has: a start is made up.
SELECT new_act('c7');
SELECT wf_respond_activity_task_completed_by_id('c7', '1', '[1]', identity => 'by hand');
SELECT h('c7'), acts('c7'), apoll('c7');
SELECT ev('c7', 6, 7);
SELECT new_waiting('c8');
SELECT raises($$SELECT done('1@c8')$$);
SELECT wf_respond_activity_task_completed_by_id('c8', '1', identity => 'by hand');
SELECT h('c8'), acts('c8');
SELECT ev('c8', 6, 7);
SELECT new_act('c9'), wf_pause_activity('c9', '1');
SELECT wf_respond_activity_task_completed_by_id('c9', '1');
SELECT h('c9'), acts('c9');
-- A workflow task that is scheduled already is enough.
SELECT new_act('two', n => 2), apoll('two'), apoll('two');
SELECT done('1@two'), done('2@two', '2');
SELECT h('two'), acts('two');
SELECT poll('two');

-- Failed: for good, when it says so.
SELECT new_started('f'), failed('1@f', '{"message": "no stock", "type": "Stock", "non_retryable": true, "details": [1, 2], "cause": {"message": "deeper"}}');
SELECT h('f'), acts('f');
SELECT ev('f', 6, 7);
SELECT new_started('f2');
SELECT wf_respond_activity_task_failed_by_id('f2', '1', '{"message": "m", "non_retryable": true}', identity => 'by hand');
SELECT ev('f2', 6, 7);
SELECT new_started('f3', '{"retry_policy": {"initial_interval": "3600s"}}');
SELECT wf_respond_activity_task_failed_by_id('f3', '1', '{"message": "m"}', run_id_of('f3'), 'test_activity_reply', 'by hand', '{"row": 1}');
SELECT h('f3');
SELECT state, attempt, last_failure, last_worker_identity, heartbeat_details FROM wf.activity WHERE run_id = run_id_of('f3');
-- By id only what a worker has.
SELECT new_act('f4');
SELECT raises($$SELECT wf_respond_activity_task_failed_by_id('f4', '1', '{"message": "m"}')$$);
SELECT new_waiting('f5');
SELECT raises($$SELECT wf_respond_activity_task_failed_by_id('f5', '1', '{"message": "m"}')$$);
SELECT raises($$SELECT failed('1@f5')$$);
-- What is no failure: nothing happens.
SELECT new_started('f6');
SELECT raises($$SELECT failed('1@f6', NULL)$$);
SELECT raises($$SELECT wf_respond_activity_task_failed_by_id('f6', '1', NULL)$$);
CREATE FUNCTION pg_temp.no_failure(failure jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	by_token text;
	by_id text := '22023';
BEGIN
	PERFORM new_started('no failure');
	by_token := raises(format('SELECT failed(''1@no failure'', %L)', failure));
	IF by_token LIKE '22%' THEN
		by_id := raises(format('SELECT wf_respond_activity_task_failed_by_id(''no failure'', ''1'', %L)', failure));
	END IF;
	PERFORM wf_terminate('no failure');
	RETURN CASE WHEN by_token LIKE '22%' AND by_id LIKE '22%' AND by_token NOT LIKE '% WRITTEN' AND by_id NOT LIKE '% WRITTEN' THEN 'refused'
		ELSE concat_ws(', by id ', by_token, by_id) END;
END $$;
SELECT f, pg_temp.no_failure(f) FROM unnest(ARRAY['null', '"text"', '[]', '7', 'true',
	'{"message": 1}', '{"message": "m", "type": 1}', '{"message": "m", "non_retryable": "yes"}', '{"message": "m", "next_retry_delay": "soon"}',
	'{"message": "m", "next_retry_delay": []}', '{"message": "m", "next_retry_delay": "-1s"}']::jsonb[]) f;
SELECT beat('1@f6');

-- What is too large fails the activity for good.
SET workflow_interrupt.payload_size_limit = '1kB';
SELECT new_started('l'), done('1@l', to_jsonb(repeat('x', 1100)));
SELECT h('l'), acts('l');
SELECT ev('l', 7, 7);
SELECT new_started('l2');
SELECT wf_respond_activity_task_completed_by_id('l2', '1', to_jsonb(repeat('x', 1100)));
SELECT outcome('l2');
SELECT new_act('l3');
SELECT wf_respond_activity_task_completed_by_id('l3', '1', to_jsonb(repeat('x', 1100)));
SELECT h('l3'), outcome('l3');
SELECT new_started('l4'), done('1@l4', to_jsonb(repeat('x', 900)));
SELECT h('l4');
RESET workflow_interrupt.payload_size_limit;
-- Of a failure that is kept for the next attempt only the beginning is.
SELECT new_waiting('l5', failure => jsonb_build_object('message', repeat('x', 10000), 'type', 'Long'));
SELECT octet_length(last_failure::text) <= 4096, octet_length(last_failure::text) > 2048, last_failure ->> 'type', left(last_failure ->> 'message', 5)
	FROM wf.activity WHERE run_id = run_id_of('l5');
SELECT new_waiting('l7', failure => jsonb_build_object('message', 'm', 'type', repeat(chr(233), 10000)));
SELECT octet_length(last_failure::text) <= 4096, last_failure ->> 'message', left(last_failure ->> 'type', 5)
	FROM wf.activity WHERE run_id = run_id_of('l7');
SELECT new_started('l6'), failed('1@l6', jsonb_build_object('message', repeat('x', 10000), 'non_retryable', true));
SELECT length(attributes #>> '{failure,message}') FROM wf.event WHERE run_id = run_id_of('l6') AND event_id = 7;

-- Late.
CREATE FUNCTION pg_temp.late(wid text, token text DEFAULT NULL, activity_id text DEFAULT '1') RETURNS TABLE (how text, by_token text, by_id text) LANGUAGE plpgsql AS $$
BEGIN
	token := coalesce(token, '1@' || wid);
	RETURN QUERY VALUES
		('heartbeat', raises(format('SELECT beat(%L)', token)), raises(format('SELECT wf_heartbeat_by_id(%L, %L)', wid, activity_id))),
		('completed', raises(format('SELECT done(%L)', token)), raises(format('SELECT wf_respond_activity_task_completed_by_id(%L, %L)', wid, activity_id))),
		('failed', raises(format('SELECT failed(%L)', token)), raises(format('SELECT wf_respond_activity_task_failed_by_id(%L, %L, ''{"message": "m"}'')', wid, activity_id))),
		('canceled', raises(format('SELECT canceled(%L)', token)), raises(format('SELECT wf_respond_activity_task_canceled_by_id(%L, %L)', wid, activity_id)));
END $$;
-- Completed before; the run goes on.
SELECT * FROM pg_temp.late('c');
-- The end is in the buffer.
SELECT new_started('late1', force => true), poll('late1'), done('1@late1');
SELECT * FROM pg_temp.late('late1');
-- Timed out.
SELECT new_started('late2', '{"start_to_close_timeout": "0.001s", "retry_policy": {"maximum_attempts": 1}}'), wait_for('late2', 'ActivityTaskTimedOut');
SELECT * FROM pg_temp.late('late2');
-- In another attempt (by id, the other attempt is meant).
SELECT new_started('late3', '{"retry_policy": {"initial_interval": "0.001s"}}');
INSERT INTO worker_token VALUES ('first', token_of('1@late3'));
SELECT failed('1@late3'), wait_apoll('late3');
SELECT how, by_token FROM pg_temp.late('late3', 'first', 'unknown');
SELECT wf_respond_activity_task_completed_by_id('late3', '1');
SELECT ev('late3', 6, 6);
-- The run is closed.
SELECT new_started('late4'), wf_terminate('late4');
SELECT * FROM pg_temp.late('late4');
SELECT new_act('late5', force => true), apoll('late5'), poll('late5'), reply('late5', commands(c_complete()));
SELECT * FROM pg_temp.late('late5');
SELECT how, by_id FROM pg_temp.late('late5', '1@c', 'unknown');
-- ... and another one runs under its id, whose activity is meant by the id.
SELECT new_started('late4');
INSERT INTO worker_token VALUES ('new run', token_of('1@late4'));
SELECT raises(format($$SELECT wf_respond_activity_task_completed_by_id('late4', '1', run_id => %L)$$, run_id_of('late4')));
SELECT wf_respond_activity_task_completed_by_id('late4', '1');
SELECT h('late4'), h('late4/2');
-- Nothing of that name.
SELECT how, by_id FROM pg_temp.late('nobody', '1@c');
SELECT how, by_id FROM pg_temp.late('f6', '1@c', 'unknown');
SELECT raises($$SELECT wf_respond_activity_task_completed_by_id('f6', '1', run_id => '00000000-0000-7000-8000-000000000000')$$);
SELECT raises($$SELECT wf_respond_activity_task_completed_by_id('f6', '1', namespace => 'default')$$);
SELECT raises($$SELECT wf_respond_activity_task_completed_by_id('f6', '1', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_respond_activity_task_failed_by_id('f6', '1', '{"message": "m"}', namespace => 'default')$$);
SELECT raises($$SELECT wf_respond_activity_task_canceled_by_id('f6', '1', namespace => 'default')$$);
-- Once the run is deleted.
SELECT new_started('deleted');
DELETE FROM wf.activity WHERE run_id = run_id_of('deleted');
DELETE FROM wf.event WHERE run_id = run_id_of('deleted');
DELETE FROM wf.execution WHERE run_id = run_id_of('deleted');
SELECT how, by_token FROM pg_temp.late('f6', '1@deleted', 'unknown') WHERE how <> 'heartbeat';

-- Bad arguments.
SELECT f, a, raises(format('SELECT %s(%s%s)', f, a, CASE WHEN f ~ 'failed' THEN ', ''{"message": "m"}''' END))
	FROM unnest(ARRAY['wf_respond_activity_task_completed', 'wf_respond_activity_task_failed', 'wf_respond_activity_task_canceled']) f,
		unnest(ARRAY['NULL', '''''', '''nonsense''', 'token_of(''1@f6'') || ''x''', 'left(token_of(''1@f6''), -1)', 'token_of(''c'')', 'repeat(''0'', 100000)']) a;
SELECT f, a, raises(format('SELECT %s(%s%s)', f, a, CASE WHEN f ~ 'failed' THEN ', ''{"message": "m"}''' END))
	FROM unnest(ARRAY['wf_respond_activity_task_completed_by_id', 'wf_respond_activity_task_failed_by_id', 'wf_respond_activity_task_canceled_by_id']) f,
		unnest(ARRAY['NULL, ''1''', '''f6'', NULL', ''''', ''1''', '''f6'', ''''', 'repeat(''x'', 1001), ''1''', '''f6'', repeat(''x'', 1001)']) a;
-- Each character counts: no changed token is taken for the real one.
SELECT i, e FROM generate_series(1, length(token_of('1@f6'))) i,
	raises(format('SELECT wf_respond_activity_task_completed(%L)', overlay(token_of('1@f6')
		placing CASE substr(token_of('1@f6'), i, 1) WHEN '1' THEN '2' ELSE '1' END from i))) e
	WHERE e !~ '^(22023|WF00[235]) ';
SELECT done('1@f6');

SELECT activity_end();
