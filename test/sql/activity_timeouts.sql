-- The four time-outs of activities
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_timeouts');

-- Schedule to start: no worker came; that is the end, without a start.
SELECT new_act('sts', '{"schedule_to_start_timeout": "0.001s"}');
SELECT wait_for('sts', 'ActivityTaskTimedOut');
SELECT ev('sts', 6);
SELECT acts('sts'), apoll('sts'), pending_activities FROM wf.execution WHERE run_id = run_id_of('sts');
SELECT event_time >= (SELECT event_time + interval '1 millisecond' FROM wf.event s WHERE s.run_id = v.run_id AND s.event_id = 5)
	FROM wf.event v WHERE run_id = run_id_of('sts') AND event_id = 6;
-- It means nothing to a started one.
SELECT new_started('sts2', '{"schedule_to_start_timeout": "1s"}'), let_pass('sts2', '1s');
SELECT acts('sts2'), done('1@sts2');
-- It is for each attempt, from when it is due: not while it waits,
BEGIN;
SELECT new_waiting('sts3', '{"schedule_to_start_timeout": "0.3s", "retry_policy": {"initial_interval": "3600s"}}');
SELECT let_pass('sts3', '0.4s');
COMMIT;
SELECT acts('sts3');
-- ... but when the worker does not come back.
SELECT new_started('sts4', '{"schedule_to_start_timeout": "0.5s", "retry_policy": {"initial_interval": "0.001s"}}'),
	beat('1@sts4', '{"row": 1}'), failed('1@sts4');
SELECT wait_for('sts4', 'ActivityTaskTimedOut');
SELECT ev('sts4', 6, 6);

-- Schedule to close: over all attempts.  Not started,
SELECT new_act('stc', '{"schedule_to_close_timeout": "0.001s", "schedule_to_start_timeout": "60s"}');
SELECT wait_for('stc', 'ActivityTaskTimedOut') ~ ' 6 ActivityTaskTimedOut 7 WtSched$';
SELECT attributes ->> 'retry_state', attributes ? 'started_event_id' FROM wf.event WHERE run_id = run_id_of('stc') AND event_id = 6;
-- Schedule to start was capped by it, and comes first when both are over at
-- once, in a first attempt that is; the same where it is not set.
SELECT attributes #>> '{failure,timeout_type}' FROM wf.event WHERE run_id = run_id_of('stc') AND event_id = 6;
SELECT new_act('stc6', '{"schedule_to_close_timeout": "0.001s"}');
SELECT wait_for('stc6', 'ActivityTaskTimedOut');
SELECT ev('stc6', 6, 6);
-- ... started,
SELECT new_started('stc2', '{"schedule_to_close_timeout": "0.3s", "start_to_close_timeout": "60s"}'), beat('1@stc2', '{"row": 1}');
SELECT wait_for('stc2', 'ActivityTaskTimedOut');
SELECT acts('stc2');
-- ... in a later attempt,
SELECT new_started('stc3', '{"schedule_to_close_timeout": "1s", "retry_policy": {"initial_interval": "0.001s"}}'), failed('1@stc3'), wait_apoll('stc3');
SELECT wait_for('stc3', 'ActivityTaskTimedOut');
SELECT ev('stc3', 6, 7);
-- ... between two.
SELECT new_started('stc4', '{"schedule_to_close_timeout": "1s", "schedule_to_start_timeout": "60s", "retry_policy": {"initial_interval": "0.001s"}}'),
	beat('1@stc4', '{"row": 1}'), failed('1@stc4');
SELECT wait_for('stc4', 'ActivityTaskTimedOut');
SELECT ev('stc4', 6, 6);
-- Due before the deadline or not at all: while it waits nothing can end but by
-- a change of the deadline.
SELECT new_waiting('stc5', '{"schedule_to_close_timeout": "7200s", "retry_policy": {"initial_interval": "3600s"}}');
SELECT wf_update_activity_options('stc5', '1', schedule_to_close_timeout => '0.001s');
SELECT wait_for('stc5', 'ActivityTaskTimedOut');
SELECT outcome('stc5');
SELECT attributes #> '{failure,cause}' FROM wf.event WHERE run_id = run_id_of('stc5') AND event_id = 6;

-- Start to close: of one attempt.  No attempt left:
SELECT new_started('close', '{"start_to_close_timeout": "0.3s", "retry_policy": {"maximum_attempts": 1}}'), beat('1@close', '{"row": 1}');
SELECT wait_for('close', 'ActivityTaskTimedOut');
SELECT ev('close', 6);
SELECT raises($$SELECT done('1@close')$$);
-- ... else another one follows, with what was said until then.
SELECT new_started('close2', '{"start_to_close_timeout": "0.2s", "retry_policy": {"initial_interval": "0.001s", "maximum_attempts": 2}}', force => true),
	beat('1@close2', '{"row": 1}'), poll('close2');
