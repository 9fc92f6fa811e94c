-- Who may do what: EXECUTE on a function is all that its caller needs, and
-- nothing that a caller can create is ever used in its place.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_privileges');
CREATE ROLE regress_wfi_user;
CREATE ROLE regress_wfi_none;
CREATE ROLE regress_wfi_evil;
GRANT EXECUTE ON FUNCTION wf_reset, wf_reset_plan, wf_reset_points, wf_reset_point, wf_start, wf_signal, wf_signal_with_start, wf_cancel, wf_terminate, wf_pause, wf_unpause, wf_history,
	wf_describe, wf_result, wf_poll_workflow_task, wf_respond_workflow_task_completed, wf_respond_workflow_task_failed,
	wf_channel, wf_tick, wf_create_namespace, wf_describe_namespace, wf_drop_namespace
	TO regress_wfi_user, regress_wfi_evil;

-- Nothing without a grant.
SET ROLE regress_wfi_none;
SELECT public.wf_start('a', 'Type');
SELECT public.wf_signal('a', 's');
SELECT public.wf_signal_with_start('a', 'Type', 's');
SELECT public.wf_cancel('a');
SELECT public.wf_terminate('a');
SELECT public.wf_reset('a', 3);
SELECT public.wf_reset_plan('a', 3);
SELECT public.wf_reset_points('a');
SELECT public.wf_reset_point('a', 'LastWorkflowTask');
SELECT public.wf_pause('a');
SELECT public.wf_unpause('a');
SELECT public.wf_history('a');
SELECT public.wf_describe('a');
SELECT public.wf_result('a');
SELECT public.wf_poll_workflow_task('a');
SELECT public.wf_respond_workflow_task_completed('x');
SELECT public.wf_respond_workflow_task_failed('x');
SELECT public.wf_tick();
SELECT public.wf_channel('workflow', 'a');
SELECT public.wf_create_namespace('x');
SELECT public.wf_describe_namespace('default');
SELECT public.wf_drop_namespace('x');
\set VERBOSITY sqlstate
SELECT wf.shard_of('a', 'b');
SELECT wf._created();
SELECT count(*) FROM wf.execution;
\set VERBOSITY default
CREATE TEMP TABLE mine (id int);
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION public.wf_start_trigger('a', 'T');
RESET ROLE;

-- With it: everything, and still no table.
SET ROLE regress_wfi_user;
SELECT public.wf_start('a', 'Type', task_queue => 'a') IS NOT NULL;
SELECT public.wf_signal('a', 's');
CREATE TEMP TABLE task AS SELECT * FROM public.wf_poll_workflow_task('a', identity => 'worker');
SELECT accepted FROM task, public.wf_respond_workflow_task_completed(task_token);
SELECT public.wf_signal('a', 's');
SELECT public.wf_respond_workflow_task_failed(task_token) FROM public.wf_poll_workflow_task('a');
SELECT event_id, event_type FROM public.wf_history('a');
SELECT public.wf_describe('a') -> 'workflow_execution_info' ->> 'status';
SELECT public.wf_pause('a'), public.wf_unpause('a'), public.wf_cancel('a');
SELECT public.wf_terminate('a', 'r');
SELECT public.wf_signal_with_start('b', 'Type', 's') IS NOT NULL;
SELECT public.wf_result('b') IS NULL;
SELECT public.wf_start('r', 'Type', task_queue => 'r') IS NOT NULL, public.wf_signal('r', 's');
SELECT event_id, event_type, description FROM public.wf_reset_points('r');
SELECT public.wf_reset_point('r', 'LastWorkflowTask');
SELECT kind, action, event_id FROM public.wf_reset_plan('r', 3);
SELECT event_id, event_type FROM public.wf_reset('r', 3);
SELECT public.wf_tick() IS NOT NULL, public.wf_channel('workflow', 'a') <> '';
SELECT public.wf_create_namespace('theirs');
SELECT public.wf_describe_namespace('theirs') ->> 'name';
SELECT public.wf_drop_namespace('theirs');
\set VERBOSITY sqlstate
SELECT count(*) FROM wf.execution;
INSERT INTO wf.event VALUES (1);
UPDATE wf.execution SET status = 'Completed';
DELETE FROM wf.task;
TRUNCATE wf.event;
SELECT nextval('wf.task_id_seq');
SELECT public.wf_start('c', 'Type', namespace => 'nowhere');
\set VERBOSITY default
-- The role comes back after a call that failed inside.
SELECT current_user;
RESET ROLE;
-- Who did it: the user of the session, whatever role was set.
SELECT DISTINCT attributes ->> 'identity' = session_user FROM wf.event JOIN wf.execution USING (shard, run_id)
	WHERE namespace = 'test_privileges' AND workflow_id = 'a' AND event_type IN ('WorkflowExecutionStarted', 'WorkflowExecutionSignaled',
		'WorkflowExecutionPaused', 'WorkflowExecutionUnpaused', 'WorkflowExecutionTerminated');

