-- Triggers for application tables
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_triggers');
-- The current run of a workflow, in a line.
CREATE FUNCTION pg_temp.now(workflow_id text) RETURNS text LANGUAGE sql AS $$ SELECT h(current_run(workflow_id)) $$;
CREATE FUNCTION pg_temp.attrs(wid text, type wf.event_type) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT clean(attributes::text) FROM wf.event WHERE run_id = run_id_of(current_run(wid)) AND event_type = type ORDER BY event_id
$$;

-- Start: one workflow for each row; the input is the row.
CREATE TABLE orders (id int PRIMARY KEY, customer text, amount numeric(10, 2), payload jsonb, "Odd Name" text, dropped int);
ALTER TABLE orders DROP COLUMN dropped;
CREATE TRIGGER start AFTER INSERT ON orders FOR EACH ROW
	EXECUTE FUNCTION wf_start_trigger('order-{id}', 'Order', 'task_queue=orders');
INSERT INTO orders VALUES (1, 'c1', 12.5, '{"k": 1}', 'o'), (2, NULL, NULL, NULL, NULL);
SELECT pg_temp.now('order-1'), pg_temp.now('order-2');
SELECT ev('order-1');
SELECT attributes -> 'input' = to_jsonb(o) FROM wf.event, orders o WHERE run_id = run_id_of('order-' || o.id) AND event_id = 1;
-- By default an open run of that id is left alone, and a closed one followed.
DELETE FROM orders;
INSERT INTO orders VALUES (1, 'again');
SELECT pg_temp.now('order-1'), count(*) FROM wf.execution WHERE workflow_id = 'order-1';
SELECT wf_terminate('order-1');
INSERT INTO orders VALUES (3), (4);
DELETE FROM orders;
INSERT INTO orders VALUES (1, 'and again');
SELECT current_run('order-1');

-- Options; their values are templates too.
CREATE OR REPLACE TRIGGER start AFTER INSERT OR UPDATE ON orders FOR EACH ROW
	EXECUTE FUNCTION wf_start_trigger('{customer}/{id}', '{Odd Name}Flow', 'input=payload', 'task_queue=q-{customer}',
		'run_timeout={amount} minutes', 'execution_timeout=1 day', 'task_timeout=1 minute', 'start_delay=1 hour',
		'identity=table {id}', 'id_reuse_policy=RejectDuplicate', 'id_conflict_policy=Fail');
INSERT INTO orders VALUES (10, 'c{x}', 2.5, '{"k": [1]}', 'Odd');
SELECT pg_temp.now('c{x}/10');
SELECT ev('c{x}/10');
-- The policies apply.
SELECT raises($$UPDATE orders SET amount = 3 WHERE id = 10$$);
-- A payload that is NULL is none.
INSERT INTO orders VALUES (11, 'c', 1, NULL, '');
SELECT pg_temp.now('c/11'), (SELECT attributes ? 'input' FROM wf.event WHERE run_id = run_id_of('c/11') AND event_id = 1);
-- In another namespace.
SELECT wf_create_namespace('test_triggers_2');
CREATE OR REPLACE TRIGGER start AFTER INSERT ON orders FOR EACH ROW
	EXECUTE FUNCTION wf_start_trigger('{id}', 'T', 'namespace=test_triggers_{customer}');
INSERT INTO orders VALUES (20, '2');
SELECT namespace, workflow_id FROM wf.execution WHERE workflow_id = '20';
SELECT raises($$INSERT INTO orders VALUES (21, '3')$$);

-- Signal, on update, when something changed.
CREATE TABLE item (id int PRIMARY KEY, state text, note jsonb);
CREATE TRIGGER start AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('item-{id}', 'Item');
CREATE TRIGGER signal AFTER UPDATE ON item FOR EACH ROW WHEN (old.state IS DISTINCT FROM new.state)
	EXECUTE FUNCTION wf_signal_trigger('item-{id}', 'state-{state}');
CREATE TRIGGER signal2 AFTER UPDATE OF note ON item FOR EACH ROW
	EXECUTE FUNCTION wf_signal_trigger('item-{id}', 'note', 'input=note', 'identity=me');
INSERT INTO item VALUES (1, 'new', NULL), (2, 'new', NULL);
UPDATE item SET state = 'paid' WHERE id = 1;
UPDATE item SET state = 'paid';
UPDATE item SET note = '{"a": null}' WHERE id = 2;
SELECT pg_temp.now('item-1'), pg_temp.now('item-2');
SELECT pg_temp.attrs('item-1', 'WorkflowExecutionSignaled');
SELECT pg_temp.attrs('item-2', 'WorkflowExecutionSignaled');

