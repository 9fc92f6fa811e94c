-- Operators: wf_pause_activity(), wf_unpause_activity(), wf_reset_activity(),
-- wf_update_activity_options()
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_operators');

-- Pause an activity that waits for a worker: none gets it.
SELECT new_act('p');
SELECT wf_pause_activity('p', '1');
SELECT acts('p'), apoll('p'), paused FROM wf.activity WHERE run_id = run_id_of('p');
SELECT let_pass('p', '2 milliseconds'), apoll('p');
SELECT raises($$SELECT wf_pause_activity('p', '1')$$);
SELECT wf_unpause_activity('p', '1');
SELECT acts('p'), wait_apoll('p');
SELECT wf_unpause_activity('p', '1', reset_attempts => true), acts('p');
SELECT done('1@p');
SELECT h('p');
-- Who did it and why can be seen until it goes on.  The same request does
-- nothing twice.
SELECT new_started('p0');
SELECT wf_pause_activity('p0', '1', reason => 'the printer is on fire', request_id => 'r', identity => 'operator');
SELECT pause_info - 'pause_time', (pause_info ->> 'pause_time')::timestamptz BETWEEN started_time AND now() FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT wf_describe('p0') #> '{pending_activities,0,pause_info}' = pause_info FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT wf_pause_activity('p0', '1', reason => 'again', request_id => 'r');
SELECT raises($$SELECT wf_pause_activity('p0', '1', request_id => 'other')$$);
SELECT raises($$SELECT wf_pause_activity('p0', '1')$$);
SELECT pause_info ->> 'reason' FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT failed('1@p0'), pause_info ->> 'reason' FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT acts('p0'), pause_info ->> 'reason' FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT wf_reset_activity('p0', '1', keep_paused => true);
SELECT pause_info ->> 'reason' FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT wf_unpause_activity('p0', '1');
SELECT pause_info IS NULL, wf_describe('p0') #> '{pending_activities,0}' ? 'pause_info' FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT wf_pause_activity('p0', '1', request_id => 'r');
SELECT clean((pause_info - 'pause_time')::text) FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT wf_reset_activity('p0', '1');
SELECT pause_info IS NULL FROM wf.activity WHERE run_id = run_id_of('p0');
SELECT raises($$SELECT wf_pause_activity('p0', '1', reason => repeat('x', 1001))$$);
SELECT raises($$SELECT wf_pause_activity('p0', '1', request_id => repeat('x', 1001))$$);
-- One of several; by run id.
SELECT new_act('p2', n => 2);
SELECT wf_pause_activity('p2', '1', run_id_of('p2'), 'test_activity_operators');
SELECT acts('p2'), apoll('p2'), apoll('p2');
SELECT wf_unpause_activity('p2', '1', run_id_of('p2'), 'test_activity_operators');
SELECT wait_apoll('p2');
-- While it runs: the attempt may end,
SELECT new_started('p3'), wf_pause_activity('p3', '1');
SELECT acts('p3'), beat('1@p3');
SELECT done('1@p3');
SELECT h('p3'), acts('p3');
-- ... with a failure, too, but none follows until it is unpaused.
SELECT new_started('p4', '{"retry_policy": {"initial_interval": "0.001s"}}'), wf_pause_activity('p4', '1'), failed('1@p4');
SELECT let_pass('p4', '2 milliseconds'), acts('p4'), apoll('p4');
SELECT raises($$SELECT wf_pause_activity('p4', '1')$$);
SELECT wf_unpause_activity('p4', '1'), wait_apoll('p4');
SELECT beat('1@p4'), done('1@p4');
SELECT h('p4');
SELECT attributes ->> 'attempt' FROM wf.event WHERE run_id = run_id_of('p4') AND event_id = 6;
SELECT new_started('p5'), wf_pause_activity('p5', '1'), failed('1@p5', '{"message": "m", "non_retryable": true}');
SELECT outcome('p5');
SELECT new_started('p6', '{"retry_policy": {"maximum_attempts": 1}}'), wf_pause_activity('p6', '1'), failed('1@p6');
SELECT outcome('p6');
-- Unpaused before the attempt ends: nothing has happened.
SELECT new_started('p7', '{"retry_policy": {"initial_interval": "0.001s"}}'), wf_pause_activity('p7', '1'), wf_unpause_activity('p7', '1');
SELECT acts('p7'), beat('1@p7'), failed('1@p7'), wait_apoll('p7');
-- While it waits for the next attempt.
SELECT new_waiting('p8', '{"retry_policy": {"initial_interval": "0.001s"}}'), wf_pause_activity('p8', '1');
SELECT acts('p8'), let_pass('p8', '2 milliseconds'), apoll('p8');
SELECT wf_unpause_activity('p8', '1'), wait_apoll('p8');
-- ... and then need not wait any longer; how long it was paused does not count.
SELECT new_waiting('p9'), wf_pause_activity('p9', '1'), wf_unpause_activity('p9', '1'), apoll('p9');
SELECT new_act('p10'), wf_pause_activity('p10', '1');
SELECT let_pass('p10', '0.1s'), wf_unpause_activity('p10', '1');
SELECT scheduled_time > first_scheduled_time + interval '0.1s' FROM wf.activity WHERE run_id = run_id_of('p10');
-- Unpaused with attempts, heartbeats or both from the beginning.
SELECT new_waiting('u1', details => '{"row": 1}'), wf_pause_activity('u1', '1');
SELECT wf_unpause_activity('u1', '1', reset_attempts => true), wait_apoll('u1');
SELECT new_waiting('u2', '{"retry_policy": {"initial_interval": "0.001s"}}', details => '{"row": 1}'), wf_pause_activity('u2', '1');
SELECT wf_unpause_activity('u2', '1', reset_heartbeat => true), wait_apoll('u2');
SELECT new_waiting('u3', details => '{"row": 1}'), wf_pause_activity('u3', '1');
SELECT wf_unpause_activity('u3', '1', reset_attempts => true, reset_heartbeat => true), wait_apoll('u3');
SELECT new_waiting('u4', '{"retry_policy": {"initial_interval": "0.001s"}}', details => '{"row": 1}'), wf_pause_activity('u4', '1');
SELECT wf_unpause_activity('u4', '1'), wait_apoll('u4');

