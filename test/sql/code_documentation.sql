-- What Temporal's documentation on interrupting workflows has besides the
-- examples in code_cancel: the client's calls, in PL/pgSQL's words.  How live
-- activities take a cancel is in t/120 and t/130, what processes do in t/114.
SET search_path = test, public;
SET check_function_bodies = off;
\pset tuples_only on
\pset format unaligned
SELECT test_begin('test_code_documentation');

SELECT act('echo', $$ BEGIN RETURN input; END $$);

-- client.get_workflow_handle("your_workflow_id").cancel(); the code gets a
-- chance, and the server does not force it
SELECT flow('patient', $$
BEGIN
	PERFORM wf_signal_receive('never');
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RETURN wf_activity('echo', to_jsonb('cleaned up, ' || wf_cancellation_reason()));
END $$);
SELECT flow_run('patient', NULL, 'your_workflow_id');
SELECT wf_cancel('your_workflow_id', 'not needed'), h('your_workflow_id');
SELECT go('your_workflow_id');
SELECT wf_result('your_workflow_id');
-- CancelWorkflow(ctx, workflowID, runID)
SELECT flow_run('patient', NULL, 'by_run');
SELECT wf_cancel('by_run', 'this run', run_id_of('by_run')), go('by_run');
SELECT raises($$ SELECT wf_cancel('by_run', 'another run', '00000000-0000-7000-8000-000000000000') $$);

-- handle.terminate(): the code gets none, nor a workflow task
SELECT flow_run('patient', NULL, 'terminated');
SELECT wf_terminate('terminated', 'enough'), h('terminated'), do_work(), h('terminated');

-- activity_handle.cancel(), and what the activity says about it
SELECT flow('handle', $$
DECLARE
	activity_handle bigint := wf_activity_start('cancellable_activity', start_to_close_timeout => '5 minutes',
		heartbeat_timeout => '30 seconds', task_queue => 'manual', cancellation_type => 'WaitCancellationCompleted');
	details text;
BEGIN
	PERFORM wf_sleep('3 ms'), wf_activity_cancel(activity_handle);
	RETURN wf_await(activity_handle);
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	GET STACKED DIAGNOSTICS details = PG_EXCEPTION_DETAIL;
	RETURN jsonb_build_object('message', SQLERRM, 'details', details::jsonb, 'workflow', wf_cancel_requested());
END $$);
SELECT flow_run('handle'), apoll('manual');
SELECT go_after('handle', 'TimerFired');
-- heartbeats after the cancel still reach the server, and tell of it
SELECT beat('1@manual', '"once more"'), beat('1@manual');
SELECT canceled('1@manual', '{"stopped": true}'), go('handle');
SELECT wf_result('handle');

-- temporal workflow reset --workflow-id my-background-check --event-id 4
--     --reason "Fixed non-deterministic code"
SELECT flow('background_check', $$ BEGIN RETURN wf_activity('echo', '"checked"', task_queue => 'manual'); END $$);
SELECT flow_run('background_check', NULL, 'my-background-check'), apoll('manual');
-- the code changes into what does not fit, and is blocked
SELECT flow('background_check', $$ BEGIN PERFORM wf_sleep('1 hour'); RETURN wf_activity('echo', '"checked"'); END $$);
SELECT done('1@manual', '"progress"'), do_work(), h('my-background-check');
SELECT failure('my-background-check', 'WtFailed');
-- it is fixed, and the workflow resumes; progress behind the point is discarded
SELECT flow('background_check', $$ BEGIN RETURN wf_activity('echo', '"checked"'); END $$);
SELECT event_id, short(event_type::text) FROM wf_reset('my-background-check', 4, 'Fixed non-deterministic code');
SELECT h('my-background-check');
SELECT go(current_run('my-background-check'));
SELECT ev('my-background-check/2', 4, 4);
SELECT wf_result('my-background-check');
-- --run-id, --namespace, --reapply-type
SELECT flow_run('patient', NULL, 'signaled') LIKE 'Running%', wf_signal('signaled', 's', '1');
SELECT string_agg(short(event_type::text), ' ' ORDER BY event_id) FROM wf_reset('signaled', 4, 'with the signal',
	run_id => run_id_of('signaled'), namespace => 'test_code_documentation');
SELECT string_agg(short(event_type::text), ' ' ORDER BY event_id) FROM wf_reset('signaled', 4, 'without',
	run_id => run_id_of('signaled'), reapply_exclude => '{Signal}');
SELECT wf_terminate('signaled');

SELECT code_end();
