/*
 * statements.c
 *	  Every SQL statement of the engine.
 *
 * All are saved generic plans with parameters.  They name every object and
 * operator with its schema, so that no search_path can capture anything, and
 * every one on a workflow-scoped table says shard = $n, so that the tables
 * can be distributed; the few that are about all shards say so.
 */
#include "postgres.h"

#include "store.h"

#define EQ " OPERATOR(pg_catalog.=) "
#define LT " OPERATOR(pg_catalog.<) "
#define LE " OPERATOR(pg_catalog.<=) "
#define GT " OPERATOR(pg_catalog.>) "
#define GE " OPERATOR(pg_catalog.>=) "

/*
 * A run's whole row, and where it is, so that the update of a locked row
 * need not look it up again.
 */
#define BY_CURRENT \
	" FROM wf.execution AS e WHERE e.shard" EQ "$1 AND e.workflow_id" EQ "$2" \
	" AND e.namespace" EQ "$3 AND e.is_current"
#define BY_RUN \
	" FROM wf.execution AS e WHERE e.shard" EQ "$1 AND e.run_id" EQ "$2"

#define EVENT_COLUMNS \
	"event_id, batch_id, event_time, event_type, attributes"
#define INSERT_INTO_EVENT \
	"INSERT INTO wf.event (shard, run_id, event_id, batch_id, event_time, " \
	"event_type, attributes) "
#define INSERT_EVENT INSERT_INTO_EVENT "VALUES "

/* What every new run has */
#define RUN_COLUMNS_STARTED \
	"shard, run_id, first_execution_run_id, original_execution_run_id, " \
	"next_event_id, history_size, start_time, execution_time, close_time, " \
	"last_event_time, first_task_time, wakeup_time, " \
	"execution_expiration_time, run_expiration_time, " \
	"task_scheduled_event_id, task_scheduled_time, " \
	"task_original_scheduled_time, task_attempt, signal_count, state_size, " \
	"status, is_current, execution_timeout, run_timeout, task_timeout, " \
	"namespace, workflow_id, workflow_type, task_queue, " \
	"create_request_id, memo, search_attributes"
#define RUN_VALUES_STARTED \
	"$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, " \
	"$16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, " \
	"$30, $31, $32"
#define RUN_TYPES_STARTED "iuuullttttttttlttiilobvvvsssssjj"

/* See ActivityColumn */
#define COLUMNS_OF_ACTIVITY \
	"scheduled_event_id, attempt, first_scheduled_time, scheduled_time, " \
	"started_time, last_heartbeat_time, last_attempt_complete_time, " \
	"cancel_requested_event_id, token, dispatched, cancel_requested, " \
	"paused, was_reset, heartbeat_reset, schedule_to_close_timeout, " \
	"schedule_to_start_timeout, start_to_close_timeout, heartbeat_timeout, " \
	"state, activity_id, activity_type, task_queue, identity, " \
	"last_worker_identity, retry_policy, heartbeat_details, last_failure, " \
	"pause_info"
#define TYPES_OF_ACTIVITY "litttttlubbbbbvvvvssssssjjjj"

#define BY_ATTEMPT \
	" FROM wf.activity WHERE shard" EQ "$1 AND run_id" EQ "$2" \
	" AND scheduled_event_id" EQ "$3 AND attempt" EQ "$4" \
	" AND token" EQ "$5 AND started_time IS NOT NULL"
/* Has no later heartbeat come since the activity was read? */
#define NO_LATER_HEARTBEAT \
	"($31 OR last_heartbeat_time IS NULL OR last_heartbeat_time" LE "$8)"

#define SELECT_FUNCTION \
	"SELECT kind, namespace, name, task_queue, function_schema, " \
	"function_name, function_owner, role, options FROM wf.function"
#define BY_FUNCTION \
	" WHERE kind" EQ "$1 AND namespace" EQ "$2 AND name" EQ "$3" \
	" AND task_queue" EQ "$4"

/*
 * Rows of a table for wf_check(), in the order of the runs they belong to:
 * all there are, over all shards; those of a namespace's runs, likewise; those
 * of a workflow's runs with ids in a range.
 */
