-- Reset: the worked example, the points, which runs change
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_reset');

-- A run that is in the middle of everything.
SELECT new_example('w');
SELECT acts('w');
SELECT points('w');
SELECT plan('w', 10);
SELECT reset('w', 10);
SELECT h('w');
SELECT ev('w', 15);
SELECT h('w/2'), kept('w/2');
SELECT ev('w/2', 10);
SELECT lineage('w');
SELECT lineage('w/2');
SELECT status, cancel_requested, start_time > (SELECT start_time FROM wf.execution b WHERE b.run_id = e.base_run_id) AS later,
	execution_time = start_time, start_time = last_event_time, signal_count, pending_timers, pending_activities, previous_started_event_id
	FROM wf.execution e WHERE run_id = run_id_of('w/2');
SELECT acts('w/2'), heartbeat_details IS NULL, last_failure IS NULL, scheduled_time = start_time, first_scheduled_time = start_time
	FROM wf.activity JOIN wf.execution USING (shard, run_id) WHERE run_id = run_id_of('w/2');
-- ... the timer keeps its time
SELECT timer_id, started_event_id, fire_time = (SELECT event_time + interval '1 hour' FROM wf.event v WHERE v.run_id = run_id_of('w') AND v.event_id = 6)
	FROM wf.timer WHERE run_id = run_id_of('w/2');
SELECT acts('w'), (SELECT count(*) FROM wf.timer WHERE run_id = run_id_of('w')) AS timers;
-- ... the old run's workers are out
SELECT raises($$SELECT beat('a@w')$$);
SELECT raises($$SELECT done('b@w')$$);
SELECT raises($$SELECT reply('w')$$);
SELECT raises($$SELECT wt_fail('w')$$);
-- ... the new run is worked on, with its history
SELECT poll('w');
SELECT apoll('w'), apoll('w');
SELECT beat('a@w', '1'), done('a@w');
SELECT reply('w', commands(c_complete()));
SELECT poll('w');
SELECT reply('w', commands(c_complete('"done"')));
SELECT h('w/2'), wf_result('w');
SELECT jsonb_path_query_array(wf_describe('w') -> 'workflow_extended_info', '$.keyvalue().key'),
	clean((wf_describe('w') -> 'workflow_extended_info')::text);

-- Points.  Only a first workflow task, scheduled: none.
SELECT new('first');
SELECT points('first');
SELECT raises($$SELECT wf_reset('first', 2)$$);
SELECT raises($$SELECT wf_reset('first', 3)$$);
SELECT raises($$SELECT wf_reset_point('first', 'LastWorkflowTask')$$);
-- ... with a signal behind it
SELECT wf_signal('first', 'early', identity => 'client');
SELECT points('first');
SELECT wf_reset_point('first', 'LastWorkflowTask'), wf_reset_point('first', 'FirstWorkflowTask');
SELECT reset('first', 3);
SELECT h('first/2');
SELECT points('first');
-- Started: before WorkflowTaskStarted.
SELECT new_polled('started');
SELECT points('started');
SELECT reset('started', 3);
SELECT ev('started/2', 3, 4);
SELECT h('started'), h('started/2'), raises($$SELECT reply('started')$$);
-- A signal between schedule and start.
SELECT new('between'), wf_signal('between', 's', identity => 'client'), poll('between'), reply('between');
SELECT reset('between', 3), h('between/2');
SELECT reset('between', 4, run => 'between'), h('between/3');
SELECT reset('between', 5, run => 'between'), h('between/4');
-- Not at a boundary, not with a pending task, out of range.
SELECT new_idle('p'), wf_signal('p', 's1'), wf_signal('p', 's2'), poll('p');
SELECT reply('p', commands(c_marker('1'), c_marker('2'), c_timer('t', '1 hour'))), wf_signal('p', 's3'), h('p');
SELECT points('p');
SELECT raises(format('SELECT wf_reset(%L, %s)', 'p', i)) FROM generate_series(-1, 14) i WHERE i NOT IN (SELECT event_id FROM wf_reset_points('p'));
SELECT raises($$SELECT wf_reset('p', NULL)$$);
SELECT raises($$SELECT wf_reset('p', 9223372036854775807)$$);
SELECT wf_reset('p', 5);
SELECT wf_reset('p', 10);
SELECT wf_reset('p', 2);
-- ... every point is one
SELECT i, reset('p', i, run => 'p'), h('p/' || n) FROM (SELECT event_id AS i, row_number() OVER (ORDER BY event_id) + 1 AS n
	FROM wf_reset_points('p')) x ORDER BY n;
