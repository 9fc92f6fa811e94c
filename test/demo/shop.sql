-- The demo's shop: orders, and triggers that tie each to its workflow

CREATE EXTENSION workflow_interrupt;

CREATE TABLE orders (
	id			integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	item		text NOT NULL,
	state		text NOT NULL DEFAULT 'new',
	changed_by	text NOT NULL
);

CREATE TRIGGER order_start AFTER INSERT ON orders
	FOR EACH ROW
	EXECUTE FUNCTION wf_start_trigger('order-{id}', 'order', 'task_queue=orders');

CREATE TRIGGER order_paid AFTER UPDATE OF state ON orders
	FOR EACH ROW WHEN (NEW.state = 'paid' AND OLD.state <> 'paid')
	EXECUTE FUNCTION wf_signal_trigger('order-{id}', 'paid');

CREATE TRIGGER order_cancel AFTER UPDATE OF state ON orders
	FOR EACH ROW WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled')
	EXECUTE FUNCTION wf_cancel_trigger('order-{id}', 'order {id} was cancelled by {changed_by}');

-- A workflow's history, short enough to read
CREATE FUNCTION story_of(workflow_id text, OUT id bigint, OUT ms numeric, OUT event text, OUT about text)
	RETURNS SETOF record LANGUAGE sql AS $$
	SELECT event_id,
		round(1000 * extract(epoch FROM event_time - min(event_time) OVER ()), 1),
		event_type,
		COALESCE(split_part(attributes #>> '{failure,stack_trace}', E'\n', 1),
			attributes #>> '{failure,message}', attributes ->> 'cause', attributes ->> 'reason',
			attributes ->> 'marker_name', attributes ->> 'timer_id', attributes ->> 'signal_name',
			attributes ->> 'activity_type', attributes ->> 'details', attributes ->> 'result', '')
	FROM wf_history(workflow_id)
	ORDER BY event_id
$$;

-- An order's
CREATE FUNCTION story(order_id integer, OUT id bigint, OUT ms numeric, OUT event text, OUT about text)
	RETURNS SETOF record LANGUAGE sql AS $$ SELECT * FROM story_of('order-' || order_id) $$;

CREATE VIEW workflows AS
	SELECT workflow_id, status, cancel_requested FROM wf.execution WHERE is_current ORDER BY run_id;
