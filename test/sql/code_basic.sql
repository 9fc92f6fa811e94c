-- Workflows written in PL/pgSQL: activities, timers, signals, what is
-- deterministic, local activities.
SET search_path = test, public;
SET check_function_bodies = off;
\pset tuples_only on
\pset format unaligned
SELECT test_begin('test_code_basic');

SELECT act('double', $$ BEGIN RETURN to_jsonb(input::int * 2); END $$);
SELECT act('echo', $$ BEGIN RETURN input; END $$);
SELECT act('nothing', $$ BEGIN RETURN NULL; END $$);

-- a loop with a variable
SELECT flow('loop', $$
DECLARE
	total int := 0;
	r jsonb;
BEGIN
	FOR i IN 1..3 LOOP
		r := wf_activity('double', to_jsonb(i));
		total := total + r::int;
	END LOOP;
	RETURN to_jsonb(total);
END $$);
SELECT flow_run('loop');
SELECT wf_result('loop');

-- what the options become
SELECT flow('options', $$
BEGIN
	RETURN wf_activity('echo', '{"a": [1]}', activity_id => 'mine', task_queue => 'elsewhere',
		start_to_close_timeout => '5 s', schedule_to_close_timeout => '1 min', schedule_to_start_timeout => '2 s',
		heartbeat_timeout => '1.5 s', retry_policy => '{"maximum_attempts": 3}', interruptible => false);
END $$);
SELECT flow_run('options');
SELECT ev('options', 5, 5);
SELECT flow('defaults', $$ BEGIN RETURN wf_activity('echo'); END $$);
SELECT flow_run('defaults');
SELECT ev('defaults', 5, 5);
SELECT ended('defaults');