-- Never a workflow task, or a run that only waits: no point at all.
SELECT new('delayed', start_delay => '1 hour'), wf_signal('delayed', 's');
SELECT points('delayed');
SELECT wf_reset('delayed', 2);
-- A workflow task that fails and fails: the cut is made of nothing stored.
SELECT new_transient('transient'), wf_signal('transient', 's', identity => 'client'), wt_fail('transient'), h('transient');
SELECT points('transient');
SELECT reset('transient', 5), h('transient/2');
SELECT ev('transient/2', 5, 7);
-- ... and one that has completed is like any other
SELECT new_transient('completed'), reply('completed', commands(c_marker('m'))), h('completed');
SELECT points('completed');
SELECT reset('completed', 7), h('completed/2');
SELECT ev('completed/2', 5, 8);
SELECT new_transient('overtaken'), wt_fail('overtaken'), wf_signal('overtaken', 's1', identity => 'client'), wf_signal('overtaken', 's2', identity => 'client');
SELECT h('overtaken');
SELECT points('overtaken');
SELECT reset('overtaken', 6), h('overtaken/2');
SELECT ev('overtaken/2', 6, 7);
SELECT poll('overtaken'), reply('overtaken', commands(c_complete())), h('overtaken/2');
-- ... behind the WorkflowTaskFailed of an attempt, too
SELECT new_polled('failed'), wt_fail('failed'), poll('failed'), reply('failed'), h('failed');
SELECT points('failed');
SELECT reset('failed', 5), h('failed/2');
SELECT ev('failed/2', 5, 7);

-- Kinds of points.
SELECT new_idle('kinds'), wf_signal('kinds', 's'), poll('kinds'), reply('kinds'), wf_signal('kinds', 's'), poll('kinds');
SELECT wf_reset_point('kinds', 'FirstWorkflowTask'), wf_reset_point('kinds', 'LastWorkflowTask');
-- ... none is done: behind the first and the last that was scheduled
SELECT new_polled('undone'), wf_signal('undone', 's'), wt_fail('undone'), poll('undone') <> 'nothing', h('undone');
SELECT wf_reset_point('undone', 'FirstWorkflowTask'), wf_reset_point('undone', 'LastWorkflowTask');
-- A description is short, whatever the names are.
SELECT new('long'), wf_terminate('long', repeat('é', 10000));
SELECT event_id, length(description), left(description, 40), right(description, 5) FROM wf_reset_points('long');
SELECT new_polled('dots'), wf_signal('dots', repeat('a.', 90)), wf_signal('dots', repeat('b.', 90)), wf_signal('dots', 'c'), wt_fail('dots');
SELECT event_id, length(description), description FROM wf_reset_points('dots') LIMIT 1;
SELECT raises($$SELECT wf_reset_point('kinds', 'Somewhere')$$);
SELECT raises($$SELECT wf_reset_point('kinds', NULL)$$);
SELECT raises($$SELECT wf_reset_point('nothing', 'LastWorkflowTask')$$);
SELECT raises($$SELECT wf_reset_points('nothing')$$);
SELECT raises($$SELECT wf_reset_points('kinds', gen_random_uuid())$$);
-- Before an activity of a type was scheduled, by time.
SELECT event_id FROM wf_reset_points('w', run_id_of('w')) WHERE description LIKE '%ActivityTaskScheduled Act%' ORDER BY event_time LIMIT 1;

