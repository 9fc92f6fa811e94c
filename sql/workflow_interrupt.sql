/* sql/workflow_interrupt.sql: the whole schema, installed by CREATE EXTENSION */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION workflow_interrupt" to load this file. \quit

--
-- Schema, types
--

CREATE SCHEMA wf;

COMMENT ON SCHEMA wf IS 'workflow_interrupt: workflow executions, their histories and what is pending';

CREATE TYPE wf.status AS ENUM (
	'Running', 'Completed', 'Failed', 'Canceled', 'Terminated',
	'ContinuedAsNew', 'TimedOut', 'Paused'
);

COMMENT ON TYPE wf.status IS 'status of a workflow execution; Running and Paused are open, all others closed for good';

CREATE TYPE wf.event_type AS ENUM (
	'WorkflowExecutionStarted',
	'WorkflowExecutionCompleted',
	'WorkflowExecutionFailed',
	'WorkflowExecutionTimedOut',
	'WorkflowExecutionCanceled',
	'WorkflowExecutionTerminated',
	'WorkflowExecutionContinuedAsNew',
	'WorkflowExecutionCancelRequested',
	'WorkflowExecutionSignaled',
	'WorkflowExecutionOptionsUpdated',
	'WorkflowExecutionPaused',
	'WorkflowExecutionUnpaused',
	'WorkflowExecutionUpdateAdmitted',
	'WorkflowExecutionUpdateAccepted',
	'WorkflowExecutionUpdateCompleted',
	'WorkflowTaskScheduled',
	'WorkflowTaskStarted',
	'WorkflowTaskCompleted',
	'WorkflowTaskTimedOut',
	'WorkflowTaskFailed',
	'ActivityTaskScheduled',
	'ActivityTaskStarted',
	'ActivityTaskCompleted',
	'ActivityTaskFailed',
	'ActivityTaskTimedOut',
	'ActivityTaskCancelRequested',
	'ActivityTaskCanceled',
	'TimerStarted',
	'TimerFired',
	'TimerCanceled',
	'MarkerRecorded',
	'UpsertWorkflowSearchAttributes',
	'WorkflowPropertiesModified',
	'StartChildWorkflowExecutionInitiated',
	'StartChildWorkflowExecutionFailed',
	'ChildWorkflowExecutionStarted',
	'ChildWorkflowExecutionCompleted',
	'ChildWorkflowExecutionFailed',
	'ChildWorkflowExecutionCanceled',
	'ChildWorkflowExecutionTimedOut',
	'ChildWorkflowExecutionTerminated',
	'RequestCancelExternalWorkflowExecutionInitiated',
	'RequestCancelExternalWorkflowExecutionFailed',
	'ExternalWorkflowExecutionCancelRequested',
	'SignalExternalWorkflowExecutionInitiated',
	'SignalExternalWorkflowExecutionFailed',
	'ExternalWorkflowExecutionSignaled'
);

COMMENT ON TYPE wf.event_type IS 'kinds of history events, named as in Temporal';

CREATE FUNCTION wf.shard_of(namespace text, workflow_id text) RETURNS integer
	AS 'MODULE_PATHNAME', 'wfi_shard_of'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION wf.shard_of(text, text) IS
	'shard (0 to 1023) of a workflow: 64-bit FNV-1a over the bytes of namespace, 0xFF and workflow_id, the upper half XORed into the lower, modulo 1024; NULL if an argument is NULL; never changes';

--
-- Tables
--
-- Every key of a workflow-scoped table contains shard, so that the tables can
-- be distributed by it.  There are no foreign keys and no triggers: the
-- engine guarantees what they would, and they would cost more than the
-- inserts they guard.
--

CREATE TABLE wf.namespace (
	name		text COLLATE "C" NOT NULL,
	retention	interval NOT NULL DEFAULT '3 days',
	description	text NOT NULL DEFAULT '',
	created_time	timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	CONSTRAINT namespace_pkey PRIMARY KEY (name)
);

COMMENT ON TABLE wf.namespace IS 'namespaces; workflow ids are unique within one';
COMMENT ON COLUMN wf.namespace.name IS 'name, at most 1,000 characters';
COMMENT ON COLUMN wf.namespace.retention IS 'how long closed runs are kept';
COMMENT ON COLUMN wf.namespace.description IS 'free text';
COMMENT ON COLUMN wf.namespace.created_time IS 'when it was created';

INSERT INTO wf.namespace (name, description) VALUES ('default', 'created with the extension');

CREATE TABLE wf.execution (
	-- what is indexed comes first: updates compare it
	shard						integer NOT NULL,
	run_id						uuid NOT NULL,
	is_current					boolean NOT NULL,
	workflow_id					text COLLATE "C" NOT NULL,
	namespace					text COLLATE "C" NOT NULL,
	reset_request_id			text COLLATE "C",
	first_execution_run_id		uuid NOT NULL,
	original_execution_run_id	uuid NOT NULL,
	next_event_id				bigint NOT NULL,
	history_size				bigint NOT NULL,
	start_time					timestamptz NOT NULL,
	execution_time				timestamptz NOT NULL,
	close_time					timestamptz,
	last_event_time				timestamptz NOT NULL,
	first_task_time				timestamptz,
	wakeup_time					timestamptz,
	execution_expiration_time	timestamptz,
	run_expiration_time			timestamptz,
	task_scheduled_event_id		bigint NOT NULL DEFAULT 0,
	task_started_event_id		bigint NOT NULL DEFAULT 0,
	previous_started_event_id	bigint NOT NULL DEFAULT 0,
	task_scheduled_time			timestamptz,
	task_original_scheduled_time	timestamptz,
	task_started_time			timestamptz,
	task_token					uuid,
	task_attempt				integer NOT NULL DEFAULT 1,
	signal_count				integer NOT NULL DEFAULT 0,
	buffered_count				integer NOT NULL DEFAULT 0,
	buffered_size				bigint NOT NULL DEFAULT 0,
	state_size					bigint NOT NULL DEFAULT 0,
	pending_timers				integer NOT NULL DEFAULT 0,
	pending_activities			integer NOT NULL DEFAULT 0,
	status						wf.status NOT NULL,
	cancel_requested			boolean NOT NULL DEFAULT false,
	close_attempted				boolean NOT NULL DEFAULT false,
	workflow_was_reset			boolean NOT NULL DEFAULT false,
	execution_timeout			interval,
	run_timeout					interval,
	task_timeout				interval NOT NULL,
	reset_run_id				uuid,
	base_run_id					uuid,
	last_copied_event_id		bigint,
	parent_run_id				uuid,
	parent_initiated_event_id	bigint,
	workflow_type				text COLLATE "C" NOT NULL,
	task_queue					text COLLATE "C" NOT NULL,
	parent_namespace			text COLLATE "C",
	parent_workflow_id			text COLLATE "C",
	create_request_id			text COLLATE "C",
	reset_identity				text,
	cancel_request_id			text COLLATE "C",
	task_identity				text,
	memo						jsonb,
	search_attributes			jsonb,
	CONSTRAINT execution_pkey PRIMARY KEY (shard, run_id)
) WITH (fillfactor = 85);

-- Only start and reset move is_current, so that all other updates stay HOT.
CREATE UNIQUE INDEX execution_current_key
	ON wf.execution (shard, workflow_id, namespace) WHERE is_current;

-- A repeated reset finds the run it made; no other run is in this index.
CREATE UNIQUE INDEX execution_reset_request_key
	ON wf.execution (shard, workflow_id, namespace, reset_request_id)
	WHERE reset_request_id IS NOT NULL;