-- A trigger works for whoever may write to the table.
CREATE TABLE orders (id int);
CREATE TRIGGER start AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('order-{id}', 'Order');
GRANT INSERT ON orders TO regress_wfi_none;
GRANT USAGE ON SCHEMA test TO regress_wfi_none;
SET ROLE regress_wfi_none;
INSERT INTO test.orders VALUES (1);
RESET ROLE;
SELECT count(*) FROM wf.execution WHERE workflow_id = 'order-1';

-- Only the engine's own statements run as its owner: code that comes with
-- the caller's types runs as the caller.
CREATE SCHEMA evil AUTHORIZATION regress_wfi_evil;
GRANT EXECUTE ON FUNCTION wf_start_trigger, wf_signal_trigger, wf_cancel_trigger, wf_terminate_trigger TO regress_wfi_evil;
SET ROLE regress_wfi_evil;
CREATE TYPE evil.mood AS ENUM ('bad');
CREATE FUNCTION evil.mood_json(evil.mood) RETURNS json LANGUAGE plpgsql AS
	$$ BEGIN RETURN pg_catalog.to_json('as ' || current_user); END $$;
CREATE CAST (evil.mood AS json) WITH FUNCTION evil.mood_json;
CREATE TABLE evil.moods (id int, mood evil.mood);
CREATE TRIGGER start AFTER INSERT ON evil.moods FOR EACH ROW EXECUTE FUNCTION public.wf_start_trigger('mood-{id}', '{mood}');
INSERT INTO evil.moods VALUES (1, 'bad');
RESET ROLE;
SELECT workflow_type, attributes -> 'input' FROM wf.event JOIN wf.execution USING (shard, run_id) WHERE workflow_id = 'mood-1' AND event_id = 1;

-- A search path full of traps: operators, functions, tables and types of the
-- names that the engine uses, before pg_catalog.
SET ROLE regress_wfi_evil;
SET search_path = evil, pg_catalog;
DO $$
DECLARE
	t text;
	o text;
	f record;
BEGIN
	CREATE FUNCTION evil.trap() RETURNS boolean LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION ''caught as %'', current_user; END';
	FOREACH t IN ARRAY ARRAY['int4', 'int8', 'text', 'uuid', 'timestamptz', 'jsonb', 'bool', 'name', '"char"', 'interval'] LOOP
		EXECUTE pg_catalog.format('CREATE FUNCTION evil.trap(%s, %s) RETURNS pg_catalog.bool LANGUAGE plpgsql AS %L', t, t,
			'BEGIN RETURN evil.trap(); END');
		FOREACH o IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>=', '-', '+', '||', '->', '->>', '?', '~'] LOOP
			EXECUTE pg_catalog.format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.trap)', o, t, t);
		END LOOP;
	END LOOP;
	EXECUTE 'CREATE FUNCTION evil.trap(int8, int4) RETURNS pg_catalog.bool LANGUAGE plpgsql AS ''BEGIN RETURN evil.trap(); END''';
	FOREACH o IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>=', '-', '+'] LOOP
		EXECUTE pg_catalog.format('CREATE OPERATOR evil.%s (LEFTARG = int8, RIGHTARG = int4, FUNCTION = evil.trap)', o);
	END LOOP;
	FOR f IN SELECT * FROM (VALUES ('now', '', 'timestamptz'), ('clock_timestamp', '', 'timestamptz'), ('gen_random_uuid', '', 'uuid'),
		('nextval', 'regclass', 'int8'), ('count', 'int8', 'int8'), ('unnest', 'int8[]', 'int8'), ('unnest', 'text[]', 'text'), ('unnest', 'jsonb[]', 'jsonb'),
		('coalesce_', '', 'int4'), ('to_jsonb', 'anyelement', 'jsonb'), ('jsonb_build_object', '', 'jsonb'), ('current_setting', 'text', 'text'),
		('shard_of', 'text, text', 'int4'), ('wf_signal', 'text, text', 'bool'), ('length', 'text', 'int4'), ('hashtext', 'text', 'int4')) v (name, args, result) LOOP
		EXECUTE pg_catalog.format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.name, f.args, f.result,
			'BEGIN PERFORM evil.trap(); RETURN NULL; END');
	END LOOP;
	FOREACH t IN ARRAY ARRAY['namespace', 'execution', 'event', 'buffered_event', 'timer', 'signal_request', 'task', 'wakeup', 'pg_class', 'pg_type'] LOOP
		EXECUTE pg_catalog.format('CREATE TABLE evil.%I (shard pg_catalog.int4, run_id pg_catalog.uuid, name pg_catalog.text)', t);
		EXECUTE pg_catalog.format('CREATE TEMP TABLE %I (shard pg_catalog.int4, run_id pg_catalog.uuid, name pg_catalog.text)', 'e_' OPERATOR(pg_catalog.||) t);
	END LOOP;
	CREATE TYPE evil.status AS ENUM ('Running');
	CREATE TYPE evil.event_type AS ENUM ('WorkflowExecutionStarted');
	CREATE DOMAIN evil.uuid AS pg_catalog.text;
	CREATE DOMAIN evil.timestamptz AS pg_catalog.text;
	CREATE DOMAIN evil.jsonb AS pg_catalog.text;
	CREATE DOMAIN evil.int8 AS pg_catalog.text;