-- Reset: attempts from 1; at once when it waits,
SELECT new_waiting('r', details => '{"row": 1}');
SELECT wf_reset_activity('r', '1');
SELECT wait_apoll('r'), acts('r');
SELECT beat('1@r'), done('1@r');
SELECT h('r');
SELECT attributes ->> 'attempt' FROM wf.event WHERE run_id = run_id_of('r') AND event_id = 6;
SELECT new_waiting('r2', details => '{"row": 1}'), wf_reset_activity('r2', '1', reset_heartbeat => true), wait_apoll('r2');
-- ... with the next attempt when one is running, which is not disturbed.
SELECT new_started('r3', '{"retry_policy": {"initial_interval": "0.001s"}}'), failed('1@r3'), wait_apoll('r3');
SELECT wf_reset_activity('r3', '1');
SELECT acts('r3');
SELECT beat('1@r3', '{"row": 7}');
SELECT beat('1@r3', '{"row": 8}');
SELECT failed('1@r3');
SELECT wait_apoll('r3');
SELECT beat('1@r3', '{"row": 9}'), failed('1@r3'), wait_apoll('r3');
SELECT new_started('r4'), wf_reset_activity('r4', '1'), done('1@r4');
SELECT h('r4');
SELECT new_started('r5', '{"start_to_close_timeout": "0.3s", "retry_policy": {"initial_interval": "0.001s"}}'), beat('1@r5', '{"row": 1}'),
	wf_reset_activity('r5', '1', reset_heartbeat => true);