COMMENT ON TABLE wf.execution IS 'one row per run of a workflow';
COMMENT ON COLUMN wf.execution.shard IS 'wf.shard_of(namespace, workflow_id)';
COMMENT ON COLUMN wf.execution.run_id IS 'UUID (version 7) of the run';
COMMENT ON COLUMN wf.execution.first_execution_run_id IS 'first run of the chain this run belongs to';
COMMENT ON COLUMN wf.execution.original_execution_run_id IS 'run id before any reset';
COMMENT ON COLUMN wf.execution.next_event_id IS 'id of the next event; one more than the events in history';
COMMENT ON COLUMN wf.execution.history_size IS 'size of the history in bytes';
COMMENT ON COLUMN wf.execution.start_time IS 'when the run was started, or made by a reset';
COMMENT ON COLUMN wf.execution.execution_time IS 'when its first workflow task was or will be due: start time plus start delay';
COMMENT ON COLUMN wf.execution.close_time IS 'when it closed; NULL while open';
COMMENT ON COLUMN wf.execution.last_event_time IS 'time of the last event; later events are never earlier';
COMMENT ON COLUMN wf.execution.first_task_time IS 'when the first workflow task is to be scheduled; NULL once it was';
COMMENT ON COLUMN wf.execution.wakeup_time IS 'when this run has to be looked at next, see wf.wakeup';
COMMENT ON COLUMN wf.execution.execution_expiration_time IS 'when the execution time-out strikes; NULL for none';
COMMENT ON COLUMN wf.execution.run_expiration_time IS 'when the run time-out strikes; NULL for none';
COMMENT ON COLUMN wf.execution.task_scheduled_event_id IS 'WorkflowTaskScheduled of the pending workflow task; 0 when none is pending';
COMMENT ON COLUMN wf.execution.task_started_event_id IS 'WorkflowTaskStarted of the pending workflow task; 0 when not started';
COMMENT ON COLUMN wf.execution.previous_started_event_id IS 'WorkflowTaskStarted of the last completed workflow task; 0 for none';
COMMENT ON COLUMN wf.execution.task_scheduled_time IS 'when the pending workflow task was scheduled';
COMMENT ON COLUMN wf.execution.task_original_scheduled_time IS 'when the first of a row of heartbeating workflow tasks was scheduled';
COMMENT ON COLUMN wf.execution.task_started_time IS 'when the pending workflow task was started';
COMMENT ON COLUMN wf.execution.task_token IS 'hash of the secret part of the token of the started workflow task';
COMMENT ON COLUMN wf.execution.task_attempt IS 'attempt of the pending or next workflow task; above 1 it is not in history until it completes';
COMMENT ON COLUMN wf.execution.signal_count IS 'signals recorded so far';
COMMENT ON COLUMN wf.execution.buffered_count IS 'events in wf.buffered_event';
COMMENT ON COLUMN wf.execution.buffered_size IS 'bytes of events in wf.buffered_event';
COMMENT ON COLUMN wf.execution.state_size IS 'bytes of pending timers, memo and search attributes';
COMMENT ON COLUMN wf.execution.pending_timers IS 'rows in wf.timer';
COMMENT ON COLUMN wf.execution.pending_activities IS 'rows in wf.activity';
COMMENT ON COLUMN wf.execution.status IS 'status; a closed one never changes';
COMMENT ON COLUMN wf.execution.is_current IS 'the newest run of its workflow id';
COMMENT ON COLUMN wf.execution.cancel_requested IS 'a cancel request is recorded or buffered';
COMMENT ON COLUMN wf.execution.close_attempted IS 'a closing reply was refused because of buffered events; signals wait meanwhile';
COMMENT ON COLUMN wf.execution.workflow_was_reset IS 'terminated by a reset';
COMMENT ON COLUMN wf.execution.execution_timeout IS 'time-out of the whole chain; NULL for none';
COMMENT ON COLUMN wf.execution.run_timeout IS 'time-out of this run; NULL for none';
COMMENT ON COLUMN wf.execution.task_timeout IS 'time-out of one workflow task';
COMMENT ON COLUMN wf.execution.reset_run_id IS 'latest run made by a reset from this one';
COMMENT ON COLUMN wf.execution.base_run_id IS 'run this one was reset from';
COMMENT ON COLUMN wf.execution.last_copied_event_id IS 'last event that was copied from that run';
COMMENT ON COLUMN wf.execution.parent_run_id IS 'run id of the parent workflow';
COMMENT ON COLUMN wf.execution.parent_initiated_event_id IS 'event of the parent that initiated this child';
COMMENT ON COLUMN wf.execution.namespace IS 'namespace';
COMMENT ON COLUMN wf.execution.workflow_id IS 'id chosen by the caller, at most 1,000 characters';
COMMENT ON COLUMN wf.execution.workflow_type IS 'type: which code runs it';
COMMENT ON COLUMN wf.execution.task_queue IS 'queue its workflow tasks go to';
COMMENT ON COLUMN wf.execution.parent_namespace IS 'namespace of the parent workflow';
COMMENT ON COLUMN wf.execution.parent_workflow_id IS 'id of the parent workflow';
COMMENT ON COLUMN wf.execution.create_request_id IS 'request id of the start';
COMMENT ON COLUMN wf.execution.reset_request_id IS 'request id of the reset that made this run';
COMMENT ON COLUMN wf.execution.reset_identity IS 'who asked for that reset';
COMMENT ON COLUMN wf.execution.cancel_request_id IS 'request id of the cancel request';
COMMENT ON COLUMN wf.execution.task_identity IS 'worker that holds the started workflow task';
COMMENT ON COLUMN wf.execution.memo IS 'memo: a JSON object';
COMMENT ON COLUMN wf.execution.search_attributes IS 'search attributes: a JSON object';

CREATE TABLE wf.event (
	shard		integer NOT NULL,
	run_id		uuid NOT NULL,
	event_id	bigint NOT NULL,
	batch_id	bigint NOT NULL,
	event_time	timestamptz NOT NULL,
	event_type	wf.event_type NOT NULL,
	attributes	jsonb NOT NULL,
	CONSTRAINT event_pkey PRIMARY KEY (shard, run_id, event_id)
);

COMMENT ON TABLE wf.event IS 'histories: append-only, event ids are dense from 1 in each run';
COMMENT ON COLUMN wf.event.shard IS 'shard of the workflow';
COMMENT ON COLUMN wf.event.run_id IS 'run';
COMMENT ON COLUMN wf.event.event_id IS 'position in the history, from 1';
COMMENT ON COLUMN wf.event.batch_id IS 'first event id of the batch it was written in';
COMMENT ON COLUMN wf.event.event_time IS 'when it happened';
COMMENT ON COLUMN wf.event.event_type IS 'what happened';
COMMENT ON COLUMN wf.event.attributes IS 'attributes under their API names in snake_case';

CREATE TABLE wf.buffered_event (
	shard		integer NOT NULL,
	run_id		uuid NOT NULL,
	position	integer NOT NULL,
	event_time	timestamptz NOT NULL,
	event_type	wf.event_type NOT NULL,
	attributes	jsonb NOT NULL,
	CONSTRAINT buffered_event_pkey PRIMARY KEY (shard, run_id, position)
);

COMMENT ON TABLE wf.buffered_event IS 'events that wait, without an id, for the end of a started workflow task';
COMMENT ON COLUMN wf.buffered_event.shard IS 'shard of the workflow';
COMMENT ON COLUMN wf.buffered_event.run_id IS 'run';
COMMENT ON COLUMN wf.buffered_event.position IS 'order of arrival';
COMMENT ON COLUMN wf.buffered_event.event_time IS 'when it happened';
COMMENT ON COLUMN wf.buffered_event.event_type IS 'what happened';
COMMENT ON COLUMN wf.buffered_event.attributes IS 'attributes';

