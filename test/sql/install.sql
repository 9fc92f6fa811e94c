-- What CREATE EXTENSION leaves behind.  Each query lists what breaks a rule,
-- so most of them print nothing.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;

CREATE VIEW member AS
	SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS description
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'workflow_interrupt' AND d.deptype = 'e';

-- Functions go to the schema chosen, here public; everything else is in wf.
SELECT extrelocatable, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
	WHERE extname = 'workflow_interrupt';
SELECT description FROM member m LEFT JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
	WHERE CASE m.classid
		WHEN 'pg_proc'::regclass THEN NOT (p.pronamespace = 'public'::regnamespace AND p.proname ~ '^wf_'
			OR p.pronamespace = 'wf'::regnamespace AND p.proname !~ '^wf_')
		WHEN 'pg_class'::regclass THEN (SELECT relnamespace FROM pg_class WHERE oid = m.objid) <> 'wf'::regnamespace
		WHEN 'pg_type'::regclass THEN (SELECT typnamespace FROM pg_type WHERE oid = m.objid) <> 'wf'::regnamespace
		WHEN 'pg_namespace'::regclass THEN m.objid <> 'wf'::regnamespace
		ELSE true END;
-- Nothing in schema wf that is not a member (types of tables apart).
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'wf'::regnamespace AND relkind NOT IN ('i', 'I')
	AND NOT EXISTS (SELECT FROM member WHERE classid = 'pg_class'::regclass AND objid = c.oid);
CREATE SCHEMA elsewhere;
ALTER EXTENSION workflow_interrupt SET SCHEMA elsewhere;

