-- Namespaces
\pset format unaligned
\pset tuples_only on
SET search_path = test, public;
SELECT test_begin('test_namespace');

-- Create, with defaults and without.
SELECT wf_create_namespace('shop');
SELECT wf_create_namespace('bank', '30 days', 'money');
SELECT wf_create_namespace('attic', NULL, NULL);
SELECT name, retention, description FROM wf.namespace WHERE name IN ('shop', 'bank', 'attic') ORDER BY name;

-- Refused.
SELECT raises($$SELECT wf_create_namespace('shop')$$);
SELECT raises($$SELECT wf_create_namespace('default')$$);
SELECT raises($$SELECT wf_create_namespace(NULL)$$);
SELECT raises($$SELECT wf_create_namespace('')$$);
SELECT raises($$SELECT wf_create_namespace(repeat('n', 1001))$$);
SELECT raises($$SELECT wf_create_namespace('x', '0')$$);
SELECT raises($$SELECT wf_create_namespace('x', '-1 day')$$);
SELECT wf_create_namespace(repeat('n', 1000));
SELECT wf_drop_namespace(repeat('n', 1000));

-- Describe: name, retention, description and creation time.
SELECT d ->> 'name', (d ->> 'retention')::interval, d ->> 'description', (SELECT count(*) FROM jsonb_object_keys(d))
	FROM wf_describe_namespace('bank') d;
SELECT wf_describe_namespace(NULL) ->> 'name';
SELECT wf_describe_namespace('default') ->> 'name';
SELECT raises($$SELECT wf_describe_namespace('nowhere')$$);

-- The same workflow id in two namespaces: two workflows.
SELECT named('in shop', wf_start('order', 'Type', namespace => 'shop', task_queue => 'orders'));
SELECT named('in bank', wf_start('order', 'Type', namespace => 'bank', task_queue => 'orders'));
SELECT named('here', wf_start('order', 'Type', task_queue => 'orders'));
SELECT namespace, workflow_id, shard = wf.shard_of(namespace, workflow_id) FROM wf.execution
	WHERE run_id IN (run_id_of('in shop'), run_id_of('in bank'), run_id_of('here')) ORDER BY namespace;
SELECT wf_signal('order', 'only bank', namespace => 'bank');
SELECT h('in shop');
SELECT h('in bank');
SELECT h('here');
-- A run id belongs to one of them.
SELECT raises($$SELECT wf_cancel('order', run_id => run_id_of('in bank'), namespace => 'shop')$$);
SELECT raises($$SELECT wf_terminate('order', run_id => run_id_of('in bank'))$$);
-- A task queue of one namespace has nothing to do with that of another.
SELECT workflow_id, run_id = run_id_of('in shop') FROM wf_poll_workflow_task('orders', 10, namespace => 'shop');
SELECT workflow_id, run_id = run_id_of('here') FROM wf_poll_workflow_task('orders', 10);
SELECT h('in bank');

-- The setting decides when no namespace is given.
SET workflow_interrupt.namespace = 'bank';
SELECT wf_cancel('order', 'setting');
SELECT h('in bank');
SELECT wf_describe_namespace(NULL) ->> 'name';
SET workflow_interrupt.namespace = 'nowhere';
SELECT raises($$SELECT wf_cancel('order')$$);
RESET workflow_interrupt.namespace;
SHOW workflow_interrupt.namespace;
SELECT raises($$SELECT wf_cancel('order')$$);
SET workflow_interrupt.namespace = 'test_namespace';

-- Drop: only when it holds no runs, open or closed.
SELECT wf_drop_namespace('attic');
SELECT wf_drop_namespace('attic');
SELECT wf_drop_namespace('never was');
SELECT raises($$SELECT wf_drop_namespace('bank')$$);
SELECT wf_terminate('order', namespace => 'bank');
SELECT raises($$SELECT wf_drop_namespace('bank')$$);
SELECT raises($$SELECT wf_drop_namespace('default')$$);
SELECT raises($$SELECT wf_drop_namespace(NULL)$$);

-- Every verb refuses a namespace that is not there.
SELECT raises($$SELECT wf_start('a', 'Type', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_signal('a', 's', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_signal_with_start('a', 'Type', 's', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_cancel('a', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_terminate('a', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_pause('a', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_unpause('a', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_history('a', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_describe('a', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_result('a', namespace => 'nowhere')$$);
SELECT raises($$SELECT wf_poll_workflow_task('a', namespace => 'nowhere')$$);

SELECT test_end();