CREATE TABLE wf.timer (
	shard				integer NOT NULL,
	run_id				uuid NOT NULL,
	timer_id			text COLLATE "C" NOT NULL,
	started_event_id	bigint NOT NULL,
	fire_time			timestamptz NOT NULL,
	CONSTRAINT timer_pkey PRIMARY KEY (shard, run_id, timer_id)
);

COMMENT ON TABLE wf.timer IS 'pending user timers';
COMMENT ON COLUMN wf.timer.shard IS 'shard of the workflow';
COMMENT ON COLUMN wf.timer.run_id IS 'run';
COMMENT ON COLUMN wf.timer.timer_id IS 'id given by the workflow code';
COMMENT ON COLUMN wf.timer.started_event_id IS 'its TimerStarted event';
COMMENT ON COLUMN wf.timer.fire_time IS 'when it fires';

-- Every row is updated when its attempt starts, and neighbors start together:
-- in each page there is room for another version of all its rows.
CREATE TABLE wf.activity (
	shard						integer NOT NULL,
	run_id						uuid NOT NULL,
	scheduled_event_id			bigint NOT NULL,
	attempt						integer NOT NULL,
	first_scheduled_time		timestamptz NOT NULL,
	scheduled_time				timestamptz NOT NULL,
	started_time				timestamptz,
	last_heartbeat_time			timestamptz,
	last_attempt_complete_time	timestamptz,
	cancel_requested_event_id	bigint NOT NULL,
	token						uuid,
	dispatched					boolean NOT NULL,
	cancel_requested			boolean NOT NULL,
	paused						boolean NOT NULL,
	was_reset					boolean NOT NULL,
	heartbeat_reset				boolean NOT NULL,
	schedule_to_close_timeout	interval,
	schedule_to_start_timeout	interval,
	start_to_close_timeout		interval,
	heartbeat_timeout			interval,
	state						text COLLATE "C" NOT NULL,
	activity_id					text COLLATE "C" NOT NULL,
	activity_type				text COLLATE "C" NOT NULL,
	task_queue					text COLLATE "C" NOT NULL,
	identity					text,
	last_worker_identity		text,
	retry_policy				jsonb,
	heartbeat_details			jsonb,
	last_failure				jsonb,
	pause_info					jsonb,
	CONSTRAINT activity_pkey PRIMARY KEY (shard, run_id, scheduled_event_id)
) WITH (fillfactor = 45);

COMMENT ON TABLE wf.activity IS 'pending activities: scheduled and not yet closed';
COMMENT ON COLUMN wf.activity.shard IS 'shard of the workflow';
COMMENT ON COLUMN wf.activity.run_id IS 'run';
COMMENT ON COLUMN wf.activity.scheduled_event_id IS 'its ActivityTaskScheduled event';
COMMENT ON COLUMN wf.activity.attempt IS 'current attempt, from 1';
COMMENT ON COLUMN wf.activity.first_scheduled_time IS 'when its first attempt was scheduled';
COMMENT ON COLUMN wf.activity.scheduled_time IS 'when the current attempt is or was due';
COMMENT ON COLUMN wf.activity.started_time IS 'when a worker took the current attempt; NULL while none has';
COMMENT ON COLUMN wf.activity.last_heartbeat_time IS 'when it was last heard of';
COMMENT ON COLUMN wf.activity.last_attempt_complete_time IS 'when the attempt before this one ended; NULL for none';
COMMENT ON COLUMN wf.activity.cancel_requested_event_id IS 'its ActivityTaskCancelRequested event; 0 for none';
COMMENT ON COLUMN wf.activity.token IS 'hash of the secret part of the token of the current attempt';
COMMENT ON COLUMN wf.activity.dispatched IS 'the current attempt is or was in a queue';
COMMENT ON COLUMN wf.activity.cancel_requested IS 'the workflow asked to cancel it';
COMMENT ON COLUMN wf.activity.paused IS 'an operator paused it';
COMMENT ON COLUMN wf.activity.was_reset IS 'an operator reset it while it was running';
COMMENT ON COLUMN wf.activity.heartbeat_reset IS 'the next attempt gets no heartbeat details of the running one';
COMMENT ON COLUMN wf.activity.schedule_to_close_timeout IS 'from the first schedule to the end, over all attempts; NULL for none';
COMMENT ON COLUMN wf.activity.schedule_to_start_timeout IS 'from the schedule of an attempt to its start; NULL for none';
COMMENT ON COLUMN wf.activity.start_to_close_timeout IS 'from the start of an attempt to its end; NULL for none';
COMMENT ON COLUMN wf.activity.heartbeat_timeout IS 'between two heartbeats; NULL for none';
COMMENT ON COLUMN wf.activity.state IS 'Scheduled, Started, CancelRequested, Paused or PauseRequested';
COMMENT ON COLUMN wf.activity.activity_id IS 'id given by the workflow code, unique among what is pending in the run';
COMMENT ON COLUMN wf.activity.activity_type IS 'type: which code runs it';
COMMENT ON COLUMN wf.activity.task_queue IS 'queue its tasks go to';
COMMENT ON COLUMN wf.activity.identity IS 'worker that runs the current attempt';
COMMENT ON COLUMN wf.activity.last_worker_identity IS 'worker that was last heard of';
COMMENT ON COLUMN wf.activity.retry_policy IS 'retry policy, with everything filled in';
COMMENT ON COLUMN wf.activity.heartbeat_details IS 'what the last heartbeat said, of whatever attempt';
COMMENT ON COLUMN wf.activity.last_failure IS 'failure of the attempt before this one';
COMMENT ON COLUMN wf.activity.pause_info IS 'pause_time, identity, reason and request_id of its pause; NULL if it is not paused';

CREATE TABLE wf.signal_request (
	shard		integer NOT NULL,
	run_id		uuid NOT NULL,
	request_id	text COLLATE "C" NOT NULL,
	CONSTRAINT signal_request_pkey PRIMARY KEY (shard, run_id, request_id)
);

COMMENT ON TABLE wf.signal_request IS 'request ids of the signals a run has seen';
COMMENT ON COLUMN wf.signal_request.shard IS 'shard of the workflow';
COMMENT ON COLUMN wf.signal_request.run_id IS 'run';
COMMENT ON COLUMN wf.signal_request.request_id IS 'request id given with the signal';

CREATE SEQUENCE wf.task_id_seq AS bigint CACHE 32;

COMMENT ON SEQUENCE wf.task_id_seq IS 'rough order of tasks within a queue';

CREATE TABLE wf.task (
	queue_id			bigint NOT NULL,
	task_id				bigint NOT NULL DEFAULT pg_catalog.nextval('wf.task_id_seq'),
	shard				integer NOT NULL,
	run_id				uuid NOT NULL,
	scheduled_event_id	bigint NOT NULL,
	attempt				integer NOT NULL,
	created_time		timestamptz NOT NULL,
	kind				"char" NOT NULL,
	namespace			text COLLATE "C" NOT NULL,
	task_queue			text COLLATE "C" NOT NULL,
	type				text COLLATE "C" NOT NULL,
	run_tid				tid,
	activity_tid		tid,
	event_tid			tid,
	CONSTRAINT task_pkey PRIMARY KEY (queue_id, task_id, shard)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_insert_scale_factor = 0.2);

ALTER SEQUENCE wf.task_id_seq OWNED BY wf.task.task_id;

