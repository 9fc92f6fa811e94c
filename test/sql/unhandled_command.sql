-- A worker may not close a run while there are events it has not seen.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_unhandled_command');

-- The whole reply is refused, its other commands included; the events
-- become history, and a new task tells the worker.
SELECT new_polled('a');
SELECT wf_signal('a', 's1');
SELECT reply('a', commands(c_marker('lost'), c_timer('lost', '1 hour'), c_complete()));
SELECT h('a');
SELECT ev('a', 4);
SELECT count(*) FROM wf.timer WHERE run_id = run_id_of('a');
SELECT raises($$SELECT reply('a')$$);
-- The second task is not started yet: signals are welcome.
SELECT wf_signal('a', 's2');
SELECT h('a');
-- While it is started they are refused, so that the run can close at last.
SELECT poll('a');
SELECT raises($$SELECT wf_signal('a', 's3')$$);
SELECT raises($$SELECT wf_signal('a', 's3', run_id => run_id_of('a'))$$);
SELECT raises($$SELECT wf_signal_with_start('a', 'Type', 's3')$$);
SELECT reply('a', commands(c_complete('"done"')));
SELECT h('a');

-- Every closing command; any kind of event.
SELECT new_polled('b' || n) FROM generate_series(1, 3) n;
SELECT wf_signal('b1', 's'), wf_cancel('b2'), wf_pause('b3');
SELECT reply('b1', commands(c_fail()));
SELECT reply('b2', commands(c_cancel()));
SELECT reply('b3', commands(c_complete()));
SELECT h('b' || n) FROM generate_series(1, 3) n;

-- Cancel requests are not refused, so the second close can fail as well.
SELECT poll('b1');
SELECT wf_cancel('b1');
SELECT reply('b1', commands(c_fail()));
SELECT poll('b1');
SELECT reply('b1', commands(c_fail()));
SELECT h('b1');

-- A worker that thinks better of it: once the task is completed signals come again.
SELECT new_polled('c');
SELECT wf_signal('c', 's1');
SELECT reply('c', commands(c_complete()));
SELECT poll('c');
SELECT raises($$SELECT wf_signal('c', 's2')$$);
SELECT reply('c', commands(c_marker('go on')));
SELECT wf_signal('c', 's2');
SELECT poll('c');
SELECT wf_signal('c', 's3');
SELECT reply('c');
SELECT h('c');

-- The same when that task fails, or times out.
SELECT new_polled('cf'), wf_signal('cf', 's1');
SELECT reply('cf', commands(c_complete()));
SELECT poll('cf'), wt_fail('cf'), poll('cf');
SELECT wf_signal('cf', 's2');
SELECT reply('cf');
SELECT h('cf');
BEGIN;
SELECT new_polled('ct', '1 millisecond'), wf_signal('ct', 's1');
SELECT reply('ct', commands(c_complete()));
SELECT poll('ct');
SELECT wait_for('ct', 'WtTimedOut');
SELECT poll('ct');
SELECT wf_signal('ct', 's2');
-- else its next time-out would come while we look whether anything is written
SELECT wf_terminate('ct');
COMMIT;

-- A seen request id is a success all the same.
SELECT new_polled('d');
SELECT wf_signal('d', 's1', request_id => 'r1');
SELECT reply('d', commands(c_complete()));
SELECT poll('d');
SELECT wf_signal('d', 's1', request_id => 'r1');
SELECT raises($$SELECT wf_signal('d', 's2', request_id => 'r2')$$);
-- Termination and pause are not refused either.
SELECT wf_terminate('d');
SELECT h('d');

-- From a transient task: nothing is written for the task, the events become
-- history, and a fresh task follows.
SELECT new_transient('t');
SELECT wf_signal('t', 's');
SELECT reply('t', commands(c_complete()));
SELECT h('t');
SELECT raises($$SELECT reply('t')$$);
SELECT poll('t');
SELECT raises($$SELECT wf_signal('t', 's2')$$);
SELECT reply('t', commands(c_complete()));
SELECT h('t');

-- Canceling a timer that has just fired takes its event out of the buffer:
-- when that was the only one, the run may close.
CREATE FUNCTION pg_temp.with_fired_timer(wid text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM new_polled(wid);
	PERFORM reply(wid, commands(c_timer('t', '0.3s')), true);
	PERFORM poll(wid);
	RETURN let_pass(wid, '0.3s');
END $$;
BEGIN;
SELECT pg_temp.with_fired_timer('k' || n) FROM generate_series(1, 4) n;
COMMIT;
SELECT reply('k1', commands(c_cancel_timer('t'), c_complete()));
SELECT h('k1');
SELECT ev('k1', 8);
-- ... without the cancel it may not,
SELECT reply('k2', commands(c_complete()));
SELECT h('k2');
-- ... nor when there is another event,
SELECT wf_signal('k3', 's');
SELECT reply('k3', commands(c_cancel_timer('t'), c_complete()));
SELECT h('k3');
-- ... and without closing: no event is left, so no new task.
SELECT reply('k4', commands(c_cancel_timer('t')));
SELECT h('k4');
SELECT count(*) FROM wf.timer WHERE run_id IN (run_id_of('k1'), run_id_of('k2'), run_id_of('k3'), run_id_of('k4'));
SELECT let_pass('k4', '2 milliseconds');

-- Several closing commands: the first counts.
SELECT new_polled('m' || n) FROM generate_series(1, 3) n;
SELECT reply('m1', commands(c_complete(), c_fail(), c_cancel()));
SELECT reply('m2', commands(c_marker('m'), c_fail(), c_complete()));
SELECT reply('m3', commands(c_cancel(), c_cancel()));
SELECT h('m' || n) FROM generate_series(1, 3) n;

SELECT test_end();