-- Functions: volatility, strictness, parallel safety, set or not, as declared.
CREATE TEMP TABLE expected (name text, volatile "char", strict boolean, parallel "char", retset boolean, result text);
INSERT INTO expected VALUES
	('wf._created', 'v', false, 'u', false, 'void'),
	('wf.shard_of', 'i', true, 's', false, 'integer'),
	('wf_activity', 'v', false, 'u', false, 'jsonb'),
	('wf_activity_cancel', 'v', false, 'u', false, 'boolean'),
	('wf_activity_heartbeat', 'v', false, 'u', false, 'boolean'),
	('wf_activity_heartbeat_details', 'v', false, 'u', false, 'jsonb'),
	('wf_activity_info', 'v', false, 'u', false, 'jsonb'),
	('wf_activity_start', 'v', false, 'u', false, 'bigint'),
	('wf_await', 'v', false, 'u', false, 'jsonb'),
	('wf_await_any', 'v', false, 'u', false, 'bigint'),
	('wf_cancel_requested', 'v', false, 'u', false, 'boolean'),
	('wf_cancellation_reason', 'v', false, 'u', false, 'text'),
	('wf_local_activity', 'v', false, 'u', false, 'jsonb'),
	('wf_now', 'v', false, 'u', false, 'timestamp with time zone'),
	('wf_random', 'v', false, 'u', false, 'double precision'),
	('wf_register_activity', 'v', false, 'u', false, 'void'),
	('wf_register_workflow', 'v', false, 'u', false, 'void'),
	('wf_signal_receive', 'v', false, 'u', false, 'jsonb'),
	('wf_sleep', 'v', false, 'u', false, 'void'),
	('wf_timer_cancel', 'v', false, 'u', false, 'boolean'),
	('wf_timer_start', 'v', false, 'u', false, 'bigint'),
	('wf_unregister_activity', 'v', false, 'u', false, 'boolean'),
	('wf_unregister_workflow', 'v', false, 'u', false, 'boolean'),
	('wf_uuid', 'v', false, 'u', false, 'uuid'),
	('wf_work', 'v', false, 'u', false, 'integer'),
	('wf_cancel', 'v', false, 'u', false, 'boolean'),
	('wf_cancel_trigger', 'v', false, 'u', false, 'trigger'),
	('wf_channel', 'i', true, 's', false, 'text'),
	('wf_check', 's', false, 'u', true, 'record'),
	('wf_create_namespace', 'v', false, 'u', false, 'void'),
	('wf_describe', 's', false, 'u', false, 'jsonb'),
	('wf_describe_namespace', 's', false, 'u', false, 'jsonb'),
	('wf_drop_namespace', 'v', false, 'u', false, 'boolean'),
	('wf_history', 's', false, 'u', true, 'record'),
	('wf_pause', 'v', false, 'u', false, 'boolean'),
	('wf_heartbeat', 'v', false, 'u', false, 'record'),
	('wf_heartbeat_by_id', 'v', false, 'u', false, 'record'),
	('wf_reset', 'v', false, 'u', true, 'record'),
	('wf_reset_plan', 's', false, 'u', true, 'record'),
	('wf_reset_point', 's', false, 'u', false, 'bigint'),
	('wf_reset_points', 's', false, 'u', true, 'record'),
	('wf_pause_activity', 'v', false, 'u', false, 'boolean'),
	('wf_poll_activity_task', 'v', false, 'u', true, 'record'),
	('wf_reset_activity', 'v', false, 'u', false, 'boolean'),
	('wf_respond_activity_task_canceled', 'v', false, 'u', false, 'void'),
	('wf_respond_activity_task_canceled_by_id', 'v', false, 'u', false, 'void'),
	('wf_respond_activity_task_completed', 'v', false, 'u', false, 'void'),
	('wf_respond_activity_task_completed_by_id', 'v', false, 'u', false, 'void'),
	('wf_respond_activity_task_failed', 'v', false, 'u', false, 'void'),
	('wf_respond_activity_task_failed_by_id', 'v', false, 'u', false, 'void'),
	('wf_unpause_activity', 'v', false, 'u', false, 'boolean'),
	('wf_update_activity_options', 'v', false, 'u', false, 'boolean'),
	('wf_poll_workflow_task', 'v', false, 'u', true, 'record'),
	('wf_respond_workflow_task_completed', 'v', false, 'u', false, 'record'),
	('wf_respond_workflow_task_failed', 'v', false, 'u', false, 'void'),
	('wf_result', 's', false, 'u', false, 'jsonb'),
	('wf_signal', 'v', false, 'u', false, 'boolean'),
	('wf_signal_trigger', 'v', false, 'u', false, 'trigger'),
	('wf_signal_with_start', 'v', false, 'u', false, 'uuid'),
	('wf_start', 'v', false, 'u', false, 'uuid'),
	('wf_start_trigger', 'v', false, 'u', false, 'trigger'),
	('wf_terminate', 'v', false, 'u', false, 'boolean'),
	('wf_terminate_trigger', 'v', false, 'u', false, 'trigger'),
	('wf_tick', 'v', false, 'u', false, 'integer'),
	('wf_unpause', 'v', false, 'u', false, 'boolean');
CREATE TEMP VIEW actual AS
	SELECT p.oid::regproc::text AS name, provolatile AS volatile, proisstrict AS strict,
		proparallel AS parallel, proretset AS retset, prorettype::regtype::text AS result
	FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
SELECT '+', * FROM (TABLE actual EXCEPT TABLE expected) x ORDER BY name COLLATE "C";
SELECT '-', * FROM (TABLE expected EXCEPT TABLE actual) x ORDER BY name COLLATE "C";
-- No overloads; all in C from our library, with no security definer.
SELECT proname, count(*) FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	GROUP BY proname HAVING count(*) > 1;
SELECT p.oid::regproc, lanname, probin, prosecdef FROM pg_proc p JOIN pg_language l ON l.oid = prolang
	JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	WHERE lanname <> 'c' OR probin <> '$libdir/workflow_interrupt' OR prosecdef OR proleakproof
	OR prosrc !~ ('^wfi_(code_)?' || regexp_replace(proname, '^wf_|^_', '') || '$');
-- Arguments as documented.
SELECT p.oid::regproc || '(' || pg_get_function_arguments(p.oid) || ')'
	FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	WHERE prorettype <> 'trigger'::regtype ORDER BY proname COLLATE "C";

