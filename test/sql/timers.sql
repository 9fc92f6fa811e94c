-- User timers
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_timers');

-- A timer fires: its event, and a workflow task.
SELECT new_polled('a');
SELECT reply('a', commands(c_timer('t', '1 millisecond')));
SELECT wait_for('a', 'TimerFired');
SELECT ev('a', 5);
SELECT event_time >= (SELECT event_time + interval '1 millisecond' FROM wf.event s WHERE s.run_id = v.run_id AND s.event_id = 5)
	FROM wf.event v WHERE run_id = run_id_of('a') AND event_type = 'TimerFired';
SELECT count(*) FROM wf.timer WHERE run_id = run_id_of('a');
SELECT poll('a');
-- Its id can be used again.
SELECT reply('a', commands(c_timer('t', '1 millisecond')));
SELECT wait_for('a', 'TimerFired', 2);
-- It fires once.
SELECT let_pass('a', '2 milliseconds');

-- Not before its time.
SELECT new_polled('later');
SELECT reply('later', commands(c_timer('t', '1 hour')));
SELECT let_pass('later', '2 milliseconds');
SELECT timer_id, fire_time = v.event_time + interval '1 hour' FROM wf.timer t JOIN wf.event v USING (shard, run_id)
	WHERE run_id = run_id_of('later') AND event_id = 5;
SELECT poll('later');

-- Of no duration: at once.
SELECT new_polled('now');
SELECT reply('now', '[{"command_type": "StartTimer", "timer_id": "t1", "start_to_fire_timeout": "0s"}, {"command_type": "StartTimer", "timer_id": "t2"}]');
SELECT wait_for('now', 'TimerFired', 2);
-- Of a duration beyond all calendars: late, and no overflow.
SELECT new_polled('far');
SELECT reply('far', commands(c_timer('t1', '1000 years'), c_timer('t2', '178000000 years'), c_timer('t3', '290000 years')));
SELECT timer_id, fire_time > now() + interval '90 years' FROM wf.timer WHERE run_id = run_id_of('far') ORDER BY timer_id;
SELECT let_pass('far', '2 milliseconds');

-- Several that are due: in the order of their times, one workflow task.
BEGIN;
SELECT new_polled('many');
SELECT reply('many', commands(c_timer('third', '3 milliseconds'), c_timer('first', '1 millisecond'),
	c_timer('never', '1 hour'), c_timer('second', '2 milliseconds'), c_timer('canceled', '1 millisecond'), c_cancel_timer('canceled')));
SELECT let_pass('many', '4 milliseconds');
COMMIT;
SELECT ev('many', 11);
SELECT timer_id FROM wf.timer WHERE run_id = run_id_of('many');
SELECT poll('many');
-- Of the same time: in the order in which they were started.
BEGIN;
SELECT new_polled('tie');
SELECT reply('tie', commands(c_timer('b', '0.001s'), c_timer('a', '0.001s'), c_timer('c', '0.001s')));
SELECT let_pass('tie', '2 milliseconds');
COMMIT;
SELECT attributes ->> 'timer_id' FROM wf.event WHERE run_id = run_id_of('tie') AND event_type = 'TimerFired' ORDER BY event_id;

-- A workflow task is scheduled: no second one.
BEGIN;
SELECT new_polled('sched');
SELECT reply('sched', commands(c_timer('t', '1 millisecond')), true);
SELECT let_pass('sched', '2 milliseconds');
COMMIT;
-- A workflow task is started: buffered.
BEGIN;
SELECT new_polled('started');
SELECT reply('started', commands(c_timer('t', '0.3s')), true);
SELECT poll('started');
SELECT let_pass('started', '0.3s');
SELECT reply('started');
COMMIT;
SELECT h('started');
-- A transient workflow task is scheduled: it becomes a normal one.
BEGIN;
SELECT new_polled('transient');
SELECT reply('transient', commands(c_timer('t', '0.3s')), true);
SELECT poll('transient'), wt_fail('transient');
SELECT let_pass('transient', '0.3s');
SELECT poll('transient');
COMMIT;
SELECT h('transient');

