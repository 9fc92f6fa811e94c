-- The demo's first half, workflows in SQL; also for a database of yours:
--   psql -X -q -d DATABASE -f test/demo/sql_workflows.sql
-- It wants a superuser and a server that has the library preloaded, works in
-- schema wf_demo, and stops with an error if an outcome is not what it says.
\set ON_ERROR_STOP on
\pset footer off
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS workflow_interrupt;
DROP SCHEMA IF EXISTS wf_demo CASCADE;
CREATE SCHEMA wf_demo;
SELECT set_config('search_path', 'wf_demo, ' || current_setting('search_path'), false) \gset ignored_

-- Wait until a workflow has that status, or has such an event and its code
-- has nothing to do at the moment.
CREATE PROCEDURE wait_for(id text, what text) LANGUAGE plpgsql AS $$
DECLARE
	give_up timestamptz := clock_timestamp() + interval '1 min';
	state text;
	events text[];
BEGIN
	LOOP
		SELECT e.status, array_agg(v.event_type ORDER BY v.event_id) INTO state, events
			FROM wf.execution e JOIN wf.event v USING (shard, run_id)
			WHERE e.workflow_id = id AND e.is_current GROUP BY e.status;
		EXIT WHEN state = what
			OR (what = ANY (events) AND events[cardinality(events)] NOT IN ('WorkflowTaskScheduled', 'WorkflowTaskStarted'));
		IF state NOT IN ('Running', 'Paused') OR clock_timestamp() > give_up THEN
			RAISE EXCEPTION 'workflow % has not come to %', id, what
				USING DETAIL = format('It is %s: %s', state, (SELECT json_agg(s) FROM story(id) s)),
				HINT = 'Is workflow_interrupt in shared_preload_libraries, and max_worker_processes large enough?';
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- A history, short enough to read: without workflow tasks that went well.
CREATE FUNCTION story(id text, OUT event_id bigint, OUT ms numeric, OUT event text, OUT about text)
	RETURNS SETOF record LANGUAGE sql AS $$
	SELECT * FROM (
		SELECT h.event_id, round(1000 * extract(epoch FROM h.event_time - min(h.event_time) OVER ())), h.event_type::text,
			coalesce(split_part(a #>> '{failure,stack_trace}', E'\n', 1), a #>> '{failure,message}', a ->> 'cause', a ->> 'reason',
				a ->> 'marker_name', a ->> 'timer_id', a ->> 'signal_name', a ->> 'activity_type', a ->> 'details', a ->> 'result', '')
		FROM wf_history(id) h, to_jsonb(h.attributes) a
	) x (event_id, ms, event, about)
	WHERE event !~ '^WorkflowTask(Scheduled|Started|Completed)'
	ORDER BY event_id
$$;

-- What the demo claims, checked: a condition; a pattern of a workflow's
-- events, in short and without those of activities that went well.
CREATE PROCEDURE claim(condition text) LANGUAGE plpgsql AS $$
DECLARE
	holds boolean;
BEGIN
	EXECUTE 'SELECT ' || condition INTO holds;
	IF holds IS NOT TRUE THEN
		RAISE EXCEPTION 'the demo claims what is not so' USING DETAIL = condition;
	END IF;
END $$;
CREATE PROCEDURE claim_story(id text, expected text) LANGUAGE plpgsql AS $$
DECLARE
	found text := (SELECT string_agg(replace(concat_ws(' ', regexp_replace(event, '^WorkflowExecution|Task|Recorded', '', 'g'),
			CASE WHEN event = 'ActivityTaskScheduled' THEN about END), 'Activity', 'A.'), ', ' ORDER BY event_id)
		FROM story(id) WHERE event !~ '^ActivityTask(Started|Completed)');
BEGIN
	IF (found ~ concat('^', expected, '$')) IS NOT TRUE THEN
		RAISE EXCEPTION 'the history of % is not what the demo claims', id
			USING DETAIL = format('Expected: %s%sFound: %s', expected, E'\n', found);
	END IF;
END $$;

-- What an earlier demo has left running
SELECT count(wf_terminate(workflow_id, 'the demo begins anew', run_id => run_id)) AS old FROM wf.execution
	WHERE is_current AND status = 'Running' AND workflow_id ~ '^(order|parcel|export)-\d$' \gset

\echo
\echo 'WORKFLOWS IN SQL'
\echo
\echo '1. A shop.  An activity is a function that does something; what it does commits'
\echo '   together with the fact that it is done.'
\echo
\set ECHO queries
CREATE TABLE wf_demo.stock (item text PRIMARY KEY, free int NOT NULL);
INSERT INTO wf_demo.stock VALUES ('book', 3), ('lamp', 3), ('vase', 3);

CREATE FUNCTION reserve(input jsonb) RETURNS void LANGUAGE sql AS
    $$ UPDATE wf_demo.stock SET free = free - 1 WHERE item = input ->> 'item' $$;
CREATE FUNCTION release(input jsonb) RETURNS void LANGUAGE sql AS
    $$ UPDATE wf_demo.stock SET free = free + 1 WHERE item = input ->> 'item' $$;
CREATE FUNCTION ship(input jsonb) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT to_jsonb(concat('shipped: ', input ->> 'item')) $$;
\echo
\echo '   The workflow says what is done when.  It is a function, too: where it waits, be it'
\echo '   for a year, it occupies nothing but rows.'
\echo
CREATE FUNCTION order_workflow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_activity('reserve', input, disconnected => true);   -- done even when a cancel comes meanwhile
    PERFORM wf_signal_receive('paid');                             -- waits until somebody tells
    RETURN wf_activity('ship', input, disconnected => true);       -- too late to cancel
EXCEPTION WHEN SQLSTATE 'WF001' THEN                               -- canceled where it waited:
    PERFORM wf_activity('release', input);                         -- clean up,
    RAISE;                                                         -- and show as Canceled
END $$;

\o /dev/null
SELECT wf_register_activity('reserve', 'reserve(jsonb)');
SELECT wf_register_activity('release', 'release(jsonb)');
SELECT wf_register_activity('ship', 'ship(jsonb)');
SELECT wf_register_workflow('order', 'order_workflow(jsonb)');
\o
\echo
\echo '2. An order is started, paid, shipped.  Workers in the server run the functions.'
\echo '   (wait_for() is the demo''s own: it returns when the workflow has got so far.)'
\echo
SELECT wf_start('order-1', 'order', '{"item": "book"}');
CALL wait_for('order-1', 'ActivityTaskCompleted');
SELECT status, (SELECT free FROM stock WHERE item = 'book') FROM wf.execution WHERE workflow_id = 'order-1' AND is_current;
SELECT wf_signal('order-1', 'paid');
CALL wait_for('order-1', 'Completed');
SELECT wf_result('order-1');
\echo
\echo '3. Another one is cancelled while it waits for its payment.  The wait raises an'
\echo '   exception, the handler cleans up; the reserved lamp is free again.'
\echo
SELECT wf_start('order-2', 'order', '{"item": "lamp"}');
CALL wait_for('order-2', 'ActivityTaskCompleted');
SELECT wf_cancel('order-2', 'changed my mind');
CALL wait_for('order-2', 'Canceled');
SELECT * FROM story('order-2');
SELECT free FROM stock WHERE item = 'lamp';
\echo
\echo '4. Terminate asks nobody: no cleanup, the vase stays reserved.'
\echo
SELECT wf_start('order-3', 'order', '{"item": "vase"}');
CALL wait_for('order-3', 'ActivityTaskCompleted');
SELECT wf_terminate('order-3', 'the vase is broken');
SELECT * FROM story('order-3');
SELECT free FROM stock WHERE item = 'vase';
\echo
\echo '5. Reset.  This code has a bug: the customer is charged, and then waits for a year.'
\echo
CREATE TABLE wf_demo.charge (customer text);

CREATE FUNCTION charge(input jsonb) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO wf_demo.charge VALUES (input ->> 'customer') $$;
CREATE FUNCTION parcel_workflow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_activity('charge', input);
    PERFORM wf_sleep('1 year');
    RETURN wf_activity('ship', input);
END $$;
\o /dev/null
SELECT wf_register_activity('charge', 'charge(jsonb)');
SELECT wf_register_workflow('parcel', 'parcel_workflow(jsonb)');
\o
SELECT wf_start('parcel-1', 'parcel', '{"customer": "Ann", "item": "book"}');
CALL wait_for('parcel-1', 'TimerStarted');
\echo
\echo '   The fix.  Where could the workflow be reset to, and what would that do?'
\echo
CREATE OR REPLACE FUNCTION parcel_workflow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_activity('charge', input);
    PERFORM wf_sleep('1 millisecond');
    RETURN wf_activity('ship', input);
END $$;
SELECT event_id, event_type, description FROM wf_reset_points('parcel-1') WHERE event_type = 'WorkflowTaskCompleted';
SELECT kind, action, event_id, name
FROM wf_reset_plan('parcel-1', wf_reset_point('parcel-1', 'LastWorkflowTask'));
\echo '   The fixed code goes on from there, in a new run; nobody is charged again.'
\echo
SELECT event_id, event_type
FROM wf_reset('parcel-1', wf_reset_point('parcel-1', 'LastWorkflowTask'), 'packing takes no year') WHERE event_id > 9;
CALL wait_for('parcel-1', 'Completed');
SELECT wf_result('parcel-1'), (SELECT count(*) AS charges FROM charge);
\echo
\echo '6. A cancel is part of its transaction.  Rolled back, it has never been.'
\echo
SELECT wf_start('order-4', 'order', '{"item": "book"}');
CALL wait_for('order-4', 'ActivityTaskCompleted');
BEGIN;
SELECT wf_cancel('order-4', 'a mistake');
SELECT cancel_requested AS before_rollback FROM wf.execution WHERE workflow_id = 'order-4' AND is_current;
\set ECHO none
CALL claim($$ cancel_requested FROM wf.execution WHERE workflow_id = 'order-4' AND is_current $$);
\set ECHO queries
ROLLBACK;
SELECT cancel_requested AS after_rollback FROM wf.execution WHERE workflow_id = 'order-4' AND is_current;
SELECT wf_signal('order-4', 'paid');
CALL wait_for('order-4', 'Completed');
\echo
\echo '7. So a trigger can tie workflows to rows: start with the INSERT, cancel with an UPDATE.'
\echo
CREATE TABLE wf_demo.orders (id int PRIMARY KEY, item text NOT NULL, state text NOT NULL DEFAULT 'new');
CREATE TRIGGER start_order AFTER INSERT ON wf_demo.orders
    FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('order-{id}', 'order');
CREATE TRIGGER cancel_order AFTER UPDATE OF state ON wf_demo.orders
    FOR EACH ROW WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled')
    EXECUTE FUNCTION wf_cancel_trigger('order-{id}', 'order {id} for a {item} was cancelled');

INSERT INTO wf_demo.orders VALUES (5, 'lamp');
CALL wait_for('order-5', 'ActivityTaskCompleted');
UPDATE wf_demo.orders SET state = 'cancelled' WHERE id = 5;
CALL wait_for('order-5', 'Canceled');
SELECT * FROM story('order-5');
\echo
\echo '8. An activity that runs for long tells by heartbeats how far it is.  Its workflow waits'
\echo '   for three seconds and cancels it: the statement that runs is interrupted, the activity'
\echo '   cleans up, raises the error again and shows as canceled, with the DETAIL it gives.'
\echo
CREATE FUNCTION export_parts(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    part int := 0;
BEGIN
    LOOP
        PERFORM pg_sleep(0.2);                                     -- stands for the work
        part := part + 1;
        PERFORM wf_activity_heartbeat(jsonb_build_object('part', part));
    END LOOP;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
    RAISE EXCEPTION 'canceled' USING ERRCODE = 'WF001', DETAIL = format('stopped after part %s', part);
END $$;
CREATE FUNCTION impatient_workflow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    export bigint := wf_activity_start('export', task_queue => input ->> 'task_queue', start_to_close_timeout => '5 min',
        heartbeat_timeout => '30 s', cancellation_type => 'WaitCancellationCompleted');
    details text;
BEGIN
    PERFORM wf_sleep('3 s');
    PERFORM wf_activity_cancel(export);
    RETURN wf_await(export);
EXCEPTION WHEN SQLSTATE 'WF001' THEN
    GET STACKED DIAGNOSTICS details = PG_EXCEPTION_DETAIL;
    RETURN jsonb_build_object('export', 'canceled', 'details', details::jsonb);
END $$;
\o /dev/null
SELECT wf_register_activity('export', 'export_parts(jsonb)');
SELECT wf_register_workflow('impatient', 'impatient_workflow(jsonb)');
\o
SELECT wf_start('export-1', 'impatient');
CALL wait_for('export-1', 'Completed');
SELECT * FROM story('export-1');
SELECT wf_result('export-1');
\echo
\echo 'In the end:'
\echo
SELECT workflow_id, workflow_type, status FROM wf.execution WHERE is_current AND workflow_id ~ '^(order|parcel|export)-\d$' ORDER BY run_id;

\set ECHO none
CALL claim_story('order-1', 'Started, A.Scheduled reserve, Signaled, A.Scheduled ship, Completed');
CALL claim_story('order-2', 'Started, A.Scheduled reserve, CancelRequested, A.Scheduled release, Canceled');
CALL claim_story('order-3', 'Started, A.Scheduled reserve, Terminated');
CALL claim_story('parcel-1', 'Started, A.Scheduled charge, WorkflowFailed, TimerStarted, TimerFired, A.Scheduled ship, Completed');
CALL claim_story('order-4', 'Started, A.Scheduled reserve, Signaled, A.Scheduled ship, Completed');
CALL claim_story('order-5', 'Started, A.Scheduled reserve, CancelRequested, A.Scheduled release, Canceled');
CALL claim_story('export-1', 'Started, A.Scheduled export, TimerStarted, TimerFired, A.CancelRequested, A.Canceled, Completed');
CALL claim($$ array_agg((item, free)::text ORDER BY item) = '{"(book,1)","(lamp,3)","(vase,2)"}' FROM stock $$);
CALL claim($$ count(*) = 1 FROM charge $$);
CALL claim($$ wf_result('order-4') = '"shipped: book"' AND wf_result('parcel-1') = '"shipped: book"' $$);
CALL claim($$ wf_result('export-1') ->> 'details' ~ '^stopped after part \d+$' $$);
CALL claim($$ max(ms) FILTER (WHERE event = 'ActivityTaskCancelRequested') >= 3000 FROM story('export-1') $$);
CALL claim($$ count(*) = 0 FROM wf.execution e, wf_check(e.workflow_id) WHERE e.workflow_id ~ '^(order|parcel|export)-\d$' $$);