-- Which runs change.  Base is current and closed: its history and status stay.
SELECT new_idle('closed'), wf_signal('closed', 's'), poll('closed'), reply('closed', commands(c_complete('1'))), h('closed');
SELECT reset('closed', wf_reset_point('closed', 'LastWorkflowTask'));
SELECT h('closed'), lineage('closed');
SELECT h('closed/2'), lineage('closed/2');
-- Base is older, and current open: that one is terminated, and the base learns of the reset.
SELECT reset('closed', 4, 'again', run => 'closed');
SELECT h('closed/2'), lineage('closed/2'), ev('closed/2', 9);
SELECT lineage('closed'), lineage('closed/3'), h('closed/3');
-- ... or another chain's
SELECT wf_terminate('closed', 'make room'), new('closed'), lineage('closed/4');
SELECT reset('closed', 4, run => 'closed');
SELECT h('closed/4'), lineage('closed/4');
SELECT lineage('closed'), lineage('closed/5');
-- Base is older, and current closed: untouched.
SELECT poll('closed'), reply('closed', commands(c_fail())), h('closed/5');
SELECT reset('closed', 4, run => 'closed/3');
SELECT h('closed/5'), lineage('closed/5'), lineage('closed/3'), lineage('closed/6');
-- Current is missing.
SELECT wf_terminate('closed', 'gone');
DELETE FROM wf.event WHERE run_id = run_id_of('closed/6');
DELETE FROM wf.execution WHERE run_id = run_id_of('closed/6');
SELECT raises($$SELECT wf_reset('closed', 4)$$);
SELECT reset('closed', 4, run => 'closed'), lineage('closed/7'), h('closed/7');
-- The new run lives on without its base.
SELECT new_idle('base'), reset('base', 4);
DELETE FROM wf.event WHERE run_id = run_id_of('base');
DELETE FROM wf.execution WHERE run_id = run_id_of('base');
SELECT poll('base'), reply('base', commands(c_complete())), h('base/2'), lineage('base/2');

-- ... nor without what the base's large attributes are stored in
SELECT new_polled('large'), reply('large', jsonb_build_array(c_marker('m') || jsonb_build_object('details',
	(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i))), force => true), poll('large');
SELECT reset('large', 7), kept('large/2');
DELETE FROM wf.event WHERE run_id = run_id_of('large');
DELETE FROM wf.execution WHERE run_id = run_id_of('large');
VACUUM wf.event;
SELECT event_id, length(attributes ->> 'details'), md5(attributes ->> 'details') = (SELECT md5(string_agg(md5(i::text), '')) FROM generate_series(1, 1000) i)
	FROM wf.event WHERE run_id = run_id_of('large/2') AND event_type = 'MarkerRecorded';
-- A trigger on the events sees the copies, too.
CREATE TABLE seen (event_id bigint);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test.seen VALUES (NEW.event_id);
	RETURN NULL;
END $$;
SELECT new_idle('watched');
CREATE TRIGGER see AFTER INSERT ON wf.event FOR EACH ROW EXECUTE FUNCTION see();
SELECT reset('watched', 4), kept('watched/2');
SELECT string_agg(event_id::text, ' ' ORDER BY event_id) FROM seen;
DROP TRIGGER see ON wf.event;
DROP FUNCTION see();
DROP TABLE seen;
-- ... and a column that somebody has added is no obstacle.
BEGIN;
ALTER TABLE wf.event ADD COLUMN note text DEFAULT 'none';
SELECT new_idle('noted'), reset('noted', 4), kept('noted/2');
SELECT count(*) FROM wf.event WHERE run_id = run_id_of('noted/2') AND note = 'none';
ROLLBACK;
DELETE FROM known_run WHERE name LIKE 'noted%';

-- Resets in a row, each of the one before.
SELECT new_idle('row'), wf_signal('row', 's', identity => 'client'), poll('row'), reply('row', commands(c_marker('m')));
SELECT reset('row', 8);
SELECT reset('row', 8);
SELECT reset('row', 8);
SELECT reset('row', 8);
SELECT reset('row', 8);
SELECT lineage(n) FROM unnest('{row,row/2,row/3,row/4,row/5,row/6}'::text[]) n;
SELECT h('row/6');
SELECT points('row');
SELECT ev('row/6', 8);
-- ... behind the mark of an earlier reset, which is kept as it was
SELECT poll('row'), reply('row', commands(c_marker('n'))), h('row/6');
SELECT reset('row', 11), h('row/7');
SELECT attributes ->> 'new_run_id' = run_id_of('row/6')::text, attributes ->> 'base_run_id' = run_id_of('row/5')::text
	FROM wf.event WHERE run_id = run_id_of('row/7') AND event_id = 8;
-- ... five times from one base
SELECT reset('row', 4, run => 'row') FROM generate_series(1, 3);
SELECT lineage(n) FROM unnest('{row,row/7,row/8,row/9,row/10}'::text[]) n;

