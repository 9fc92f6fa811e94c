-- What is rolled back has not happened.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_transactions');

SELECT new_idle('a'), new_polled('p'), new('s');
SELECT digest() AS before \gset

-- A transaction.
BEGIN;
SELECT new('x'), wf_signal('a', 's', request_id => 'r'), wf_cancel('s'), wf_pause('p');
SELECT poll('a'), reply('a', commands(c_timer('t', '1 hour')));
SELECT reply('p', commands(c_complete()));
SELECT wf_terminate('s');
SELECT h('a'), h('s');
ROLLBACK;
SELECT digest() = :'before';
SELECT h('a'), h('p'), h('s');
-- An error in it.
BEGIN;
SELECT wf_signal('a', 's');
SELECT wf_signal('nobody', 's');
SELECT wf_signal('a', 's');
COMMIT;
SELECT digest() = :'before';
-- A savepoint, and going on after it.
BEGIN;
SELECT wf_signal('a', 'before');
SAVEPOINT one;
SELECT wf_signal('a', 'lost', request_id => 'r1'), wf_cancel('a', 'lost'), poll('a'), wf_start('lost', 'Type') IS NOT NULL;
ROLLBACK TO one;
SELECT h('a');
SELECT wf_signal('a', 'kept', request_id => 'r1');
SAVEPOINT two;
SELECT wf_terminate('a');
ROLLBACK TO one;
SELECT wf_signal('a', 'kept too', request_id => 'r1');
SAVEPOINT three;
SELECT wf_cancel('a', 'kept');
RELEASE three;
COMMIT;
SELECT h('a');
SELECT ev('a', 5);
SELECT count(*) FROM wf.execution WHERE workflow_id = 'lost';
-- An exception block.
DO $$
BEGIN
	BEGIN
		PERFORM wf_terminate('a'), wf_start('lost', 'Type');
		PERFORM 1 / 0;
	EXCEPTION WHEN division_by_zero THEN
		NULL;
	END;
	PERFORM wf_signal('a', 'after');
END $$;
SELECT h('a');
SELECT count(*) FROM wf.execution WHERE workflow_id = 'lost';
-- A statement that fails in the middle of a batch.
SELECT digest() AS before \gset
SELECT wf_cancel(w) FROM unnest(ARRAY['s', 'p', 'nobody']) w;
SELECT digest() = :'before';
-- A poll: the task is there again, and the token of the lost delivery fits nothing.
SELECT poll('a');
SELECT reply('a');
SELECT wf_signal('a', 'more');
BEGIN;
SELECT poll('a') <> 'nothing';
SELECT token_of('a') AS lost \gset
ROLLBACK;
SELECT raises(format('SELECT wf_respond_workflow_task_completed(%L)', :'lost'));
SELECT poll('a') <> 'nothing';
SELECT raises(format('SELECT wf_respond_workflow_task_completed(%L)', :'lost'));
-- A reply: the task goes on.
BEGIN;
SELECT reply('a', commands(c_complete()));
ROLLBACK;
SELECT reply('a', commands(c_marker('m')));
SELECT wf_signal('a', 'last'), poll('a'), reply('a', commands(c_complete()));
SELECT split_part(h('a'), ':', 1);

-- Several operations in one transaction: each is a batch of its own.
BEGIN;
SELECT new('b');
SELECT wf_signal('b', 's1'), wf_signal('b', 's2');
SELECT poll('b');
SELECT reply('b', commands(c_marker('m')));
SELECT wf_signal('b', 's3');
SELECT wf_cancel('b');
COMMIT;
SELECT h('b');

-- Isolation levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT new('rr'), poll('rr'), wf_signal('rr', 's'), reply('rr', commands(c_marker('m')));
SELECT h('rr');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT wf_cancel('rr'), poll('rr'), reply('rr', commands(c_cancel()));
COMMIT;
SELECT h('rr');
-- Read only.
SELECT wf_signal('b', 's', request_id => 'seen');
BEGIN READ ONLY;
SELECT raises($$SELECT wf_start('ro', 'Type')$$);
SELECT raises($$SELECT wf_signal('b', 's')$$);
SELECT raises($$SELECT wf_signal('b', 's', request_id => 'seen')$$);
SELECT raises($$SELECT wf_signal_with_start('b', 'Type', 's')$$);
SELECT raises($$SELECT wf_cancel('b')$$);
SELECT raises($$SELECT wf_cancel('nobody', missing_ok => true)$$);
SELECT raises($$SELECT wf_terminate('b')$$);
SELECT raises($$SELECT wf_pause('b')$$);
SELECT raises($$SELECT wf_unpause('b')$$);
SELECT raises($$SELECT wf_poll_workflow_task('b')$$);
SELECT raises($$SELECT reply('p')$$);
SELECT raises($$SELECT wt_fail('p')$$);
SELECT raises($$SELECT wf_tick()$$);
SELECT raises($$SELECT wf_create_namespace('ro')$$);
SELECT raises($$SELECT wf_drop_namespace('ro')$$);
COMMIT;
BEGIN READ ONLY;
SELECT h('b'), shown('b'), wf_result('b') IS NULL;
COMMIT;

-- From functions, cursors and prepared statements.
CREATE FUNCTION pg_temp.f(w text) RETURNS boolean LANGUAGE sql AS $$ SELECT wf_signal(w, 'sql function') $$;
SELECT pg_temp.f('b');
PREPARE signal AS SELECT wf_signal($1, $2);
EXECUTE signal('b', 'prepared');
EXECUTE signal('b', 'prepared again');
BEGIN;
DECLARE c CURSOR FOR SELECT wf_signal('b', 'cursor ' || i) FROM generate_series(1, 3) i;
FETCH c;
FETCH c;
CLOSE c;
COMMIT;
DO $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		PERFORM wf_signal('b', 'loop ' || i);
		IF i = 2 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
	END LOOP;
END $$;
SELECT event_id, attributes ->> 'signal_name' FROM wf.event WHERE run_id = run_id_of('b') AND event_type = 'WorkflowExecutionSignaled' ORDER BY 1;
WITH s AS MATERIALIZED (SELECT wf_signal('b', 'with') AS ok) SELECT ok FROM s;

SELECT test_end();