COMMENT ON TABLE wf.task IS 'tasks that wait for a worker; a row is deleted when it is claimed, and one that no longer fits its run is harmless';
COMMENT ON COLUMN wf.task.queue_id IS 'hash of kind, namespace and task_queue';
COMMENT ON COLUMN wf.task.task_id IS 'rough order of arrival';
COMMENT ON COLUMN wf.task.shard IS 'shard of the workflow';
COMMENT ON COLUMN wf.task.run_id IS 'run';
COMMENT ON COLUMN wf.task.scheduled_event_id IS 'its scheduling event';
COMMENT ON COLUMN wf.task.attempt IS 'attempt it is for';
COMMENT ON COLUMN wf.task.created_time IS 'when it became available';
COMMENT ON COLUMN wf.task.kind IS 'w: workflow task, a: activity task';
COMMENT ON COLUMN wf.task.namespace IS 'namespace';
COMMENT ON COLUMN wf.task.task_queue IS 'name of the task queue';
COMMENT ON COLUMN wf.task.type IS 'type of the workflow or activity: which code runs it';
COMMENT ON COLUMN wf.task.run_tid IS 'where the run was in its table when the task was made, a shortcut that need not hold any more; NULL: not known';
COMMENT ON COLUMN wf.task.activity_tid IS 'the same for the activity';
COMMENT ON COLUMN wf.task.event_tid IS 'the same for the scheduling event';

CREATE TABLE wf.wakeup (
	due_time	timestamptz NOT NULL,
	run_id		uuid NOT NULL,
	shard		integer NOT NULL,
	CONSTRAINT wakeup_pkey PRIMARY KEY (due_time, run_id, shard)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE wf.wakeup IS 'when the driver must look at a run for timers and time-outs; an early or superfluous row is harmless';
COMMENT ON COLUMN wf.wakeup.due_time IS 'when to look';
COMMENT ON COLUMN wf.wakeup.run_id IS 'run';
COMMENT ON COLUMN wf.wakeup.shard IS 'shard of the workflow';

CREATE TABLE wf.function (
	namespace		text COLLATE "C" NOT NULL,
	kind			"char" NOT NULL,
	name			text COLLATE "C" NOT NULL,
	task_queue		text COLLATE "C" NOT NULL,
	function_schema	text COLLATE "C" NOT NULL,
	function_name	text COLLATE "C" NOT NULL,
	function_owner	regrole NOT NULL,
	role			regrole NOT NULL,
	options			jsonb NOT NULL,
	CONSTRAINT function_pkey PRIMARY KEY (namespace, kind, name, task_queue)
);

COMMENT ON TABLE wf.function IS 'SQL functions that are run for types of workflows and activities, see wf.registration';
COMMENT ON COLUMN wf.function.namespace IS 'namespace';
COMMENT ON COLUMN wf.function.kind IS 'w: workflow, a: activity';
COMMENT ON COLUMN wf.function.name IS 'type of the workflow or activity';
COMMENT ON COLUMN wf.function.task_queue IS 'task queue whose tasks it is run for';
COMMENT ON COLUMN wf.function.function_schema IS 'schema of the function, which takes one jsonb';
COMMENT ON COLUMN wf.function.function_name IS 'name of the function';
COMMENT ON COLUMN wf.function.function_owner IS 'owner of the function when it was registered; when it is another''s it is not run';
COMMENT ON COLUMN wf.function.role IS 'role that registered it, with whose rights it is run';
COMMENT ON COLUMN wf.function.options IS 'options: a JSON object';

CREATE VIEW wf.registration AS
	SELECT namespace, CASE WHEN kind OPERATOR(pg_catalog.=) 'w' THEN 'workflow' ELSE 'activity' END AS kind, name, task_queue,
		pg_catalog.format('%I.%I(jsonb)', function_schema, function_name) AS function, role, options
	FROM wf.function;

COMMENT ON VIEW wf.registration IS 'what wf_register_workflow and wf_register_activity have registered';
COMMENT ON COLUMN wf.registration.namespace IS 'namespace';
COMMENT ON COLUMN wf.registration.kind IS 'workflow or activity';
COMMENT ON COLUMN wf.registration.name IS 'type of the workflow or activity';
COMMENT ON COLUMN wf.registration.task_queue IS 'task queue whose tasks it is run for';
COMMENT ON COLUMN wf.registration.function IS 'the function';
COMMENT ON COLUMN wf.registration.role IS 'role that registered it, with whose rights it is run; a number when the role was dropped';
COMMENT ON COLUMN wf.registration.options IS 'options: a JSON object';

-- What users put here is theirs: pg_dump must carry it.
SELECT pg_catalog.pg_extension_config_dump('wf.namespace', $$WHERE name OPERATOR(pg_catalog.<>) 'default'$$);
SELECT pg_catalog.pg_extension_config_dump('wf.execution', '');
SELECT pg_catalog.pg_extension_config_dump('wf.event', '');
SELECT pg_catalog.pg_extension_config_dump('wf.buffered_event', '');
SELECT pg_catalog.pg_extension_config_dump('wf.timer', '');
SELECT pg_catalog.pg_extension_config_dump('wf.activity', '');
SELECT pg_catalog.pg_extension_config_dump('wf.signal_request', '');
SELECT pg_catalog.pg_extension_config_dump('wf.task', '');
SELECT pg_catalog.pg_extension_config_dump('wf.task_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('wf.wakeup', '');
-- The number of a role that was dropped must not come to stand for another.
SELECT pg_catalog.pg_extension_config_dump('wf.function', $$WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) role)
	AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) function_owner)$$);

--
-- Namespaces
--

CREATE FUNCTION wf_create_namespace(name text, retention interval DEFAULT '3 days', description text DEFAULT '') RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_create_namespace'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_create_namespace(text, interval, text) IS
	'creates a namespace; retention must be positive; NULL retention or description means the default; errors: 22004 name is NULL, 22023 empty or over-long name or bad retention, 42710 exists';

