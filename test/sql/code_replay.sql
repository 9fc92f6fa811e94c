-- Code is run again and again: that changes nothing, and code that does
-- something else than before is found out.
SET search_path = test, public;
SET check_function_bodies = off;
\pset tuples_only on
\pset format unaligned
SELECT test_begin('test_code_replay');

SELECT act('echo', $$ BEGIN RETURN input; END $$);
SELECT act('note', $$ BEGIN RETURN jsonb_build_array(input); END $$);

-- A workflow that decides at random between all that there is, with
-- signals, a cancel and results coming in between.  However little is kept in
-- memory between its tasks, it comes to the same history.
SELECT flow('random', $$
DECLARE
	handles bigint[] := '{}';
	h bigint;
	seen jsonb := '[]';
	r jsonb;
BEGIN
	FOR i IN 1..60 LOOP
		BEGIN
			CASE floor((hashint4(i * 7 + input::int) & 65535) / 65536.0 * 8)::int
				WHEN 0 THEN
					r := wf_activity('echo', to_jsonb(i), cancellation_type => 'WaitCancellationCompleted');
				WHEN 1 THEN
					handles := handles || wf_activity_start('echo', to_jsonb(i));
				WHEN 2 THEN
					handles := handles || wf_timer_start('1 ms');
				WHEN 3 THEN
					IF cardinality(handles) > 0 THEN
						h := wf_await_any(handles);
						r := wf_await(h);
						handles := array_remove(handles, h);
					END IF;
				WHEN 4 THEN
					r := wf_local_activity('note', to_jsonb(i));
				WHEN 5 THEN
					r := wf_signal_receive('s', '1 ms');
				WHEN 6 THEN
					h := wf_activity_start('echo', to_jsonb(i));
					r := to_jsonb(wf_activity_cancel(h));
				ELSE
					r := to_jsonb(wf_random() < 2);
			END CASE;
			seen := seen || jsonb_build_array(r);
		EXCEPTION WHEN OTHERS THEN
			seen := seen || jsonb_build_array(SQLERRM);
		END;
	END LOOP;
	FOREACH h IN ARRAY handles LOOP
		seen := seen || jsonb_build_array(wf_await(h));
	END LOOP;
	RETURN seen;
END $$);

