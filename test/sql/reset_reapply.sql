-- Reset: signals that came behind the point, and signals given with it
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_reset_reapply');

-- Signals before and behind the point: each once, in order, with all they had.
CREATE FUNCTION new_signaled(workflow_id text) RETURNS text LANGUAGE plpgsql SET search_path = public, test AS $$
DECLARE
	run text := new_idle(workflow_id);
BEGIN
	PERFORM wf_signal(workflow_id, 'one', '{"n": 1}', request_id => 'r1', identity => 'client');
	PERFORM poll(workflow_id), reply(workflow_id, commands(c_marker('m')));
	PERFORM wf_signal(workflow_id, 'two', '[2]', request_id => 'r2', identity => 'client');
	PERFORM wf_cancel(workflow_id, 'stop');
	PERFORM poll(workflow_id), wf_signal(workflow_id, 'three', NULL, request_id => 'r3', identity => 'other');
	PERFORM reply(workflow_id);
	PERFORM wf_signal(workflow_id, 'four', '4', identity => 'client');
	RETURN h(workflow_id);
END $$;
SELECT new_signaled('w'), signals('w');
SELECT plan('w', 8);
SELECT reset('w', 8);
SELECT h('w/2'), signals('w/2');
SELECT ev('w/2', 9, 11);
SELECT signal_count, cancel_requested FROM wf.execution WHERE run_id = run_id_of('w/2');
-- ... request ids stay known, copied and re-applied
SELECT request_id FROM wf.signal_request WHERE run_id = run_id_of('w/2') ORDER BY 1;
SELECT wf_signal('w', 'one', request_id => 'r1'), wf_signal('w', 'three', request_id => 'r3'), wf_signal('w', 'new', request_id => 'r4'), signals('w/2');
-- ... a reset of the reset run at the same place: the same list, not doubled
SELECT reset('w', 8, run => 'w/2'), signals('w/3');
SELECT reset('w', 8), signals('w/4');
-- ... and at the start
SELECT reset('w', 4), signals('w/5');
-- Excluded.
SELECT plan('w', 8, run => 'w', exclude => '{Signal}');
SELECT reset('w', 8, run => 'w', exclude => '{Signal}'), signals('w/6');
SELECT request_id FROM wf.signal_request WHERE run_id = run_id_of('w/6') ORDER BY 1;
SELECT wf_signal('w', 'two', request_id => 'r2'), signals('w/6');
SELECT reset('w', 8, run => 'w', exclude => '{Update,Nexus,CancelRequest}'), signals('w/7'), cancel_requested FROM wf.execution WHERE run_id = run_id_of('w/6');
SELECT cancel_requested FROM wf.execution WHERE run_id = run_id_of('w/7');
SELECT reset('w', 8, run => 'w', exclude => '{Signal,Update,Nexus,CancelRequest,Signal}'), signals('w/8');
-- All of them in the kept part: none is re-applied.
SELECT poll('w'), reply('w', commands(c_marker('x'))), reset('w', 11), signals('w/9');

-- Signals in the buffer come over, and stay in the old run's history.
SELECT new_polled('b'), wf_signal('b', 's1', '1', request_id => 'x'), wf_signal('b', 's2', '2'), wf_cancel('b');
SELECT plan('b', 3);
SELECT reset('b', 3), h('b'), h('b/2'), signals('b/2');
SELECT poll('b'), wf_signal('b', 's3'), wf_signal('b', 's1', request_id => 'x');
SELECT plan('b', 8, exclude => '{Signal}');
SELECT reset('b', 8, exclude => '{Signal}'), h('b/2'), signals('b/3');
-- ... those of a current run that is not in the base's chain are lost with it
SELECT poll('b'), wf_signal('b', 's4');
SELECT plan('b', 3, run => 'b');
SELECT reset('b', 3, run => 'b'), signals('b/3'), signals('b/4');

