\set id random(1, 1000000000000000)
SELECT wf_start('bench-' || :id, 'bench', task_queue => 'bench-' || :client_id);
SELECT wf_cancel('bench-' || :id, 'no reason');
SELECT task_token AS token FROM wf_poll_workflow_task('bench-' || :client_id) \gset
SELECT accepted FROM wf_respond_workflow_task_completed(:token, '[{"command_type": "CancelWorkflowExecution"}]');
