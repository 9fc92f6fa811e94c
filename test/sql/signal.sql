-- Signals, and signal with start
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_signal');

-- Idle: the signal, and a workflow task for it, in one batch.
SELECT new_idle('a');
SELECT wf_signal('a', 'hello', '{"n": 1}');
SELECT h('a');
SELECT ev('a', 5);
-- A workflow task is scheduled: no second one.
SELECT wf_signal('a', 'again');
SELECT h('a');
SELECT poll('a');
-- A workflow task is started: it waits, invisible, for its end.
SELECT wf_signal('a', 'third', identity => 'someone', request_id => 'r3');
SELECT h('a');
SELECT reply('a');
SELECT h('a');
SELECT ev('a', 7);
-- Any name; the input is what was given.
SELECT wf_signal('a', E'it''s "quoted"\n', 'null', identity => 'someone');
SELECT attributes - 'identity' FROM wf.event WHERE run_id = run_id_of('a') ORDER BY event_id DESC LIMIT 1;

-- Request ids: a second signal of the same id is a success and writes nothing.
SELECT new_idle('dup');
SELECT wf_signal('dup', 's', '1', request_id => 'r1');
SELECT wf_signal('dup', 's', '2', request_id => 'r1');
SELECT wf_signal('dup', 'other', '3', request_id => 'r1');
SELECT h('dup');
SELECT wf_signal('dup', 's', '4', request_id => 'r2');
-- While buffered, too.
SELECT poll('dup');
SELECT wf_signal('dup', 's', '5', request_id => 'r3');
SELECT wf_signal('dup', 's', '6', request_id => 'r3');
SELECT wf_signal('dup', 's', '7', request_id => 'r1');
SELECT reply('dup');
SELECT event_id, attributes -> 'input', attributes ->> 'request_id' FROM wf.event
	WHERE run_id = run_id_of('dup') AND event_type = 'WorkflowExecutionSignaled' ORDER BY event_id;
-- Checked before whether the run is open.
SELECT wf_terminate('dup');
SELECT wf_signal('dup', 's', request_id => 'r1');
SELECT raises($$SELECT wf_signal('dup', 's', request_id => 'r4')$$);
SELECT raises($$SELECT wf_signal('dup', 's')$$);
-- The set of seen ids belongs to the run.
SELECT new('dup');
SELECT wf_signal('dup', 's', request_id => 'r1');
SELECT h('dup/2');

-- Which run: the current one, or the one named.
SELECT raises($$SELECT wf_signal('dup', 's', run_id => run_id_of('dup'))$$);
SELECT wf_signal('dup', 's', run_id => run_id_of('dup/2'));
SELECT raises($$SELECT wf_signal('nobody', 's')$$);
SELECT raises($$SELECT wf_signal('dup', 's', run_id => '00000000-0000-7000-8000-000000000000')$$);
SELECT raises($$SELECT wf_signal('a', 's', run_id => run_id_of('dup/2'))$$);
SELECT h('dup/2');

-- Signal with start: starts and signals before the first workflow task, one batch.
SELECT named('sws', wf_signal_with_start('sws', 'Type', 'hello', '{"s": 1}', '{"i": 2}', task_queue => 'sws', identity => 'client'));
SELECT h('sws');
SELECT ev('sws');
SELECT poll('sws');
-- The run is open: only the signal; the rest does not count.
SELECT named('sws', wf_signal_with_start('sws', 'Other', 'again', '3', '4', identity => 'client'));
SELECT reply('sws');
SELECT h('sws');
SELECT workflow_type FROM wf.execution WHERE run_id = run_id_of('sws');
SELECT wf_pause('sws');
SELECT named('sws', wf_signal_with_start('sws', 'Type', 'while paused'));
SELECT h('sws');
-- Terminate the open run instead.
SELECT named('sws', wf_signal_with_start('sws', 'Type', 'fresh', id_conflict_policy => 'TerminateExisting'));
SELECT h('sws'), h('sws/2');
-- Closed: the reuse policy.
SELECT wf_terminate('sws');
SELECT raises($$SELECT wf_signal_with_start('sws', 'Type', 's', id_reuse_policy => 'RejectDuplicate')$$);
SELECT named('sws', wf_signal_with_start('sws', 'Type', 's', id_reuse_policy => 'AllowDuplicateFailedOnly', task_queue => 'sws'));
SELECT poll('sws'), reply('sws', commands(c_complete()));
SELECT raises($$SELECT wf_signal_with_start('sws', 'Type', 's', id_reuse_policy => 'AllowDuplicateFailedOnly')$$);
SELECT h('sws/3');
-- The request id covers both halves.
SELECT named('req', wf_signal_with_start('req', 'Type', 's', request_id => 'r1'));
SELECT named('req', wf_signal_with_start('req', 'Type', 's', request_id => 'r1'));
SELECT h('req');
SELECT named('req', wf_signal_with_start('req', 'Type', 's', request_id => 'r2'));
SELECT named('req', wf_signal_with_start('req', 'Type', 's', request_id => 'r2'));
SELECT h('req');
-- With a start delay: recorded, and no workflow task yet.
SELECT named('late', wf_signal_with_start('late', 'Type', 's', start_delay => '1 hour', task_queue => 'late'));
SELECT named('late', wf_signal_with_start('late', 'Type', 's'));
SELECT h('late'), poll('late');
SELECT raises($$SELECT wf_signal_with_start('late', 'Type', 's', id_conflict_policy => 'Fail')$$);
SELECT raises($$SELECT wf_signal_with_start('x', 'Type', 's', retry_policy => '{}')$$);
SELECT raises($$SELECT wf_signal_with_start('x', 'Type', 's', cron_schedule => '* * * * *')$$);

SELECT test_end();