-- Closed in other ways.  Timed out: the whole time-out again.
SELECT new('timed', run_timeout => '1 second', execution_timeout => '1 hour'), poll('timed'), reply('timed'), wait_for('timed', 'WfTimedOut');
BEGIN;
SELECT reset('timed', 4), h('timed/2');
SELECT run_expiration_time - start_time, execution_expiration_time - start_time, first_task_time FROM wf.execution WHERE run_id = run_id_of('timed/2');
SELECT poll('timed'), wait_for('timed/2', 'WfTimedOut');
COMMIT;
-- Terminated.
SELECT new_idle('terminated'), wf_terminate('terminated', 'oops'), reset('terminated', 4), h('terminated'), h('terminated/2');
-- Canceled: the request is lost when it came after the point ...
SELECT new_idle('canceled'), wf_cancel('canceled'), poll('canceled'), reply('canceled', commands(c_cancel())), h('canceled');
SELECT reset('canceled', 4), h('canceled/2'), cancel_requested FROM wf.execution WHERE run_id = run_id_of('canceled');
SELECT cancel_requested, wf_cancel('canceled') FROM wf.execution WHERE run_id = run_id_of('canceled/2');
-- ... and kept when it came before
SELECT reset('canceled', 7, run => 'canceled'), h('canceled/3');
SELECT cancel_requested, wf_cancel('canceled') FROM wf.execution WHERE run_id = run_id_of('canceled/3');
-- Paused: the new run is not.
SELECT new_idle('paused'), wf_pause('paused'), reset('paused', 4);
SELECT h('paused'), h('paused/2'), poll('paused');
-- ... nor if it was paused and went on before
SELECT wf_pause('paused'), reply('paused'), wf_unpause('paused'), poll('paused'), reply('paused'), h('paused/2');
SELECT points('paused');
SELECT reset('paused', 11), h('paused/3'), poll('paused');
-- Started after a delay: no delay again.
SELECT new('delay', start_delay => '1 hour'), wf_cancel('delay'), poll('delay'), reply('delay'), reset('delay', 5);
SELECT h('delay/2'), execution_time = start_time, first_task_time FROM wf.execution WHERE run_id = run_id_of('delay/2');
-- A workflow task, and a reply to it, in one transaction with the reset.
BEGIN;
SELECT new_polled('tx'), reply('tx', commands(c_marker('m'), c_complete())), reset('tx', 4), poll('tx'), reply('tx', commands(c_complete())), h('tx'), h('tx/2');
COMMIT;

-- Memo and search attributes are those of the kept events.
SELECT named('memo', wf_start('memo', 'Type', task_queue => 'memo', memo => '{"a": 1}', search_attributes => '{"S": "x"}', request_id => 'start'));
SELECT poll('memo'), reply('memo', '[{"command_type": "ModifyWorkflowProperties", "upserted_memo": {"a": 2, "b": 1}}]', force => true);
SELECT poll('memo'), reply('memo', '[{"command_type": "UpsertWorkflowSearchAttributes", "search_attributes": {"S": "y"}}]');
SELECT h('memo'), memo, search_attributes FROM wf.execution WHERE run_id = run_id_of('memo');
SELECT reset('memo', 8), h('memo/2');
SELECT memo, search_attributes, create_request_id FROM wf.execution WHERE run_id = run_id_of('memo/2');
-- ... a repeated start finds the new run
SELECT named('memo', wf_start('memo', 'Type', task_queue => 'memo', request_id => 'start'));

-- Rolled back: everything is as it was, and the workers go on.
SELECT new_example('back'), digest() AS before \gset
BEGIN;
SELECT reset('back', 4);
ROLLBACK;
SELECT digest() = :'before', h('back'), acts('back'), beat('a@back');
DELETE FROM known_run WHERE name = 'back/2';
BEGIN;
SAVEPOINT s;
SELECT reset('back', 4), acts('back');
ROLLBACK TO s;
COMMIT;
DELETE FROM known_run WHERE name = 'back/2';
SELECT digest() = :'before', done('a@back'), reply('back', commands(c_marker('m'))), h('back');