-- Everything has a comment (but the types that come with tables and types).
SELECT description FROM member m
	WHERE coalesce(obj_description(objid, classid::regclass::name), '') = ''
	AND NOT EXISTS (SELECT FROM pg_type t WHERE m.classid = 'pg_type'::regclass AND t.oid = m.objid
		AND (typelem <> 0 OR typrelid IN (SELECT oid FROM pg_class WHERE relkind <> 'c')));
SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
	WHERE relnamespace = 'wf'::regnamespace AND relkind IN ('r', 'p', 'v', 'c') AND attnum > 0 AND NOT attisdropped
	AND coalesce(col_description(attrelid, attnum), '') = '';

-- Nothing for PUBLIC, nor for anyone else but the owner.
SELECT description FROM member m WHERE classid = 'pg_proc'::regclass AND has_function_privilege('public', objid, 'EXECUTE');
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'wf'::regnamespace AND relkind IN ('r', 'p', 'v')
	AND has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'wf'::regnamespace AND relkind = 'S'
	AND CASE WHEN relkind = 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE') END;
SELECT has_schema_privilege('public', 'wf', 'USAGE'), has_schema_privilege('public', 'wf', 'CREATE');
SELECT p.oid::regproc, a.grantee FROM pg_proc p JOIN member m ON m.objid = p.oid, aclexplode(proacl) a
	WHERE a.grantee <> p.proowner;

-- Tables: a primary key; shard in every key of what belongs to a workflow.
SELECT relname FROM pg_class c WHERE relnamespace = 'wf'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C";
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'wf'::regnamespace AND relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary);
SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
	WHERE relnamespace = 'wf'::regnamespace AND relkind = 'r' AND relname <> 'namespace' AND indisunique
	AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'shard'
		AND a.atttypid = 'int4'::regtype AND a.attnotnull AND a.attnum = ANY (i.indkey));
-- No trigger, rule, foreign key, inheritance, row security; no column of a
-- type that pg_upgrade refuses; keys compared bytewise.
SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'wf'::regnamespace;
SELECT rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class WHERE relnamespace = 'wf'::regnamespace AND relkind = 'r';
SELECT conname FROM pg_constraint WHERE connamespace = 'wf'::regnamespace AND contype = 'f';
SELECT relname FROM pg_class WHERE relnamespace = 'wf'::regnamespace AND (relrowsecurity OR relhassubclass OR relispartition);
SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
	WHERE relnamespace = 'wf'::regnamespace AND atttypid::regtype::text ~ '^reg(?!class|type|role)';
SELECT a.attrelid::regclass, a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid
	JOIN pg_class c ON c.oid = i.indrelid
	WHERE relnamespace = 'wf'::regnamespace AND atttypid = 'text'::regtype AND attcollation <> '"C"'::regcollation;
-- No column that changes with transitions is indexed in the row that they update.
SELECT string_agg(DISTINCT attname, ' ' ORDER BY attname) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid
	WHERE indrelid = 'wf.execution'::regclass;

-- Documented columns.
SELECT t || '.' || c FROM (VALUES
	('namespace', '{name,retention,description}'::text[]),
	('execution', '{namespace,workflow_id,run_id,workflow_type,task_queue,status,is_current,first_execution_run_id,
		original_execution_run_id,start_time,execution_time,close_time,next_event_id,cancel_requested,reset_run_id,
		base_run_id,parent_workflow_id,parent_run_id,memo,search_attributes}'),
	('event', '{run_id,event_id,event_type,event_time,attributes,batch_id}'),
	('timer', '{run_id,timer_id,fire_time}')) x (t, columns), unnest(columns) c
	WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = ('wf.' || t)::regclass AND attname = c);
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'wf.event'::regclass AND attnum > 0 ORDER BY attname COLLATE "C";
SELECT enum_range(NULL::wf.status);
SELECT unnest(enum_range(NULL::wf.event_type));
-- One namespace exists from the beginning.
SELECT name, retention FROM wf.namespace WHERE name NOT LIKE 'test%' AND name NOT IN ('shop', 'bank');

-- pg_dump carries every table and sequence; of the namespaces only those
-- that the script does not create.
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'wf'::regnamespace AND relkind IN ('r', 'p', 'S')
	AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'workflow_interrupt' AND c.oid = ANY (extconfig));
