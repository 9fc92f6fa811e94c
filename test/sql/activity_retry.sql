-- What follows a failed attempt: the decision, in its order, and the wait
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_retry');

-- Another attempt: no event, no workflow task; the rest is in the table.
SELECT new_started('a', '{"input": {"n": 1}, "retry_policy": {"initial_interval": "3600s"}}');
SELECT beat('1@a', '{"row": 1}'), failed('1@a', '{"message": "first", "type": "T"}');
SELECT h('a'), poll('a'), apoll('a');
SELECT state, attempt, started_time, heartbeat_details, last_failure, last_worker_identity, cancel_requested, dispatched FROM wf.activity WHERE run_id = run_id_of('a');
SELECT waits('a');
SELECT first_scheduled_time = event_time, scheduled_time > event_time FROM wf.activity a JOIN wf.event v USING (shard, run_id)
	WHERE run_id = run_id_of('a') AND event_id = 5;
SELECT let_pass('a', '2 milliseconds'), apoll('a');
-- When it is due it is there for workers, with what the attempt needs.
SELECT new_started('b', '{"input": {"n": 1}, "heartbeat_timeout": "60s", "schedule_to_close_timeout": "600s", "retry_policy": {"initial_interval": "0.001s"}}');
SELECT beat('1@b', '{"row": 1}'), failed('1@b');
DO $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
	CREATE TEMP TABLE polled AS SELECT * FROM wf_poll_activity_task('b', identity => 'worker 2');
	WHILE NOT EXISTS (SELECT FROM polled) AND clock_timestamp() < give_up LOOP
		PERFORM wf_tick();
		INSERT INTO polled SELECT * FROM wf_poll_activity_task('b', identity => 'worker 2');
	END LOOP;
END $$;
SELECT activity_id, activity_type, attempt, input, heartbeat_details, schedule_to_close_timeout, start_to_close_timeout, heartbeat_timeout,
	scheduled_time = event_time, started_time >= scheduled_time FROM polled p JOIN wf.event v USING (run_id) WHERE event_id = 5;
SELECT acts('b');
SELECT wf_respond_activity_task_failed(task_token, '{"message": "last", "non_retryable": true}', identity => 'worker 2') FROM polled;
SELECT ev('b', 6, 7);
-- No end of attempts without a maximum.
SELECT new_started('many', '{"retry_policy": {"initial_interval": "0.001s", "backoff_coefficient": 1}}');
SELECT max(attempt) FROM generate_series(1, 20) i, LATERAL (SELECT failed('1@many'), wait_apoll('many'), i + 1 AS attempt) x;
SELECT acts('many');
SELECT h('many');

