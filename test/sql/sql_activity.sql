-- Activities that are SQL functions, run by wf_work()
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_sql_activity');
CREATE TABLE effect (what text PRIMARY KEY);

-- Make an activity type of that body, in PL/pgSQL.
CREATE FUNCTION make(type text, body text) RETURNS text LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	EXECUTE format('CREATE FUNCTION test.%I(input jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = public, test AS %L', 'sql_' || type, body);
	RETURN type;
END $$;
-- Have a workflow schedule one.
CREATE FUNCTION schedule(type text, input jsonb DEFAULT NULL, options jsonb DEFAULT '{}') RETURNS text LANGUAGE sql SET search_path = public, test AS $$
	SELECT new_act(type, jsonb_build_object('activity_type', type, 'task_queue', 'default', 'retry_policy', '{"initial_interval": "0.001s"}'::jsonb)
		|| CASE WHEN input IS NULL THEN '{}' ELSE jsonb_build_object('input', input) END || options)
$$;
-- Let wf_work() run it until it is over; nobody else sees the registration.
CREATE PROCEDURE do_it(type text) LANGUAGE plpgsql AS $$
DECLARE
	waits boolean := true;
BEGIN
	WHILE waits LOOP
		PERFORM public.wf_register_activity(type, pg_catalog.format('test.%I(jsonb)', 'sql_' || type));
		PERFORM public.wf_work();
		PERFORM public.wf_unregister_activity(type), public.wf_tick();
		SELECT a.state = 'Scheduled' INTO waits FROM wf.activity a WHERE a.run_id = test.run_id_of(type);
		COMMIT;
	END LOOP;
END $$;

