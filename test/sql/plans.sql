-- Plans that were made while the tables were small
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_plans');

-- Our statements find rows by their keys: what this transaction read in
-- sequence.
CREATE FUNCTION pg_temp.in_sequence() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), 'nothing')
	FROM pg_stat_xact_all_tables WHERE schemaname = 'wf' AND seq_scan > 0
$$;

-- A run with a bit of everything, as calls of the API only.
CREATE FUNCTION pg_temp.something_of_all(id text) RETURNS boolean LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	t record;
	a record;
BEGIN
	PERFORM wf_start(id, 'Type', task_queue => id, task_timeout => '2 minutes');
	SELECT * INTO t FROM wf_poll_workflow_task(id);
	PERFORM wf_signal(id, 'waits', request_id => 'r');
	PERFORM wf_signal(id, 'waits', request_id => 'r');
	PERFORM wf_respond_workflow_task_completed(t.task_token, commands(
		c_timer('t1', '1 hour'), c_timer('t2', '1 hour'), c_act('a1'), c_act('a2')));
	SELECT * INTO a FROM wf_poll_activity_task(id);
	PERFORM wf_heartbeat(a.task_token);
	PERFORM wf_respond_activity_task_completed(a.task_token);
	SELECT * INTO t FROM wf_poll_workflow_task(id);
	PERFORM wf_respond_workflow_task_completed(t.task_token, commands(c_cancel_timer('t1')));
	PERFORM wf_cancel(id);
	PERFORM wf_describe(id);
	PERFORM wf_history(id);
	PERFORM wf_reset(id, 4);
	PERFORM wf_tick();
	PERFORM wf_terminate(id);
	RETURN true;
END $$;

-- Statistics say that there is nothing in the tables; plans are made anew.
VACUUM ANALYZE wf.execution, wf.event, wf.buffered_event, wf.timer, wf.activity,
	wf.signal_request, wf.task, wf.wakeup, wf.namespace;
BEGIN;
SELECT pg_temp.something_of_all('first');
SELECT pg_temp.in_sequence();
COMMIT;
-- Again, with all access to tables in SQL.
SET workflow_interrupt.direct_access = off;
VACUUM ANALYZE wf.execution, wf.event, wf.buffered_event, wf.timer, wf.activity,
	wf.signal_request, wf.task, wf.wakeup, wf.namespace;
BEGIN;
SELECT pg_temp.something_of_all('second');
SELECT pg_temp.in_sequence();
COMMIT;
RESET workflow_interrupt.direct_access;
-- The settings of the session's own plans are as they were.
SHOW enable_seqscan;
SHOW enable_bitmapscan;

SELECT activity_end();