BEGIN;
SELECT wait_apoll('close2');
SELECT h('close2'), acts('close2'), last_failure, last_worker_identity FROM wf.activity WHERE run_id = run_id_of('close2');
SELECT reply('close2');
COMMIT;
SELECT wait_for('close2', 'ActivityTaskTimedOut');
SELECT ev('close2', 9, 10);
-- Not before it is started.
SELECT new_act('close3', '{"start_to_close_timeout": "0.1s"}'), let_pass('close3', '0.1s');
SELECT acts('close3');

-- Heartbeat: from the start or the last heartbeat on.
SELECT new_started('beat', '{"heartbeat_timeout": "0.3s", "retry_policy": {"maximum_attempts": 1}}');
SELECT wait_for('beat', 'ActivityTaskTimedOut');
SELECT ev('beat', 6);
-- Here an activity does something at every 0.6 s.  It is taken up anew when
-- that was not in time because of something else.
CREATE PROCEDURE pg_temp.alive(wid text, INOUT steps text[]) LANGUAGE plpgsql AS $$
DECLARE
	run text;
	last timestamptz;
	this timestamptz;
	result text;
	results text[];
BEGIN
	FOR try IN 1 .. 100 LOOP
		last := clock_timestamp();
		PERFORM new_started(wid, '{"heartbeat_timeout": "1s", "retry_policy": {"maximum_attempts": 1}}');
		COMMIT;
		run := current_run(wid);
		results := '{}';
		FOR i IN 1 .. cardinality(steps) LOOP
			PERFORM let_pass(run, '0.6s');
			COMMIT;
			this := clock_timestamp();
			BEGIN
				EXECUTE 'SELECT ' || steps[i] INTO result USING run;
			EXCEPTION WHEN SQLSTATE 'WF005' THEN
				result := 'timed out';
			END;
			COMMIT;
			results := results || result;
			EXIT WHEN clock_timestamp() > last + interval '1 s';
			last := this;
		END LOOP;
		EXIT WHEN last = this;
		PERFORM wf_terminate(wid);
	END LOOP;
	steps := results;
END $$;
CALL pg_temp.alive('beat2', ARRAY[$$ beat('1@beat2', '{"row": 1}') $$, $$ beat('1@beat2', '{"row": 2}') $$, 'acts($1)']);
SELECT wait_for(current_run('beat2'), 'ActivityTaskTimedOut');
SELECT ev(current_run('beat2'), 7, 7);
-- By id as well.
CALL pg_temp.alive('beat3', ARRAY[$$ wf_heartbeat_by_id('beat3', '1', '{"row": 1}') $$, $$ concat(acts($1), ', ', done('1@beat3')) $$]);
-- It is for started ones.
SELECT new_act('beat4', '{"heartbeat_timeout": "0.1s"}'), let_pass('beat4', '0.1s');
SELECT acts('beat4');
-- Retried, with the details.
SELECT new_started('beat5', '{"heartbeat_timeout": "0.3s", "retry_policy": {"initial_interval": "0.001s"}}'), beat('1@beat5', '{"row": 3}');
BEGIN;
SELECT wait_apoll('beat5');
SELECT attempt, last_failure FROM wf.activity WHERE run_id = run_id_of('beat5');
SELECT done('1@beat5');
COMMIT;
SELECT h('beat5');
-- What is kept of a time-out says which one it was, however much was to be
-- said; what went before it is forgotten, as for any other failure.
SELECT new_started('kept', '{"heartbeat_timeout": "0.1s", "retry_policy": {"initial_interval": "0.001s", "maximum_attempts": 4}}');
SELECT wait_apoll('kept'), beat('1@kept', '"said"');
BEGIN;
SELECT wait_apoll('kept');
SELECT last_failure FROM wf.activity WHERE run_id = run_id_of('kept');
SELECT beat('1@kept', to_jsonb(repeat('x', 5000)));
COMMIT;
BEGIN;
SELECT wait_apoll('kept') <> '';
SELECT attempt, last_failure FROM wf.activity WHERE run_id = run_id_of('kept');
COMMIT;
SELECT wait_for('kept', 'ActivityTaskTimedOut');
SELECT attributes -> 'last_failure' FROM wf.event WHERE run_id = run_id_of('kept') AND event_id = 6;
SELECT attributes #> '{failure,cause}', attributes #>> '{failure,timeout_type}' FROM wf.event WHERE run_id = run_id_of('kept') AND event_id = 7;
-- The earliest counts.
BEGIN;
SELECT new_started('first', '{"heartbeat_timeout": "0.2s", "start_to_close_timeout": "0.3s", "schedule_to_close_timeout": "0.4s", "retry_policy": {"maximum_attempts": 1}}');
SELECT let_pass('first', '0.25s');
COMMIT;
SELECT split_part(outcome('first'), ' ', 4);