-- Input and result; what it does and that it is done.
SELECT make('plain', $$ BEGIN INSERT INTO effect VALUES ('plain'); RETURN input || '{"seen": true}'; END $$);
SELECT schedule('plain', '{"n": 1}');
CALL do_it('plain');
SELECT h('plain');
SELECT ev('plain', 6, 7);
SELECT * FROM effect WHERE what = 'plain';
SELECT make('nothing', $$ BEGIN RETURN NULL; END $$), make('input', $$ BEGIN RETURN to_jsonb(input IS NULL); END $$), make('json_null', $$ BEGIN RETURN coalesce(input, '"none"'); END $$);
CREATE FUNCTION sql_void(jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO test.effect VALUES ('void') $$;
CREATE FUNCTION sql_strict(jsonb) RETURNS jsonb LANGUAGE sql STRICT AS $$ INSERT INTO test.effect VALUES ('strict') RETURNING to_jsonb(what) $$;
SELECT schedule('nothing'), schedule('input'), schedule('json_null', 'null'), schedule('void'), schedule('strict');
CALL do_it('nothing');
CALL do_it('input');
CALL do_it('json_null');
CALL do_it('void');
CALL do_it('strict');
SELECT workflow_id, event_type, attributes -> 'result' FROM wf.event JOIN wf.execution USING (shard, run_id)
	WHERE workflow_id IN ('nothing', 'input', 'json_null', 'void', 'strict') AND namespace = 'test_sql_activity' AND event_type = 'ActivityTaskCompleted'
	ORDER BY workflow_id;
SELECT * FROM effect ORDER BY what;

-- One that ends its own workflow commits with that; nobody waits for its result.
SELECT make('judge', $$ BEGIN INSERT INTO effect VALUES ('judge'); PERFORM wf_terminate('judge', 'fraud', namespace => 'test_sql_activity'); RETURN '1'; END $$);
SELECT schedule('judge');
CALL do_it('judge');
SELECT h('judge');
SELECT * FROM effect WHERE what = 'judge';

-- An error: its effects are gone, all that it said is kept, and it is tried again.
SELECT make('failing', $$
	BEGIN
		INSERT INTO effect VALUES ('failing ' || (wf_activity_info() ->> 'attempt'));
		IF (wf_activity_info() ->> 'attempt')::int < 3 THEN
			RAISE EXCEPTION 'no % yet', 'luck' USING ERRCODE = 'SHOP1', DETAIL = 'the detail', HINT = 'the hint', TABLE = 'effect', CONSTRAINT = 'c';
		END IF;
		RETURN wf_activity_info() -> 'last_failure';
	END $$);
SELECT schedule('failing');
CALL do_it('failing');
SELECT h('failing');
SELECT ev('failing', 6, 7);
SELECT * FROM effect WHERE what ~ 'failing';
-- The server's own errors, and when it is not to be tried again.
SELECT make('broken', $$ BEGIN INSERT INTO effect VALUES ('plain'); END $$);
SELECT schedule('broken', options => '{"retry_policy": {"non_retryable_error_types": ["23505"]}}');
CALL do_it('broken');
SELECT ev('broken', 7, 7);
-- A subtransaction of its own is nothing special; nor is an error at the end.
SELECT make('handles', $$
	BEGIN
		BEGIN INSERT INTO effect VALUES ('handles'), ('plain'); EXCEPTION WHEN unique_violation THEN INSERT INTO effect VALUES ('handled'); END;
		RETURN to_jsonb(SQLSTATE);
	EXCEPTION WHEN OTHERS THEN RETURN to_jsonb('not here'::text); END $$);
SELECT make('returns_nothing', $$ BEGIN INSERT INTO effect VALUES ('returns_nothing'); END $$);
SELECT schedule('handles'), schedule('returns_nothing', options => '{"retry_policy": {"maximum_attempts": 1}}');
CALL do_it('handles');
CALL do_it('returns_nothing');
SELECT outcome('returns_nothing'), h('handles'), string_agg(what, ' ' ORDER BY what) FROM effect WHERE what ~ '^(handle|returns)';
-- WF001 of nobody's asking is a failure like others.
SELECT make('quits', $$ BEGIN RAISE EXCEPTION 'enough' USING ERRCODE = 'WF001'; END $$);
SELECT schedule('quits', options => '{"retry_policy": {"maximum_attempts": 1}}');
CALL do_it('quits');
SELECT ev('quits', 7, 7);
-- What is too large fails, so what was done is undone.
SET workflow_interrupt.payload_size_limit = 500;
SELECT make('large', $$ BEGIN INSERT INTO effect VALUES ('large'); RETURN to_jsonb(repeat('x', 600)); END $$), make('large_beat', $$ BEGIN PERFORM wf_activity_heartbeat(to_jsonb(repeat('x', 600))); RETURN '1'; END $$);
SELECT schedule('large', options => '{"retry_policy": {"maximum_attempts": 1}}'), schedule('large_beat', options => '{"retry_policy": {"maximum_attempts": 1}}');
CALL do_it('large');
CALL do_it('large_beat');
RESET workflow_interrupt.payload_size_limit;
SELECT outcome('large'), outcome('large_beat');
SELECT count(*) FROM effect WHERE what = 'large';

-- Heartbeat details pass from attempt to attempt, though the attempt's effects do not.
SELECT make('resumes', $$
	DECLARE
		done int := coalesce(wf_activity_heartbeat_details() ->> 'done', '0')::int;
	BEGIN
		FOR i IN done + 1 .. 5 LOOP
			IF wf_activity_heartbeat(jsonb_build_object('done', i)) THEN RAISE 'to cancel?'; END IF;
			IF wf_activity_heartbeat_details() <> jsonb_build_object('done', i) THEN RAISE 'not there?'; END IF;
			IF i % 2 = 0 THEN RAISE 'stop at %', i; END IF;
		END LOOP;
		RETURN jsonb_build_object('attempt', wf_activity_info() -> 'attempt', 'began after', done);
	END $$);
SELECT schedule('resumes', options => '{"heartbeat_timeout": "10s"}');
CALL do_it('resumes');
SELECT ev('resumes', 6, 7);
SELECT make('forgets', $$ BEGIN
	IF (wf_activity_info() ->> 'attempt')::int = 1 THEN PERFORM wf_activity_heartbeat('1'), wf_activity_heartbeat(); RAISE 'once'; END IF;
	RETURN to_jsonb(wf_activity_heartbeat_details() IS NULL); END $$);
SELECT schedule('forgets');
CALL do_it('forgets');
SELECT ev('forgets', 7, 7);

-- All that is known about it.
SELECT make('info', $$ BEGIN RETURN wf_activity_info(); END $$);
SELECT schedule('info', options => '{"heartbeat_timeout": "7s", "schedule_to_close_timeout": "9s", "start_to_close_timeout": "8s"}');
CALL do_it('info');
SELECT ev('info', 7, 7);
-- But not outside.
SELECT wf_activity_info();
SELECT wf_activity_heartbeat();
SELECT wf_activity_heartbeat_details();
DO $$ BEGIN PERFORM wf_activity_heartbeat(); EXCEPTION WHEN object_not_in_prerequisite_state THEN RAISE NOTICE 'caught'; END $$;

-- One that has others run: each is where it belongs.
SELECT make('inner', $$ BEGIN RETURN wf_activity_info() -> 'workflow_id'; END $$);
SELECT make('outer', $$ BEGIN
	PERFORM wf_register_activity('inner', 'test.sql_inner(jsonb)');
	RETURN jsonb_build_array(wf_activity_info() -> 'workflow_id', wf_work(), wf_activity_info() -> 'workflow_id', wf_unregister_activity('inner')); END $$);
SELECT schedule('outer'), schedule('inner');
CALL do_it('outer');
SELECT ev('inner', 7, 7), ev('outer', 7, 7);

-- All of wf_work() is one transaction.
SELECT make('undone', $$ BEGIN INSERT INTO effect VALUES ('undone'); RETURN '1'; END $$);
SELECT schedule('undone');
BEGIN;
SELECT wf_register_activity('undone', 'test.sql_undone(jsonb)'), wf_work(max_tasks => 1), count(*) FROM effect WHERE what = 'undone';
SELECT h('undone');
ROLLBACK;
SELECT h('undone'), acts('undone'), count(*) FROM effect WHERE what = 'undone';
-- No more than is wanted.
SELECT make('counted', $$ BEGIN RETURN '1'; END $$);
SELECT new_act('counted', '{"activity_type": "counted", "task_queue": "default"}', 3);
BEGIN;
SELECT wf_register_activity('counted', 'test.sql_counted(jsonb)');
SELECT wf_work(max_tasks => 2), wf_work(max_tasks => 2), wf_work(max_tasks => 2), wf_unregister_activity('counted');
COMMIT;

-- The next task sees what one did, but is not touched by what it set.
CREATE ROLE regress_wfi_other;
SELECT make('sets', $$
BEGIN
	INSERT INTO effect VALUES ('sets');
	PERFORM set_config('work_mem', '77kB', false), set_config('role', 'regress_wfi_other', false);
	RETURN to_jsonb(current_user);
END $$);
CREATE FUNCTION sql_looks(jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_array(current_user = session_user, current_setting('work_mem') = '77kB', (SELECT count(*) FROM test.effect WHERE what = 'sets'))
$$;
SELECT schedule('sets'), schedule('looks');
BEGIN;
SELECT wf_register_activity('sets', 'test.sql_sets(jsonb)'), wf_register_activity('looks', 'test.sql_looks(jsonb)');
SELECT wf_work();
SELECT wf_unregister_activity('sets'), wf_unregister_activity('looks');
COMMIT;
SELECT workflow_id, attributes -> 'result' FROM wf.event JOIN wf.execution USING (shard, run_id)
	WHERE workflow_id IN ('sets', 'looks') AND namespace = 'test_sql_activity' AND event_type = 'ActivityTaskCompleted' ORDER BY workflow_id;
DROP ROLE regress_wfi_other;

-- Whoever interrupts wf_work() means it, and not the activity.
SELECT make('slow', $$ BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN OTHERS THEN RETURN '1'; END $$);
SELECT schedule('slow');
BEGIN;
SELECT wf_register_activity('slow', 'test.sql_slow(jsonb)');
SET LOCAL statement_timeout = '100ms';
SELECT wf_work();
ROLLBACK;
SELECT h('slow'), acts('slow');
SELECT wf_terminate('slow'), wf_terminate('undone');
-- Where nothing may be written, nothing is run.
BEGIN READ ONLY;
SELECT wf_work();
ROLLBACK;
SELECT activity_end();
