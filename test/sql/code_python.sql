-- Workflow code in a language that knows nothing of ours: PL/Python.
SET search_path = test, public;
\pset tuples_only on
\pset format unaligned
SELECT count(*) = 0 AS absent FROM pg_available_extensions WHERE name = 'plpython3u' \gset
\if :absent
\quit
\endif
SELECT test_begin('test_code_python');
SET client_min_messages = warning;
CREATE EXTENSION plpython3u;
RESET client_min_messages;

SELECT act('echo', $$ BEGIN RETURN input; END $$);
SELECT act('decline', $$ BEGIN RAISE EXCEPTION 'card declined' USING ERRCODE = 'CARD1'; END $$);
SELECT act('release', $$ BEGIN RETURN input; END $$);

-- Make and register a workflow type of that body, in PL/Python.
CREATE FUNCTION py_flow(type text, body text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION test.%I(input jsonb) RETURNS jsonb LANGUAGE plpython3u'
		' SET search_path = public, test AS %L', 'flow_' || type, E'import json\n'
		'def call(statement, *args):\n'
		'    plan = plpy.prepare(statement, ["text"] * len(args))\n'
		'    r = plpy.execute(plan, list(args))[0]\n'
		'    return list(r.values())[0]\n' || body);
	RETURN type('workflow', type, format('test.%I(jsonb)', 'flow_' || type));
END $$;

SELECT py_flow('steps', $$
total = 0
for i in range(3):
    total += int(call("SELECT wf_activity('echo', $1::jsonb)", str(i)))
handles = [call("SELECT wf_activity_start('echo', $1::jsonb)", str(i)) for i in range(2)]
first = call("SELECT wf_await_any($1::bigint[])", "{" + ",".join(map(str, handles)) + "}")
return json.dumps([total, first == handles[0], call("SELECT wf_signal_receive('s', '0') IS NULL")])
$$);
SELECT flow_run('steps');
SELECT wf_result('steps');

-- "except" catches the error that ends the code while it waits: the code
-- cannot go on, but its workflow task is none the worse
SELECT py_flow('stubborn', $$
seen = []
for i in range(3):
    try:
        seen.append(call("SELECT wf_activity('echo', $1::jsonb)", str(i)))
    except plpy.SPIError:
        pass
return json.dumps(seen)
$$);
SELECT flow_run('stubborn');
SELECT wf_result('stubborn');

-- cancel: cleanup in a handler; raised again, swallowed, not caught
SELECT py_flow('cancel', $$
try:
    call("SELECT wf_sleep('1 hour')")
except plpy.SPIError:
    if not call("SELECT wf_cancel_requested()") or input == '"uncaught"':
        raise
    call("SELECT wf_activity('release', $1::jsonb)", json.dumps(call("SELECT wf_cancellation_reason()")))
    if input == '"reraise"':
        raise
finally:
    call("SELECT wf_activity('echo', '\"finally\"')")
return '"swallowed"'
$$);
SELECT flow_run('cancel', '"reraise"', 'reraised') LIKE 'Running%', wf_cancel('reraised', 'why'), go('reraised');
SELECT ended('reraised');
SELECT flow_run('cancel', NULL, 'swallowed') LIKE 'Running%', wf_cancel('swallowed', 'why'), go('swallowed');
SELECT ended('swallowed');
SELECT flow_run('cancel', '"uncaught"', 'uncaught') LIKE 'Running%', wf_cancel('uncaught', 'why'), go('uncaught');
SELECT ended('uncaught');

-- wrapped into an error that has no SQLSTATE of its own
SELECT py_flow('wrapped', $$
try:
    call("SELECT wf_sleep('1 hour')")
except plpy.SPIError as e:
    raise Exception("it says: " + str(e))
$$);
SELECT flow_run('wrapped') LIKE 'Running%', wf_cancel('wrapped', 'why'), go('wrapped');

-- failures
SELECT py_flow('declined', $$
return call("""SELECT wf_activity('decline', retry_policy => '{"maximum_attempts": 1}')""")
$$);
SELECT flow_run('declined');
SELECT ended('declined') #>> '{failure,type}', ended('declined') #>> '{failure,cause,type}';
SELECT py_flow('own', $$
raise Exception("broken")
$$);
SELECT flow_run('own');
SELECT ended('own') #>> '{failure,type}', ended('own') #>> '{failure,message}';
SELECT py_flow('writes', $$
plpy.execute("CREATE TABLE test.nonsense ()")
$$);
SELECT flow_run('writes');
SELECT ended('writes') #>> '{failure,type}', ended('writes') #>> '{failure,message}', ended('writes') #>> '{failure,details,hint}';

SELECT code_end();
SET client_min_messages = warning;
DROP EXTENSION plpython3u CASCADE;