-- Run it, with signals at every third task and a cancel at the tenth; how
-- often workflow tasks failed, and how it ended.
CREATE FUNCTION random_run(seed int, cache text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	id text := format('random-%s-%s', seed, cache);
	n int := 0;
	give_up timestamptz := clock_timestamp() + interval '60 seconds';
BEGIN
	PERFORM set_config('workflow_interrupt.workflow_cache_size', cache, true);
	PERFORM run('random', to_jsonb(seed), id);
	LOOP
		n := n + 1;
		EXIT WHEN (SELECT status <> 'Running' FROM wf.execution WHERE run_id = run_id_of(id)) OR clock_timestamp() > give_up;
		IF n % 3 = 0 AND n < 30 THEN
			PERFORM wf_signal(id, 's', to_jsonb(n));
		END IF;
		IF n = 10 THEN
			PERFORM wf_cancel(id, 'ten');
		END IF;
		PERFORM wf_tick(), do_work(max_tasks => 2);
	END LOOP;
	RETURN (SELECT format('%s, %s failed tasks, result of %s, times cancelled %s', e.status,
			count(*) FILTER (WHERE v.event_type = 'WorkflowTaskFailed'),
			CASE WHEN e.status = 'Completed' THEN jsonb_array_length(wf_result(id)) >= 60 END,
			count(*) FILTER (WHERE v.event_type = 'WorkflowExecutionCancelRequested'))
		FROM wf.execution e JOIN wf.event v USING (shard, run_id) WHERE e.run_id = run_id_of(id) GROUP BY e.status);
END $$;
SELECT cache, outcome, count(*) FROM generate_series(1, 5) seed, unnest(ARRAY['0', '100kB', '16MB']) cache,
	random_run(seed, cache) outcome GROUP BY 1, 2 ORDER BY 1, 2;

-- Each call answers from what was there when it was made first, although more
-- is there when the code is run again.
SELECT flow('as_it_was', $$
DECLARE
	seen text[] := ARRAY[wf_cancel_requested()::text, wf_signal_receive('s', '0')::text];
BEGIN
	PERFORM wf_activity('echo', '1', disconnected => true, task_queue => 'manual');
	seen := seen || ARRAY[wf_cancel_requested()::text, wf_signal_receive('s', '0')::text];
	PERFORM wf_activity('echo', '2', disconnected => true, task_queue => 'manual');
	seen := seen || ARRAY[wf_cancel_requested()::text, wf_signal_receive('s', '0')::text];
	RETURN to_jsonb(seen);
END $$);
CREATE FUNCTION as_it_was(cache text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM set_config('workflow_interrupt.workflow_cache_size', cache, true);
	PERFORM flow_run('as_it_was', NULL, cache), apoll('manual'), done('1@manual'), go(cache);
	PERFORM wf_cancel(cache, 'x'), wf_signal(cache, 's', '1'), wf_signal(cache, 's', '2');
	PERFORM go(cache);
	PERFORM apoll('manual'), done('2@manual'), go(cache);
	RETURN wf_result(cache);
END $$;
SELECT as_it_was('0'), as_it_was('16MB');

-- Code with many local activities is run as many times, but in the memory of
-- one run.
SELECT act('large', $$ BEGIN RETURN to_jsonb(repeat('x', 10000)); END $$);
SELECT flow('many_local', $$
BEGIN
	FOR i IN 1..200 LOOP
		PERFORM wf_local_activity('large');
	END LOOP;
	RETURN (SELECT to_jsonb(sum(total_bytes) < 10000000) FROM pg_backend_memory_contexts WHERE name ~ 'workflow code');
END $$);
SELECT flow_run('many_local') LIKE 'Completed%';
SELECT wf_result('many_local');

-- What was read in a transaction that is rolled back never was.
SELECT flow('rolled_back', $$
BEGIN
	RETURN jsonb_build_array(wf_signal_receive('s'), wf_signal_receive('s'));
END $$);
SELECT flow_run('rolled_back');
BEGIN;
SELECT wf_signal('rolled_back', 's', '"lost"'), go('rolled_back') LIKE 'Running%';
ROLLBACK;
SELECT wf_signal('rolled_back', 's', '"first"'), go('rolled_back') LIKE 'Running%';
BEGIN;
SAVEPOINT a;
SELECT wf_signal('rolled_back', 's', '"lost, too"'), go('rolled_back') LIKE 'Completed%';
ROLLBACK TO a;
SAVEPOINT b;
SELECT wf_signal('rolled_back', 's', '"second"');
RELEASE b;
SELECT go('rolled_back') LIKE 'Completed%';
COMMIT;
SELECT wf_result('rolled_back');

-- Code that was changed while a run waits.  The first attempt's failure is in
-- the history; it heals when the code does.
CREATE FUNCTION changed_code(before text, after text) RETURNS text
LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	id text := 'changed-' || (SELECT count(*) + 1 FROM wf.execution WHERE workflow_id LIKE 'changed-%');
BEGIN
	PERFORM flow('changed', before);
	PERFORM flow_run('changed', NULL, id);
	PERFORM flow('changed', after);
	PERFORM wf_signal(id, 'go');
	PERFORM do_work(max_tasks => 1), wf_terminate(id);
	RETURN (SELECT format('%s: %s', attributes ->> 'cause', attributes #>> '{failure,message}')
		FROM wf.event WHERE run_id = run_id_of(id) AND event_type = 'WorkflowTaskFailed');
END $$;
SELECT changed_code(before, after) FROM (VALUES
	-- another id, type, kind; less, more; an end that comes too early
	($$ BEGIN RETURN wf_activity('a', activity_id => 'x', task_queue => 'q'); END $$,
	 $$ BEGIN RETURN wf_activity('a', activity_id => 'y', task_queue => 'q'); END $$),
	($$ BEGIN RETURN wf_activity('a', task_queue => 'q'); END $$, $$ BEGIN RETURN wf_activity('b', task_queue => 'q'); END $$),
	($$ BEGIN RETURN wf_activity('a', task_queue => 'q'); END $$, $$ BEGIN PERFORM wf_sleep('1 h'); RETURN NULL; END $$),
	($$ BEGIN PERFORM wf_sleep('1 h'); RETURN NULL; END $$, $$ BEGIN RETURN wf_signal_receive('go'); END $$),
	($$ BEGIN RETURN wf_signal_receive('never'); END $$,
	 $$ BEGIN PERFORM wf_timer_start('1 h'); RETURN wf_signal_receive('never'); END $$),
	($$ BEGIN RETURN wf_signal_receive('never'); END $$, $$ BEGIN RETURN NULL; END $$),
	($$ BEGIN RETURN wf_signal_receive('never'); END $$, $$ BEGIN RAISE 'new'; END $$),
	($$ BEGIN PERFORM wf_local_activity('note'); RETURN wf_signal_receive('never'); END $$,
	 $$ BEGIN PERFORM wf_local_activity('echo'); RETURN wf_signal_receive('never'); END $$),
	($$ BEGIN RETURN wf_signal_receive('never'); END $$,
	 $$ BEGIN PERFORM wf_local_activity('echo'); RETURN wf_signal_receive('never'); END $$),
	($$ DECLARE t bigint := wf_timer_start('1 h'); BEGIN PERFORM wf_activity('echo'), wf_timer_cancel(t);
			RETURN wf_signal_receive('never'); END $$,
	 $$ DECLARE t bigint := wf_timer_start('1 h'); BEGIN PERFORM wf_activity('echo');
			RETURN wf_signal_receive('never'); END $$),
	-- and it cannot catch that
	($$ BEGIN RETURN wf_activity('a', task_queue => 'q'); END $$,
	 $$ BEGIN RETURN wf_activity('b', task_queue => 'q'); EXCEPTION WHEN OTHERS OR query_canceled THEN RETURN NULL; END $$)
	) v (before, after);
SELECT flow('heals', $$ BEGIN RETURN wf_activity('a', task_queue => 'q'); END $$);
SELECT flow_run('heals') LIKE 'Running%';
SELECT flow('heals', $$ BEGIN RETURN wf_activity('b', task_queue => 'q'); END $$);
SELECT wf_signal('heals', 'go'), do_work(max_tasks => 1), h('heals');
SELECT failure('heals', 'WtFailed');
SELECT flow('heals', $$ BEGIN RETURN wf_activity('a', task_queue => 'q'); END $$);
SELECT go('heals');

-- Random numbers are those of the run that was started first, until a reset:
-- from then on they are new ones, the same whenever the code is run.
SELECT flow('numbers', $$
DECLARE
	r jsonb := '[]';
BEGIN
	FOR i IN 1..3 LOOP
		r := r || jsonb_build_array(wf_random(), wf_uuid());
		PERFORM wf_signal_receive('s');
	END LOOP;
	RETURN r;
END $$);
CREATE FUNCTION numbers(id text, reset boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = public, test AS $$
BEGIN
	PERFORM set_config('workflow_interrupt.workflow_cache_size', '0', true);
	PERFORM flow_run('numbers', NULL, id);
	-- as the history of a run looks that was reset: the first run's id in event
	-- 1, and the new one's at the point of the reset
	UPDATE wf.event SET attributes = attributes || '{"original_execution_run_id": "018f0000-0000-7000-8000-000000000001"}'
		WHERE run_id = run_id_of(id) AND event_id = 1;
	PERFORM wf_signal(id, 's'), poll('default'), wt_fail('default');
	IF reset THEN
		UPDATE wf.event SET attributes = attributes ||
			'{"cause": "ResetWorkflow", "new_run_id": "018f0000-0000-7000-8000-000000000002"}'
			WHERE run_id = run_id_of(id) AND event_type = 'WorkflowTaskFailed';
	END IF;
	PERFORM wf_signal(id, 's'), go(id), wf_signal(id, 's'), go(id);
	RETURN wf_result(id);
END $$;
SELECT a -> 0 = b -> 0 AND a -> 1 = b -> 1 AS same_before, a -> 2 <> b -> 2 AND a -> 3 <> b -> 3 AS other_after,
		b -> 2 <> b -> 0 AS not_over_again, a
	FROM numbers('numbers', false) a, numbers('numbers-reset', true) b;
SELECT clean(h('numbers-reset'));
-- what was planted goes, so that the histories are sound ones again
UPDATE wf.event SET attributes = attributes || jsonb_build_object('original_execution_run_id', run_id)
	WHERE run_id IN (run_id_of('numbers'), run_id_of('numbers-reset')) AND event_id = 1;
UPDATE wf.event SET attributes = attributes - 'new_run_id' || '{"cause": "WorkflowWorkerUnhandledFailure"}'
	WHERE run_id = run_id_of('numbers-reset') AND event_type = 'WorkflowTaskFailed';

-- a broken second attempt is left to its time-out
SELECT flow('broken', $$ BEGIN RETURN wf_signal_receive('s'); END $$);
SELECT flow_run('broken') LIKE 'Running%';
SELECT flow('broken', $$ BEGIN PERFORM wf_sleep('1 h'); RETURN wf_signal_receive('s'); END $$);
SELECT wf_signal('broken', 's'), do_work(), do_work(), shown('broken');

-- A reset with the code repaired: the new run replays what was kept of the
-- history, and goes on from there.
SELECT flow('repaired', $$
DECLARE
	first jsonb := wf_activity('echo', to_jsonb(wf_random()));
BEGIN
	PERFORM wf_local_activity('note', first), wf_signal_receive('s');
	RETURN jsonb_build_array(first, 'wrong', wf_activity('echo', to_jsonb(wf_random())));
END $$);
SELECT flow_run('repaired');
SELECT wf_signal('repaired', 's', '1'), go('repaired');
SELECT wf_result('repaired') AS before \gset
SELECT flow('repaired', $$
DECLARE
	first jsonb := wf_activity('echo', to_jsonb(wf_random()));
BEGIN
	PERFORM wf_local_activity('note', first), wf_signal_receive('s');
	RETURN jsonb_build_array(first, wf_activity('echo', '"right"'), wf_activity('echo', to_jsonb(wf_random())), wf_signal_receive('s', '0'));
END $$);
SELECT event_id FROM wf_reset_points('repaired') ORDER BY event_id;
SELECT string_agg(event_id || ' ' || short(event_type::text), ' ' ORDER BY event_id) FROM wf_reset('repaired', 15, 'repaired', signals => '[{"signal_name": "s", "input": 2}]');
SELECT go(current_run('repaired'));
SELECT jsonb_build_array(r -> 0 = :'before'::jsonb -> 0, r -> 1, r -> 2 <> :'before'::jsonb -> 2, r -> 3) FROM wf_result('repaired') r;
-- and one that was stuck
SELECT wf_reset('broken', wf_reset_point('broken', 'FirstWorkflowTask'), 'the code is another one') IS NOT NULL LIMIT 1;
SELECT go(current_run('broken'));

SELECT code_end();
