-- Reset: what becomes of activities and timers that are pending at the cut
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_reset_pending');

-- Closed in the kept part: the result stays, nothing runs again.
SELECT new_started('done', '{"input": 1}'), done('1@done', '"charged"'), poll('done'), reply('done', commands(c_marker('m')));
SELECT h('done');
SELECT plan('done', 9);
SELECT reset('done', 9), acts('done/2'), apoll('done');
SELECT attributes ->> 'result' FROM wf.event WHERE run_id = run_id_of('done/2') AND event_type = 'ActivityTaskCompleted';
-- Scheduled behind it: forgotten, the code decides again.
SELECT plan('done', 4, run => 'done');
SELECT reset('done', 4, run => 'done'), acts('done/3'), apoll('done');
-- Closed with another one behind it: that one runs again.
SELECT new_act('two', n => 2, force => true), apoll('two'), apoll('two'), done('1@two');
SELECT poll('two'), reply('two'), done('2@two'), h('two');
SELECT plan('two', 11);
SELECT reset('two', 11), acts('two/2'), h('two/2'), apoll('two'), apoll('two');
SELECT done('2@two'), h('two/2');

-- Started: anew, while the old worker may be at it; that one's replies are refused.
SELECT new_started('s', '{"heartbeat_timeout": "60s", "input": {"n": 1}}', force => true), apoll('s'), beat('1@s', '"half"'), poll('s', 'keep'), reply('s');
SELECT h('s'), acts('s'), token_of('1@s') AS old \gset
SELECT reset('s', 7), acts('s/2');
SELECT attempt, heartbeat_details, last_failure, started_time, last_worker_identity, token, state, dispatched FROM wf.activity WHERE run_id = run_id_of('s/2');
SELECT apoll('s', 'new');
SELECT raises(format('SELECT wf_heartbeat(%L)', :'old'));
SELECT raises(format('SELECT wf_respond_activity_task_completed(%L)', :'old'));
SELECT raises(format('SELECT wf_respond_activity_task_failed(%L, %L)', :'old', '{"message": "m"}'));
SELECT raises(format('SELECT wf_respond_activity_task_canceled(%L)', :'old'));
SELECT beat('new'), done('new'), h('s/2');
-- Waiting for a retry, with details and a failure: the first attempt, at once.
SELECT new_waiting('retry', details => '7'), poll('retry') AS nothing, wf_signal('retry', 's'), poll('retry'), reply('retry');
SELECT acts('retry'), waits('retry');
SELECT reset('retry', 8), acts('retry/2'), apoll('retry');
SELECT failed('1@retry'), acts('retry/2'), waits('retry/2');
-- Paused, reset or changed by an operator: as it was scheduled.
SELECT new_act('operator', force => true), wf_pause_activity('operator', '1'), wf_update_activity_options('operator', '1', task_queue => 'other', start_to_close_timeout => '7 s');
SELECT poll('operator'), reply('operator'), acts('operator');
SELECT reset('operator', 8), acts('operator/2'), task_queue, start_to_close_timeout FROM wf.activity WHERE run_id = run_id_of('operator');
SELECT acts('operator/2'), task_queue, start_to_close_timeout, apoll('other'), apoll('operator') FROM wf.activity WHERE run_id = run_id_of('operator/2');
-- Asked to cancel, and running: dispatched again, and its first heartbeat says so.
SELECT new_started('c', force => true), poll('c'), reply('c', commands(c_cancel_act(5)), force => true), poll('c'), reply('c');
SELECT h('c'), acts('c');
SELECT plan('c', 12);
SELECT reset('c', 12), acts('c/2'), apoll('c');
SELECT beat('1@c'), canceled('1@c'), h('c/2');
SELECT attributes ->> 'latest_cancel_requested_event_id' FROM wf.event WHERE run_id = run_id_of('c/2') AND event_type = 'ActivityTaskCanceled';
-- ... the request behind the cut: not asked any more
SELECT reset('c', 8, run => 'c'), acts('c/3'), apoll('c'), beat('1@c');
-- Running, and forgotten: its worker has nothing to tell any more.
SELECT new_started('f');
SELECT plan('f', 4);
SELECT reset('f', 4), acts('f/2'), apoll('f'), raises($$SELECT done('1@f')$$);
-- Finished while a workflow task ran: what waits in the buffer is not lost to
-- history, but the activity runs again.
SELECT new_started('b', force => true), poll('b'), done('1@b', '"first"'), h('b');
SELECT reset('b', 7), h('b'), h('b/2'), acts('b/2');

-- The time-outs begin anew.
SELECT new_act('t', '{"schedule_to_start_timeout": "3600s", "schedule_to_close_timeout": "7200s"}', force => true);
UPDATE wf.event SET event_time = event_time - interval '3 hours' WHERE run_id = run_id_of('t');
UPDATE wf.execution SET start_time = start_time - interval '3 hours', execution_time = execution_time - interval '3 hours' WHERE run_id = run_id_of('t');
SELECT poll('t'), reply('t'), reset('t', 8), acts('t/2');
SELECT let_pass('t/2', '1 millisecond');
SELECT due_time - start_time FROM wf.wakeup JOIN wf.execution USING (shard, run_id) WHERE run_id = run_id_of('t/2');

-- Timers.  Pending: the same expiry; past: at once.
SELECT new('timer'), poll('timer'), reply('timer', commands(c_timer('past', '1 hour'), c_timer('future', '3 hours'), c_timer('none', '2 hours')), force => true);
BEGIN;
SELECT poll('timer'), reply('timer', commands(c_cancel_timer('none'), c_timer('late', '1 s'))), h('timer');
UPDATE wf.event SET event_time = event_time - interval '2 hours' WHERE run_id = run_id_of('timer') AND event_id <= 9;
UPDATE wf.execution SET start_time = start_time - interval '2 hours', execution_time = execution_time - interval '2 hours' WHERE run_id = run_id_of('timer');
SELECT plan('timer', 10);
COMMIT;
SELECT reset('timer', 10), wait_for('timer/2', 'TimerFired');
SELECT ev('timer/2', 12, 13), h('timer/2');
SELECT timer_id, round(extract(epoch FROM fire_time - start_time) / 600) FROM wf.timer JOIN wf.execution USING (shard, run_id)
	WHERE run_id = run_id_of('timer/2');
-- ... both past ones, before the first workflow task is over
SELECT reset('timer', 10, run => 'timer'), wait_for('timer/3', 'TimerFired', 1), poll('timer'), reply('timer', commands(c_cancel_timer('future')));
SELECT h('timer/3'), pending_timers FROM wf.execution WHERE run_id = run_id_of('timer/3');
-- The id of a timer or activity behind the cut is free.
SELECT reset('timer', 4, run => 'timer'), poll('timer'), reply('timer', commands(c_timer('past', '1 hour'), c_act('1'))), h('timer/4');

-- The workers of what is running are told why (see the TAP tests), those of
-- a closed base have been told before.
SELECT activity_end();