-- A fired timer whose event is still buffered: canceling removes the event;
-- its id is free as soon as it has fired.
BEGIN;
SELECT new_polled('buffered');
SELECT reply('buffered', commands(c_timer('t', '0.3s'), c_timer('u', '0.3s')), true);
SELECT poll('buffered');
SELECT let_pass('buffered', '0.3s');
SELECT reply('buffered', commands(c_cancel_timer('t'), c_timer('t', '1 hour')));
COMMIT;
SELECT h('buffered');
SELECT ev('buffered', 9);
SELECT timer_id FROM wf.timer WHERE run_id = run_id_of('buffered');
-- Not twice.
BEGIN;
SELECT new_polled('twice');
SELECT reply('twice', commands(c_timer('t', '0.3s')), true);
SELECT poll('twice');
SELECT let_pass('twice', '0.3s');
SELECT reply('twice', commands(c_cancel_timer('t'), c_cancel_timer('t')));
COMMIT;
-- The refused reply has taken nothing away.
SELECT h('twice');

-- Running timers that are canceled: neither event nor row is left to fire.
BEGIN;
SELECT new_polled('c');
SELECT reply('c', commands(c_timer('t', '0.3s'), c_timer('u', '1 hour')), true);
SELECT poll('c');
SELECT reply('c', commands(c_cancel_timer('t'), c_cancel_timer('u')));
SELECT let_pass('c', '0.3s');
COMMIT;
SELECT ev('c', 9);

-- A closed run: its timers do not fire.
BEGIN;
SELECT new_polled('closed');
SELECT reply('closed', commands(c_timer('t', '1 millisecond'), c_complete()));
SELECT let_pass('closed', '2 milliseconds');
COMMIT;

-- Where no driver looks after what is due, the polls of workers do.
SELECT new_polled('polls');
SELECT reply('polls', commands(c_timer('t', '1 millisecond')));
DO $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
	WHILE poll('polls') = 'nothing' AND clock_timestamp() < give_up LOOP
	END LOOP;
END $$;
SELECT h('polls');

-- wf_tick() looks at no more runs than it may.
BEGIN;
SELECT new_polled('w' || i) FROM generate_series(1, 5) i;
SELECT reply('w' || i, commands(c_timer('t', '1 millisecond'))) FROM generate_series(1, 5) i;
DO $$
DECLARE
	until timestamptz := clock_timestamp() + interval '2 milliseconds';
BEGIN
	WHILE clock_timestamp() < until LOOP
	END LOOP;
END $$;
SELECT wf_tick(2) <= 2;
SELECT count(*) <= 2 FROM wf.event WHERE run_id IN (SELECT run_id_of('w' || i) FROM generate_series(1, 5) i) AND event_type = 'TimerFired';
SELECT let_pass('w' || i, '0') FROM generate_series(1, 5) i;
COMMIT;
-- So it is with wake-ups that lead nowhere, which are removed.
BEGIN;
INSERT INTO wf.wakeup SELECT now() - interval '1 hour', gen_random_uuid(), 1 FROM generate_series(1, 5);
CREATE FUNCTION pg_temp.left() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM wf.wakeup WHERE due_time < now() - interval '30 minutes' $$;
SELECT wf_tick(1), pg_temp.left();
SELECT wf_tick(2), pg_temp.left();
-- Those that are due earlier than what was looked at last are not forgotten.
INSERT INTO wf.wakeup SELECT now() - interval '2 hours', gen_random_uuid(), 1 FROM generate_series(1, 5);
SELECT wf_tick(6), pg_temp.left();
SELECT wf_tick(6) >= 0, pg_temp.left();
-- While there are no runs at all, as in a restore, they have to wait.
SAVEPOINT s;
INSERT INTO wf.wakeup SELECT now() - interval '1 hour', run_id, shard FROM wf.execution LIMIT 1;
SELECT new('waits');
DELETE FROM wf.execution;
SELECT wf_tick(), pg_temp.left();
SELECT poll('waits'), count(*) FROM wf.task WHERE task_queue = 'waits';
ROLLBACK TO s;
ROLLBACK;
-- A run that has closed has none any more.
SELECT new_polled('closes');
SELECT count(*) FROM wf.wakeup WHERE run_id = run_id_of('closes');
SELECT reply('closes', commands(c_complete()));
SELECT count(*) FROM wf.wakeup WHERE run_id = run_id_of('closes');
SELECT raises($$SELECT wf_tick(0)$$);
SELECT raises($$SELECT wf_tick(-1)$$);

SELECT test_end();
