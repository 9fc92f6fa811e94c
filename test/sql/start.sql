-- Starting workflows
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_start');

-- The shortest form.  Start and first workflow task are one batch.
SELECT named('plain', wf_start('plain', 'Order'));
SELECT h('plain');
SELECT ev('plain');
SELECT workflow_type, task_queue, is_current, first_execution_run_id = run_id, original_execution_run_id = run_id,
	close_time IS NULL, cancel_requested, reset_run_id, base_run_id, parent_workflow_id, parent_run_id,
	memo, search_attributes, execution_time = start_time, next_event_id
	FROM wf.execution WHERE run_id = run_id_of('plain');
SELECT e.start_time = v.event_time FROM wf.execution e JOIN wf.event v USING (shard, run_id)
	WHERE run_id = run_id_of('plain') AND event_id = 1;

-- Everything given.
SELECT named('full', wf_start('full', 'Order', '{"n": [1, 2.50, null, "x"]}', task_queue => 'orders',
	execution_timeout => '1 day', run_timeout => '90 minutes', task_timeout => '1.5 seconds',
	memo => '{"note": "gift"}', search_attributes => '{"Customer": "c1", "Amount": 12}',
	request_id => 'request 1', identity => 'shop'));
SELECT ev('full');
SELECT workflow_type, task_queue, memo, search_attributes, execution_timeout, run_timeout, task_timeout
	FROM wf.execution WHERE run_id = run_id_of('full');
-- Durations are text that casts to interval, times are RFC 3339.
SELECT (attributes ->> 'workflow_execution_timeout')::interval = '1 day', (attributes ->> 'workflow_run_timeout')::interval = '90 minutes',
	(attributes ->> 'workflow_task_timeout')::interval = '1.5 seconds',
	attributes ->> 'workflow_execution_expiration_time' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)$',
	(attributes ->> 'workflow_execution_expiration_time')::timestamptz = event_time + interval '1 day'
	FROM wf.event WHERE run_id = run_id_of('full') AND event_id = 1;

-- A month has 30 days.
SELECT named('month', wf_start('month', 'Type', run_timeout => '1 month 1 day 1 second'));
SELECT (attributes ->> 'workflow_run_timeout')::interval = '31 days 1 second' FROM wf.event WHERE run_id = run_id_of('month') AND event_id = 1;

-- A run has no more time than its execution, a task no more than its run, or 2 minutes.
SELECT named('cap1', wf_start('cap1', 'Type', execution_timeout => '1 hour', run_timeout => '2 hours', task_timeout => '3 hours'));
SELECT named('cap2', wf_start('cap2', 'Type', execution_timeout => '5 seconds'));
SELECT named('cap3', wf_start('cap3', 'Type', run_timeout => '3 seconds'));
SELECT attributes ->> 'workflow_execution_timeout', attributes ->> 'workflow_run_timeout', attributes ->> 'workflow_task_timeout'
	FROM unnest(ARRAY['cap1', 'cap2', 'cap3']) n JOIN wf.event ON run_id = run_id_of(n) AND event_id = 1 ORDER BY n;

-- The input: no payload, one payload, and the shape reserved for several, as given.
SELECT named('none', wf_start('none', 'Type')), named('null', wf_start('null', 'Type', 'null')),
	named('text', wf_start('text', 'Type', '"x"')), named('list', wf_start('list', 'Type', '[1, 2]')),
	named('near', wf_start('near', 'Type', '{"payloads": [1], "other": 2}')),
	named('reserved', wf_start('reserved', 'Type', '{"payloads": [1, 2]}'));
SELECT n, attributes ? 'input', attributes -> 'input' FROM unnest('{none,"null",text,list,near,reserved}'::text[]) n
	JOIN wf.event ON run_id = run_id_of(n) AND event_id = 1;

-- While a run is open: the conflict policy.
SELECT new('open'), poll('open');
SELECT raises($$SELECT wf_start('open', 'Type')$$);
SELECT raises($$SELECT wf_start('open', 'Type', id_conflict_policy => 'Fail', id_reuse_policy => 'RejectDuplicate')$$);
SELECT named('open', wf_start('open', 'Other', '1', id_conflict_policy => 'UseExisting'));
SELECT h('open'), workflow_type FROM wf.execution WHERE run_id = run_id_of('open');
SELECT wf_signal('open', 'waiting');
SELECT named('open', wf_start('open', 'Type', id_conflict_policy => 'TerminateExisting'));
SELECT h('open');
SELECT h('open/2');
SELECT ev('open', 4);
SELECT attributes ->> 'details' LIKE '%' || run_id_of('open/2') || '%', jsonb_typeof(attributes -> 'details')
	FROM wf.event WHERE run_id = run_id_of('open') AND event_type = 'WorkflowExecutionTerminated';
-- A new start is a new chain.
SELECT is_current, first_execution_run_id = run_id, original_execution_run_id = run_id
	FROM wf.execution WHERE run_id IN (run_id_of('open'), run_id_of('open/2')) ORDER BY is_current;
