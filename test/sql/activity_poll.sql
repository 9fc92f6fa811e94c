-- wf_poll_activity_task(), and when ActivityTaskStarted is written
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_activity_poll');

-- All that a worker needs.
SELECT new_polled('a');
SELECT reply('a', commands(c_act('1', '{"activity_type": "charge", "input": {"n": 1}, "schedule_to_close_timeout": "600s", "start_to_close_timeout": "300s", "heartbeat_timeout": "50s"}')));
CREATE TEMP TABLE polled AS SELECT * FROM wf_poll_activity_task('a', identity => 'worker');
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'polled'::regclass AND attnum > 0;
SELECT workflow_id, run_id = run_id_of('a'), workflow_type, activity_id, activity_type, attempt, input, heartbeat_details,
	schedule_to_close_timeout, start_to_close_timeout, heartbeat_timeout, task_token <> '' FROM polled;
SELECT p.scheduled_time = v.event_time, p.started_time BETWEEN p.scheduled_time AND clock_timestamp()
	FROM polled p JOIN wf.event v USING (run_id) WHERE event_id = 5;
-- It is not in the history, but in the table.
SELECT h('a');
SELECT a.state, a.attempt, a.started_time = p.started_time, a.scheduled_time = p.scheduled_time, a.last_worker_identity
	FROM wf.activity a JOIN polled p USING (run_id);
-- Time-outs that are not set are NULL, as is an input that was not given.
SELECT new_act('b');
SELECT input, heartbeat_details, schedule_to_close_timeout, start_to_close_timeout, heartbeat_timeout FROM wf_poll_activity_task('b');
-- It is taken.
SELECT apoll('a'), apoll('b'), apoll('no such queue');
-- With the end comes the start, in one batch; its time is that of the start.
SELECT wf_signal('a', 's1'), work('a'), reply('a');
SELECT wf_respond_activity_task_completed(task_token, '{"total": 1.50}', 'worker 2') FROM polled;
SELECT h('a');
SELECT ev('a', 9);
SELECT event_id, event_time = started_time FROM wf.event v JOIN polled p USING (run_id) WHERE event_type = 'ActivityTaskStarted';
SELECT acts('a'), pending_activities FROM wf.execution WHERE run_id = run_id_of('a');
-- However many attempts: the last one's number and what the one before said.
SELECT new_waiting('c', '{"retry_policy": {"initial_interval": "0.001s"}}', '{"message": "first", "type": "T"}');
SELECT h('c');
SELECT wait_apoll('c');
SELECT failed('1@c', '{"message": "second", "type": "T", "details": {"a": 1}, "cause": {"message": "deeper"}}');
SELECT wait_apoll('c'), done('1@c');
SELECT h('c');
SELECT ev('c', 6);

-- Several at once, in order of arrival, of several runs; never more than asked for.
SELECT named('m' || i, wf_start('m' || i, 'Type', task_queue => 'many')) FROM generate_series(1, 3) i;
SELECT wf_respond_workflow_task_completed(task_token, commands(c_act('x'), c_act('y'))) FROM wf_poll_workflow_task('many', 10);
SELECT count(*), count(DISTINCT task_token) FROM wf_poll_activity_task('many', 2);
SELECT count(*), count(DISTINCT (run_id, activity_id)) FROM wf_poll_activity_task('many', max_tasks => 1000);
SELECT count(*) FROM wf_poll_activity_task('many');
SELECT raises($$SELECT wf_poll_activity_task('many', 0)$$);
SELECT raises($$SELECT wf_poll_activity_task('many', 1001)$$);
SELECT raises($$SELECT wf_poll_activity_task('many', -1)$$);

-- Queues: of a kind, of a name, of a namespace.
SELECT new_polled('q');
SELECT reply('q', commands(c_act('1', '{"task_queue": "q-acts"}'), c_act('2')));
SELECT poll('q-acts'), poll('q');
SELECT apoll('q'), apoll('q'), apoll('Q-acts'), apoll('q-acts');
SELECT wf_create_namespace('test_activity_poll_2');
SELECT new_act('n');
SELECT count(*) FROM wf_poll_activity_task('n', namespace => 'test_activity_poll_2');
SELECT count(*) FROM wf_poll_activity_task('n', namespace => 'test_activity_poll');
SELECT named('n2', wf_start('n', 'Type', task_queue => 'n', namespace => 'test_activity_poll_2'));
SELECT accepted FROM wf_poll_workflow_task('n', namespace => 'test_activity_poll_2'), wf_respond_workflow_task_completed(task_token, commands(c_act('1')));
SELECT apoll('n');
SELECT named(workflow_id, run_id), activity_id FROM wf_poll_activity_task('n', namespace => 'test_activity_poll_2');
-- By id, in that namespace only.
SELECT wf_respond_activity_task_completed_by_id('n', '1', namespace => 'test_activity_poll_2');
SELECT h('n'), h('n2');
SELECT raises($$SELECT wf_poll_activity_task('n', namespace => 'nowhere')$$);

-- Work created earlier in the same transaction.
BEGIN;
SELECT new_act('same');
SELECT apoll('same');
SELECT done('1@same');
COMMIT;
SELECT h('same');
-- A poll that is rolled back has not happened.
BEGIN;
SELECT new_act('back');
COMMIT;
BEGIN;
SELECT apoll('back', 'lost');
ROLLBACK;
SELECT acts('back'), apoll('back');