-- The same request id: the same run, and nothing is done.
SELECT new_idle('request'), reset('request', 4, request_id => 'r1'), lineage('request/2');
SELECT digest() AS before \gset
SELECT reset('request', 4, request_id => 'r1'), digest() = :'before';
SELECT reset('request', 4, request_id => 'r2'), lineage('request/3');
-- ... also when it is not the current one any more, and whatever the run
SELECT digest() AS before \gset
SELECT reset('request', 4, request_id => 'r1'), reset('request', 3, run => 'request', request_id => 'r2'), digest() = :'before';
-- ... even if there is no such point any more; ids are those of one workflow
SELECT reset('request', 40, request_id => 'r1'), digest() = :'before';
SELECT raises($$SELECT wf_reset('request', 40, request_id => 'r3')$$);
SELECT new_idle('request2'), reset('request2', 4, request_id => 'r1');
SELECT raises($$SELECT wf_reset('request', 4, request_id => repeat('x', 1001))$$);

-- Many at once, from a statement; from PL/pgSQL, in its own block; in a trigger.
SELECT new_idle('many' || i) FROM generate_series(1, 3) i;
SELECT e.workflow_id, count(*), min(r.event_id), max(r.event_id) FROM wf.execution e,
	wf_reset(e.workflow_id, wf_reset_point(e.workflow_id, 'LastWorkflowTask', e.run_id), 'bad deploy', run_id => e.run_id) r
	WHERE e.workflow_id LIKE 'many%' AND e.is_current GROUP BY 1 ORDER BY 1;
SELECT workflow_id, string_agg(status::text, ' ' ORDER BY start_time) FROM wf.execution WHERE workflow_id LIKE 'many%' GROUP BY 1 ORDER BY 1;
DO $$
BEGIN
	PERFORM wf_reset('many1', 4);
	BEGIN
		PERFORM wf_reset('many1', 4);
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
	END;
	BEGIN
		PERFORM wf_reset('many1', 1);
	EXCEPTION WHEN SQLSTATE 'WF008' THEN
		PERFORM wf_reset('many2', 4);
	END;
END $$;
SELECT workflow_id, count(*) FROM wf.execution WHERE workflow_id LIKE 'many%' GROUP BY 1 ORDER BY 1;
CREATE TABLE fix (workflow_id text, event_id bigint);
CREATE FUNCTION fix() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	PERFORM wf_reset(NEW.workflow_id, NEW.event_id);
	RETURN NULL;
END $$;
CREATE TRIGGER fix AFTER INSERT ON fix FOR EACH ROW EXECUTE FUNCTION fix();
INSERT INTO fix VALUES ('many1', 4), ('many3', 3);
SELECT workflow_id, count(*) FROM wf.execution WHERE workflow_id LIKE 'many%' GROUP BY 1 ORDER BY 1;
DROP TABLE fix;
DROP FUNCTION fix();
SELECT (wf_reset('many2', 3)).event_id;
SELECT event_id FROM wf_reset('many2', 3) LIMIT 1;

-- Errors.
SELECT raises($$SELECT wf_reset('nothing', 4)$$);
SELECT raises($$SELECT wf_reset('p', 4, run_id => gen_random_uuid())$$);
SELECT raises($$SELECT wf_reset('p', 4, run_id => run_id_of('w'))$$);
SELECT raises($$SELECT wf_reset('p', 4, namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_reset(NULL, 4)$$);
SELECT raises($$SELECT wf_reset('', 4)$$);
SELECT raises($$SELECT wf_reset('p', 4, repeat('x', 3000000))$$);
SELECT raises($$SELECT wf_reset('p', 4, reapply_exclude => '{Signal,Signals}')$$);
SELECT raises($$SELECT wf_reset('p', 4, reapply_exclude => '{NULL}')$$);
SELECT raises(format('SELECT wf_reset(%L, 4, signals => %L)', 'p', s)) FROM unnest('{"{}",3,"[3]","[{}]","[{\"signal_name\": 1}]","[{\"signal_name\": \"\"}]","[{\"signal_name\": \"s\", \"inputs\": 1}]","[{\"signal_name\": \"s\", \"request_id\": 1}]"}'::text[]) s;
BEGIN READ ONLY;
SELECT wf_reset('p', 4);
ROLLBACK;
-- Not worth a failure: no reason, an empty one, NULL where that is nothing.
SELECT reset('p', 4, NULL, exclude => NULL), reset('p', 4, '', signals => 'null'::jsonb #> '{x}', request_id => '');
SELECT attributes - 'new_run_id' - 'base_run_id' FROM wf.event WHERE run_id = run_id_of('p/8') AND event_id = 4;

SELECT activity_end();