-- Cancel and terminate, on delete: the row that was.
CREATE TRIGGER cancel AFTER DELETE ON item FOR EACH ROW WHEN (old.id % 2 = 0)
	EXECUTE FUNCTION wf_cancel_trigger('item-{id}', 'item {id} was {state}', 'identity=me');
CREATE TRIGGER terminate AFTER DELETE ON item FOR EACH ROW WHEN (old.id % 2 = 1)
	EXECUTE FUNCTION wf_terminate_trigger('item-{id}', 'item {id} was {state}');
DELETE FROM item;
SELECT pg_temp.now('item-1'), pg_temp.now('item-2');
SELECT pg_temp.attrs('item-1', 'WorkflowExecutionTerminated');
SELECT pg_temp.attrs('item-2', 'WorkflowExecutionCancelRequested');
-- Canceling twice is no error, nor is canceling a closed run.
INSERT INTO item VALUES (2, 'new');
DELETE FROM item;
SELECT wf_terminate('item-2');
INSERT INTO item VALUES (4, 'new');
SELECT wf_terminate('item-4');
DELETE FROM item;
SELECT pg_temp.now('item-4');

-- No such workflow, or a closed one: an error that undoes the statement ...
DROP TRIGGER start ON item;
INSERT INTO item VALUES (1, 'new'), (100, 'new'), (101, 'new');
SELECT raises($$UPDATE item SET state = 'x' WHERE id = 100$$);
SELECT raises($$UPDATE item SET state = 'x' WHERE id = 1$$);
SELECT raises($$DELETE FROM item WHERE id = 100$$);
SELECT raises($$DELETE FROM item WHERE id = 101$$);
SELECT raises($$DELETE FROM item WHERE id = 1$$);
SELECT id, state FROM item ORDER BY id;
-- ... or nothing, when so wanted.
CREATE OR REPLACE TRIGGER signal AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION wf_signal_trigger('item-{id}', 's', 'missing=ignore');
CREATE OR REPLACE TRIGGER cancel AFTER DELETE ON item FOR EACH ROW WHEN (old.id % 2 = 0) EXECUTE FUNCTION wf_cancel_trigger('item-{id}', 'r', 'missing=ignore');
CREATE OR REPLACE TRIGGER terminate AFTER DELETE ON item FOR EACH ROW WHEN (old.id % 2 = 1) EXECUTE FUNCTION wf_terminate_trigger('item-{id}', 'r', 'missing=ignore');
DROP TRIGGER signal2 ON item;
UPDATE item SET state = 'x';
SELECT id, state FROM item ORDER BY id;
DELETE FROM item;
SELECT count(*) FROM item;
SELECT pg_temp.now('item-1');
-- Other errors are errors all the same.
CREATE OR REPLACE TRIGGER terminate AFTER DELETE ON item FOR EACH ROW EXECUTE FUNCTION wf_terminate_trigger('item-{id}', 'r', 'missing=ignore', 'namespace=nowhere');
INSERT INTO item VALUES (1);
SELECT raises($$DELETE FROM item$$);

-- Foreign keys: what cascades to a table fires its triggers.
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TRIGGER start AFTER INSERT ON child FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('child-{id}', 'Child');
CREATE TRIGGER moved AFTER UPDATE ON child FOR EACH ROW EXECUTE FUNCTION wf_signal_trigger('child-{id}', 'moved-to-{parent}');
CREATE TRIGGER gone AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION wf_cancel_trigger('child-{id}', 'parent {parent} gone');
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (1, 1), (2, 1), (3, 2);
UPDATE parent SET id = 10 WHERE id = 1;
DELETE FROM parent WHERE id = 10;
SELECT pg_temp.now('child-' || i) FROM generate_series(1, 3) i;
SELECT pg_temp.attrs('child-1', 'WorkflowExecutionCancelRequested');
-- Deferred constraint triggers run at commit, in the same transaction.
CREATE TABLE deferred (id int);
CREATE CONSTRAINT TRIGGER start AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	EXECUTE FUNCTION wf_start_trigger('deferred-{id}', 'T');
BEGIN;
INSERT INTO deferred VALUES (1);
SELECT count(*) FROM wf.execution WHERE workflow_id = 'deferred-1';
COMMIT;
SELECT pg_temp.now('deferred-1');

