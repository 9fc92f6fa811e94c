-- The examples of README, run.
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_readme');

--
-- Five minutes in psql
--
-- start a workflow; nothing runs yet, its first workflow task waits in a queue
SELECT named('order-42', wf_start('order-42', 'order', '{"total": 99}', task_queue => 'orders'));

-- be its worker: take the task ...
SELECT task_token, history FROM wf_poll_workflow_task('orders') \gset

-- ... and reply with commands
SELECT * FROM wf_respond_workflow_task_completed(:'task_token',
    '[{"command_type": "RecordMarker", "marker_name": "reserved"},
      {"command_type": "StartTimer", "timer_id": "payment", "start_to_fire_timeout": "1 day"}]');

-- the customer changes their mind
SELECT wf_cancel('order-42', 'changed my mind');

-- the worker gets a task whose history has the request, cleans up and ends the workflow
SELECT task_token FROM wf_poll_workflow_task('orders') \gset
SELECT * FROM wf_respond_workflow_task_completed(:'task_token',
    '[{"command_type": "CancelTimer", "timer_id": "payment"},
      {"command_type": "RecordMarker", "marker_name": "released"},
      {"command_type": "CancelWorkflowExecution"}]');

SELECT event_id, event_type FROM wf_history('order-42');
SELECT status FROM wf.execution WHERE workflow_id = 'order-42';     -- Canceled

--
-- Workflows follow your rows
--
CREATE TABLE orders (id int PRIMARY KEY, state text NOT NULL, changed_by text);

CREATE TRIGGER start_order AFTER INSERT ON orders
    FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('order-{id}', 'order', 'task_queue=orders');

CREATE TRIGGER cancel_order AFTER UPDATE OF state ON orders
    FOR EACH ROW WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled')
    EXECUTE FUNCTION wf_cancel_trigger('order-{id}', 'order {id} was cancelled by {changed_by}');

CREATE TRIGGER order_gone AFTER DELETE ON orders
    FOR EACH ROW EXECUTE FUNCTION wf_terminate_trigger('order-{id}', 'order deleted', 'missing=ignore');

INSERT INTO orders VALUES (42, 'new'), (43, 'new'), (44, 'new');
UPDATE orders SET state = 'cancelled', changed_by = 'c7' WHERE id = 42;
DELETE FROM orders WHERE id = 43;
SELECT current_run(w), h(current_run(w)) FROM unnest(ARRAY['order-42', 'order-43', 'order-44']) w;
SELECT attributes ->> 'cause' FROM wf_history('order-42') WHERE event_type = 'WorkflowExecutionCancelRequested';

SELECT wf_cancel(workflow_id, 'bad deploy', run_id => run_id) FROM wf.execution
WHERE is_current AND status = 'Running' AND workflow_type = 'order' ORDER BY shard, workflow_id;
SELECT workflow_id, cancel_requested FROM wf.execution WHERE is_current ORDER BY workflow_id;