SELECT wait_apoll('r5'), acts('r5');
-- Attempts that were used up can be used again.
SELECT new_started('r6', '{"retry_policy": {"maximum_attempts": 2, "initial_interval": "0.001s"}}'), failed('1@r6'), wait_apoll('r6'), wf_reset_activity('r6', '1'), failed('1@r6');
SELECT wait_apoll('r6'), failed('1@r6'), wait_apoll('r6'), failed('1@r6');
SELECT outcome('r6');
-- One that waits for a worker.
SELECT new_act('r7'), wf_reset_activity('r7', '1'), wait_apoll('r7'), apoll('r7');
-- A paused one goes on, unless told otherwise.
SELECT new_waiting('r8'), wf_pause_activity('r8', '1'), wf_reset_activity('r8', '1');
SELECT acts('r8'), wait_apoll('r8');
SELECT new_waiting('r9'), wf_pause_activity('r9', '1'), wf_reset_activity('r9', '1', keep_paused => true);
SELECT let_pass('r9', '2 milliseconds'), acts('r9'), apoll('r9');
SELECT wf_unpause_activity('r9', '1'), wait_apoll('r9');
SELECT new_started('r10', '{"retry_policy": {"initial_interval": "0.001s"}}'), wf_pause_activity('r10', '1'), wf_reset_activity('r10', '1', keep_paused => true);
SELECT acts('r10'), failed('1@r10');
SELECT acts('r10'), apoll('r10');
-- What heartbeats say counts for the attempt, but not for the next one.
SELECT new_started('r11', '{"retry_policy": {"initial_interval": "0.001s"}}');
SELECT beat('1@r11', '{"row": 1}');
SELECT wf_reset_activity('r11', '1', reset_heartbeat => true);
SELECT beat('1@r11', '{"row": 2}');
SELECT wf_describe('r11') #> '{pending_activities,0,heartbeat_details}';
SELECT failed('1@r11'), wait_apoll('r11');
SELECT last_heartbeat_time FROM wf.activity WHERE run_id = run_id_of('r11');
SELECT beat('1@r11', '{"row": 3}'), failed('1@r11'), wait_apoll('r11');
-- ... whereas unpausing drops what was said so far.
SELECT new_started('r12', '{"retry_policy": {"initial_interval": "0.001s"}}');
SELECT beat('1@r12', '{"row": 1}');
SELECT wf_pause_activity('r12', '1'), wf_unpause_activity('r12', '1', reset_heartbeat => true);
SELECT heartbeat_details, last_heartbeat_time > started_time FROM wf.activity WHERE run_id = run_id_of('r12');
SELECT failed('1@r12'), wait_apoll('r12');
SELECT beat('1@r12', '{"row": 1}');
SELECT wf_pause_activity('r12', '1'), wf_unpause_activity('r12', '1', reset_heartbeat => true);
SELECT beat('1@r12', '{"row": 2}'), failed('1@r12'), wait_apoll('r12');

-- Options: what is not given stays; no event.
CREATE FUNCTION pg_temp.options(run text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', task_queue, 'stc=' || extract(epoch FROM schedule_to_close_timeout)::float, 'sts=' || extract(epoch FROM schedule_to_start_timeout)::float,
		'close=' || extract(epoch FROM start_to_close_timeout)::float, 'beat=' || extract(epoch FROM heartbeat_timeout)::float, retry_policy)
	FROM wf.activity WHERE run_id = run_id_of(run)