#define OF_NAMESPACE \
	" WHERE EXISTS (SELECT 1 FROM wf.execution AS e WHERE e.shard" EQ "t.shard" \
	" AND e.run_id" EQ "t.run_id AND e.namespace" EQ "$1)"
#define OF_WORKFLOW \
	" WHERE t.shard" EQ "$1 AND t.run_id" GE "$2 AND t.run_id" LE "$3" \
	" AND EXISTS (SELECT 1 FROM wf.execution AS e WHERE e.shard" EQ "t.shard" \
	" AND e.run_id" EQ "t.run_id AND e.namespace" EQ "$4" \
	" AND e.workflow_id" EQ "$5)"
#define CHECK(statement, what, rest) \
	[(statement) + CHECK_ALL] = {"SELECT " what rest, "", true}, \
	[(statement) + CHECK_NAMESPACE] = {"SELECT " what OF_NAMESPACE rest, "s", true}, \
	[(statement) + CHECK_WORKFLOW] = {"SELECT " what OF_WORKFLOW rest, "iuuss", true}
#define CHECK_ROWS(statement, columns, table, order) \
	CHECK(statement, "t.shard, t.run_id, " columns " FROM wf." table " AS t", \
		  " ORDER BY t.shard, t.run_id" order)

/*
 * Parameter types: i int4, l int8, u uuid, s text, t timestamptz, b bool,
 * v interval, j jsonb, c "char", o wf.status, e wf.event_type, p tid,
 * r regrole; capitals are arrays.
 */