CREATE FUNCTION wf_describe_namespace(name text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_describe_namespace'
	LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_describe_namespace(text) IS
	'name, retention, description and creation time of a namespace; NULL means the namespace of the setting; error WF002 when there is none';

CREATE FUNCTION wf_drop_namespace(name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_drop_namespace'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_drop_namespace(text) IS
	'drops a namespace that holds no runs; true when dropped, false when there is none of that name; errors: 22004 name is NULL, 55006 it holds runs, 42501 it is the default namespace';

--
-- Clients and operators
--

CREATE FUNCTION wf_start(
	workflow_id text,
	workflow_type text,
	input jsonb DEFAULT NULL,
	task_queue text DEFAULT 'default',
	id_reuse_policy text DEFAULT 'AllowDuplicate',
	id_conflict_policy text DEFAULT 'Fail',
	execution_timeout interval DEFAULT NULL,
	run_timeout interval DEFAULT NULL,
	task_timeout interval DEFAULT NULL,
	start_delay interval DEFAULT NULL,
	retry_policy jsonb DEFAULT NULL,
	cron_schedule text DEFAULT NULL,
	memo jsonb DEFAULT NULL,
	search_attributes jsonb DEFAULT NULL,
	request_id text DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS uuid
	AS 'MODULE_PATHNAME', 'wfi_start'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_start(text, text, jsonb, text, text, text, interval, interval, interval, interval, jsonb, text, jsonb, jsonb, text, text, text) IS
	'starts a workflow and returns its run id; id_reuse_policy (when the current run is closed): AllowDuplicate, AllowDuplicateFailedOnly, RejectDuplicate, TerminateIfRunning; id_conflict_policy (when it is open): Fail, UseExisting, TerminateExisting; a repeated request_id returns the run it made; NULL time-outs mean none, NULL task_timeout the default; a run time-out is capped by the execution time-out, a task time-out by the run time-out and by 2 minutes; errors: WF004 already started (detail names the run), WF002 unknown namespace, WF009 a payload over the limit, 0A000 retry_policy or cron_schedule given, 22004, 22023';

CREATE FUNCTION wf_signal(
	workflow_id text,
	signal_name text,
	input jsonb DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	request_id text DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_signal'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_signal(text, text, jsonb, uuid, text, text, text) IS
	'signals a workflow; run_id NULL means the current run; true when recorded or when the run has seen request_id before, false (with a warning) when a limit made the engine terminate the run instead; errors: WF002 not found, WF003 closed, WF009 over the payload or signal limit, WF010 the run is just closing (try again), 22004, 22023';

CREATE FUNCTION wf_signal_with_start(
	workflow_id text,
	workflow_type text,
	signal_name text,
	signal_input jsonb DEFAULT NULL,
	input jsonb DEFAULT NULL,
	task_queue text DEFAULT 'default',
	id_reuse_policy text DEFAULT 'AllowDuplicate',
	id_conflict_policy text DEFAULT 'UseExisting',
	execution_timeout interval DEFAULT NULL,
	run_timeout interval DEFAULT NULL,
	task_timeout interval DEFAULT NULL,
	start_delay interval DEFAULT NULL,
	retry_policy jsonb DEFAULT NULL,
	cron_schedule text DEFAULT NULL,
	memo jsonb DEFAULT NULL,
	search_attributes jsonb DEFAULT NULL,
	request_id text DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS uuid
	AS 'MODULE_PATHNAME', 'wfi_signal_with_start'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_signal_with_start(text, text, text, jsonb, jsonb, text, text, text, interval, interval, interval, interval, jsonb, text, jsonb, jsonb, text, text, text) IS
	'signals the current run when it is open, else starts one and signals it before its first workflow task; returns the run id; id_conflict_policy is UseExisting or TerminateExisting; errors as for wf_start and wf_signal';

CREATE FUNCTION wf_cancel(
	workflow_id text,
	reason text DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	first_execution_run_id uuid DEFAULT NULL,
	request_id text DEFAULT NULL,
	missing_ok boolean DEFAULT false,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_cancel'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_cancel(text, text, uuid, uuid, text, boolean, text, text) IS
	'asks a workflow to cancel itself; true when this call recorded the request, false when it was requested before, when the run is closed, or (with missing_ok) when there is none; first_execution_run_id makes sure that the current run belongs to that chain, run_id is then ignored; errors: WF002 not found, 22004, 22023';

CREATE FUNCTION wf_terminate(
	workflow_id text,
	reason text DEFAULT NULL,
	details jsonb DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	first_execution_run_id uuid DEFAULT NULL,
	missing_ok boolean DEFAULT false,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_terminate'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_terminate(text, text, jsonb, uuid, uuid, boolean, text, text) IS
	'ends a workflow at once, its code gets no say; true when this call terminated it, false (only with missing_ok) when it is closed or there is none; errors: WF002 not found, WF003 closed, WF009 details over the limit, 22004, 22023';

CREATE FUNCTION wf_reset(
	workflow_id text,
	event_id bigint,
	reason text DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	reapply_exclude text[] DEFAULT '{}',
	signals jsonb DEFAULT NULL,
	request_id text DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL,
	OUT run_id uuid,
	OUT event_id bigint,
	OUT event_time timestamptz,
	OUT event_type wf.event_type,
	OUT attributes jsonb
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'wfi_reset'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_reset(text, bigint, text, uuid, text[], jsonb, text, text, text) IS
	'makes a new run that keeps the events before event_id of the run (NULL run_id means the current one, which may be closed) and goes on from there; the current run, if open, is terminated; returns the new run''s events; signals that came after the point are re-applied, but for kinds in reapply_exclude (Signal, Update, Nexus, CancelRequest), then those in signals ([{"signal_name": ..., "input": ..., "request_id": ...}, ...]) are delivered; a repeated request_id returns the events of the run it made; errors: WF008 not a legal point (hint names its neighbours), WF002 not found, WF009 over the payload or signal limit, 22004, 22023';

CREATE FUNCTION wf_reset_points(
	workflow_id text,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	OUT run_id uuid,
	OUT event_id bigint,
	OUT event_time timestamptz,
	OUT event_type wf.event_type,
	OUT kind text,
	OUT pending_children integer,
	OUT signals_after integer,
	OUT description text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'wfi_reset_points'
	LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_reset_points(text, uuid, text) IS
	'points a run can be reset to, newest first; event_id is the first event that would not be kept, description tells what was written with it; kind is LastWorkflowTask, FirstWorkflowTask (when another one) or NULL; signals_after counts the signals that would be re-applied, also those that wait in the buffer or came to runs that this one continued as; errors: WF002 not found, 22004, 22023';

CREATE FUNCTION wf_reset_point(workflow_id text, kind text, run_id uuid DEFAULT NULL, namespace text DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'wfi_reset_point'
	LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_reset_point(text, text, uuid, text) IS
	'event id to reset a run to; kind is FirstWorkflowTask or LastWorkflowTask: the first or last WorkflowTaskCompleted, or, when there is none, the event behind the first or last WorkflowTaskScheduled; errors: WF008 there is no such point, WF002 not found, 22004, 22023';

CREATE FUNCTION wf_reset_plan(
	workflow_id text,
	event_id bigint,
	run_id uuid DEFAULT NULL,
	reapply_exclude text[] DEFAULT '{}',
	signals jsonb DEFAULT NULL,
	namespace text DEFAULT NULL,
	OUT kind text,
	OUT action text,
	OUT run_id uuid,
	OUT event_id bigint,
	OUT name text,
	OUT description text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'wfi_reset_plan'
	LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_reset_plan(text, bigint, uuid, text[], jsonb, text) IS
	'what wf_reset with the same arguments would do, without doing it, one row per thing: Run Terminated; Events Kept; Activity KeepsResult, RunsAgain or Forgotten; Timer KeepsFireTime, FiresAtOnce or Forgotten; Signal Reapplied, Dropped, Delivered or Duplicate; CancelRequest Kept or Lost; run_id and event_id say where it is, NULL where that does not apply; errors as for wf_reset';

CREATE FUNCTION wf_pause(
	workflow_id text,
	reason text DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	request_id text DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_pause'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_pause(text, text, uuid, text, text, text) IS
	'pauses a workflow: no workflow task and no activity is dispatched until it is unpaused; true when this call paused it, false when the same request_id had; errors: WF002 not found, WF003 closed, 55000 already paused, 22004, 22023';

CREATE FUNCTION wf_unpause(
	workflow_id text,
	reason text DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	request_id text DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_unpause'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_unpause(text, text, uuid, text, text, text) IS
	'lets a paused workflow go on and schedules a workflow task; true; errors: WF002 not found, WF003 closed, 55000 not paused, 22004, 22023';

CREATE FUNCTION wf_history(
	workflow_id text,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	OUT run_id uuid,
	OUT event_id bigint,
	OUT event_time timestamptz,
	OUT event_type wf.event_type,
	OUT attributes jsonb
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'wfi_history'
	LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_history(text, uuid, text) IS
	'events of a run in order, with the rows of a transient workflow task that is not stored; run_id NULL means the current run; errors: WF002 not found, 22004, 22023';

CREATE FUNCTION wf_describe(workflow_id text, run_id uuid DEFAULT NULL, namespace text DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_describe'
	LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_describe(text, uuid, text) IS
	'a run as one JSON object: execution_config, workflow_execution_info, workflow_extended_info (cancel_requested, reset lineage, expirations), pending_workflow_task, pending_activities, pending_timers, pending_children; run_id NULL means the current run; errors: WF002 not found, 22004, 22023';

CREATE FUNCTION wf_result(workflow_id text, run_id uuid DEFAULT NULL, namespace text DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_result'
	LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_result(text, uuid, text) IS
	'result of the last run of the chain that begins with the run; NULL while it is open or when it completed without one; errors: WF013 failed, WF001 canceled, WF014 terminated (detail has the reason), WF015 timed out, WF002 not found, 22004, 22023';

CREATE FUNCTION wf_check(
	workflow_id text DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	OUT namespace text,
	OUT workflow_id text,
	OUT run_id uuid,
	OUT event_id bigint,
	OUT check_name text,
	OUT expected text,
	OUT found text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'wfi_check'
	LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_check(text, uuid, text) IS
	'what is not sound in the tables: one row per finding with the run, the event (NULL when it is not about one), what was checked, what is expected and what is there; no row when all is sound; without arguments everything is checked, with a namespace all of its runs, with a workflow_id all of its runs (in the namespace of the setting if that is NULL), with a run_id that run; changes nothing, locks nothing, sees one snapshot; shows no payloads; errors: WF002 not found, 22023';

--
-- Workers
--

CREATE FUNCTION wf_poll_workflow_task(
	task_queue text,
	max_tasks integer DEFAULT 1,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL,
	OUT task_token text,
	OUT workflow_id text,
	OUT run_id uuid,
	OUT workflow_type text,
	OUT attempt integer,
	OUT previous_started_event_id bigint,
	OUT started_event_id bigint,
	OUT history jsonb
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'wfi_poll_workflow_task'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;

COMMENT ON FUNCTION wf_poll_workflow_task(text, integer, text, text) IS
	'starts up to max_tasks (1 to 1000) workflow tasks of the queue and returns them with their whole history, an array of {event_id, event_time, event_type, attributes}; no row when there is nothing to do; never waits; errors: WF002 unknown namespace, 22004, 22023';

CREATE FUNCTION wf_respond_workflow_task_completed(
	task_token text,
	commands jsonb DEFAULT '[]',
	force_create_new_workflow_task boolean DEFAULT false,
	identity text DEFAULT NULL,
	OUT accepted boolean,
	OUT cause text,
	OUT message text
) RETURNS record
	AS 'MODULE_PATHNAME', 'wfi_respond_workflow_task_completed'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_respond_workflow_task_completed(text, jsonb, boolean, text) IS
	'completes a workflow task with an array of commands; not accepted (with a warning) means that the reply was refused for the cause recorded in WorkflowTaskFailed, or that a limit made the engine terminate the run; errors, with nothing written: WF005 the token is stale, 55000 a new task is forced while the run is paused, 22023 malformed token or commands, 22004';

CREATE FUNCTION wf_respond_workflow_task_failed(
	task_token text,
	cause text DEFAULT 'WorkflowWorkerUnhandledFailure',
	failure jsonb DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_respond_workflow_task_failed'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_respond_workflow_task_failed(text, text, jsonb, text) IS
	'fails a workflow task; cause is one of the documented workflow task failed causes, failure an object like {"message": ...}; a new attempt is scheduled; errors: WF005 the token is stale, 22023 malformed token, cause or failure, 22004';

CREATE FUNCTION wf_poll_activity_task(
	task_queue text,
	max_tasks integer DEFAULT 1,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL,
	OUT task_token text,
	OUT workflow_id text,
	OUT run_id uuid,
	OUT workflow_type text,
	OUT activity_id text,
	OUT activity_type text,
	OUT attempt integer,
	OUT input jsonb,
	OUT heartbeat_details jsonb,
	OUT scheduled_time timestamptz,
	OUT started_time timestamptz,
	OUT schedule_to_close_timeout interval,
	OUT start_to_close_timeout interval,
	OUT heartbeat_timeout interval
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'wfi_poll_activity_task'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;

COMMENT ON FUNCTION wf_poll_activity_task(text, integer, text, text) IS
	'starts up to max_tasks (1 to 1000) activities of the queue and returns them; heartbeat_details are those of the attempts before, scheduled_time is that of the first; no row when there is nothing to do; never waits; errors: WF002 unknown namespace, 22004, 22023';

CREATE FUNCTION wf_heartbeat(
	task_token text,
	details jsonb DEFAULT NULL,
	identity text DEFAULT NULL,
	OUT cancel_requested boolean,
	OUT activity_paused boolean,
	OUT activity_reset boolean
) RETURNS record
	AS 'MODULE_PATHNAME', 'wfi_heartbeat'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_heartbeat(text, jsonb, text) IS
	'tells that an activity is alive and how far it is, and learns whether it is to cancel; legal after a cancel request, too; with the library preloaded it counts even if the transaction rolls back; NULL identity means who took the task; details over the payload limit fail the activity; errors: WF003 the run is closed, WF005 the token is stale, 22023 malformed token, 22004';

CREATE FUNCTION wf_heartbeat_by_id(
	workflow_id text,
	activity_id text,
	details jsonb DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL,
	OUT cancel_requested boolean,
	OUT activity_paused boolean,
	OUT activity_reset boolean
) RETURNS record
	AS 'MODULE_PATHNAME', 'wfi_heartbeat_by_id'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_heartbeat_by_id(text, text, jsonb, uuid, text, text) IS
	'as wf_heartbeat, for the started activity with that id in the run (NULL means the current run); errors also: WF002 unknown workflow, WF005 unknown activity';

CREATE FUNCTION wf_respond_activity_task_completed(
	task_token text,
	result jsonb DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_respond_activity_task_completed'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_respond_activity_task_completed(text, jsonb, text) IS
	'completes an activity with a result; accepted also after a cancel was requested; a result over the payload limit fails the activity; errors: WF003 the run is closed, WF005 the token is stale, 22023 malformed token, 22004';

CREATE FUNCTION wf_respond_activity_task_completed_by_id(
	workflow_id text,
	activity_id text,
	result jsonb DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_respond_activity_task_completed_by_id'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_respond_activity_task_completed_by_id(text, text, jsonb, uuid, text, text) IS
	'as wf_respond_activity_task_completed, for the activity with that id in the run (NULL means the current run), even one that no worker has; errors also: WF002 unknown workflow, WF005 unknown activity';

CREATE FUNCTION wf_respond_activity_task_failed(
	task_token text,
	failure jsonb,
	last_heartbeat_details jsonb DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_respond_activity_task_failed'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_respond_activity_task_failed(text, jsonb, jsonb, text) IS
	'fails an attempt of an activity with an object like {"message": ..., "type": ..., "non_retryable": ...}; its retry policy decides whether another one follows; errors: WF003 the run is closed, WF005 the token is stale, 22023 malformed token, 22004';

CREATE FUNCTION wf_respond_activity_task_failed_by_id(
	workflow_id text,
	activity_id text,
	failure jsonb,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL,
	last_heartbeat_details jsonb DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_respond_activity_task_failed_by_id'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_respond_activity_task_failed_by_id(text, text, jsonb, uuid, text, text, jsonb) IS
	'as wf_respond_activity_task_failed, for the activity with that id in the run (NULL means the current run); errors also: WF002 unknown workflow, WF005 unknown activity';

CREATE FUNCTION wf_respond_activity_task_canceled(
	task_token text,
	details jsonb DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_respond_activity_task_canceled'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_respond_activity_task_canceled(text, jsonb, text) IS
	'tells that an activity accepted its cancellation; errors: WF006 nobody asked it to cancel; WF003 the run is closed, WF005 the token is stale, 22023 malformed token, 22004';

CREATE FUNCTION wf_respond_activity_task_canceled_by_id(
	workflow_id text,
	activity_id text,
	details jsonb DEFAULT NULL,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_respond_activity_task_canceled_by_id'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_respond_activity_task_canceled_by_id(text, text, jsonb, uuid, text, text) IS
	'as wf_respond_activity_task_canceled, for the activity with that id in the run (NULL means the current run); errors also: WF002 unknown workflow, WF005 unknown activity';

CREATE FUNCTION wf_pause_activity(
	workflow_id text,
	activity_id text,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	reason text DEFAULT NULL,
	request_id text DEFAULT NULL,
	identity text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_pause_activity'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_pause_activity(text, text, uuid, text, text, text, text) IS
	'pauses a pending activity: a running attempt may finish and is told by its heartbeats and a notification, no other begins; who did it and why is kept until it is unpaused; true when this call paused it, false when the same request_id had; error 55000 when it is paused already; other errors: WF002 unknown workflow, WF003 the run is closed, WF005 unknown activity, 22004, 22023';

CREATE FUNCTION wf_unpause_activity(
	workflow_id text,
	activity_id text,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	reset_attempts boolean DEFAULT false,
	reset_heartbeat boolean DEFAULT false
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_unpause_activity'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_unpause_activity(text, text, uuid, text, boolean, boolean) IS
	'lets a paused activity go on, at once even if it waited for a retry, with attempts counted from 1 and without heartbeat details if asked; true when done, false when it is not paused; errors: WF002 unknown workflow, WF003 the run is closed, WF005 unknown activity, 22004, 22023';

CREATE FUNCTION wf_reset_activity(
	workflow_id text,
	activity_id text,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	keep_paused boolean DEFAULT false,
	reset_heartbeat boolean DEFAULT false
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_reset_activity'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_reset_activity(text, text, uuid, text, boolean, boolean) IS
	'counts a pending activity''s attempts from 1 again: at once when it waits, with the next attempt when one is running, which is told by its heartbeats; true when done; errors: WF002 unknown workflow, WF003 the run is closed, WF005 unknown activity, 22004, 22023';

CREATE FUNCTION wf_update_activity_options(
	workflow_id text,
	activity_id text,
	run_id uuid DEFAULT NULL,
	namespace text DEFAULT NULL,
	task_queue text DEFAULT NULL,
	schedule_to_close_timeout interval DEFAULT NULL,
	schedule_to_start_timeout interval DEFAULT NULL,
	start_to_close_timeout interval DEFAULT NULL,
	heartbeat_timeout interval DEFAULT NULL,
	retry_policy jsonb DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_update_activity_options'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_update_activity_options(text, text, uuid, text, text, interval, interval, interval, interval, jsonb) IS
	'changes time-outs, retry policy and task queue of a pending activity; NULL leaves an option as it is; one that waits for a retry waits as a new policy says, from the end of the last attempt on; true when done; errors: WF002 unknown workflow, WF003 the run is closed, WF005 unknown activity, 22004, 22023';

CREATE FUNCTION wf_channel(kind text, name text) RETURNS text
	AS 'MODULE_PATHNAME', 'wfi_channel'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION wf_channel(text, text) IS
	'channel to LISTEN on; kind workflow or activity with the name of a task queue, worker with a worker''s identity; at most 63 bytes; NULL if an argument is NULL; error 22023 for other kinds and empty or over-long names';

CREATE FUNCTION wf_tick(max_items integer DEFAULT 1000) RETURNS integer
	AS 'MODULE_PATHNAME', 'wfi_tick'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_tick(integer) IS
	'does now what the driver would do: timers, time-outs and start delays that are due; looks at no more wake-ups than max_items, and returns for how many runs there was something to do; for tests and for servers without background workers; error 22023 when max_items is not positive';

--
-- Workflows and activities in SQL
--

CREATE FUNCTION wf_register_workflow(
	name text,
	function text,
	task_queue text DEFAULT 'default',
	options jsonb DEFAULT NULL,
	namespace text DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_register_workflow'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_register_workflow(text, text, text, jsonb, text) IS
	'has workflows of a type, on a task queue, run by a SQL function that takes the input as jsonb and returns the result as jsonb, or void; it is given like shop.order(jsonb) and runs as the role that registers it; replaces what that role (for a superuser: any role) has registered for the same type; there are no options; errors: 42883 no such function, 42P13 it cannot be registered, 42501 the caller may not run it or another role has registered the type, WF002 unknown namespace, 22004, 22023';

CREATE FUNCTION wf_register_activity(
	name text,
	function text,
	task_queue text DEFAULT 'default',
	options jsonb DEFAULT NULL,
	namespace text DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_register_activity'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_register_activity(text, text, text, jsonb, text) IS
	'as wf_register_workflow, for activities of a type; option interruptible (default true; a call can say otherwise): whether a cancel interrupts the statement that is running';

CREATE FUNCTION wf_unregister_workflow(name text, task_queue text DEFAULT 'default', namespace text DEFAULT NULL) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_unregister_workflow'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_unregister_workflow(text, text, text) IS
	'undoes wf_register_workflow: tasks wait from then on; true when done, false when the type is not registered; errors: 42501 another role has registered it, WF002 unknown namespace, 22004, 22023';

CREATE FUNCTION wf_unregister_activity(name text, task_queue text DEFAULT 'default', namespace text DEFAULT NULL) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_unregister_activity'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_unregister_activity(text, text, text) IS
	'undoes wf_register_activity: tasks wait from then on; true when done, false when the type is not registered; errors as for wf_unregister_workflow';

CREATE FUNCTION wf_work(task_queue text DEFAULT 'default', max_tasks integer DEFAULT 1000, namespace text DEFAULT NULL) RETURNS integer
	AS 'MODULE_PATHNAME', 'wfi_work'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_work(text, integer, text) IS
	'does, in this transaction, what a background worker would do now with the functions that the current role has registered: runs tasks of the queue until none is ready or max_tasks were run; returns how many; what has to wait for time to pass is not waited for; for tests and for servers without background workers; errors: WF002 unknown namespace, 22004, 22023';

CREATE FUNCTION wf_activity_heartbeat(details jsonb DEFAULT NULL) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_activity_heartbeat'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_activity_heartbeat(jsonb) IS
	'tells, from inside an activity, that it is alive and how far it is; raises WF001 when it is to cancel, once in an attempt; from then on returns true, else false; errors also: WF009 details over the payload limit, 55000 not inside an activity';

CREATE FUNCTION wf_activity_heartbeat_details() RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_activity_heartbeat_details'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_activity_heartbeat_details() IS
	'what the activity''s last heartbeat said, in this attempt or one before; NULL for nothing; error 55000 not inside an activity';

CREATE FUNCTION wf_activity_info() RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_activity_info'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_activity_info() IS
	'the activity that is running, as an object: namespace, workflow_id, run_id, workflow_type, task_queue, activity_id, activity_type, attempt, scheduled_time, started_time, time-outs, cancel_requested; error 55000 not inside an activity';
-- Inside workflow code.  Functions registered with wf_register_workflow call
-- these; anywhere else they raise 55000.
--

CREATE FUNCTION wf_activity(
	activity_type text,
	input jsonb DEFAULT NULL,
	activity_id text DEFAULT NULL,
	task_queue text DEFAULT NULL,
	start_to_close_timeout interval DEFAULT NULL,
	schedule_to_close_timeout interval DEFAULT NULL,
	schedule_to_start_timeout interval DEFAULT NULL,
	heartbeat_timeout interval DEFAULT NULL,
	retry_policy jsonb DEFAULT NULL,
	cancellation_type text DEFAULT 'TryCancel',
	disconnected boolean DEFAULT false,
	interruptible boolean DEFAULT NULL
) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_code_activity'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_activity(text, jsonb, text, text, interval, interval, interval, interval, jsonb, text, boolean, boolean) IS
	'in workflow code: schedules an activity and waits for its result, NULL when it has none; activity_id NULL means the number of the call, task_queue the workflow''s; without start_to_close_timeout and schedule_to_close_timeout an attempt may take 10 minutes; cancellation_type says what a cancel of the workflow does to it: TryCancel (ask it, do not wait), WaitCancellationCompleted, Abandon; disconnected: no cancel reaches it; interruptible NULL means as registered; errors: WF011 it failed or timed out, the detail is the failure as JSON; WF001 canceled; 55000 not in workflow code, WF009, 22004, 22023';

CREATE FUNCTION wf_activity_start(
	activity_type text,
	input jsonb DEFAULT NULL,
	activity_id text DEFAULT NULL,
	task_queue text DEFAULT NULL,
	start_to_close_timeout interval DEFAULT NULL,
	schedule_to_close_timeout interval DEFAULT NULL,
	schedule_to_start_timeout interval DEFAULT NULL,
	heartbeat_timeout interval DEFAULT NULL,
	retry_policy jsonb DEFAULT NULL,
	cancellation_type text DEFAULT 'TryCancel',
	disconnected boolean DEFAULT false,
	interruptible boolean DEFAULT NULL
) RETURNS bigint
	AS 'MODULE_PATHNAME', 'wfi_code_activity_start'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_activity_start(text, jsonb, text, text, interval, interval, interval, interval, jsonb, text, boolean, boolean) IS
	'in workflow code: schedules an activity as wf_activity does, but returns a handle at once, for wf_await, wf_await_any and wf_activity_cancel; errors: 55000 not in workflow code, WF009, 22004, 22023';

CREATE FUNCTION wf_local_activity(
	activity_type text,
	input jsonb DEFAULT NULL,
	task_queue text DEFAULT NULL,
	disconnected boolean DEFAULT false
) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_code_local_activity'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_local_activity(text, jsonb, text, boolean) IS
	'in workflow code: runs a registered activity''s function once, in the transaction of the workflow task, so that what it writes and the MarkerRecorded event with its result commit together; for short work; the activity must be registered by the workflow''s role, on the workflow''s task queue when task_queue is NULL; disconnected: also after a cancel that the code has not been told; errors: WF011 it failed, the detail is the failure as JSON; WF001 the workflow was canceled before; 55000 not in workflow code, WF009, 22004, 22023';

CREATE FUNCTION wf_await(handle bigint) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_code_await'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_await(bigint) IS
	'in workflow code: waits for an activity or timer and returns the activity''s result, NULL for a timer; a handle may be awaited again; errors: WF011 the activity failed or timed out, WF001 it or the workflow was canceled (for an activity the detail is what it said, as JSON), 55000 not in workflow code, 22004, 22023';

CREATE FUNCTION wf_await_any(handles bigint[]) RETURNS bigint
	AS 'MODULE_PATHNAME', 'wfi_code_await_any'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_await_any(bigint[]) IS
	'in workflow code: waits until one of the activities and timers is done, in whatever way, and returns its handle, the first of several; wf_await then tells what came of it; errors: WF001 the workflow was canceled, 55000 not in workflow code, 22004, 22023';

CREATE FUNCTION wf_activity_cancel(handle bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_code_activity_cancel'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_activity_cancel(bigint) IS
	'in workflow code: asks an activity to cancel, in the way of its cancellation_type; one scheduled in the same workflow task never starts; wf_await tells what came of it; false when it is done already, or was asked before; errors: 55000 not in workflow code, 22004, 22023';

CREATE FUNCTION wf_sleep(duration interval) RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_code_sleep'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_sleep(interval) IS
	'in workflow code: waits with a timer, however long; not at all when the duration is not positive; errors: WF001 the workflow was canceled, 55000 not in workflow code, 22004';

CREATE FUNCTION wf_timer_start(duration interval) RETURNS bigint
	AS 'MODULE_PATHNAME', 'wfi_code_timer_start'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_timer_start(interval) IS
	'in workflow code: starts a timer and returns its handle, for wf_await, wf_await_any and wf_timer_cancel; errors: 55000 not in workflow code, 22004, 22023';

CREATE FUNCTION wf_timer_cancel(handle bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_code_timer_cancel'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_timer_cancel(bigint) IS
	'in workflow code: cancels a timer; false when it has fired, or was canceled before; errors: 55000 not in workflow code, 22004, 22023';

CREATE FUNCTION wf_signal_receive(name text, timeout interval DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'wfi_code_signal_receive'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_signal_receive(text, interval) IS
	'in workflow code: takes the next signal of that name, waiting for one if need be, and returns its input, JSON null when it has none; NULL when the time is over; timeout NULL means to wait for ever; errors: WF001 the workflow was canceled, 55000 not in workflow code, 22004, 22023';

CREATE FUNCTION wf_cancel_requested() RETURNS boolean
	AS 'MODULE_PATHNAME', 'wfi_code_cancel_requested'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_cancel_requested() IS
	'in workflow code: has the workflow been asked to cancel; error 55000 not in workflow code';

CREATE FUNCTION wf_cancellation_reason() RETURNS text
	AS 'MODULE_PATHNAME', 'wfi_code_cancellation_reason'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_cancellation_reason() IS
	'in workflow code: why the workflow was asked to cancel, empty when no reason was given; NULL when it was not asked; error 55000 not in workflow code';

CREATE FUNCTION wf_now() RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'wfi_code_now'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_now() IS
	'in workflow code: the time, as of the workflow task in which the code came here first; error 55000 not in workflow code';

CREATE FUNCTION wf_random() RETURNS double precision
	AS 'MODULE_PATHNAME', 'wfi_code_random'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_random() IS
	'in workflow code: a random number from 0 to below 1, the same when the code is run again; error 55000 not in workflow code';

CREATE FUNCTION wf_uuid() RETURNS uuid
	AS 'MODULE_PATHNAME', 'wfi_code_uuid'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_uuid() IS
	'in workflow code: a random UUID (version 4), the same when the code is run again; error 55000 not in workflow code';

--
-- Triggers for application tables
--

CREATE FUNCTION wf_start_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'wfi_start_trigger'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_start_trigger() IS
	'AFTER ... FOR EACH ROW trigger that starts a workflow: (workflow id template, workflow type template, option=value, ...); options: input (a column, default the whole row), task_queue, id_reuse_policy, id_conflict_policy (default UseExisting), start_delay, execution_timeout, run_timeout, task_timeout, namespace, identity; {column} in a template stands for the column''s value; option values are templates too';

CREATE FUNCTION wf_signal_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'wfi_signal_trigger'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_signal_trigger() IS
	'AFTER ... FOR EACH ROW trigger that signals a workflow: (workflow id template, signal name template, option=value, ...); options: input (a column, default the whole row), missing (error, the default, or ignore: no such workflow, or a closed one), namespace, identity';

CREATE FUNCTION wf_cancel_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'wfi_cancel_trigger'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_cancel_trigger() IS
	'AFTER ... FOR EACH ROW trigger that cancels a workflow: (workflow id template, reason template, option=value, ...); options: missing (error, the default, or ignore), namespace, identity';

CREATE FUNCTION wf_terminate_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'wfi_terminate_trigger'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf_terminate_trigger() IS
	'AFTER ... FOR EACH ROW trigger that terminates a workflow: (workflow id template, reason template, option=value, ...); options: missing (error, the default, or ignore: no such workflow, or a closed one), namespace, identity';

--
-- Background processes
--

CREATE FUNCTION wf._created() RETURNS void
	AS 'MODULE_PATHNAME', 'wfi_created'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wf._created() IS
	'internal: tells the launcher, at commit, that this database has the extension';

SELECT wf._created();

--
-- Privileges: nothing for PUBLIC.  Grant EXECUTE on what a role needs; the
-- functions reach the tables as the owner of the extension.
--

DO $$
DECLARE
	f pg_catalog.regprocedure;
BEGIN
	FOR f IN
		SELECT d.objid
		FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
		WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
		AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
		AND e.extname OPERATOR(pg_catalog.=) 'workflow_interrupt'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
END
$$;