-- results: none, JSON null, void functions
SELECT flow('nulls', $$
BEGIN
	RETURN jsonb_build_array(wf_activity('nothing') IS NULL, wf_activity('echo', 'null') IS NULL,
		wf_activity('echo', NULL) IS NULL);
END $$);
SELECT flow_run('nulls');
SELECT wf_result('nulls');
CREATE FUNCTION flow_void(input jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
SELECT type('workflow', 'void', 'test.flow_void(jsonb)');
SELECT flow_run('void');
SELECT ended('void');
-- a function written in SQL
CREATE FUNCTION flow_sql(input jsonb) RETURNS jsonb LANGUAGE sql SET search_path = public AS $$
	SELECT wf_activity('double', wf_activity('double', input))
$$;
SELECT type('workflow', 'sql', 'test.flow_sql(jsonb)');
SELECT flow_run('sql', '5');
SELECT wf_result('sql');

-- several at once: all are scheduled before the first wait
SELECT flow('parallel', $$
DECLARE
	a bigint := wf_activity_start('double', '1');
	b bigint := wf_activity_start('double', '2');
	c bigint := wf_activity_start('double', '3');
BEGIN
	RETURN jsonb_build_array(a, b, c, wf_await(c), wf_await(a), wf_await(b), wf_await(a));
END $$);
SELECT flow_run('parallel');
SELECT wf_result('parallel');

-- the first of several, although others are done when it is looked at again
SELECT act('fail', $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'XY001'; END $$);
SELECT flow('any', $$
DECLARE
	handles bigint[];
	first bigint;
	seen bigint[] := '{}';
BEGIN
	FOR i IN 1..3 LOOP
		handles := handles || wf_activity_start('echo', to_jsonb(i), task_queue => 'q' || i);
	END LOOP;
	WHILE cardinality(handles) > 0 LOOP
		first := wf_await_any(handles);
		seen := seen || first;
		handles := array_remove(handles, first);
	END LOOP;
	RETURN to_jsonb(seen);
END $$);
SELECT type('activity', 'echo', 'test.act_echo(jsonb)', 'q' || i) FROM generate_series(1, 3) i;
SELECT flow_run('any');
SELECT do_work('q2'), go('any');
SELECT do_work('q3'), do_work('q1'), go('any');
SELECT wf_result('any');

-- a timer against an activity: the activity comes too late, and is cancelled
SELECT flow('deadline', $$
DECLARE
	a bigint := wf_activity_start('echo', '"in time"', task_queue => input ->> 'queue');
	t bigint := wf_timer_start((input ->> 'within')::interval);
BEGIN
	IF wf_await_any(ARRAY[a, t]) = t THEN
		RETURN jsonb_build_object('cancelled', wf_activity_cancel(a), 'again', wf_activity_cancel(a),
			'timer', wf_await(t), 'late', wf_timer_cancel(t));
	END IF;
	RETURN jsonb_build_object('result', wf_await(a), 'timer cancelled', wf_timer_cancel(t), 'again', wf_timer_cancel(t));
END $$);
SELECT flow_run('deadline', '{"queue": "nobody", "within": "1 ms"}', 'late');
SELECT go_after('late', 'TimerFired');
SELECT wf_result('late');
SELECT flow_run('deadline', '{"queue": "default", "within": "1 hour"}', 'timely');
SELECT wf_result('timely');

-- what is started and cancelled in one workflow task leaves nothing
SELECT flow('vanish', $$
DECLARE
	a bigint := wf_activity_start('echo');
	t bigint := wf_timer_start('1 hour');
	b bigint;
BEGIN
	PERFORM wf_activity_cancel(a), wf_timer_cancel(t);
	b := wf_activity_start('double', '4');
	BEGIN
		PERFORM wf_await(a);
	EXCEPTION WHEN SQLSTATE 'WF001' THEN
		BEGIN
			PERFORM wf_await(t);
		EXCEPTION WHEN SQLSTATE 'WF001' THEN
			RETURN jsonb_build_object('b', wf_await(b), 'message', SQLERRM, 'cancel requested', wf_cancel_requested());
		END;
	END;
END $$);
SELECT flow_run('vanish');
SELECT wf_result('vanish');

-- sleeping
SELECT flow('sleep', $$
DECLARE
	t0 timestamptz := wf_now();
BEGIN
	PERFORM wf_sleep('0'), wf_sleep('-1 day');
	IF wf_now() <> t0 THEN
		RAISE 'slept';
	END IF;
	PERFORM wf_sleep('2 ms');
	RETURN to_jsonb(wf_now() - t0 >= interval '2 ms');
END $$);
SELECT flow_run('sleep');
SELECT go_after('sleep', 'TimerFired');
SELECT wf_result('sleep');

-- signals: in order, by name, those not yet taken wait; a signal without
-- input is not the same as none
SELECT flow('signals', $$
DECLARE
	got jsonb := '[]';
BEGIN
	got := got || jsonb_build_array(wf_signal_receive('a', '0'), wf_signal_receive('go'));
	FOR i IN 1..3 LOOP
		got := got || jsonb_build_array(wf_signal_receive('a'));
	END LOOP;
	RETURN got || jsonb_build_array(wf_signal_receive('b'), wf_signal_receive('b', '-1 s') IS NULL,
		wf_signal_receive('b', '1 ms') IS NULL);
END $$);
SELECT run('signals');
SELECT wf_signal('signals', 'b', '"b1"'), wf_signal('signals', 'go', '"went"');
SELECT go('signals');
SELECT wf_signal('signals', 'a', '1');
SELECT go('signals');
SELECT wf_signal('signals', 'a'), wf_signal('signals', 'other'), wf_signal('signals', 'a', '{"n": 3}');
SELECT go('signals');
SELECT go_after('signals', 'TimerFired');
SELECT wf_result('signals');

-- a signal in time cancels the timer
SELECT flow('signal_in_time', $$ BEGIN RETURN wf_signal_receive('s', '1 hour'); END $$);
SELECT flow_run('signal_in_time');
SELECT wf_signal('signal_in_time', 's', '"here"');
SELECT go('signal_in_time');
SELECT ended('signal_in_time');

-- time, random numbers and UUIDs are the same whenever the code is run
SELECT flow('deterministic', $$
DECLARE
	u uuid := wf_uuid();
	r float8 := wf_random();
	t timestamptz := wf_now();
	first jsonb := wf_activity('echo', jsonb_build_array(u, r, t));
	second jsonb := wf_activity('echo', first);
BEGIN
	RETURN jsonb_build_object('same', second = jsonb_build_array(u, r, t) AND first = second,
		'other', u <> wf_uuid() AND r <> wf_random(),
		'range', r >= 0 AND r < 1, 'uuid', u::text ~ '^........-....-4...-[89ab]...-............$',
		'later', wf_now() > t);
END $$);
SELECT flow_run('deterministic');
SELECT wf_result('deterministic');
SELECT flow_run('deterministic', NULL, 'another');
SELECT count(DISTINCT attributes -> 'input') FROM wf.event WHERE event_type = 'ActivityTaskScheduled' AND attributes ->> 'activity_type' = 'echo'
	AND run_id IN (run_id_of('deterministic'), run_id_of('another'));

-- local activities: what they write stays, as does their result
CREATE TABLE ledger (n int);
SELECT act('book', $$ BEGIN INSERT INTO test.ledger VALUES (input::int) ; RETURN jsonb_build_object('booked', input); END $$);
SELECT act('refuse', $$ BEGIN INSERT INTO test.ledger VALUES (-1); RAISE EXCEPTION 'refused' USING ERRCODE = 'XY002', HINT = 'Ask.'; END $$);
SELECT flow('local', $$
DECLARE
	a jsonb := wf_local_activity('book', '1');
	b jsonb := wf_activity('double', '21');
	c jsonb;
BEGIN
	BEGIN
		PERFORM wf_local_activity('refuse');
	EXCEPTION WHEN OTHERS THEN
		c := jsonb_build_array(SQLSTATE, SQLERRM);
	END;
	RETURN jsonb_build_array(a, b, c, wf_local_activity('book', '2'));
END $$);
SELECT flow_run('local');
SELECT wf_result('local');
SELECT ev('local', 5, 5);
SELECT failure('local', 'Marker'), attributes - 'failure' FROM wf.event WHERE run_id = run_id_of('local') AND event_id = 12;
SELECT * FROM ledger;

-- the same function is run in both ways: it may heartbeat in both
SELECT act('beats', $$ BEGIN
	RETURN jsonb_build_array(wf_activity_heartbeat_details(), wf_activity_heartbeat('{"at": 1}'), wf_activity_heartbeat_details(),
		wf_activity_info() - 'namespace' - 'run_id' - 'scheduled_time' - 'started_time');
END $$);
SELECT flow('beats', $$ BEGIN RETURN jsonb_build_object('queued', wf_activity('beats'), 'local', wf_local_activity('beats')); END $$);
SELECT flow_run('beats');
SELECT jsonb_pretty(wf_result('beats'));

-- many in one task
SELECT flow('many_local', $$
BEGIN
	FOR i IN 1..20 LOOP
		PERFORM wf_local_activity('book', to_jsonb(100 + i));
	END LOOP;
	PERFORM wf_sleep('1 ms');
	RETURN NULL;
END $$);
SELECT flow_run('many_local') LIKE 'Running%';
SELECT go_after('many_local', 'TimerFired') LIKE 'Completed%';
SELECT count(*), sum(n) FROM ledger WHERE n > 100;

-- only workflow code can call these
SELECT raises(statement) FROM unnest(ARRAY[
	$$ SELECT wf_activity('x') $$, $$ SELECT wf_activity_start('x') $$, $$ SELECT wf_local_activity('x') $$,
	$$ SELECT wf_await(1) $$, $$ SELECT wf_await_any('{1}') $$, $$ SELECT wf_activity_cancel(1) $$,
	$$ SELECT wf_sleep('1 s') $$, $$ SELECT wf_timer_start('1 s') $$, $$ SELECT wf_timer_cancel(1) $$,
	$$ SELECT wf_signal_receive('x') $$, $$ SELECT wf_cancel_requested() $$, $$ SELECT wf_cancellation_reason() $$,
	$$ SELECT wf_now() $$, $$ SELECT wf_random() $$, $$ SELECT wf_uuid() $$]) statement;
-- an activity is not workflow code, be it a local one
SELECT act('not_workflow', $$ BEGIN RETURN to_jsonb(wf_now()); END $$);
SELECT flow('calls_not_workflow', $$ BEGIN RETURN wf_local_activity('not_workflow'); END $$);
SELECT flow_run('calls_not_workflow');
SELECT ended('calls_not_workflow') #>> '{failure,cause,message}';

-- bad arguments are errors of the code
SELECT flow('bad', $$
DECLARE
	result text := '';
	s text;
BEGIN
	FOREACH s IN ARRAY ARRAY['wf_activity(NULL)', 'wf_activity('''')', 'wf_activity(''x'', cancellation_type => ''Maybe'')',
			'wf_activity(''x'', start_to_close_timeout => ''-1 s'')', 'wf_activity(''x'', retry_policy => ''1'')',
			'wf_activity(''x'', retry_policy => ''{"max_attempts": 1}'')',
			'wf_await(NULL)', 'wf_await(0)', 'wf_await(7)', 'wf_await_any(NULL)', 'wf_await_any(''{}'')',
			'wf_await_any(''{NULL}'')', 'wf_await_any(''{7}'')', 'wf_activity_cancel(7)', 'wf_sleep(NULL)',
			'wf_timer_start(NULL)', 'wf_timer_start(''-1 s'')', 'wf_activity_cancel(wf_timer_start(''1 h''))',
			'wf_timer_cancel(wf_activity_start(''x''))', 'wf_signal_receive(NULL)', 'wf_local_activity(NULL)'] LOOP
		BEGIN
			EXECUTE 'SELECT ' || s;
			result := result || E'\n' || s || ': no error';
		EXCEPTION WHEN OTHERS THEN
			result := result || E'\n' || s || ': ' || SQLSTATE || ' ' || SQLERRM;
		END;
	END LOOP;
	RETURN to_jsonb(result);
END $$);
SELECT run('bad');
SELECT go('bad') LIKE 'Completed%';
SELECT wf_result('bad') #>> '{}';

SELECT code_end();