END $$;
-- In a new session, so that nothing is prepared yet.
\c -
SET workflow_interrupt.namespace = 'test_privileges';
SET ROLE regress_wfi_evil;
SET search_path = evil, pg_catalog;
-- The traps work,
\set SHOW_CONTEXT never
SELECT 1 = 1;
SELECT now();
\set SHOW_CONTEXT errors
-- and catch nothing.
SELECT public.wf_start('trap', 'Type', task_queue => 'trap', run_timeout => '1 hour', request_id => 'r1', memo => '{"a": 1}') IS NOT NULL;
SELECT public.wf_start('trap', 'Type', request_id => 'r1') IS NOT NULL;
SELECT public.wf_signal('trap', 's', '1', request_id => 'r2'), public.wf_signal('trap', 's', '1', request_id => 'r2');
SELECT task_token AS token FROM public.wf_poll_workflow_task('trap') \gset
SELECT public.wf_signal('trap', 'buffered'), public.wf_cancel('trap');
SELECT accepted FROM public.wf_respond_workflow_task_completed(:'token', '[{"command_type": "StartTimer", "timer_id": "t", "start_to_fire_timeout": "1 hour"},
	{"command_type": "RecordMarker", "marker_name": "m"}]');
-- Something falls due, in a run that nothing else touches.
SELECT public.wf_start('due', 'Type', run_timeout => '0.001s') IS NOT NULL;
SELECT public.wf_tick() IS NOT NULL;
SELECT task_token AS token FROM public.wf_poll_workflow_task('trap') \gset
SELECT public.wf_respond_workflow_task_failed(:'token');
SELECT task_token AS token FROM public.wf_poll_workflow_task('trap') \gset
SELECT accepted FROM public.wf_respond_workflow_task_completed(:'token', '[{"command_type": "CancelTimer", "timer_id": "t"}]');
SELECT event_type FROM public.wf_history('trap') LIMIT 3;
SELECT public.wf_describe('trap') IS NULL;
SELECT public.wf_result('trap') IS NULL;
SELECT public.wf_pause('trap'), public.wf_unpause('trap');
SELECT public.wf_signal_with_start('trap', 'Type', 's') IS NULL;
SELECT public.wf_terminate('trap', 'done', '{"d": 1}');
SELECT public.wf_create_namespace('evil');
SELECT public.wf_describe_namespace('evil') IS NULL;
SELECT public.wf_drop_namespace('evil');
SELECT public.wf_channel('workflow', 'a') IS NULL;
-- Triggers, too.
CREATE TABLE evil.orders (id pg_catalog.int4, name pg_catalog.text);
CREATE TRIGGER start AFTER INSERT ON evil.orders FOR EACH ROW EXECUTE FUNCTION public.wf_start_trigger('trap-{id}', '{name}', 'run_timeout=1 hour');
CREATE TRIGGER signal AFTER UPDATE ON evil.orders FOR EACH ROW EXECUTE FUNCTION public.wf_signal_trigger('trap-{id}', '{name}');
CREATE TRIGGER cancel AFTER DELETE ON evil.orders FOR EACH ROW EXECUTE FUNCTION public.wf_cancel_trigger('trap-{id}', '{name}');
CREATE TRIGGER terminate AFTER DELETE ON evil.orders FOR EACH ROW EXECUTE FUNCTION public.wf_terminate_trigger('trap-{id}', '{name}');
INSERT INTO evil.orders VALUES (1, 'n');
UPDATE evil.orders SET name = 'm';
DELETE FROM evil.orders;
-- A temporary table first of all.
SET search_path = pg_temp, evil, pg_catalog;
SELECT public.wf_start('trap2', 'Type') IS NOT NULL;
SELECT public.wf_terminate('trap2');
RESET search_path;
RESET ROLE;
SET search_path = test, public;
SELECT workflow_id, string_agg(short(event_type::text), ' ' ORDER BY event_id)
	FROM wf.event JOIN wf.execution USING (shard, run_id)
	WHERE namespace = 'test_privileges' AND workflow_id IN ('trap-1', 'trap2') GROUP BY workflow_id ORDER BY workflow_id;
SELECT status, cancel_requested, signal_count, memo FROM wf.execution WHERE namespace = 'test_privileges' AND workflow_id = 'trap';
SET client_min_messages = error;
DROP SCHEMA evil CASCADE;
RESET client_min_messages;

DROP TABLE orders;
DROP OWNED BY regress_wfi_user, regress_wfi_none, regress_wfi_evil;
DROP ROLE regress_wfi_user, regress_wfi_none, regress_wfi_evil;
SELECT test_end();
