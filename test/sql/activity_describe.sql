-- What is told about activities: wf_describe(), wf.activity; who may do what
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_describe');

-- Nothing pending.
SELECT new_idle('none');
SELECT wf_describe('none') -> 'pending_activities';
-- Each state.
CREATE FUNCTION pg_temp.described(wid text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT clean(jsonb_pretty(a)) FROM jsonb_array_elements(wf_describe(wid) -> 'pending_activities') a
$$;
SELECT new_act('scheduled', '{"input": {"secret": 1}, "schedule_to_close_timeout": "600s", "heartbeat_timeout": "5s"}');
SELECT pg_temp.described('scheduled');
SELECT new_started('started', '{"heartbeat_timeout": "60s"}');
SELECT pg_temp.described('started');
SELECT new_waiting('waiting', details => '{"row": 1}');
SELECT pg_temp.described('waiting');
SELECT new_started('cancel', force => true), poll('cancel'), reply('cancel', commands(c_cancel_act(5)));
SELECT pg_temp.described('cancel');
SELECT new_act('paused'), wf_pause_activity('paused', '1');
SELECT pg_temp.described('paused');
SELECT new_started('pausing'), wf_pause_activity('pausing', '1');
SELECT pg_temp.described('pausing');
-- Several, in the order of their scheduling.
SELECT new_polled('many'), reply('many', commands(c_act('z'), c_act('a'), c_act('m')));
SELECT jsonb_path_query_array(wf_describe('many'), '$.pending_activities[*].activity_id');
-- Identity and details of the last heartbeat.
SELECT new_started('beat'), wf_heartbeat(token_of('1@beat'), '{"row": 1}', 'worker 2');
DO $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
	WHILE wf_describe('beat') #> '{pending_activities,0,heartbeat_details}' IS NULL AND clock_timestamp() < give_up LOOP
		PERFORM wf_tick();
		COMMIT;
	END LOOP;
END $$;
SELECT pg_temp.described('beat');
-- No longer pending.
SELECT new_started('done'), done('1@done');
SELECT wf_describe('done') -> 'pending_activities';
SELECT new_started('closed'), wf_terminate('closed');
SELECT wf_describe('closed') -> 'pending_activities';

-- The table: documented columns, states, and that it is dumped.
SELECT c FROM unnest('{shard,run_id,scheduled_event_id,activity_id,activity_type,task_queue,state,attempt,scheduled_time,started_time,
	last_heartbeat_time,heartbeat_details,cancel_requested,last_failure,last_worker_identity}'::text[]) c
	WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'wf.activity'::regclass AND attname = c);
SELECT string_agg(state, ' ' ORDER BY state COLLATE "C") FROM (SELECT DISTINCT state FROM wf.activity) x;
SELECT count(*) FROM pg_extension WHERE extname = 'workflow_interrupt' AND 'wf.activity'::regclass = ANY (extconfig);
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'wf.activity'::regclass AND indisunique
	AND NOT (SELECT attnum FROM pg_attribute WHERE attrelid = indrelid AND attname = 'shard') = ANY (indkey::int2[]);

-- Privileges: EXECUTE is all that a caller needs.
CREATE ROLE regress_wfi_worker;
CREATE ROLE regress_wfi_nobody;
GRANT EXECUTE ON FUNCTION wf_poll_activity_task, wf_heartbeat, wf_heartbeat_by_id, wf_respond_activity_task_completed,
	wf_respond_activity_task_completed_by_id, wf_respond_activity_task_failed, wf_respond_activity_task_failed_by_id,
	wf_respond_activity_task_canceled, wf_respond_activity_task_canceled_by_id, wf_pause_activity, wf_unpause_activity,
	wf_reset_activity, wf_update_activity_options TO regress_wfi_worker;
SELECT new_act('priv', '{"retry_policy": {"initial_interval": "3600s"}}', 6, true), poll('priv');
SELECT reply('priv', '[]');
SET ROLE regress_wfi_nobody;
SELECT public.wf_poll_activity_task('priv');
SELECT public.wf_heartbeat('x');
SELECT public.wf_heartbeat_by_id('priv', '1');
SELECT public.wf_respond_activity_task_completed('x');
SELECT public.wf_respond_activity_task_completed_by_id('priv', '1');
SELECT public.wf_respond_activity_task_failed('x', '{}');
SELECT public.wf_respond_activity_task_failed_by_id('priv', '1', '{}');
SELECT public.wf_respond_activity_task_canceled('x');
SELECT public.wf_respond_activity_task_canceled_by_id('priv', '1');
SELECT public.wf_pause_activity('priv', '1');
SELECT public.wf_unpause_activity('priv', '1');
SELECT public.wf_reset_activity('priv', '1');
SELECT public.wf_update_activity_options('priv', '1');
RESET ROLE;
SET ROLE regress_wfi_worker;
CREATE TEMP TABLE task AS SELECT * FROM public.wf_poll_activity_task('priv', 3);
SELECT activity_id, attempt FROM task ORDER BY 1;
SELECT public.wf_heartbeat(task_token) FROM task WHERE activity_id = '1';
SELECT public.wf_heartbeat_by_id('priv', '1');
SELECT public.wf_respond_activity_task_completed(task_token) FROM task WHERE activity_id = '1';
SELECT public.wf_respond_activity_task_failed(task_token, '{"message": "m"}') FROM task WHERE activity_id = '2';
SELECT public.wf_respond_activity_task_completed_by_id('priv', '2');
SELECT public.wf_respond_activity_task_failed_by_id('priv', '3', '{"message": "m"}');
SELECT public.wf_pause_activity('priv', '4'), public.wf_unpause_activity('priv', '4'), public.wf_reset_activity('priv', '4'),
	public.wf_update_activity_options('priv', '4', heartbeat_timeout => '9s');
\set VERBOSITY sqlstate
SELECT public.wf_respond_activity_task_canceled(task_token) FROM task WHERE activity_id = '3';
SELECT public.wf_respond_activity_task_canceled_by_id('priv', '3');
SELECT count(*) FROM wf.activity;
UPDATE wf.activity SET attempt = 1;
DELETE FROM wf.activity;
\set VERBOSITY default
SELECT current_user;
DROP TABLE task;
RESET ROLE;
SELECT h('priv'), acts('priv');
-- Who did it: the session's user.
SELECT DISTINCT attributes ->> 'identity' = session_user FROM wf.event WHERE run_id = run_id_of('priv') AND event_type::text ~ '^ActivityTask' AND attributes ? 'identity';
DROP OWNED BY regress_wfi_worker, regress_wfi_nobody;
DROP ROLE regress_wfi_worker, regress_wfi_nobody;

SELECT activity_end();