-- How long an attempt has to wait: the initial interval, times the
-- coefficient for each attempt so far, up to the maximum.
CREATE FUNCTION pg_temp.growth(wid text, policy jsonb, failures int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	FOR k IN 1 .. failures LOOP
		PERFORM new_started(wid || k, jsonb_build_object('retry_policy', policy));
		FOR i IN 1 .. k - 1 LOOP
			PERFORM failed('1@' || wid || k, '{"message": "m", "next_retry_delay": "0.001s"}');
			PERFORM wait_apoll(wid || k);
		END LOOP;
		PERFORM failed('1@' || wid || k);
		result := concat_ws(', ', result, waits(wid || k));
	END LOOP;
	RETURN result;
END $$;
SELECT pg_temp.growth('g1 ', '{"initial_interval": "600s", "backoff_coefficient": 2, "maximum_interval": "3600s"}', 5);
SELECT pg_temp.growth('g2 ', '{"initial_interval": "600s", "backoff_coefficient": 1}', 3);
SELECT pg_temp.growth('g3 ', '{"initial_interval": "600s", "backoff_coefficient": 1.5}', 3);
SELECT pg_temp.growth('g4 ', '{"initial_interval": "600s", "backoff_coefficient": 1000}', 3);
SELECT pg_temp.growth('g5 ', '{"initial_interval": "600s", "backoff_coefficient": 1e300, "maximum_interval": "7200s"}', 4);
-- The failure may know better, and nothing limits that but the deadline.
SELECT new_waiting('d1', '{"retry_policy": {"initial_interval": "600s", "maximum_interval": "600s"}}', '{"message": "m", "next_retry_delay": "7200s"}');
SELECT waits('d1');
SELECT new_waiting('d2', '{"retry_policy": {"initial_interval": "600s"}}', '{"message": "m", "next_retry_delay": "30s"}');
SELECT waits('d2');
SELECT new_waiting('d3', '{"schedule_to_close_timeout": "3600s"}', '{"message": "m", "next_retry_delay": "7200s"}');
SELECT outcome('d3');
SELECT new_waiting('d4', '{"schedule_to_close_timeout": "3600s", "retry_policy": {"initial_interval": "7200s"}}', '{"message": "m", "next_retry_delay": "600s"}');
SELECT waits('d4');
-- It is for one attempt only.
SELECT new_waiting('d5', '{"retry_policy": {"initial_interval": "600s"}}', '{"message": "m", "next_retry_delay": "0.001s"}');
SELECT wait_apoll('d5'), failed('1@d5'), waits('d5');

-- The end, and why.  Not to be retried: says the failure, or the policy of its type.
SELECT new_waiting('n1', failure => '{"message": "m", "non_retryable": true}'), outcome('n1');
SELECT new_waiting('n2', '{"retry_policy": {"non_retryable_error_types": ["A", "Bad"]}}'), outcome('n2');
SELECT new_waiting('n3', '{"retry_policy": {"non_retryable_error_types": ["bad", "Ba", "Badly", "m"], "initial_interval": "3600s"}}'), outcome('n3');
SELECT new_waiting('n4', '{"retry_policy": {"non_retryable_error_types": ["Bad"], "initial_interval": "3600s"}}', '{"message": "Bad", "type": "Wrapper", "cause": {"type": "Bad", "message": "m"}}'), outcome('n4');
SELECT new_waiting('n5', failure => '{"message": "m", "non_retryable": false}'), outcome('n5');
SELECT new_waiting('n6', failure => '{"message": "m", "non_retryable": true, "next_retry_delay": "1s"}'), outcome('n6');
SELECT ev('n2', 6, 7);
-- ... in a later attempt
SELECT new_started('n7', '{"retry_policy": {"initial_interval": "0.001s"}}'), failed('1@n7'), wait_apoll('n7'), failed('1@n7', '{"message": "m", "non_retryable": true}');
SELECT outcome('n7');
-- ... before the number of attempts is looked at.
SELECT new_waiting('n8', '{"retry_policy": {"maximum_attempts": 1}}', '{"message": "m", "non_retryable": true}'), outcome('n8');
-- Attempts used up.
SELECT new_waiting('m1', '{"retry_policy": {"maximum_attempts": 1}}'), outcome('m1');
SELECT ev('m1', 6, 7);
SELECT new_started('m2', '{"retry_policy": {"maximum_attempts": 3, "initial_interval": "0.001s"}}'), failed('1@m2'), wait_apoll('m2'), failed('1@m2'), wait_apoll('m2');
SELECT h('m2'), acts('m2');
SELECT failed('1@m2', '{"message": "third"}');
SELECT h('m2'), outcome('m2');
SELECT ev('m2', 6, 7);
-- ... before time is looked at.
SELECT new_waiting('m3', '{"schedule_to_close_timeout": "600s", "retry_policy": {"maximum_attempts": 1, "initial_interval": "3600s"}}'), outcome('m3');
-- No time left.
SELECT new_waiting('t1', '{"schedule_to_close_timeout": "600s", "retry_policy": {"initial_interval": "3600s"}}'), outcome('t1');
SELECT ev('t1', 6, 7);
SELECT new_waiting('t2', '{"schedule_to_close_timeout": "3600s", "retry_policy": {"initial_interval": "600s"}}'), outcome('t2');
-- The run's time-out counts as the activity's.
SELECT new_act('t3', '{"start_to_close_timeout": "60s", "retry_policy": {"initial_interval": "3600s"}}', run_timeout => '600s'), apoll('t3'), failed('1@t3');
SELECT outcome('t3');

-- The policy may change between attempts.
SELECT new_waiting('p'), wf_update_activity_options('p', '1', retry_policy => '{"initial_interval": "0.001s", "maximum_attempts": 2}');
SELECT wf_reset_activity('p', '1'), wait_apoll('p'), failed('1@p'), wait_apoll('p'), failed('1@p');
SELECT outcome('p');

-- A workflow task is started meanwhile: nothing waits in a buffer for that.
SELECT new_started('wt', '{"retry_policy": {"initial_interval": "0.001s"}}', force => true), poll('wt'), failed('1@wt');
SELECT buffered_count FROM wf.execution WHERE run_id = run_id_of('wt');
SELECT wait_apoll('wt');
SELECT reply('wt', commands(c_complete()));
SELECT h('wt');
-- Where no driver looks after what is due, the polls of workers do.
SELECT new_started('polls', '{"retry_policy": {"initial_interval": "0.001s"}}'), failed('1@polls');
DO $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
	WHILE apoll('polls') = 'nothing' AND clock_timestamp() < give_up LOOP
	END LOOP;
END $$;
SELECT acts('polls');
-- A retry in the transaction that failed the attempt.
BEGIN;
SELECT new_started('same', '{"retry_policy": {"initial_interval": "0.001s"}}'), failed('1@same');
SELECT wait_apoll('same'), done('1@same');
COMMIT;
SELECT h('same');
-- The run ends while it waits.
SELECT new_waiting('end', '{"retry_policy": {"initial_interval": "0.05s"}}'), wf_terminate('end');
SELECT let_pass('end', '0.05s'), acts('end'), apoll('end');

SELECT activity_end();