-- Rows in the queue that do not fit any more are never handed out: the run
-- is closed, the activity too, or in another attempt.
SELECT new_act('gone1', n => 2), wf_terminate('gone1'), apoll('gone1');
SELECT new_act('gone2'), wf_respond_activity_task_completed_by_id('gone2', '1', identity => 'by hand'), apoll('gone2');
SELECT ev('gone2', 6, 7);
SELECT new_act('gone3'), work('gone3');
SELECT reply('gone3', commands(c_cancel_act(5))), apoll('gone3');
CREATE TEMP TABLE old_row AS SELECT * FROM wf.task WHERE false;
SELECT new_act('gone4', '{"retry_policy": {"initial_interval": "0.001s"}}');
INSERT INTO old_row SELECT * FROM wf.task WHERE run_id = run_id_of('gone4') AND kind = 'a';
SELECT apoll('gone4', 'first');
INSERT INTO wf.task TABLE old_row;
SELECT apoll('gone4');
SELECT failed('first');
INSERT INTO wf.task TABLE old_row;
SELECT wait_apoll('gone4'), apoll('gone4');
SELECT raises($$SELECT done('first')$$);
SELECT done('1@gone4');
INSERT INTO wf.task TABLE old_row;
SELECT apoll('gone4');
SELECT h('gone4');

-- A paused run hands out nothing; what runs may end.
SELECT new_act('paused', '{"retry_policy": {"initial_interval": "0.001s"}}', 3), apoll('paused'), apoll('paused'), wf_pause('paused');
SELECT apoll('paused'), beat('1@paused'), done('1@paused'), failed('2@paused');
SELECT let_pass('paused', '2 milliseconds');
SELECT poll('paused'), apoll('paused'), acts('paused');
SELECT wf_unpause('paused');
SELECT h('paused');
SELECT poll('paused') <> 'nothing';
SELECT substr(task, 1, 1) FROM (VALUES (wait_apoll('paused')), (wait_apoll('paused'))) x (task) ORDER BY 1;
SELECT acts('paused'), apoll('paused');

-- Long details are stored once, and go with the activity.
CREATE FUNCTION pg_temp.long_values() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE (SELECT format('SELECT count(DISTINCT chunk_id) FROM %s', reltoastrelid::regclass)
		FROM pg_class WHERE oid = 'wf.activity'::regclass) INTO n;
	RETURN n;
END $$;
SELECT pg_temp.long_values() AS before \gset
SELECT new_act('long'), apoll('long'), beat('1@long', (SELECT to_jsonb(string_agg(md5(i::text), '')) FROM generate_series(1, 1000) i));
SELECT pg_temp.long_values() - :before;
SELECT wf_pause_activity('long', '1'), wf_unpause_activity('long', '1'), pg_temp.long_values() - :before;
SELECT length(heartbeat_details::text) FROM wf.activity WHERE run_id = run_id_of('long');
SELECT done('1@long'), pg_temp.long_values() - :before;

-- A column that somebody has added is left as it is, and ours are found where they are.
BEGIN;
ALTER TABLE wf.activity ADD COLUMN note text DEFAULT 'none';
SELECT new_act('noted');
UPDATE wf.activity SET note = 'kept' WHERE run_id = run_id_of('noted');
SELECT apoll('noted');
SELECT identity, note FROM wf.activity WHERE run_id = run_id_of('noted');
ALTER TABLE wf.activity DROP COLUMN identity, ADD COLUMN identity text;
SELECT new_act('moved'), apoll('moved');
SELECT identity, note FROM wf.activity WHERE run_id = run_id_of('moved');
SELECT done('1@noted'), done('1@moved');
ROLLBACK;

-- A column that must not be null any more.
BEGIN;
ALTER TABLE wf.activity ALTER COLUMN identity SET NOT NULL;
SELECT split_part(raises($$SELECT new_act('strict')$$), ' -- ', 1);
ROLLBACK;
-- A poll of many that fails in the middle, and one in the middle of which others
-- poll, fail and poll again.
BEGIN;
SELECT new_act('amid', n => 7);
CREATE FUNCTION pg_temp.amid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'amid';
END $$;
CREATE TRIGGER amid AFTER DELETE ON wf.task FOR EACH ROW WHEN (old.scheduled_event_id = 6) EXECUTE FUNCTION pg_temp.amid();
SELECT raises($$SELECT wf_poll_activity_task('amid', 10)$$), raises($$SELECT wf_poll_activity_task('amid', 10)$$);
SELECT acts('amid');
CREATE OR REPLACE FUNCTION pg_temp.amid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM test.raises($r$SELECT count(*) / 0 FROM wf_poll_activity_task('amid', 2)$r$);
	PERFORM wf_poll_activity_task('amid', 2);
	RETURN NULL;
END $$;
SELECT count(DISTINCT activity_id) FROM wf_poll_activity_task('amid', 3);
SELECT state, count(*), count(DISTINCT token) FROM wf.activity WHERE run_id = run_id_of('amid') GROUP BY 1 ORDER BY 1;
ROLLBACK;

-- Read only.
BEGIN READ ONLY;
SELECT wf_poll_activity_task('a');
ROLLBACK;

SELECT activity_end();