--
-- Workflows in SQL
--
-- (registered in a transaction, so that no background worker is faster)
BEGIN;
CREATE FUNCTION reserve(input jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT input';
SELECT wf_register_activity(type, 'reserve(jsonb)') FROM unnest(ARRAY['reserve', 'ship', 'release']) type;
CREATE FUNCTION order_workflow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    payment jsonb;
BEGIN
    PERFORM wf_activity('reserve', input);
    payment := wf_signal_receive('payment', timeout => '7 days');
    IF payment IS NULL THEN
        PERFORM wf_activity('release', input);
        RETURN '"not paid"';
    END IF;
    RETURN wf_activity('ship', input, start_to_close_timeout => '5 min', retry_policy => '{"maximum_attempts": 3}');
EXCEPTION
    WHEN SQLSTATE 'WF001' THEN                      -- canceled, wherever it waited: clean up
        PERFORM wf_activity('release', input);
        RAISE;                                      -- and show as canceled
    WHEN SQLSTATE 'WF011' THEN                      -- an activity failed for good
        PERFORM wf_activity('release', input);
        RETURN jsonb_build_object('problem', SQLERRM);
END $$;

SELECT wf_register_workflow('order', 'order_workflow(jsonb)');
SELECT named('order-7', wf_start('order-7', 'order', '{"total": 99}'));
SELECT wf_work(), h('order-7');
SELECT wf_cancel('order-7', 'changed my mind');
SELECT wf_work(), h('order-7');
SELECT named('order-8', wf_start('order-8', 'order', '{"total": 99}'));
SELECT wf_work(), wf_signal('order-8', 'payment', '99'), wf_work();
SELECT wf_result('order-8');
ROLLBACK;

-- Its activities, with one that can resume.
BEGIN;
CREATE TABLE export (part int);
CREATE FUNCTION export_parts(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    first int := coalesce((wf_activity_heartbeat_details() ->> 'done')::int + 1, 1);   -- where the attempt before has stopped
BEGIN
    FOR part IN first .. (input ->> 'parts')::int LOOP
        INSERT INTO export VALUES (part);
        PERFORM wf_activity_heartbeat(jsonb_build_object('done', part));               -- raises WF001 when it is to cancel
    END LOOP;
    RETURN jsonb_build_object('from', first);
EXCEPTION WHEN SQLSTATE 'WF001' THEN                                                   -- its inserts are undone by now
    RAISE EXCEPTION 'canceled' USING ERRCODE = 'WF001', DETAIL = 'nothing was exported';
END $$;

SELECT wf_register_activity('export', 'export_parts(jsonb)');
CREATE FUNCTION export_workflow(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT wf_activity('export', input) $$;
SELECT wf_register_workflow('export', 'export_workflow(jsonb)');
SELECT named('export-1', wf_start('export-1', 'export', '{"parts": 3}'));
SELECT wf_work();
SELECT wf_result('export-1'), count(*) FROM export;
ROLLBACK;

--
-- Reset
--
SELECT named('parcel-1', wf_start('parcel-1', 'parcel', task_queue => 'parcels'));
SELECT accepted FROM wf_poll_workflow_task('parcels'), wf_respond_workflow_task_completed(task_token,
    '[{"command_type": "ScheduleActivityTask", "activity_id": "charge", "activity_type": "charge", "start_to_close_timeout": "1 min"}]');
SELECT wf_respond_activity_task_completed(task_token, '"charged"') FROM wf_poll_activity_task('parcels');
SELECT accepted FROM wf_poll_workflow_task('parcels'), wf_respond_workflow_task_completed(task_token,
    '[{"command_type": "StartTimer", "timer_id": "packing", "start_to_fire_timeout": "1 year"}]');
-- where to: the events with which the code did something, newest first
SELECT event_id, event_type, description FROM wf_reset_points('parcel-1') WHERE event_type = 'WorkflowTaskCompleted';

-- what would happen; nothing is changed
SELECT kind, action, event_id, name FROM wf_reset_plan('parcel-1', 10);

-- do it: events before 10 are kept
SELECT event_id, event_type FROM wf_reset('parcel-1', 10, 'packing takes no year');

SELECT accepted FROM wf_poll_workflow_task('parcels'), wf_respond_workflow_task_completed(task_token);
SELECT e.workflow_id, count(*) AS events
FROM (SELECT workflow_id, run_id FROM wf.execution
        WHERE is_current AND status = 'Running' AND workflow_type = 'parcel' AND previous_started_event_id > 0
        ORDER BY shard, workflow_id) e,
    wf_reset(e.workflow_id, wf_reset_point(e.workflow_id, 'LastWorkflowTask', e.run_id), 'bad deploy', run_id => e.run_id)
GROUP BY e.workflow_id;

--
-- Workers
--
SELECT wf_channel('workflow', 'orders');            -- wf_workflow_orders
-- (rolled back, as what is heard depends on who else runs)
BEGIN;
LISTEN wf_workflow_orders;
SELECT count(*) FROM wf_poll_workflow_task('orders', max_tasks => 10);
ROLLBACK;

--
-- Privileges
--
CREATE ROLE regress_wfi_shop;
CREATE ROLE regress_wfi_shop_worker;
CREATE ROLE regress_wfi_support;
GRANT EXECUTE ON FUNCTION wf_start, wf_signal, wf_cancel, wf_describe, wf_result TO regress_wfi_shop;
GRANT EXECUTE ON FUNCTION wf_poll_workflow_task, wf_respond_workflow_task_completed,
    wf_respond_workflow_task_failed, wf_channel TO regress_wfi_shop_worker;
CREATE ROLE regress_wfi_shop_code;
GRANT EXECUTE ON FUNCTION wf_activity, wf_activity_start, wf_local_activity, wf_await, wf_await_any, wf_activity_cancel, wf_sleep,
    wf_timer_start, wf_timer_cancel, wf_signal_receive, wf_cancel_requested, wf_cancellation_reason, wf_now, wf_random, wf_uuid,
    wf_activity_heartbeat, wf_activity_heartbeat_details, wf_activity_info, wf_register_workflow, wf_register_activity
    TO regress_wfi_shop_code;
GRANT USAGE ON SCHEMA wf TO regress_wfi_support;
GRANT SELECT ON wf.execution, wf.event TO regress_wfi_support;
SET ROLE regress_wfi_support;
SELECT count(*) > 0 FROM wf.execution JOIN wf.event USING (shard, run_id);
SET ROLE regress_wfi_shop;
SELECT public.wf_cancel('order-44');
SET ROLE regress_wfi_shop_worker;
SELECT count(*) FROM public.wf_poll_workflow_task('orders');
RESET ROLE;
REVOKE USAGE ON SCHEMA wf FROM regress_wfi_support;
REVOKE SELECT ON wf.execution, wf.event FROM regress_wfi_support;
DROP OWNED BY regress_wfi_shop, regress_wfi_shop_code, regress_wfi_shop_worker, regress_wfi_support;
DROP ROLE regress_wfi_shop, regress_wfi_shop_code, regress_wfi_shop_worker, regress_wfi_support;

DROP TABLE orders;
SELECT activity_end();
