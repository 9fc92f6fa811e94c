-- Cancellation of workflows written in PL/pgSQL, with the examples of
-- Temporal's documentation.
SET search_path = test, public;
SET check_function_bodies = off;
\pset tuples_only on
\pset format unaligned
SELECT test_begin('test_code_cancel');

SELECT act('echo', $$ BEGIN RETURN input; END $$);

-- The request is raised where the code waits, once; the handler's own calls
-- run as any others.
SELECT flow('cleanup', $$
BEGIN
	PERFORM wf_activity('echo', '1'), wf_sleep('1 hour');
	RETURN '"not canceled"';
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	PERFORM wf_activity('echo', to_jsonb(concat_ws('; ', SQLERRM, wf_cancellation_reason(), wf_cancel_requested())));
	PERFORM wf_sleep('1 ms');
	IF input = '"reraise"' THEN
		RAISE;
	END IF;
	RETURN '"canceled"';
END $$);
SELECT flow_run('cleanup', '"reraise"', 'reraised');
SELECT wf_cancel('reraised', 'bad weather'), wf_cancel('reraised', 'again');
SELECT go('reraised');
SELECT go_after('reraised', 'TimerFired');
SELECT ended('reraised');
SELECT raises($$ SELECT wf_result('reraised') $$);
SELECT ev('reraised', 17, 17);
-- without a reason, and swallowed
SELECT flow_run('cleanup', NULL, 'swallowed') LIKE 'Running%', wf_cancel('swallowed'), go('swallowed') LIKE 'Running%';
SELECT go_after('swallowed', 'TimerFired');
SELECT wf_result('swallowed');
SELECT ev('swallowed', 17, 17);

-- before the first workflow task: the code runs, up to its first wait
SELECT flow('early', $$
DECLARE
	before text := concat_ws('; ', wf_cancel_requested(), wf_cancellation_reason());
	h bigint := wf_activity_start('echo', '"started"');
BEGIN
	PERFORM wf_activity('echo', '"never scheduled"');
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RETURN jsonb_build_array(before, wf_await(h));
END $$);
SELECT run('early'), wf_cancel('early', 'at once');
SELECT go('early');
SELECT wf_result('early');

-- A result that is there is not lost to a cancel that is, too: that is
-- raised at the next wait.  What the code sees does not depend on when it is
-- run again.
SELECT flow('both', $$
DECLARE
	r jsonb;
	seen text := '';
BEGIN
	seen := seen || wf_cancel_requested();
	r := wf_activity('echo', '"result"', task_queue => 'manual');
	seen := seen || ' ' || wf_cancel_requested();
	PERFORM wf_signal_receive('never');
	RETURN '"?"';
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	PERFORM wf_activity('echo', '"cleanup"');
	RETURN jsonb_build_object('r', r, 'seen', seen);
END $$);
SELECT flow_run('both');
SELECT wf_cancel('both', 'x'), apoll('manual'), done('1@manual', '"result"');
SELECT go('both');
SELECT wf_result('both');

-- Not caught at all.  What is pending is left to the server.
SELECT flow('uncaught', $$
DECLARE
	h bigint := wf_activity_start('echo', task_queue => 'nobody');
BEGIN
	PERFORM wf_sleep('1 hour');
	RETURN NULL;
END $$);
SELECT flow_run('uncaught');
SELECT wf_cancel('uncaught'), go('uncaught');
SELECT ended('uncaught');

-- Code may cancel itself, in its own words.
SELECT flow('by_itself', $$ BEGIN RAISE SQLSTATE 'WF001' USING MESSAGE = 'had enough', DETAIL = 'really'; END $$);
SELECT flow_run('by_itself');
SELECT ended('by_itself');

