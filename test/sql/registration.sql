-- Which SQL function is run for which type, and who says so.
--
-- Nothing is run for what is registered here but by wf_work(), in the
-- transaction that registers it: background workers may be there.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_registration');
CREATE ROLE regress_wfi_ann LOGIN;
CREATE ROLE regress_wfi_bob LOGIN;
GRANT USAGE ON SCHEMA test TO regress_wfi_ann, regress_wfi_bob;
CREATE SCHEMA regress_wfi_ann AUTHORIZATION regress_wfi_ann;
CREATE SCHEMA regress_wfi_bob AUTHORIZATION regress_wfi_bob;
GRANT EXECUTE ON FUNCTION wf_register_workflow, wf_register_activity, wf_unregister_workflow, wf_unregister_activity, wf_work
	TO regress_wfi_ann, regress_wfi_bob;
CREATE VIEW mine AS SELECT * FROM wf.registration WHERE namespace = 'test_registration' ORDER BY kind, name, task_queue;

-- What can be registered.
CREATE FUNCTION good(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION silent(input jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION "Q!"(jsonb DEFAULT '1') RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION wrong_argument(text) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION wrong_number(jsonb, jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION wrong_result(jsonb) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
CREATE FUNCTION wrong_set(jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE wrong_procedure(jsonb) LANGUAGE sql AS '';
SELECT wf_register_workflow('flow', 'test.good(jsonb)');
SELECT wf_register_workflow('flow', 'silent(jsonb)', task_queue => 'q');
SELECT wf_register_activity('flow', '"Q!"(jsonb)');
SELECT wf_register_activity('calm', 'good(jsonb)', options => '{"interruptible": false}');
SELECT kind, name, task_queue, function, role = current_user::regrole, options FROM mine;
SELECT wf_register_activity('x', 'test.wrong_argument(text)');
SELECT wf_register_activity('x', 'test.wrong_number(jsonb, jsonb)');
SELECT wf_register_activity('x', 'test.wrong_result(jsonb)');
SELECT wf_register_activity('x', 'test.wrong_set(jsonb)');
SELECT wf_register_activity('x', 'test.wrong_procedure(jsonb)');
SELECT wf_register_activity('x', 'test.nothing(jsonb)');
SELECT wf_register_activity('x', 'test.good');
SELECT wf_register_activity('x', '0');
SELECT wf_register_activity('x', '');
SELECT wf_register_activity('x', NULL);
SELECT wf_register_activity('', 'test.good(jsonb)');
SELECT wf_register_activity(NULL, 'test.good(jsonb)');
SELECT wf_register_activity('x', 'test.good(jsonb)', task_queue => '');
SELECT wf_register_activity('x', 'test.good(jsonb)', namespace => 'no such namespace');
SELECT wf_register_activity('x', 'test.good(jsonb)', options => '[]');
SELECT wf_register_activity('x', 'test.good(jsonb)', options => '{"interruptible": 1}');
SELECT wf_register_activity('x', 'test.good(jsonb)', options => '{"retries": 1}');
SELECT wf_register_workflow('x', 'test.good(jsonb)', options => '{"interruptible": true}');
SELECT count(*) FROM mine;

-- Again: the new one counts.  And no more.
SELECT wf_register_workflow('flow', 'test."Q!"(jsonb)', options => '{}');
SELECT kind, name, task_queue, function FROM mine WHERE kind = 'workflow';
SELECT wf_unregister_workflow('flow'), wf_unregister_workflow('flow'), wf_unregister_workflow('flow', 'q'), wf_unregister_activity('flow', 'q');
SELECT wf_unregister_workflow('flow', namespace => 'no such namespace');
SELECT wf_unregister_workflow(NULL);
SELECT wf_unregister_activity('flow'), wf_unregister_activity('calm'), count(*) FROM mine;
BEGIN;
SELECT wf_register_workflow('flow', 'test.good(jsonb)');
ROLLBACK;
SELECT count(*) FROM mine;
-- A namespace takes them along.
SELECT wf_create_namespace('test_registration_2');
SELECT wf_register_workflow('flow', 'test.good(jsonb)', namespace => 'test_registration_2');
SELECT wf_drop_namespace('test_registration_2');
SELECT count(*) FROM wf.registration WHERE namespace = 'test_registration_2';

-- Who has registered it, and nobody else but a superuser, can change it.
SET ROLE regress_wfi_ann;
CREATE FUNCTION regress_wfi_ann.act(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(current_user)';
REVOKE EXECUTE ON FUNCTION regress_wfi_ann.act FROM PUBLIC;
SELECT public.wf_register_activity('act', 'regress_wfi_ann.act(jsonb)');
RESET ROLE;
SET ROLE regress_wfi_bob;
CREATE FUNCTION regress_wfi_bob.act(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(current_user)';
SELECT public.wf_register_activity('act', 'regress_wfi_bob.act(jsonb)');
SELECT public.wf_unregister_activity('act');
SELECT public.wf_register_activity('act_2', 'regress_wfi_ann.act(jsonb)');
RESET ROLE;
GRANT USAGE ON SCHEMA regress_wfi_ann TO regress_wfi_bob;
SET ROLE regress_wfi_bob;
SELECT public.wf_register_activity('act_2', 'regress_wfi_ann.act(jsonb)');
RESET ROLE;
SELECT name, role FROM mine;
SELECT wf_unregister_activity('act');

-- wf_work() runs the caller's functions and nobody else's, and leaves the
-- tasks of types that are not registered alone.
CREATE FUNCTION results(workflow_id text) RETURNS text LANGUAGE sql SET search_path = public, test AS $$
	SELECT string_agg(short(event_type::text) || coalesce(' ' || (attributes ->> 'result'), ' ' || (attributes -> 'failure' ->> 'message'), ''), ', ' ORDER BY event_id)
	FROM wf_history(workflow_id) WHERE event_type::text ~ '^ActivityTask(Compl|Fail|Canc|Timed)'
$$;
SELECT new_polled('a');
SELECT reply('a', commands(c_act('1', '{"task_queue": "default", "activity_type": "of ann"}'), c_act('2', '{"task_queue": "default", "activity_type": "of bob"}'),
	c_act('3', '{"task_queue": "default", "activity_type": "of nobody"}')));
BEGIN;
SET ROLE regress_wfi_ann;
SELECT public.wf_register_activity('of ann', 'regress_wfi_ann.act(jsonb)');
SET ROLE regress_wfi_bob;
SELECT public.wf_register_activity('of bob', 'regress_wfi_bob.act(jsonb)');
SELECT public.wf_work(), public.wf_work();
RESET ROLE;
SELECT wf_work();
SELECT results('a'), acts('a');
SET ROLE regress_wfi_ann;
SELECT public.wf_work('another queue'), public.wf_work(), public.wf_unregister_activity('of ann');
RESET ROLE;
SELECT wf_unregister_activity('of bob');
COMMIT;
SELECT results('a'), acts('a');
SELECT wf_work('');
SELECT wf_work(NULL);
SELECT wf_work(max_tasks => 0);
SELECT wf_work(namespace => 'no such namespace');

-- A function that is not there, or not the one that was registered, does not
-- run; the failure says so.  The type is the SQLSTATE.
CREATE FUNCTION after_change(what text, type text) RETURNS SETOF text LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	SET LOCAL ROLE regress_wfi_ann;
	PERFORM wf_register_activity(type, 'regress_wfi_ann.act(jsonb)');
	RESET ROLE;
	EXECUTE what;
	SET LOCAL ROLE regress_wfi_ann;
	PERFORM wf_work(), wf_unregister_activity(type);
	RESET ROLE;
	RETURN QUERY SELECT a.last_failure ->> 'type' || ' ' || (a.last_failure ->> 'message') FROM wf.activity a WHERE a.activity_type = type;
	RETURN QUERY SELECT results(e.workflow_id) FROM wf.execution e WHERE e.namespace = 'test_registration' AND e.workflow_id = type;
END $$;
SELECT new_act(t, format('{"task_queue": "default", "activity_type": "%s"}', t)::jsonb) FROM unnest(ARRAY['gone', 'remade', 'stolen', 'forbidden', 'hidden', 'moved', 'renamed',
	'number', 'set', 'procedure']) t;
BEGIN;
SELECT after_change('DROP FUNCTION regress_wfi_ann.act', 'gone');
ROLLBACK;
BEGIN;
SELECT after_change($$DROP FUNCTION regress_wfi_ann.act; SET LOCAL ROLE regress_wfi_ann;
	CREATE FUNCTION regress_wfi_ann.act(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(2)'; RESET ROLE$$, 'remade');
ROLLBACK;
BEGIN;
SELECT after_change($$ALTER FUNCTION regress_wfi_ann.act OWNER TO regress_wfi_bob; GRANT EXECUTE ON FUNCTION regress_wfi_ann.act TO PUBLIC$$, 'stolen');
ROLLBACK;
BEGIN;
SELECT after_change($$REVOKE EXECUTE ON FUNCTION regress_wfi_ann.act FROM regress_wfi_ann$$, 'forbidden');
ROLLBACK;
BEGIN;
SELECT after_change($$ALTER SCHEMA regress_wfi_ann OWNER TO CURRENT_USER$$, 'hidden');
ROLLBACK;
BEGIN;
SELECT after_change($$ALTER FUNCTION regress_wfi_ann.act SET SCHEMA test$$, 'moved');
ROLLBACK;
BEGIN;
SELECT after_change($$ALTER ROLE regress_wfi_ann RENAME TO regress_wfi_anna; ALTER ROLE regress_wfi_anna RENAME TO regress_wfi_ann$$, 'renamed');
ROLLBACK;

-- ... nor one that does not return what it did: its result is not jsonb.
BEGIN;
SELECT after_change($$DROP FUNCTION regress_wfi_ann.act; SET LOCAL ROLE regress_wfi_ann;
	CREATE FUNCTION regress_wfi_ann.act(jsonb) RETURNS int LANGUAGE sql AS 'SELECT 123456789'; RESET ROLE$$, 'number');
ROLLBACK;
BEGIN;
SELECT after_change($$DROP FUNCTION regress_wfi_ann.act; SET LOCAL ROLE regress_wfi_ann;
	CREATE FUNCTION regress_wfi_ann.act(jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT $1'; RESET ROLE$$, 'set');
ROLLBACK;
BEGIN;
SELECT after_change($$DROP FUNCTION regress_wfi_ann.act; SET LOCAL ROLE regress_wfi_ann;
	CREATE PROCEDURE regress_wfi_ann.act(jsonb) LANGUAGE sql AS ''; RESET ROLE$$, 'procedure');
ROLLBACK;

-- Which function it is was decided along the caller's search path, for good.
BEGIN;
SELECT new_act('path', '{"task_queue": "default", "activity_type": "path"}');
SELECT wf_register_activity('path', 'good(jsonb)');
CREATE SCHEMA trap;
CREATE FUNCTION trap.good(jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"trap"'::jsonb $$;
SET search_path = trap, test, public;
SELECT wf_work();
SET search_path = test, public;
SELECT results('path');
ROLLBACK;

DROP VIEW mine;
DROP SCHEMA regress_wfi_ann, regress_wfi_bob CASCADE;
DROP OWNED BY regress_wfi_ann, regress_wfi_bob;
DROP ROLE regress_wfi_ann, regress_wfi_bob;
SELECT activity_end();