$$;
SELECT new_act('o', '{"schedule_to_close_timeout": "600s", "schedule_to_start_timeout": "60s", "start_to_close_timeout": "30s", "heartbeat_timeout": "5s"}');
SELECT wf_update_activity_options('o', '1'), pg_temp.options('o');
SELECT wf_update_activity_options('o', '1', task_queue => 'o-2'), pg_temp.options('o');
SELECT wf_update_activity_options('o', '1', schedule_to_close_timeout => '700s'), pg_temp.options('o');
SELECT wf_update_activity_options('o', '1', schedule_to_start_timeout => '70s'), pg_temp.options('o');
SELECT wf_update_activity_options('o', '1', start_to_close_timeout => '40s'), pg_temp.options('o');
SELECT wf_update_activity_options('o', '1', heartbeat_timeout => '6s'), pg_temp.options('o');
SELECT wf_update_activity_options('o', '1', retry_policy => '{"initial_interval": "7s", "maximum_attempts": 3}'), pg_temp.options('o');
SELECT wf_update_activity_options('o', '1', run_id_of('o'), 'test_activity_operators', 'o-3', '800s', '80s', '50s', '7s', '{"initial_interval": "8s"}'), pg_temp.options('o');
SELECT h('o');
-- It is in the new queue, once.
SELECT apoll('o'), apoll('o-2'), wait_apoll('o-3'), apoll('o-3');
SELECT schedule_to_close_timeout, start_to_close_timeout, heartbeat_timeout FROM wf.activity WHERE run_id = run_id_of('o');
SELECT done('1@o-3');
SELECT ev('o', 5, 6);
-- Heartbeats cannot take longer than the attempt, and nothing longer than the run.
SELECT new_act('o2', '{"start_to_close_timeout": "30s", "heartbeat_timeout": "5s"}', run_timeout => '1 hour');
SELECT wf_update_activity_options('o2', '1', heartbeat_timeout => '60s'), pg_temp.options('o2');
SELECT wf_update_activity_options('o2', '1', schedule_to_close_timeout => '2 hours', schedule_to_start_timeout => '2 hours', start_to_close_timeout => '2 hours'), pg_temp.options('o2');
-- They count for the running attempt ...
SELECT new_started('o3', '{"retry_policy": {"maximum_attempts": 1}}'), wf_update_activity_options('o3', '1', start_to_close_timeout => '0.001s');
SELECT wait_for('o3', 'ActivityTaskTimedOut') ~ ' 6 ActivityTaskStarted 7 ActivityTaskTimedOut 8 WtSched$';
SELECT new_started('o4', '{"retry_policy": {"maximum_attempts": 1}}'), wf_update_activity_options('o4', '1', heartbeat_timeout => '0.001s');
SELECT wait_for('o4', 'ActivityTaskTimedOut') ~ ' 6 ActivityTaskStarted 7 ActivityTaskTimedOut 8 WtSched$', outcome('o4');
SELECT new_started('o5', '{"start_to_close_timeout": "0.5s", "retry_policy": {"maximum_attempts": 1}}'), wf_update_activity_options('o5', '1', start_to_close_timeout => '1 hour');
SELECT let_pass('o5', '0.5s'), acts('o5');
-- ... and for one that waits,
SELECT new_act('o6'), wf_update_activity_options('o6', '1', schedule_to_start_timeout => '0.001s');
SELECT wait_for('o6', 'ActivityTaskTimedOut') <> '', outcome('o6');
-- ... in another queue when it is due,
SELECT new_waiting('o7', '{"retry_policy": {"initial_interval": "0.001s"}}'), wf_update_activity_options('o7', '1', task_queue => 'o7-2');
SELECT wait_apoll('o7-2'), apoll('o7');
-- ... and whether a failed attempt is tried again.
SELECT new_started('o8'), wf_update_activity_options('o8', '1', retry_policy => '{"maximum_attempts": 1}'), failed('1@o8');
SELECT outcome('o8');
-- ... and when that is.
SELECT new_waiting('o10'), wf_update_activity_options('o10', '1', retry_policy => '{"initial_interval": "600s"}'), waits('o10');
SELECT wf_update_activity_options('o10', '1', heartbeat_timeout => '9s'), waits('o10');
SELECT wf_update_activity_options('o10', '1', retry_policy => '{"initial_interval": "0.001s"}'), wait_apoll('o10');
SELECT new_act('o11'), wf_update_activity_options('o11', '1', retry_policy => '{"initial_interval": "3600s"}'), apoll('o11');
-- A first attempt waits for nothing, though there have been others: its time,
-- from which its schedule to start counts, is that of the reset.
SELECT new_waiting('o12'), wf_reset_activity('o12', '1');
SELECT scheduled_time AS reset_time FROM wf.activity WHERE run_id = run_id_of('o12') \gset
SELECT wf_update_activity_options('o12', '1', retry_policy => '{"initial_interval": "600s"}');
SELECT scheduled_time = :'reset_time' FROM wf.activity WHERE run_id = run_id_of('o12');
SELECT apoll('o12');
-- A paused one stays paused.
SELECT new_act('o9'), wf_pause_activity('o9', '1'), wf_update_activity_options('o9', '1', task_queue => 'o9-2');
SELECT acts('o9'), apoll('o9'), apoll('o9-2');
SELECT wf_unpause_activity('o9', '1'), wait_apoll('o9-2'), apoll('o9');
-- Refused.
SELECT new_act('bad');
SELECT raises($$SELECT wf_update_activity_options('bad', '1', task_queue => '')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', task_queue => repeat('x', 1001))$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', schedule_to_close_timeout => '-1s')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', retry_policy => '{"maximum_attempts": null, "max_attempts": 1}')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', schedule_to_start_timeout => '-1s')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', start_to_close_timeout => '-1s')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', heartbeat_timeout => '-1s')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', retry_policy => '[]')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', retry_policy => '{"initial_interval": "-1s"}')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', retry_policy => '{"backoff_coefficient": 0.5}')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', retry_policy => '{"maximum_attempts": -1}')$$);
SELECT raises($$SELECT wf_update_activity_options('bad', '1', retry_policy => '{"initial_interval": "10s", "maximum_interval": "5s"}')$$);
SELECT acts('bad'), apoll('bad');

