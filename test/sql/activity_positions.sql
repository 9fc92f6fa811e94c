-- Tasks say where the rows of their activities are: a shortcut, and no more
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_positions');
SET workflow_interrupt.direct_access = on;

-- What a poll returns, and how often it searches indexes.
CREATE FUNCTION pg_temp.searches(tables text[]) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT array_agg(pg_stat_get_xact_numscans(format('wf.%s_pkey', name)::regclass) ORDER BY name) FROM unnest(tables) name
$$;
CREATE FUNCTION pg_temp.polled(queue text, most integer DEFAULT 1, tables text[] DEFAULT '{activity, event}') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	before bigint[] := pg_temp.searches(tables);
	tasks text := (SELECT string_agg(format('%s %s %s', workflow_id, activity_id, input), ', ' ORDER BY workflow_id, activity_id)
		FROM wf_poll_activity_task(queue, most));
BEGIN
	RETURN tasks || coalesce('; searches: ' || (SELECT string_agg((a - b)::text, ', ' ORDER BY n)
		FROM unnest(before, pg_temp.searches(tables)) WITH ORDINALITY x (b, a, n)), '');
END $$;

-- They are right when they are made, and save the searches.
SELECT new_act('a', '{"input": "a"}', 3);
SELECT a.activity_id, t.activity_tid = a.ctid, t.event_tid = v.ctid, t.run_tid IS NOT NULL
	FROM wf.task t JOIN wf.activity a USING (run_id, scheduled_event_id)
		JOIN wf.event v ON v.run_id = t.run_id AND v.event_id = t.scheduled_event_id
	WHERE t.run_id = run_id_of('a') ORDER BY 1;
SELECT pg_temp.polled('a'), pg_temp.polled('a', 10);
SELECT poll('a'), apoll('a');
-- That of a run is where its index points to: its row may be changed meanwhile.
SELECT new_act('b', '{"input": "b"}', 2);
VACUUM FULL wf.execution;
UPDATE wf.task SET run_tid = e.ctid FROM wf.execution e WHERE e.run_id = task.run_id AND e.run_id = run_id_of('b');
SELECT wf_signal('b', 's1');
SELECT pg_temp.polled('b', tables => '{execution}'), pg_temp.polled('b', 10, '{execution}');

-- Without them, or when they lead astray: to others' rows, to nothing, beyond
-- the end.
SELECT new_act('c' || i, format('{"input": "c%s", "task_queue": "c"}', i)::jsonb) FROM generate_series(1, 6) i;
UPDATE wf.task SET run_tid = NULL, activity_tid = NULL, event_tid = NULL WHERE run_id = run_id_of('c1');
UPDATE wf.task t SET run_tid = o.run_tid, activity_tid = o.activity_tid, event_tid = o.event_tid
	FROM wf.task o WHERE t.run_id = run_id_of('c2') AND o.run_id = run_id_of('c3') AND t.kind = 'a' AND o.kind = 'a';
UPDATE wf.task SET run_tid = '(0,2000)', activity_tid = '(0,2000)', event_tid = '(0,2000)' WHERE run_id = run_id_of('c4');
UPDATE wf.task SET run_tid = '(4000000000,1)', activity_tid = '(4000000000,1)', event_tid = '(4000000000,1)'
	WHERE run_id = run_id_of('c5');
UPDATE wf.task SET run_tid = '(4294967295,0)', activity_tid = '(4294967295,0)', event_tid = '(4294967295,0)'
	WHERE run_id = run_id_of('c6');
SELECT pg_temp.polled('c'), pg_temp.polled('c', 10);
SELECT acts('c' || i) FROM generate_series(1, 6) i;

-- When all rows have moved.
SELECT new_act('d' || i, format('{"input": "d%s", "task_queue": "d"}', i)::jsonb) FROM generate_series(1, 3) i;
SELECT wf_terminate('a'), run_id_of('a') AS gone \gset
DELETE FROM wf.event WHERE run_id = :'gone';
DELETE FROM wf.execution WHERE run_id = :'gone';
VACUUM FULL wf.execution;
VACUUM FULL wf.event;
VACUUM FULL wf.activity;
SELECT pg_temp.polled('d', 10, '{}');

-- A retry has its row elsewhere.
SELECT new_act('e', '{"input": "e", "retry_policy": {"initial_interval": "0.001s"}}');
SELECT apoll('e'), failed('1@e', '{"message": "again"}');
SELECT wait_apoll('e');
SELECT acts('e'), done('1@e');
SELECT h('e');

-- In SQL they are neither made nor used.
SELECT new_act('f', '{"input": "f"}');
SET workflow_interrupt.direct_access = off;
SELECT new_act('g', '{"input": "g", "task_queue": "f"}');
SELECT run_tid, activity_tid, event_tid FROM wf.task WHERE run_id = run_id_of('g') AND kind = 'a';
SELECT pg_temp.polled('f', 10, '{}');
SELECT new_act('h', '{"input": "h"}');
RESET workflow_interrupt.direct_access;
SELECT pg_temp.polled('h', 10, '{}');

SELECT activity_end();