SELECT u.t::regclass, u.c FROM pg_extension, unnest(extconfig, extcondition) u (t, c)
	WHERE extname = 'workflow_interrupt' AND u.c <> '' ORDER BY u.t::regclass::text COLLATE "C";

-- The shard of a workflow: 64-bit FNV-1a over namespace, 0xFF and workflow
-- id, the upper half XORed into the lower, modulo 1024.  It never changes.
CREATE FUNCTION fnv_shard(namespace bytea, workflow_id bytea) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	h numeric := 14695981039346656037;
	bytes bytea := namespace || '\xff'::bytea || workflow_id;
	low int;
BEGIN
	FOR i IN 0 .. length(bytes) - 1 LOOP
		low := h % 256;
		h := (h - low + (low # get_byte(bytes, i))) * 1099511628211 % 18446744073709551616;
	END LOOP;
	RETURN (div(h, 4294967296)::bigint # (h % 4294967296)::bigint) % 1024;
END $$;
SELECT namespace, left(workflow_id, 10), wf.shard_of(namespace, workflow_id),
	fnv_shard(convert_to(namespace, getdatabaseencoding()), convert_to(workflow_id, getdatabaseencoding())) AS by_hand
	FROM (VALUES ('default', 'order-1'), ('default', 'order-2'), ('default', ''), ('', ''), ('a', 'b'),
		('ab', ''), ('', 'ab'), ('default', repeat('a', 1000))) v (namespace, workflow_id);
-- Any bytes, and a spread over all shards.
SELECT count(*) FILTER (WHERE wf.shard_of(n, w) <> fnv_shard(convert_to(n, getdatabaseencoding()), convert_to(w, getdatabaseencoding()))) FROM
	(SELECT 'n' || i % 7, 'workflow ' || repeat(chr(33 + i % 90), i % 13) || i FROM generate_series(1, 300) i) v (n, w);
SELECT wf.shard_of(chr(233), 'caf' || chr(233))
	= fnv_shard(convert_to(chr(233), getdatabaseencoding()), convert_to('caf' || chr(233), getdatabaseencoding()));
SELECT min(s), max(s), count(DISTINCT s), count(*) FILTER (WHERE s NOT BETWEEN 0 AND 1023)
	FROM (SELECT wf.shard_of('default', 'w' || i) FROM generate_series(1, 20000) i) v (s);
SELECT wf.shard_of(NULL, 'a') IS NULL, wf.shard_of('a', NULL) IS NULL;

-- A schema of the same name is not adopted, whoever made it.
DROP EXTENSION workflow_interrupt;
SELECT count(*) FROM pg_namespace WHERE nspname = 'wf';
CREATE SCHEMA wf;
\set SHOW_CONTEXT never
CREATE EXTENSION workflow_interrupt;
\set SHOW_CONTEXT errors
DROP SCHEMA wf;
-- Functions go where they are wanted, tables stay in wf.
CREATE EXTENSION workflow_interrupt SCHEMA elsewhere;
SELECT DISTINCT n.nspname FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
	JOIN pg_namespace n ON n.oid = p.pronamespace ORDER BY 1;
SELECT elsewhere.wf_start('a', 'Type') IS NOT NULL, count(*) FROM wf.execution;
SELECT count(*) FROM wf.event;
DROP SCHEMA elsewhere;
DROP EXTENSION workflow_interrupt;
DROP SCHEMA elsewhere;
-- Back, in the same session, and working.
CREATE EXTENSION workflow_interrupt SCHEMA public;
SELECT wf_start('a', 'Type') IS NOT NULL;
SELECT wf_terminate('a');
-- Not by everyone.
CREATE ROLE regress_wfi_nobody;
DROP EXTENSION workflow_interrupt;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_wfi_nobody;
SET ROLE regress_wfi_nobody;
CREATE EXTENSION workflow_interrupt;
RESET ROLE;
REVOKE CREATE ON DATABASE :"DBNAME" FROM regress_wfi_nobody;
DROP ROLE regress_wfi_nobody;
CREATE EXTENSION workflow_interrupt SCHEMA public;
DROP VIEW member CASCADE;
DROP FUNCTION fnv_shard;