-- Types of time-outs that a policy excludes.
SELECT new_started('n1', '{"start_to_close_timeout": "0.1s", "retry_policy": {"non_retryable_error_types": ["TemporalTimeout:StartToClose"]}}'), wait_for('n1', 'ActivityTaskTimedOut');
SELECT outcome('n1');
SELECT new_started('n2', '{"heartbeat_timeout": "0.1s", "retry_policy": {"non_retryable_error_types": ["TemporalTimeout:Heartbeat"]}}'), wait_for('n2', 'ActivityTaskTimedOut');
SELECT outcome('n2');
SELECT new_started('n3', '{"start_to_close_timeout": "0.1s", "retry_policy": {"initial_interval": "0.001s", "non_retryable_error_types": ["TemporalTimeout:Heartbeat", "StartToClose"]}}'), wait_apoll('n3');
SELECT h('n3'), wf_terminate('n3');
-- The other two are never retried, and the policy does not matter.
SELECT new_act('n4', '{"schedule_to_start_timeout": "0.001s", "retry_policy": {"maximum_attempts": 1, "non_retryable_error_types": ["TemporalTimeout:ScheduleToStart"]}}'), wait_for('n4', 'ActivityTaskTimedOut') <> '';
SELECT outcome('n4');
SELECT new_started('n5', '{"schedule_to_close_timeout": "0.1s", "retry_policy": {"maximum_attempts": 1}}'), wait_for('n5', 'ActivityTaskTimedOut') <> '';
SELECT outcome('n5');

-- No time for another attempt: that counts as schedule to close.
SELECT new_started('no time', '{"start_to_close_timeout": "0.3s", "schedule_to_close_timeout": "600s", "retry_policy": {"initial_interval": "3600s"}}'),
	beat('1@no time', '{"row": 1}');
SELECT wait_for('no time', 'ActivityTaskTimedOut');
SELECT ev('no time', 6, 7);
SELECT new_started('no time 2', '{"heartbeat_timeout": "0.1s", "schedule_to_close_timeout": "600s", "retry_policy": {"initial_interval": "3600s"}}');
SELECT wait_for('no time 2', 'ActivityTaskTimedOut');
SELECT outcome('no time 2');
SELECT new_started('no time 3', '{"start_to_close_timeout": "0.1s", "schedule_to_close_timeout": "600s", "retry_policy": {"initial_interval": "0.001s"}}'),
	failed('1@no time 3', '{"message": "first"}'), wait_apoll('no time 3'),
	wf_update_activity_options('no time 3', '1', retry_policy => '{"initial_interval": "3600s"}');
SELECT wait_for('no time 3', 'ActivityTaskTimedOut') <> '';
SELECT ev('no time 3', 6, 7);

-- Buffered while a workflow task is started.
SELECT new_act('buffered', '{"schedule_to_start_timeout": "0.3s"}', force => true), poll('buffered');
DO $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
	WHILE acts('buffered') <> 'none' AND clock_timestamp() < give_up LOOP
		PERFORM wf_tick();
		COMMIT;
	END LOOP;
END $$;
SELECT h('buffered'), acts('buffered'), buffered_count FROM wf.execution WHERE run_id = run_id_of('buffered');
SELECT reply('buffered', commands(c_marker('m')));
SELECT h('buffered');

-- Of a closed run nothing times out.
BEGIN;
SELECT new_started('closed', '{"start_to_close_timeout": "0.1s", "heartbeat_timeout": "0.1s"}', n => 2), wf_terminate('closed');
SELECT let_pass('closed', '0.1s');
COMMIT;
-- The run's time-out ends it all, and writes nothing for activities.
SELECT new_act('run', '{"start_to_close_timeout": "60s"}', n => 2, run_timeout => '0.3s'), apoll('run');
SELECT wait_for('run', 'WfTimedOut');
SELECT acts('run'), apoll('run');
SELECT raises($$SELECT done('1@run')$$);

-- A paused activity: time passes, but nothing happens until it is unpaused.
SELECT new_started('paused 2', '{"start_to_close_timeout": "0.3s", "retry_policy": {"maximum_attempts": 1}}'), wf_pause_activity('paused 2', '1');
SELECT let_pass('paused 2', '0.3s');
SELECT acts('paused 2'), wf_unpause_activity('paused 2', '1');
SELECT wait_for('paused 2', 'ActivityTaskTimedOut') ~ ' 6 ActivityTaskStarted 7 ActivityTaskTimedOut 8 WtSched$';
SELECT outcome('paused 2');
SELECT new_act('paused', '{"schedule_to_close_timeout": "0.2s"}'), wf_pause_activity('paused', '1');
SELECT let_pass('paused', '0.2s');
SELECT acts('paused'), wf_unpause_activity('paused', '1');
SELECT wait_for('paused', 'ActivityTaskTimedOut') ~ ' 6 ActivityTaskTimedOut 7 WtSched$';
SELECT outcome('paused') ~ 'Timeout ScheduleTo';

-- Where no driver looks after what is due, the polls of workers do.
SELECT new_act('polls', '{"schedule_to_start_timeout": "0.001s"}');
DO $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
	WHILE poll('polls') = 'nothing' AND clock_timestamp() < give_up LOOP
	END LOOP;
END $$;
SELECT h('polls');

SELECT activity_end();