-- The old name of the policy; the open run has an idle workflow task only.
SELECT named('open', wf_start('open', 'Type', id_reuse_policy => 'TerminateIfRunning'));
SELECT h('open/2');
SELECT h('open/3');
-- Paused and delayed runs are open.
SELECT wf_pause('open');
SELECT raises($$SELECT wf_start('open', 'Type')$$);
SELECT named('open', wf_start('open', 'Type', id_conflict_policy => 'UseExisting'));
SELECT named('open', wf_start('open', 'Type', start_delay => '1 hour', id_conflict_policy => 'TerminateExisting'));
SELECT h('open/3');
SELECT raises($$SELECT wf_start('open', 'Type')$$);
SELECT named('open', wf_start('open', 'Type', id_conflict_policy => 'UseExisting'));
SELECT named('open', wf_start('open', 'Type', id_conflict_policy => 'TerminateExisting'));
SELECT h('open/4');
SELECT h('open/5');

-- When the current run is closed: the reuse policy, by how it closed.
CREATE FUNCTION pg_temp.closed(workflow_id text, how text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM new(workflow_id, run_timeout => CASE how WHEN 'TimedOut' THEN interval '1 millisecond' END);
	IF how = 'Terminated' THEN
		PERFORM wf_terminate(workflow_id);
	ELSIF how = 'TimedOut' THEN
		PERFORM wait_for(workflow_id, 'WfTimedOut');
	ELSE
		PERFORM poll(workflow_id);
		PERFORM reply(workflow_id, commands(CASE how WHEN 'Completed' THEN c_complete()
			WHEN 'Failed' THEN c_fail() ELSE c_cancel() END));
	END IF;
	RETURN (SELECT e.status FROM wf.execution e WHERE e.run_id = run_id_of(closed.workflow_id));
END $$;
CREATE FUNCTION pg_temp.try(wid text, policy text, conflict text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	RETURN named(wid, wf_start(wid, 'Type', id_reuse_policy => policy, id_conflict_policy => conflict));
EXCEPTION WHEN SQLSTATE 'WF004' THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN 'WF004 ' || clean(message) || ' -- ' || clean(detail);
END $$;
SELECT policy, pg_temp.closed(policy || how, how), pg_temp.try(policy || how, policy, 'Fail')
	FROM unnest(ARRAY['Completed', 'Failed', 'Canceled', 'Terminated', 'TimedOut']) WITH ORDINALITY h (how, hn),
		unnest(ARRAY['AllowDuplicate', 'AllowDuplicateFailedOnly', 'RejectDuplicate', 'TerminateIfRunning']) WITH ORDINALITY p (policy, pn)
	ORDER BY pn, hn;
-- A closed run keeps its status; only its being current has passed on.
SELECT h('AllowDuplicateFailed'), h('AllowDuplicateFailed/2');
-- Conflict policies say nothing about closed runs.
SELECT conflict, pg_temp.closed(conflict, 'Completed'), pg_temp.try(conflict, 'RejectDuplicate', conflict)
	FROM unnest(ARRAY['UseExisting']) conflict;
SELECT pg_temp.try('AllowDuplicateCompleted', 'AllowDuplicate', 'UseExisting');

-- A request id seen by the current run: that run, whatever the policies.
SELECT named('once', wf_start('once', 'Type', request_id => 'r1', task_queue => 'once'));
SELECT named('once', wf_start('once', 'Type', request_id => 'r1'));
SELECT named('once', wf_start('once', 'Type', '2', request_id => 'r1', id_conflict_policy => 'TerminateExisting'));
SELECT raises($$SELECT wf_start('once', 'Type', request_id => 'r2')$$);
SELECT h('once');
SELECT wf_terminate('once');
SELECT named('once', wf_start('once', 'Type', request_id => 'r1'));
SELECT named('once', wf_start('once', 'Type', request_id => 'r1', id_reuse_policy => 'RejectDuplicate'));
SELECT h('once');
-- Another id starts another run; then the first id is not known any more.
SELECT named('once', wf_start('once', 'Type', request_id => 'r2'));
SELECT raises($$SELECT wf_start('once', 'Type', request_id => 'r1')$$);
-- Request ids are per workflow id.
SELECT named('twice', wf_start('twice', 'Type', request_id => 'r1'));

-- Start delay: no workflow task until it is over, or a cancel comes.
SELECT new('later', start_delay => '1 hour');
SELECT h('later');
SELECT ev('later');
SELECT execution_time = start_time + interval '1 hour' FROM wf.execution WHERE run_id = run_id_of('later');
SELECT poll('later');
SELECT wf_signal('later', 's');
SELECT h('later'), poll('later');
SELECT wf_terminate('later', 'not needed');
SELECT h('later');
SELECT new('soon', start_delay => '1 millisecond');
SELECT wait_for('soon', 'WtSched');
SELECT ev('soon', 2);
SELECT poll('soon');
SELECT reply('soon', commands(c_complete()));
SELECT h('soon');

-- A run's own time-outs begin when the delay is over.
SELECT new('delayed', start_delay => '1 hour', run_timeout => '1 millisecond', execution_timeout => '2 hours');
SELECT let_pass('delayed', '5 milliseconds');

-- Not offered yet.
SELECT raises($$SELECT wf_start('x', 'Type', retry_policy => '{"maximum_attempts": 2}')$$);
SELECT raises($$SELECT wf_start('x', 'Type', cron_schedule => '* * * * *')$$);

SELECT test_end();