-- Waiting for a signal, with a timer and without
SELECT flow('signal', $$ BEGIN RETURN wf_signal_receive('s', (input #>> '{}')::interval); END $$);
SELECT flow_run('signal', '"1 h"', 'with_timer'), wf_cancel('with_timer'), go('with_timer');
SELECT flow_run('signal', NULL, 'without_timer'), wf_cancel('without_timer'), go('without_timer');

-- An activity that the code waits for, by cancellation type: ask it and go
-- on; ask it and wait; leave it alone
SELECT flow('waits', $$
DECLARE
	r jsonb;
BEGIN
	r := wf_activity('work', task_queue => 'manual', cancellation_type => input ->> 0);
	PERFORM wf_activity('echo', '"not skipped"');
	RETURN jsonb_build_object('completed', r);
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RETURN jsonb_build_object('canceled', SQLERRM, 'result', r);
END $$);
SELECT flow_run('waits', '["TryCancel"]', 'try');
SELECT apoll('manual'), wf_cancel('try', 'x'), go('try');
SELECT wf_result('try');
SELECT flow_run('waits', '["Abandon"]', 'abandon');
SELECT apoll('manual'), wf_cancel('abandon', 'x'), go('abandon');
SELECT wf_result('abandon');
SELECT flow_run('waits', '["WaitCancellationCompleted"]', 'wait');
SELECT apoll('manual'), wf_cancel('wait', 'x'), go('wait');
SELECT canceled('1@manual', '"cleaned up"'), go('wait');
SELECT wf_result('wait');
-- it ignores the cancel and completes: the cancel is raised at the next wait
SELECT flow_run('waits', '["WaitCancellationCompleted"]', 'ignores') LIKE 'Running%';
SELECT apoll('manual'), wf_cancel('ignores', 'x'), go('ignores') LIKE 'Running%';
SELECT done('1@manual', '"all done"'), go('ignores');
SELECT wf_result('ignores');
-- it fails
SELECT flow_run('waits', '["WaitCancellationCompleted"]', 'fails') LIKE 'Running%';
SELECT apoll('manual'), wf_cancel('fails', 'x'), go('fails') LIKE 'Running%';
SELECT failed('1@manual', '{"message": "broke", "type": "Broken"}'), go('fails');
SELECT ended('fails');
-- it was never started
SELECT flow_run('waits', '["WaitCancellationCompleted"]', 'unstarted') LIKE 'Running%';
SELECT wf_cancel('unstarted', 'x'), go('unstarted');
SELECT wf_result('unstarted');

-- Shielded from the cancel: it goes on, and the next wait hears of it
SELECT flow('shielded', $$
DECLARE
	r jsonb;
BEGIN
	r := wf_activity('work', task_queue => 'manual', disconnected => true);
	r := r || jsonb_build_array(wf_activity('echo', '"shielded, too"', disconnected => true));
	PERFORM wf_activity('echo', '"skipped"');
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RETURN r;
END $$);
SELECT flow_run('shielded');
SELECT apoll('manual'), wf_cancel('shielded'), go('shielded');
SELECT done('1@manual', '["shielded"]'), go('shielded');
SELECT wf_result('shielded');

-- Activities cancelled one by one, by handle
SELECT flow('handles', $$
DECLARE
	a bigint := wf_activity_start('work', task_queue => 'manual', activity_id => 'a');
	b bigint := wf_activity_start('work', task_queue => 'manual', activity_id => 'b', cancellation_type => 'WaitCancellationCompleted');
	c bigint := wf_activity_start('work', task_queue => 'manual', activity_id => 'c', cancellation_type => 'Abandon');
	d bigint := wf_activity_start('work', task_queue => 'manual', activity_id => 'd');
	h bigint;
	result jsonb := '{}';
BEGIN
	PERFORM wf_signal_receive('stop');
	PERFORM wf_activity_cancel(a), wf_activity_cancel(b), wf_activity_cancel(c);
	FOREACH h IN ARRAY ARRAY[a, b, c, d] LOOP
		BEGIN
			result := result || jsonb_build_object(h, wf_await(h));
		EXCEPTION WHEN SQLSTATE 'WF001' THEN
			result := result || jsonb_build_object(h, SQLERRM);
		END;
	END LOOP;
	RETURN result || jsonb_build_object('requested', wf_cancel_requested());
END $$);
SELECT flow_run('handles') LIKE 'Running%', apoll('manual'), apoll('manual'), apoll('manual'), apoll('manual');
SELECT wf_signal('handles', 'stop'), go('handles');
SELECT done('a@manual'), done('c@manual'), go('handles') LIKE 'Running%';
SELECT canceled('b@manual'), done('d@manual', '"d"'), go('handles');
SELECT wf_result('handles');

-- The cancel reaches all that wf_await_any waits for
SELECT flow('any', $$
DECLARE
	handles bigint[] := ARRAY[
		wf_activity_start('work', task_queue => 'nobody'),
		wf_activity_start('work', task_queue => 'nobody', cancellation_type => 'Abandon'),
		wf_timer_start('1 hour'), wf_timer_start('2 hours')];
BEGIN
	PERFORM wf_await_any(handles[1:3]);
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RETURN to_jsonb(wf_await_any(handles) || SQLERRM);
END $$);
SELECT flow_run('any'), wf_cancel('any'), go('any');
SELECT wf_result('any');
-- and waits for the one that is to be waited for
SELECT flow('any_wait', $$
DECLARE
	handles bigint[] := ARRAY[
		wf_activity_start('work', task_queue => 'manual', cancellation_type => 'WaitCancellationCompleted'),
		wf_activity_start('work', task_queue => 'nobody', disconnected => true)];
BEGIN
	RETURN wf_await(wf_await_any(handles));
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	RETURN to_jsonb(SQLERRM);
END $$);
SELECT flow_run('any_wait'), apoll('manual'), wf_cancel('any_wait'), go('any_wait');
SELECT canceled('1@manual'), go('any_wait');
SELECT wf_result('any_wait');

-- The documentation's example in Python: an activity that heartbeats for
-- ever, canceled by its workflow; it catches that, and raises it again.  The
-- workflow does not wait for what comes of it.
SELECT flow('GreetingWorkflow', $$
DECLARE
	handle bigint := wf_activity_start('cancellable_activity', input,
		start_to_close_timeout => '5 minutes', heartbeat_timeout => '30 seconds', task_queue => 'manual');
BEGIN
	PERFORM wf_sleep('3 ms');
	PERFORM wf_activity_cancel(handle);
	RETURN NULL;
END $$);
SELECT flow_run('GreetingWorkflow', '{"arg1": "Hello", "arg2": "World"}', 'greeting');
SELECT wait_apoll('manual'), beat('1@manual', '"some details"');
SELECT go_after('greeting', 'TimerFired');

-- The example in Go: with deferred cleanup, one activity that is to be
-- canceled and one that is to be skipped
SELECT flow('YourWorkflow', $$
DECLARE
	result jsonb;
BEGIN
	result := wf_activity('ActivityToBeCanceled', task_queue => 'manual', heartbeat_timeout => '5 seconds',
		cancellation_type => 'WaitCancellationCompleted');
	PERFORM wf_activity('ActivityToBeSkipped');
	RETURN result;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	BEGIN
		PERFORM wf_activity('CleanupActivity', result);
	EXCEPTION WHEN SQLSTATE 'WF011' THEN
		RAISE WARNING 'CleanupActivity failed: %', SQLERRM;
	END;
	RAISE;
END $$);
SELECT act('CleanupActivity', $$ BEGIN RETURN input; END $$);
SELECT act('ActivityToBeSkipped', $$ BEGIN RAISE 'it ran'; END $$);
SELECT flow_run('YourWorkflow', NULL, 'your'), apoll('manual');
SELECT beat('1@manual'), wf_cancel('your'), go('your') LIKE 'Running%', beat('1@manual');
SELECT done('1@manual', '"I am canceled by Done"'), go('your');
SELECT ev('your', 18, 18);
-- nobody cancels: nothing to clean up
SELECT act('ActivityToBeSkipped', $$ BEGIN RETURN NULL; END $$);
SELECT flow_run('YourWorkflow', NULL, 'mine') LIKE 'Running%', apoll('manual'), done('1@manual', '"done"'), go('mine');

SELECT code_end();