const StatementDef wfi_statements[STATEMENTS] = {
	[LOCK_CURRENT] = {
		"SELECT e, e.ctid" BY_CURRENT " FOR NO KEY UPDATE", "iss"
	},
	[LOCK_RUN] = {
		"SELECT e, e.ctid" BY_RUN " FOR NO KEY UPDATE", "iu"
	},
	[LOCK_RUN_SKIP] = {
		"SELECT e, e.ctid" BY_RUN " FOR NO KEY UPDATE SKIP LOCKED", "iu"
	},
	[READ_CURRENT] = {
		"SELECT e, e.ctid" BY_CURRENT, "iss"
	},
	[READ_RUN] = {
		"SELECT e, e.ctid" BY_RUN, "iu"
	},
	[READ_MEMO] = {
		"SELECT memo, search_attributes" BY_RUN, "iu"
	},
	[RUN_EXISTS] = {
		"SELECT 1" BY_RUN, "iu"
	},
	[RUN_WRITER] = {
		"SELECT xmin" BY_RUN, "iu"
	},
	[ANY_RUN] = {
		/* over all shards; asked about a run that is not there */
		"SELECT 1 FROM wf.execution LIMIT 1", ""
	},
	[FIND_RESET] = {
		"SELECT e, e.ctid FROM wf.execution AS e WHERE e.shard" EQ "$1"
		" AND e.workflow_id" EQ "$2 AND e.namespace" EQ "$3"
		" AND e.reset_request_id" EQ "$4", "isss"
	},
	[INSERT_RUN] = {
		"INSERT INTO wf.execution (" RUN_COLUMNS_STARTED ") "
		"VALUES (" RUN_VALUES_STARTED ") ON CONFLICT DO NOTHING",
		RUN_TYPES_STARTED
	},
	[INSERT_RESET_RUN] = {
		"INSERT INTO wf.execution (" RUN_COLUMNS_STARTED ", "
		"previous_started_event_id, cancel_requested, pending_timers, "
		"pending_activities, base_run_id, last_copied_event_id, "
		"reset_request_id, reset_identity, parent_run_id, "
		"parent_initiated_event_id, parent_namespace, parent_workflow_id) "
		"VALUES (" RUN_VALUES_STARTED ", $33, $34, $35, $36, $37, $38, $39, "
		"$40, $41, $42, $43, $44) ON CONFLICT DO NOTHING",
		RUN_TYPES_STARTED "lbiiulssulss"
	},
	[UNSET_CURRENT] = {
		"UPDATE wf.execution SET is_current = false"
		" WHERE shard" EQ "$1 AND run_id" EQ "$2", "iu"
	},
	[INSERT_EVENTS_1] = {
		INSERT_EVENT "($1, $2, $3, $4, $5, $6, $7)",
		"iulltej"
	},
	[INSERT_EVENTS_2] = {
		INSERT_EVENT "($1, $2, $3, $4, $5, $6, $7), "
		"($1, $2, $8, $9, $10, $11, $12)",
		"iulltejlltej"
	},
	[INSERT_EVENTS_3] = {
		INSERT_EVENT "($1, $2, $3, $4, $5, $6, $7), "
		"($1, $2, $8, $9, $10, $11, $12), "
		"($1, $2, $13, $14, $15, $16, $17)",
		"iulltejlltejlltej"
	},
	[INSERT_EVENTS_4] = {
		INSERT_EVENT "($1, $2, $3, $4, $5, $6, $7), "
		"($1, $2, $8, $9, $10, $11, $12), "
		"($1, $2, $13, $14, $15, $16, $17), "
		"($1, $2, $18, $19, $20, $21, $22)",
		"iulltejlltejlltejlltej"
	},
	[INSERT_EVENTS_ARRAY] = {
		INSERT_INTO_EVENT
		"SELECT $1, $2, e.event_id, e.batch_id, e.event_time, "
		"e.event_type, e.attributes "
		"FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4), "
		"pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7)) "
		"AS e(event_id, batch_id, event_time, event_type, attributes)",
		"iuLLTEJ"
	},
	[SCAN_EVENTS] = {
		"SELECT " EVENT_COLUMNS " FROM wf.event WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND event_id" GE "$3 AND event_id" LE "$4"
		" ORDER BY event_id", "iull"
	},
	[COPY_EVENTS] = {
		INSERT_INTO_EVENT
		"SELECT shard, $3, " EVENT_COLUMNS " FROM wf.event "
		"WHERE shard" EQ "$1 AND run_id" EQ "$2 AND event_id" LE "$4"
		" ORDER BY event_id RETURNING " EVENT_COLUMNS, "iuul"
	},
	[READ_EVENT] = {
		"SELECT " EVENT_COLUMNS " FROM wf.event WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND event_id" EQ "$3", "iul"
	},
	[LAST_EVENT] = {
		"SELECT " EVENT_COLUMNS " FROM wf.event WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND event_type" EQ "$3"
		" ORDER BY event_id DESC LIMIT 1", "iue"
	},
	[READ_BUFFER] = {
		"SELECT event_time, event_type, attributes "
		"FROM wf.buffered_event WHERE shard" EQ "$1 AND run_id" EQ "$2 "
		"ORDER BY position", "iu"
	},
	[INSERT_BUFFER] = {
		"INSERT INTO wf.buffered_event (shard, run_id, position, event_time, "
		"event_type, attributes) "
		"VALUES ($1, $2, $3, $4, $5, $6)", "iuitej"
	},
	[CLEAR_BUFFER] = {
		"DELETE FROM wf.buffered_event WHERE shard" EQ "$1 AND run_id" EQ "$2",
		"iu"
	},
	[READ_TIMERS] = {
		"SELECT timer_id, started_event_id, fire_time FROM wf.timer "
		"WHERE shard" EQ "$1 AND run_id" EQ "$2 ORDER BY started_event_id",
		"iu"
	},
	[INSERT_TIMER] = {
		"INSERT INTO wf.timer (shard, run_id, timer_id, started_event_id, "
		"fire_time) VALUES ($1, $2, $3, $4, $5)", "iuslt"
	},
	[DELETE_TIMER] = {
		"DELETE FROM wf.timer WHERE shard" EQ "$1 AND run_id" EQ "$2"
		" AND timer_id" EQ "$3", "ius"
	},
	[CLEAR_TIMERS] = {
		"DELETE FROM wf.timer WHERE shard" EQ "$1 AND run_id" EQ "$2", "iu"
	},
	[READ_ACTIVITIES] = {
		"SELECT " COLUMNS_OF_ACTIVITY " FROM wf.activity WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 ORDER BY scheduled_event_id", "iu"
	},
	[READ_ACTIVITY] = {
		"SELECT " COLUMNS_OF_ACTIVITY " FROM wf.activity WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND scheduled_event_id" EQ "$3", "iul"
	},
	[FIND_ACTIVITY] = {
		"SELECT " COLUMNS_OF_ACTIVITY " FROM wf.activity WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND activity_id" EQ "$3", "ius"
	},
	[INSERT_ACTIVITY] = {
		"INSERT INTO wf.activity (shard, run_id, " COLUMNS_OF_ACTIVITY ") "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
		"$15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, "
		"$29, $30)",
		"iu" TYPES_OF_ACTIVITY
	},
	[UPDATE_ACTIVITY] = {
		/* heartbeats do not wait for the run's lock, so they may be later */
		"UPDATE wf.activity SET attempt = $4, scheduled_time = $6, "
		"started_time = $7, last_heartbeat_time = CASE WHEN "
		NO_LATER_HEARTBEAT " THEN $8 ELSE last_heartbeat_time END, "
		"last_attempt_complete_time = $9, cancel_requested_event_id = $10, "
		"token = $11, dispatched = $12, cancel_requested = $13, paused = $14, "
		"was_reset = $15, heartbeat_reset = $16, "
		"schedule_to_close_timeout = $17, schedule_to_start_timeout = $18, "
		"start_to_close_timeout = $19, heartbeat_timeout = $20, state = $21, "
		"task_queue = $24, identity = $25, last_worker_identity = CASE WHEN "
		NO_LATER_HEARTBEAT " THEN $26 ELSE last_worker_identity END, "
		"retry_policy = $27, heartbeat_details = CASE WHEN "
		NO_LATER_HEARTBEAT " THEN $28 ELSE heartbeat_details END, "
		"last_failure = $29, pause_info = $30"
		" WHERE shard" EQ "$1 AND run_id" EQ "$2"
		" AND scheduled_event_id" EQ "$3", "iu" TYPES_OF_ACTIVITY "b"
	},
	[DELETE_ACTIVITY] = {
		"DELETE FROM wf.activity WHERE shard" EQ "$1 AND run_id" EQ "$2"
		" AND scheduled_event_id" EQ "$3", "iul"
	},
	[CLEAR_ACTIVITIES] = {
		"DELETE FROM wf.activity WHERE shard" EQ "$1 AND run_id" EQ "$2", "iu"
	},
	[HEARTBEAT] = {
		/* without the run's lock: it only puts a time-out off */
		"UPDATE wf.activity SET "
		"last_heartbeat_time = GREATEST(last_heartbeat_time, $6), "
		"heartbeat_details = $7, "
		"last_worker_identity = COALESCE($8, last_worker_identity)"
		" WHERE shard" EQ "$1 AND run_id" EQ "$2"
		" AND scheduled_event_id" EQ "$3 AND attempt" EQ "$4"
		" AND token" EQ "$5 AND started_time IS NOT NULL"
		" RETURNING cancel_requested, paused, was_reset", "iuliutjs"
	},
	[LOCK_ATTEMPT] = {
		"SELECT last_heartbeat_time" BY_ATTEMPT
		" FOR NO KEY UPDATE SKIP LOCKED", "iuliu"
	},
	[ATTEMPT_EXISTS] = {
		"SELECT 1" BY_ATTEMPT, "iuliu"
	},
	[SEEN_SIGNAL] = {
		"SELECT 1 FROM wf.signal_request WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND request_id" EQ "$3", "ius"
	},
	[INSERT_SIGNALS] = {
		"INSERT INTO wf.signal_request (shard, run_id, request_id) "
		"SELECT $1, $2, r FROM pg_catalog.unnest($3) AS r "
		"ON CONFLICT DO NOTHING", "iuS"
	},
	[INSERT_TASK] = {
		"INSERT INTO wf.task (queue_id, shard, run_id, scheduled_event_id, "
		"attempt, created_time, kind, namespace, task_queue, type, run_tid, "
		"activity_tid, event_tid) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		"liulitcsssppp"
	},
	[READ_TASKS] = {
		/* row comparison, for a plan along the index whatever the statistics */
		"SELECT queue_id, task_id, shard, run_id, scheduled_event_id, "
		"attempt, created_time, kind, namespace, task_queue, type "
		"FROM wf.task WHERE ROW(queue_id, task_id)" GT "ROW($1, $2) "
		"AND queue_id" LE "$1 ORDER BY queue_id, task_id, shard LIMIT $3",
		"lll"
	},
	[DELETE_TASK] = {
		/* never waits */
		"WITH l AS (SELECT queue_id, task_id, shard FROM wf.task"
		" WHERE queue_id" EQ "$1 AND task_id" EQ "$2 AND shard" EQ "$3"
		" FOR UPDATE SKIP LOCKED) DELETE FROM wf.task AS t USING l"
		" WHERE t.queue_id" EQ "l.queue_id AND t.task_id" EQ "l.task_id"
		" AND t.shard" EQ "l.shard AND t.shard" EQ "$3", "lli"
	},
	[INSERT_WAKEUP] = {
		"INSERT INTO wf.wakeup (shard, run_id, due_time) VALUES ($1, $2, $3) "
		"ON CONFLICT DO NOTHING", "iut"
	},
	[READ_WAKEUPS] = {
		"SELECT due_time, run_id, shard FROM wf.wakeup "
		"WHERE ROW(due_time, run_id, shard)" GT "ROW($1, $2, $3) "
		"ORDER BY due_time, run_id, shard LIMIT $4", "tuil"
	},
	[DELETE_WAKEUP] = {
		/* never waits */
		"WITH l AS (SELECT due_time, run_id, shard FROM wf.wakeup"
		" WHERE due_time" EQ "$1 AND run_id" EQ "$2 AND shard" EQ "$3"
		" FOR UPDATE SKIP LOCKED) DELETE FROM wf.wakeup AS w USING l"
		" WHERE w.due_time" EQ "l.due_time AND w.run_id" EQ "l.run_id"
		" AND w.shard" EQ "l.shard AND w.shard" EQ "$3", "tui"
	},
	[RENOTIFY] = {
		/* the oldest task of each queue, by skipping from queue to queue */
		"WITH RECURSIVE q AS ("
		"(SELECT queue_id, kind, task_queue, shard, created_time "
		"FROM wf.task ORDER BY queue_id, task_id, shard LIMIT 1) "
		"UNION ALL "
		"SELECT n.queue_id, n.kind, n.task_queue, n.shard, n.created_time "
		"FROM q CROSS JOIN LATERAL "
		"(SELECT t.queue_id, t.kind, t.task_queue, t.shard, t.created_time "
		"FROM wf.task t WHERE t.queue_id" GT "q.queue_id "
		"ORDER BY t.queue_id, t.task_id, t.shard LIMIT 1) n) "
		"SELECT kind, task_queue, shard FROM q WHERE created_time" LT "$1",
		"t"
	},
	CHECK_ROWS(CHECK_RUNS, "t, t.memo, t.search_attributes, "
			   "EXISTS (SELECT 1 FROM wf.namespace AS n"
			   " WHERE n.name" EQ "t.namespace)", "execution", ""),
	CHECK_ROWS(CHECK_EVENTS, EVENT_COLUMNS, "event", ", t.event_id"),
	CHECK_ROWS(CHECK_BUFFER, "position, event_time, event_type, attributes",
			   "buffered_event", ", t.position"),
	CHECK_ROWS(CHECK_TIMERS, "timer_id, started_event_id, fire_time", "timer",
			   ", t.timer_id"),
	CHECK_ROWS(CHECK_ACTIVITIES,
			   COLUMNS_OF_ACTIVITY, "activity",
			   ", t.scheduled_event_id"),
	CHECK_ROWS(CHECK_SIGNALS, "request_id", "signal_request",
			   ", t.request_id"),
	CHECK_ROWS(CHECK_TASKS, "queue_id, scheduled_event_id, attempt", "task",
			   ""),
	CHECK_ROWS(CHECK_WAKEUPS, "due_time", "wakeup", ", t.due_time"),
	CHECK(CHECK_CURRENT, "t.namespace, t.workflow_id, "
		  "pg_catalog.count(*) FILTER (WHERE t.is_current), "
		  "pg_catalog.count(*) FROM wf.execution AS t",
		  " GROUP BY t.shard, t.namespace, t.workflow_id"
		  " HAVING pg_catalog.count(*) FILTER (WHERE t.is_current)"
		  " OPERATOR(pg_catalog.<>) 1"),
	[CURRENT_RUN_OF] = {
		"SELECT t.run_id, t.close_time FROM wf.execution AS t"
		" WHERE t.shard" EQ "$1 AND t.workflow_id" EQ "$2"
		" AND t.namespace" EQ "$3 AND t.is_current", "iss"
	},
	[FIND_RUN] = {
		/* over all shards; only wf_check() with nothing but a run id asks */
		"SELECT namespace, workflow_id FROM wf.execution WHERE run_id" EQ "$1",
		"u", true
	},
	[FIRST_DIFFERENCE] = {
		"SELECT t.event_id FROM wf.event AS t LEFT JOIN wf.event AS b"
		" ON b.shard" EQ "$1 AND b.run_id" EQ "$3 AND b.event_id" EQ "t.event_id"
		" WHERE t.shard" EQ "$1 AND t.run_id" EQ "$2 AND t.event_id" LT "$4"
		" AND (b.event_id IS NULL OR NOT (b.batch_id" EQ "t.batch_id"
		" AND b.event_time" EQ "t.event_time AND b.event_type" EQ "t.event_type"
		" AND b.attributes" EQ "t.attributes))"
		" ORDER BY t.event_id LIMIT 1", "iuul"
	},
	[NAMESPACE_EXISTS] = {
		"SELECT 1 FROM wf.namespace WHERE name" EQ "$1", "s"
	},
	[NAMESPACE_IN_USE] = {
		/* over all shards; only wf_drop_namespace() asks */
		"SELECT 1 FROM wf.execution WHERE namespace" EQ "$1 LIMIT 1", "s"
	},
	[DESCRIBE_NAMESPACE] = {
		"SELECT pg_catalog.jsonb_build_object('name', name, "
		"'retention', retention, 'description', description, "
		"'created_time', created_time) FROM wf.namespace WHERE name" EQ "$1",
		"s"
	},
	[INSERT_NAMESPACE] = {
		"INSERT INTO wf.namespace (name, retention, description) "
		"VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", "svs"
	},
	[DELETE_NAMESPACE] = {
		"DELETE FROM wf.namespace WHERE name" EQ "$1", "s"
	},
	[REGISTER_FUNCTION] = {
		"INSERT INTO wf.function AS f (kind, namespace, name, task_queue, "
		"function_schema, function_name, function_owner, role, options) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
		"ON CONFLICT (namespace, kind, name, task_queue) DO UPDATE "
		"SET function_schema = EXCLUDED.function_schema, "
		"function_name = EXCLUDED.function_name, "
		"function_owner = EXCLUDED.function_owner, role = EXCLUDED.role, "
		"options = EXCLUDED.options "
		"WHERE f.role" EQ "$8 OR $10", "csssssrrjb"
	},
	[UNREGISTER_FUNCTION] = {
		"DELETE FROM wf.function" BY_FUNCTION, "csss"
	},
	[UNREGISTER_FUNCTIONS] = {
		"DELETE FROM wf.function WHERE namespace" EQ "$1", "s"
	},
	[FIND_FUNCTION] = {
		SELECT_FUNCTION BY_FUNCTION, "csss"
	},
	[LOCK_FUNCTION] = {
		SELECT_FUNCTION BY_FUNCTION " FOR UPDATE", "csss"
	},
	[READ_FUNCTIONS] = {
		SELECT_FUNCTION " WHERE role" EQ "$1 OR $2 "
		"ORDER BY namespace, kind, name, task_queue", "rb"
	},
};
