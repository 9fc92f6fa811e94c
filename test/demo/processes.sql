-- The demo's second half, for a database where the first one has run, and
-- while this runs in the directory of this file:
--   wf_worker -d DATABASE --task-queue=processes \
--     --activity='export=exec sh export.sh' --workflow='order=perl order_workflow.pl'
\set ON_ERROR_STOP on
\pset footer off
\pset pager off
SELECT set_config('search_path', 'wf_demo, ' || current_setting('search_path'), false) \gset ignored_
SELECT count(wf_terminate(workflow_id, 'the demo begins anew', run_id => run_id)) AS old FROM wf.execution
	WHERE is_current AND status = 'Running' AND workflow_id ~ '^(export-2|order-[67])$' \gset

-- The three seconds of step 9 are for the work, not for the start of the worker.
DO $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 min';
BEGIN
	WHILE clock_timestamp() < give_up AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
		AND application_name = 'wf_worker' AND state = 'idle' AND query ~ 'wf_poll') LOOP
		PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
	END LOOP;
END $$;

\echo '9. The workflow of step 8 again, its activity now the shell script.  What cancelling'
\echo '   means for a process is SIGTERM; its trap cleans up and says how far it was.'
\echo
\set ECHO queries
SELECT wf_start('export-2', 'impatient', '{"task_queue": "processes"}');
CALL wait_for('export-2', 'Completed');
SELECT * FROM story('export-2');
SELECT wf_result('export-2');
\echo
\echo '10. The order whose code is a process: started anew for every workflow task, it reads'
\echo '    the history and prints what to do next.'
\echo
SELECT wf_start('order-6', 'order', '{"item": "book"}', task_queue => 'processes');
CALL wait_for('order-6', 'TimerStarted');
SELECT wf_cancel('order-6', 'changed my mind');
CALL wait_for('order-6', 'Canceled');
SELECT * FROM story('order-6');
\echo
\echo '11. Code with a bug is stuck, whatever it is written in, and does not react to a cancel.'
\echo '    Terminate ends it.  (Or mend the code: the workflow goes on by itself.)'
\echo
SELECT wf_start('order-7', 'order', '{"item": "anvil"}', task_queue => 'processes');
CALL wait_for('order-7', 'WorkflowTaskFailed');
SELECT wf_cancel('order-7', 'changed my mind');
SELECT status, cancel_requested FROM wf.execution WHERE workflow_id = 'order-7' AND is_current;
SELECT wf_terminate('order-7', 'its code is broken');
SELECT * FROM story('order-7');

\set ECHO none
CALL claim_story('export-2', 'Started, A.Scheduled export, TimerStarted, TimerFired, A.CancelRequested, A.Canceled, Completed');
CALL claim($$ wf_result('export-2') ->> 'details' ~ '^stopped after part \d+$' $$);
CALL claim_story('order-6', 'Started, Marker, TimerStarted, CancelRequested, TimerCanceled, Marker, Marker, Canceled');
CALL claim_story('order-7', 'Started, WorkflowFailed, CancelRequested(, WorkflowFailed)?, Terminated');
CALL claim($$ count(*) = 0 FROM wf.execution e, wf_check(e.workflow_id) WHERE e.workflow_id ~ '^(export-2|order-[67])$' $$);