-- Signals given with the reset: at the end, all or none.
SELECT reset('w', 8, run => 'w', signals => '[{"signal_name": "fixed", "input": {"by": "me"}}, {"signal_name": "two", "request_id": "r2"}, {"signal_name": "more", "request_id": "r9"}, {"signal_name": "more", "request_id": "r9"}]');
SELECT signals('w/10');
SELECT ev('w/10', 12, 13);
SELECT plan('w', 8, run => 'w', signals => '[{"signal_name": "fixed", "input": {"by": "me"}}, {"signal_name": "two", "request_id": "r2"}, {"signal_name": "more", "request_id": "r9"}, {"signal_name": "more", "request_id": "r9"}]');
SELECT wf_signal('w', 'more', request_id => 'r9'), signals('w/10');
SELECT reset('w', 8, run => 'w', exclude => '{Signal,Update,Nexus,CancelRequest}', signals => '[{"signal_name": "only"}]'), signals('w/11');
SELECT reset('w', 8, signals => '[]'), signals('w/12');
-- ... limits hold for them, and nothing is done when they do not fit
SET workflow_interrupt.max_signals = 4;
SELECT raises($$SELECT wf_reset('w', 8, run_id => run_id_of('w'), signals => '[{"signal_name": "fifth"}]')$$);
-- ... as the plan says
SELECT raises($$SELECT wf_reset_plan('w', 8, run_id_of('w'), signals => '[{"signal_name": "fifth"}]')$$);
SELECT plan('w', 8, run => 'w', exclude => '{Signal}', signals => '[{"signal_name": "second"}]');
SELECT reset('w', 8, run => 'w'), signals('w/13');
RESET workflow_interrupt.max_signals;

-- A base that has continued as new: its successors' signals, too, one after
-- the other; the commands to do so are another part's, so the events are made by hand.
SELECT new_idle('chain'), wf_signal('chain', 'a1', '1', request_id => 'a'), poll('chain'), reply('chain', commands(c_complete()));
SELECT new_idle('chain'), wf_signal('chain', 'b1', '2', request_id => 'b'), poll('chain'), reply('chain', commands(c_complete()));
SELECT new_polled('chain'), wf_signal('chain', 'c1', '3'), h('chain/3');
UPDATE wf.event SET event_type = 'WorkflowExecutionContinuedAsNew', attributes = jsonb_build_object('new_execution_run_id', run_id_of('chain/2'))
	WHERE run_id = run_id_of('chain') AND event_type = 'WorkflowExecutionCompleted';
UPDATE wf.execution SET status = 'ContinuedAsNew' WHERE run_id = run_id_of('chain');
UPDATE wf.event SET event_type = 'WorkflowExecutionContinuedAsNew', attributes = jsonb_build_object('new_execution_run_id', run_id_of('chain/3'))
	WHERE run_id = run_id_of('chain/2') AND event_type = 'WorkflowExecutionCompleted';
UPDATE wf.execution SET status = 'ContinuedAsNew' WHERE run_id = run_id_of('chain/2');
SELECT plan('chain', 4, run => 'chain');
BEGIN;
SELECT reset('chain', 4, run => 'chain'), signals('chain/4'), h('chain/3');
ROLLBACK;
DELETE FROM known_run WHERE name = 'chain/4';
-- ... but not behind another end
UPDATE wf.event SET event_type = 'WorkflowExecutionCompleted' WHERE run_id = run_id_of('chain/2') AND event_type = 'WorkflowExecutionContinuedAsNew';
UPDATE wf.execution SET status = 'Completed' WHERE run_id = run_id_of('chain/2');
BEGIN;
SELECT reset('chain', 4, run => 'chain'), signals('chain/4');
ROLLBACK;
DELETE FROM known_run WHERE name = 'chain/4';
-- ... nor behind a run that is gone
DELETE FROM wf.event WHERE run_id = run_id_of('chain/2');
DELETE FROM wf.signal_request WHERE run_id = run_id_of('chain/2');
DELETE FROM wf.execution WHERE run_id = run_id_of('chain/2');
SELECT reset('chain', 4, run => 'chain'), signals('chain/4'), lineage('chain/4');

-- Many.
SELECT new_idle('many');
SELECT count(wf_signal('many', 's', to_jsonb(i), request_id => 'r' || i)) FROM generate_series(1, 500) i;
SELECT count(*), count(*) FILTER (WHERE event_type = 'WorkflowExecutionSignaled'), max(event_id) FROM wf_reset('many', 4);
SELECT current_run('many'), count(*) FROM wf.signal_request WHERE run_id = run_id_of(current_run('many'));
SELECT count(*), bool_and((attributes ->> 'input')::int = event_id - 4) FROM wf.event
	WHERE run_id = run_id_of('many/2') AND event_type = 'WorkflowExecutionSignaled';

DROP FUNCTION new_signaled;
-- Nothing is wrong but with the run that was made to continue in another one.
DELETE FROM wf.event WHERE run_id = run_id_of('chain');
DELETE FROM wf.signal_request WHERE run_id = run_id_of('chain');
DELETE FROM wf.execution WHERE run_id = run_id_of('chain');
SELECT activity_end();