-- Partitions.
CREATE TABLE parted (id int, k int) PARTITION BY LIST (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (k int, id int);
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
CREATE TRIGGER start AFTER INSERT ON parted FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('parted-{id}-{k}', 'T');
INSERT INTO parted VALUES (7, 1), (8, 2);
SELECT pg_temp.now('parted-7-1'), pg_temp.now('parted-8-2');

-- Refused: other kinds of triggers, at their first use.
CREATE TABLE kind (id int, note text);
CREATE FUNCTION pg_temp.kind(definition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'CREATE TRIGGER t ' || definition;
	result := raises('INSERT INTO kind VALUES (1)');
	DROP TRIGGER t ON kind;
	RETURN result;
END $$;
SELECT f, pg_temp.kind('BEFORE INSERT ON kind FOR EACH ROW EXECUTE FUNCTION ' || f || '(''a'', ''b'')'),
	pg_temp.kind('AFTER INSERT ON kind FOR EACH STATEMENT EXECUTE FUNCTION ' || f || '(''a'', ''b'')'),
	pg_temp.kind('BEFORE INSERT ON kind FOR EACH STATEMENT EXECUTE FUNCTION ' || f || '(''a'', ''b'')')
	FROM unnest(ARRAY['wf_start_trigger', 'wf_signal_trigger', 'wf_cancel_trigger', 'wf_terminate_trigger']) f;
CREATE TRIGGER t AFTER TRUNCATE ON kind EXECUTE FUNCTION wf_start_trigger('a', 'b');
SELECT raises('TRUNCATE kind');
DROP TRIGGER t ON kind;
CREATE VIEW kind_view AS SELECT * FROM kind;
CREATE TRIGGER t INSTEAD OF INSERT ON kind_view FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('a', 'b');
SELECT raises('INSERT INTO kind_view VALUES (1)');
SELECT raises('SELECT wf_start_trigger()');
SELECT raises('SELECT wf_cancel_trigger()');

-- Refused: arguments that make no sense.
CREATE FUNCTION pg_temp.args(function text, VARIADIC args text[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN pg_temp.kind(format('AFTER INSERT ON kind FOR EACH ROW EXECUTE FUNCTION wf_%s_trigger(%s)', function,
		(SELECT string_agg(quote_literal(a), ', ' ORDER BY n) FROM unnest(args) WITH ORDINALITY u (a, n))));
END $$;
SELECT pg_temp.kind('AFTER INSERT ON kind FOR EACH ROW EXECUTE FUNCTION wf_start_trigger()');
SELECT pg_temp.args('start', 'a');
SELECT pg_temp.args('start', 'a', 'b', 'no_such_option=1');
-- A null is not "not given": the default may be somebody else's.
SELECT pg_temp.args('start', 'a', 'b', 'namespace={note}');
SELECT pg_temp.args('cancel', 'a', 'b', 'namespace={note}');
SELECT pg_temp.args('start', 'a', 'b', 'task_queue');
SELECT pg_temp.args('start', 'a', 'b', '=1');
SELECT pg_temp.args('start', 'a', 'b', 'missing=ignore');
SELECT pg_temp.args('start', 'a', 'b', 'input=no_such_column');
SELECT pg_temp.args('start', 'a', 'b', 'start_delay=soon');
SELECT pg_temp.args('start', 'a', 'b', 'start_delay=-1 hour');
SELECT pg_temp.args('start', 'a', 'b', 'id_reuse_policy=Sometimes');
SELECT pg_temp.args('start', 'a', 'b', 'id_conflict_policy=Sometimes');
SELECT pg_temp.args('start', 'a-{no_such_column}', 'b');
SELECT pg_temp.args('start', 'a', '{ID}');
SELECT pg_temp.args('start', 'a-{id', 'b');
SELECT pg_temp.args('start', 'a-{}', 'b');
SELECT pg_temp.args('start', '', 'b');
SELECT pg_temp.args('start', 'a', '');
SELECT pg_temp.args('start', repeat('x', 1001), 'b');
SELECT pg_temp.args('signal', 'a');
SELECT pg_temp.args('signal', 'a', 'b', 'task_queue=q');
SELECT pg_temp.args('signal', 'a', 'b', 'missing=perhaps');
SELECT pg_temp.args('cancel', 'a', 'b', 'input=id');
SELECT pg_temp.args('terminate', 'a', 'b', 'no_such_option=1');
-- The workflow id of a row whose column is NULL.
CREATE TABLE nulls (id int, name text);
CREATE TRIGGER t AFTER INSERT ON nulls FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('{name}', 'T');
SELECT raises('INSERT INTO nulls VALUES (1, NULL)');
INSERT INTO nulls VALUES (1, 'not null');
SELECT pg_temp.now('not null');
CREATE OR REPLACE TRIGGER t AFTER INSERT ON nulls FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('n-{id}-{name}', 'T');
SELECT raises('INSERT INTO nulls VALUES (1, NULL)');
DROP TRIGGER t ON nulls;
-- ... or another one: empty in a reason, no input; a signal needs its name.
CREATE TRIGGER t AFTER UPDATE ON nulls FOR EACH ROW EXECUTE FUNCTION wf_cancel_trigger('{name}', 'because {id}');
SELECT raises('UPDATE nulls SET name = NULL');
UPDATE nulls SET id = NULL;
SELECT pg_temp.attrs('not null', 'WorkflowExecutionCancelRequested');
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON nulls FOR EACH ROW EXECUTE FUNCTION wf_signal_trigger('{name}', '{id}', 'missing=ignore');
SELECT raises($$UPDATE nulls SET name = 'not null'$$);
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON nulls FOR EACH ROW EXECUTE FUNCTION wf_signal_trigger('{name}', 's', 'input=id');
UPDATE nulls SET name = 'not null';
SELECT pg_temp.attrs('not null', 'WorkflowExecutionSignaled');
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON nulls FOR EACH ROW EXECUTE FUNCTION wf_terminate_trigger('{name}', 'because {id}');
UPDATE nulls SET name = 'not null';
SELECT pg_temp.attrs('not null', 'WorkflowExecutionTerminated');
-- missing=ignore passes over rows without a workflow id.
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON nulls FOR EACH ROW EXECUTE FUNCTION wf_signal_trigger('{name}', 's', 'missing=ignore');
UPDATE nulls SET name = NULL;
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON nulls FOR EACH ROW EXECUTE FUNCTION wf_cancel_trigger('{name}', 'r', 'missing=ignore');
UPDATE nulls SET name = NULL;
CREATE OR REPLACE TRIGGER t AFTER UPDATE ON nulls FOR EACH ROW EXECUTE FUNCTION wf_terminate_trigger('{name}', 'r', 'missing=ignore');
UPDATE nulls SET name = NULL;
SELECT * FROM nulls;
-- Doubled braces stand for themselves.
CREATE TABLE braces (id int);
CREATE TRIGGER t AFTER INSERT ON braces FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('{{{id}}}-{{id}}', '}}{{', 'identity={{{{');
INSERT INTO braces VALUES (7);
SELECT workflow_id, workflow_type, attributes ->> 'identity' FROM wf.execution JOIN wf.event USING (shard, run_id)
	WHERE namespace = 'test_triggers' AND workflow_id LIKE '{%' AND event_id = 1;

-- Many rows.
CREATE TABLE bulk (id int PRIMARY KEY, state text);
CREATE TRIGGER start AFTER INSERT ON bulk FOR EACH ROW EXECUTE FUNCTION wf_start_trigger('bulk-{id}', 'Bulk');
CREATE TRIGGER signal AFTER UPDATE ON bulk FOR EACH ROW EXECUTE FUNCTION wf_signal_trigger('bulk-{id}', '{state}');
CREATE TRIGGER cancel AFTER DELETE ON bulk FOR EACH ROW EXECUTE FUNCTION wf_cancel_trigger('bulk-{id}', 'gone');
INSERT INTO bulk SELECT i, 'new' FROM generate_series(1, 10000) i;
SELECT count(*), count(DISTINCT run_id), count(DISTINCT shard) > 1000 FROM wf.execution WHERE workflow_type = 'Bulk';
UPDATE bulk SET state = 'old' WHERE id <= 1000;
DELETE FROM bulk WHERE id <= 500;
SELECT event_type, count(*) FROM wf.event JOIN wf.execution USING (shard, run_id) WHERE workflow_type = 'Bulk' GROUP BY 1 ORDER BY 1;
-- COPY.
COPY bulk FROM stdin;
20001	copied
20002	\N
\.
SELECT pg_temp.now('bulk-20001'), pg_temp.now('bulk-20002');
-- A statement that fails leaves nothing.
SELECT raises($$INSERT INTO bulk VALUES (30001, 'x'), (30002, 'x'), (1001, 'there is one')$$);
BEGIN;
INSERT INTO bulk VALUES (30001, 'x');
SELECT pg_temp.now('bulk-30001');
ROLLBACK;
SELECT count(*) FROM wf.execution WHERE workflow_id LIKE 'bulk-3000_';
-- ON CONFLICT and MERGE act on rows that change.
INSERT INTO bulk VALUES (20001, 'twice') ON CONFLICT DO NOTHING;
INSERT INTO bulk VALUES (20001, 'thrice') ON CONFLICT (id) DO UPDATE SET state = excluded.state;
SELECT pg_temp.now('bulk-20001');
MERGE INTO bulk USING (VALUES (20001), (20003)) v (id) ON bulk.id = v.id
	WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'merged');
SELECT pg_temp.now('bulk-20001'), pg_temp.now('bulk-20003');

DROP VIEW kind_view;
DROP TABLE orders, item, child, parent, deferred, bulk, parted, nulls, braces, kind;
SELECT test_end();