-- Nothing to operate on.
SELECT new_started('done'), done('1@done');
SELECT new_started('closed'), wf_terminate('closed');
CREATE FUNCTION pg_temp.each(args text) RETURNS TABLE (f text, error text) LANGUAGE sql AS $$
	SELECT f, raises(format('SELECT %s(%s)', f, args))
	FROM unnest(ARRAY['wf_pause_activity', 'wf_unpause_activity', 'wf_reset_activity', 'wf_update_activity_options']) f
$$;
SELECT * FROM pg_temp.each($$'bad', 'unknown'$$);
SELECT * FROM pg_temp.each($$'done', '1'$$);
SELECT * FROM pg_temp.each($$'nobody', '1'$$);
SELECT * FROM pg_temp.each($$'bad', '1', run_id => '00000000-0000-7000-8000-000000000000'$$);
SELECT * FROM pg_temp.each($$'bad', '1', namespace => 'default'$$);
SELECT * FROM pg_temp.each($$'bad', '1', namespace => 'nowhere'$$);
SELECT * FROM pg_temp.each($$'closed', '1'$$);
SELECT * FROM pg_temp.each($$'closed', 'unknown'$$);
SELECT * FROM pg_temp.each($$NULL, '1'$$);
SELECT * FROM pg_temp.each($$'bad', NULL$$);
SELECT * FROM pg_temp.each($$'', '1'$$);
SELECT * FROM pg_temp.each($$'bad', ''$$);
SELECT * FROM pg_temp.each($$repeat('x', 1001), '1'$$);
SELECT * FROM pg_temp.each($$'bad', repeat('x', 1001)$$);
-- Its end is in the buffer.
SELECT new_started('buffered', force => true), poll('buffered'), done('1@buffered');
SELECT * FROM pg_temp.each($$'buffered', '1'$$);
-- NULL for an option is the default.
SELECT wf_pause_activity('bad', '1', NULL, NULL), wf_unpause_activity('bad', '1', NULL, NULL, NULL, NULL), wf_reset_activity('bad', '1', NULL, NULL, NULL, NULL),
	wf_update_activity_options('bad', '1', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
-- None of this is history.
SELECT h('bad'), h('r3'), h('p7');
-- Undone with the transaction.
BEGIN;
SELECT new_act('back');
COMMIT;
BEGIN;
SELECT wf_pause_activity('back', '1');
ROLLBACK;
SELECT acts('back'), apoll('back');

SELECT activity_end();
