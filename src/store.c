/*
 * store.c
 *	  Every SQL statement of the engine, and the only file that uses SPI.
 *
 * All statements are saved generic plans with parameters.  They name every
 * object and operator with its schema, so that no search_path can capture
 * anything, and every one on a workflow-scoped table says shard = $n, so that
 * the tables can be distributed.
 *
 * The statements run as the owner of schema wf: callers need EXECUTE on the
 * functions and nothing else.  Locks are taken in one order: the run's row
 * first, then rows of its other tables.  Rows of wf.task and wf.wakeup, and
 * the runs they lead to, are locked with SKIP LOCKED only.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "workflow_interrupt.h"

#define EQ " OPERATOR(pg_catalog.=) "
#define LT " OPERATOR(pg_catalog.<) "
#define LE " OPERATOR(pg_catalog.<=) "
#define GT " OPERATOR(pg_catalog.>) "

/* The columns that make a WfiRun, in the order of read_run() */
#define RUN_COLUMNS \
	"shard, run_id, first_execution_run_id, original_execution_run_id, " \
	"next_event_id, history_size, start_time, execution_time, close_time, " \
	"last_event_time, first_task_time, wakeup_time, " \
	"execution_expiration_time, run_expiration_time, " \
	"task_scheduled_event_id, task_started_event_id, " \
	"previous_started_event_id, task_scheduled_time, " \
	"task_original_scheduled_time, task_started_time, task_token, " \
	"task_attempt, signal_count, buffered_count, buffered_size, " \
	"state_size, pending_timers, status::pg_catalog.text, is_current, " \
	"cancel_requested, close_attempted, execution_timeout, run_timeout, " \
	"task_timeout, reset_run_id, base_run_id, parent_run_id, " \
	"parent_initiated_event_id, namespace, workflow_id, workflow_type, " \
	"task_queue, parent_namespace, parent_workflow_id, create_request_id, " \
	"cancel_request_id, task_identity"
#define RUN_NCOLUMNS 47

#define BY_CURRENT \
	" FROM wf.execution WHERE shard" EQ "$1 AND workflow_id" EQ "$2" \
	" AND namespace" EQ "$3 AND is_current"
#define BY_RUN \
	" FROM wf.execution WHERE shard" EQ "$1 AND run_id" EQ "$2"

#define EVENT_COLUMNS \
	"event_id, batch_id, event_time, event_type::pg_catalog.text, attributes"
#define INSERT_EVENT \
	"INSERT INTO wf.event (shard, run_id, event_id, batch_id, event_time, " \
	"event_type, attributes) VALUES "

/* How many events one statement inserts without arrays */
#define MAX_EVENT_ROWS 4

typedef enum Statement
{
	LOCK_CURRENT,
	LOCK_RUN,
	LOCK_RUN_SKIP,
	READ_CURRENT,
	READ_RUN,
	READ_MEMO,
	RUN_EXISTS,
	INSERT_RUN,
	UPDATE_RUN,
	UNSET_CURRENT,
	INSERT_EVENTS_1,
	INSERT_EVENTS_2,
	INSERT_EVENTS_3,
	INSERT_EVENTS_4,
	INSERT_EVENTS_ARRAY,
	READ_EVENTS,
	READ_EVENT,
	LAST_EVENT,
	READ_BUFFER,
	INSERT_BUFFER,
	CLEAR_BUFFER,
	READ_TIMERS,
	INSERT_TIMER,
	DELETE_TIMER,
	SEEN_SIGNAL,
	INSERT_SIGNAL,
	INSERT_TASK,
	CLAIM_TASKS,
	DELETE_TASK,
	INSERT_WAKEUP,
	CLAIM_WAKEUP,
	DELETE_WAKEUP,
	NEXT_WAKEUP,
	RENOTIFY,
	NAMESPACE_EXISTS,
	NAMESPACE_IN_USE,
	DESCRIBE_NAMESPACE,
	INSERT_NAMESPACE,
	LOCK_EXECUTIONS,
	DELETE_NAMESPACE,
	STATEMENTS					/* how many there are */
} Statement;

#define MAX_PARAMS 48

typedef struct StatementDef
{
	const char *sql;
	const char *types;			/* one letter a parameter, see param_type() */
} StatementDef;

/*
 * Parameter types: i int4, l int8, u uuid, s text, t timestamptz, b bool,
 * v interval, j jsonb, c "char"; capitals are arrays.
 */
static const StatementDef statements[STATEMENTS] = {
	[LOCK_CURRENT] = {
		"SELECT " RUN_COLUMNS BY_CURRENT " FOR NO KEY UPDATE", "iss"
	},
	[LOCK_RUN] = {
		"SELECT " RUN_COLUMNS BY_RUN " FOR NO KEY UPDATE", "iu"
	},
	[LOCK_RUN_SKIP] = {
		"SELECT " RUN_COLUMNS BY_RUN " FOR NO KEY UPDATE SKIP LOCKED", "iu"
	},
	[READ_CURRENT] = {
		"SELECT " RUN_COLUMNS BY_CURRENT, "iss"
	},
	[READ_RUN] = {
		"SELECT " RUN_COLUMNS BY_RUN, "iu"
	},
	[READ_MEMO] = {
		"SELECT memo, search_attributes" BY_RUN, "iu"
	},
	[RUN_EXISTS] = {
		"SELECT 1" BY_RUN, "iu"
	},
	[INSERT_RUN] = {
		"INSERT INTO wf.execution (shard, run_id, first_execution_run_id, "
		"original_execution_run_id, next_event_id, history_size, start_time, "
		"execution_time, close_time, last_event_time, first_task_time, "
		"wakeup_time, execution_expiration_time, run_expiration_time, "
		"task_scheduled_event_id, task_scheduled_time, "
		"task_original_scheduled_time, task_attempt, signal_count, state_size, "
		"status, is_current, execution_timeout, run_timeout, task_timeout, "
		"namespace, workflow_id, workflow_type, task_queue, "
		"create_request_id, memo, search_attributes) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
		"$15, $16, $17, $18, $19, $20, $21::wf.status, $22, $23, $24, $25, "
		"$26, $27, $28, $29, $30, $31, $32) ON CONFLICT DO NOTHING",
		"iuuullttttttttlttiilsbvvvsssssjj"
	},
	[UPDATE_RUN] = {
		/* what any transition may have changed */
		"UPDATE wf.execution SET next_event_id = $3, history_size = $4, "
		"close_time = $5, last_event_time = $6, first_task_time = $7, "
		"wakeup_time = $8, task_scheduled_event_id = $9, "
		"task_started_event_id = $10, previous_started_event_id = $11, "
		"task_scheduled_time = $12, task_original_scheduled_time = $13, "
		"task_started_time = $14, task_token = $15, task_attempt = $16, "
		"task_identity = $17, signal_count = $18, buffered_count = $19, "
		"buffered_size = $20, state_size = $21, pending_timers = $22, "
		"status = $23::wf.status, cancel_requested = $24, "
		"close_attempted = $25, cancel_request_id = $26, "
		"memo = COALESCE($27, memo), "
		"search_attributes = COALESCE($28, search_attributes)"
		" WHERE shard" EQ "$1 AND run_id" EQ "$2",
		"iullttttllltttuisiillisbbsjj"
	},
	[UNSET_CURRENT] = {
		"UPDATE wf.execution SET is_current = false"
		" WHERE shard" EQ "$1 AND run_id" EQ "$2", "iu"
	},
	[INSERT_EVENTS_1] = {
		INSERT_EVENT "($1, $2, $3, $4, $5, $6::wf.event_type, $7)",
		"iulltsj"
	},
	[INSERT_EVENTS_2] = {
		INSERT_EVENT "($1, $2, $3, $4, $5, $6::wf.event_type, $7), "
		"($1, $2, $8, $9, $10, $11::wf.event_type, $12)",
		"iulltsjlltsj"
	},
	[INSERT_EVENTS_3] = {
		INSERT_EVENT "($1, $2, $3, $4, $5, $6::wf.event_type, $7), "
		"($1, $2, $8, $9, $10, $11::wf.event_type, $12), "
		"($1, $2, $13, $14, $15, $16::wf.event_type, $17)",
		"iulltsjlltsjlltsj"
	},
	[INSERT_EVENTS_4] = {
		INSERT_EVENT "($1, $2, $3, $4, $5, $6::wf.event_type, $7), "
		"($1, $2, $8, $9, $10, $11::wf.event_type, $12), "
		"($1, $2, $13, $14, $15, $16::wf.event_type, $17), "
		"($1, $2, $18, $19, $20, $21::wf.event_type, $22)",
		"iulltsjlltsjlltsjlltsj"
	},
	[INSERT_EVENTS_ARRAY] = {
		"INSERT INTO wf.event (shard, run_id, event_id, batch_id, event_time, "
		"event_type, attributes) "
		"SELECT $1, $2, e.event_id, e.batch_id, e.event_time, "
		"e.event_type::wf.event_type, e.attributes "
		"FROM pg_catalog.unnest($3, $4, $5, $6, $7) "
		"AS e(event_id, batch_id, event_time, event_type, attributes)",
		"iuLLTSJ"
	},
	[READ_EVENTS] = {
		"SELECT " EVENT_COLUMNS " FROM wf.event WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 ORDER BY event_id", "iu"
	},
	[READ_EVENT] = {
		"SELECT " EVENT_COLUMNS " FROM wf.event WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND event_id" EQ "$3", "iul"
	},
	[LAST_EVENT] = {
		"SELECT " EVENT_COLUMNS " FROM wf.event WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND event_type" EQ "$3::wf.event_type"
		" ORDER BY event_id DESC LIMIT 1", "ius"
	},
	[READ_BUFFER] = {
		"SELECT event_time, event_type::pg_catalog.text, attributes "
		"FROM wf.buffered_event WHERE shard" EQ "$1 AND run_id" EQ "$2 "
		"ORDER BY position", "iu"
	},
	[INSERT_BUFFER] = {
		"INSERT INTO wf.buffered_event (shard, run_id, position, event_time, "
		"event_type, attributes) "
		"VALUES ($1, $2, $3, $4, $5::wf.event_type, $6)", "iuitsj"
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
	[SEEN_SIGNAL] = {
		"SELECT 1 FROM wf.signal_request WHERE shard" EQ "$1"
		" AND run_id" EQ "$2 AND request_id" EQ "$3", "ius"
	},
	[INSERT_SIGNAL] = {
		"INSERT INTO wf.signal_request (shard, run_id, request_id) "
		"VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", "ius"
	},
	[INSERT_TASK] = {
		"INSERT INTO wf.task (queue_id, shard, run_id, scheduled_event_id, "
		"attempt, created_time, kind, namespace, task_queue) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", "liulitcss"
	},
	[CLAIM_TASKS] = {
		"SELECT queue_id, task_id, shard, run_id FROM wf.task "
		"WHERE queue_id" EQ "$1 AND namespace" EQ "$2 AND task_queue" EQ "$3 "
		"AND kind" EQ "$4 "
		"ORDER BY task_id, shard LIMIT $5 FOR UPDATE SKIP LOCKED", "lsscl"
	},
	[DELETE_TASK] = {
		"DELETE FROM wf.task WHERE queue_id" EQ "$1 AND task_id" EQ "$2"
		" AND shard" EQ "$3", "lli"
	},
	[INSERT_WAKEUP] = {
		"INSERT INTO wf.wakeup (shard, run_id, due_time) VALUES ($1, $2, $3) "
		"ON CONFLICT DO NOTHING", "iut"
	},
	[CLAIM_WAKEUP] = {
		"SELECT due_time, run_id, shard FROM wf.wakeup WHERE due_time" LE "$1 "
		"AND ROW(due_time, run_id, shard)" GT "ROW($2, $3, $4) "
		"ORDER BY due_time, run_id, shard LIMIT 1 FOR UPDATE SKIP LOCKED",
		"ttui"
	},
	[DELETE_WAKEUP] = {
		"DELETE FROM wf.wakeup WHERE shard" EQ "$1 AND run_id" EQ "$2"
		" AND due_time" EQ "$3", "iut"
	},
	[NEXT_WAKEUP] = {
		"SELECT due_time FROM wf.wakeup ORDER BY due_time LIMIT 1", ""
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
	[LOCK_EXECUTIONS] = {
		/* waits for starts under way, and keeps new ones out */
		"LOCK TABLE wf.execution IN SHARE MODE", ""
	},
	[DELETE_NAMESPACE] = {
		"DELETE FROM wf.namespace WHERE name" EQ "$1", "s"
	},
};

static SPIPlanPtr plans[STATEMENTS];
static Oid	plans_schema = InvalidOid;	/* schema wf the plans were made for */

/* What wfi_store_begin() found, for wfi_store_end() */
static MemoryContext caller_context;
static Oid	caller_user;
static int	caller_security;
static bool read_only;

/* Parameters of one execution */
typedef struct Params
{
	int			n;
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];
} Params;

static Oid
param_type(char letter)
{
	switch (letter)
	{
		case 'i':
			return INT4OID;
		case 'l':
			return INT8OID;
		case 'u':
			return UUIDOID;
		case 's':
			return TEXTOID;
		case 't':
			return TIMESTAMPTZOID;
		case 'b':
			return BOOLOID;
		case 'v':
			return INTERVALOID;
		case 'j':
			return JSONBOID;
		case 'c':
			return CHAROID;
		case 'L':
			return INT8ARRAYOID;
		case 'T':
			return TIMESTAMPTZARRAYOID;
		case 'S':
			return TEXTARRAYOID;
		case 'J':
			return JSONBARRAYOID;
	}
	elog(ERROR, "unknown parameter type \"%c\"", letter);
	return InvalidOid;			/* keep compiler quiet */
}

static void
put(Params *params, Datum value)
{
	params->values[params->n] = value;
	params->nulls[params->n++] = ' ';
}

static void
put_null(Params *params)
{
	params->values[params->n] = (Datum) 0;
	params->nulls[params->n++] = 'n';
}

/* NULL for a NULL pointer */
static void
put_text(Params *params, const char *value)
{
	if (value)
		put(params, CStringGetTextDatum(value));
	else
		put_null(params);
}

/* NULL for a NULL pointer */
static void
put_pointer(Params *params, const void *value)
{
	if (value)
		put(params, PointerGetDatum(value));
	else
		put_null(params);
}

/* NULL for WFI_NEVER */
static void
put_time(Params *params, TimestampTz value)
{
	if (value != WFI_NEVER)
		put(params, TimestampTzGetDatum(value));
	else
		put_null(params);
}

/* An interval, NULL for 0 */
static void
put_usecs(Params *params, int64 usecs)
{
	if (usecs != 0)
	{
		Interval   *interval = palloc0(sizeof(Interval));

		interval->time = usecs;
		put(params, IntervalPGetDatum(interval));
	}
	else
		put_null(params);
}

/* The first two parameters of nearly all statements */
static void
put_run(Params *params, int32 shard, const pg_uuid_t *run_id)
{
	params->n = 0;
	put(params, Int32GetDatum(shard));
	put(params, UUIDPGetDatum(run_id));
}

/*
 * Begin the work of one SQL function: connect to SPI and become the owner of
 * the schema.  The function's name is for the error on a standby or in a
 * read-only transaction; a function that only reads uses the snapshot of the
 * calling statement.
 */
void
wfi_store_begin(const char *function, bool writes)
{
	HeapTuple	tuple;
	Form_pg_namespace schema;
	Oid			owner;

	if (writes)
		PreventCommandIfReadOnly(function);

	tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum("wf"));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"wf\" does not exist"),
				 errhint("Run CREATE EXTENSION workflow_interrupt in this database.")));
	schema = (Form_pg_namespace) GETSTRUCT(tuple);
	owner = schema->nspowner;
	if (schema->oid != plans_schema)
	{
		/* dropped and created again: types have other OIDs */
		for (int i = 0; i < STATEMENTS; i++)
		{
			if (plans[i])
			{
				SPIPlanPtr	plan = plans[i];

				plans[i] = NULL;
				SPI_freeplan(plan);
			}
		}
		plans_schema = schema->oid;
	}
	ReleaseSysCache(tuple);

	caller_context = CurrentMemoryContext;
	read_only = !writes;
	SPI_connect();
	GetUserIdAndSecContext(&caller_user, &caller_security);
	SetUserIdAndSecContext(owner,
						   caller_security | SECURITY_LOCAL_USERID_CHANGE);
}

/* Where to put what must outlive wfi_store_end(). */
MemoryContext
wfi_store_caller_context(void)
{
	return caller_context;
}

/* End what wfi_store_begin() began; after an error the server does it. */
void
wfi_store_end(void)
{
	SetUserIdAndSecContext(caller_user, caller_security);
	SPI_finish();
}

/* The plan of a statement, made at its first use in a session. */
static SPIPlanPtr
get_plan(Statement statement)
{
	if (plans[statement] == NULL)
	{
		const StatementDef *def = &statements[statement];
		Oid			types[MAX_PARAMS];
		int			n = strlen(def->types);
		SPIPlanPtr	plan;

		for (int i = 0; i < n; i++)
			types[i] = param_type(def->types[i]);
		plan = SPI_prepare_cursor(def->sql, n, types, CURSOR_OPT_GENERIC_PLAN);
		if (plan == NULL)
			elog(ERROR, "could not prepare statement %d: %s", (int) statement,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		plans[statement] = plan;
	}
	return plans[statement];
}

/* Execute a statement; the number of rows it returned or changed. */
static uint64
execute(Statement statement, Params *params, int expected)
{
	int			result;

	Assert(params->n == (int) strlen(statements[statement].types));
	result = SPI_execute_plan(get_plan(statement), params->values,
							  params->nulls, read_only, 0);
	if (result != expected)
		elog(ERROR, "statement %d gave %s", (int) statement,
			 SPI_result_code_string(result));
	return SPI_processed;
}

/* As execute(), for statements that must hit exactly one row. */
static void
execute_one(Statement statement, Params *params, int expected)
{
	uint64		rows = execute(statement, params, expected);

	if (rows != 1)
		elog(ERROR, "statement %d changed " UINT64_FORMAT " rows",
			 (int) statement, rows);
}

/* Column n, from 0, of a result row; NULL or the value's own copy. */
static char *
text_column(Datum *values, bool *nulls, int n)
{
	return nulls[n] ? NULL : TextDatumGetCString(values[n]);
}

static pg_uuid_t *
uuid_column(Datum *values, bool *nulls, int n)
{
	pg_uuid_t  *uuid;

	if (nulls[n])
		return NULL;
	uuid = palloc(sizeof(pg_uuid_t));
	*uuid = *DatumGetUUIDP(values[n]);
	return uuid;
}

static TimestampTz
time_column(Datum *values, bool *nulls, int n)
{
	return nulls[n] ? WFI_NEVER : DatumGetTimestampTz(values[n]);
}

static int64
usecs_column(Datum *values, bool *nulls, int n)
{
	return nulls[n] ? 0 : wfi_interval_to_usecs(DatumGetIntervalP(values[n]));
}

/* A run from its row, columns as in RUN_COLUMNS. */
static WfiRun *
read_run(HeapTuple tuple, TupleDesc desc)
{
	WfiRun	   *run = palloc0(sizeof(WfiRun));
	Datum		values[RUN_NCOLUMNS];
	bool		nulls[RUN_NCOLUMNS];
	pg_uuid_t  *token;
	int			n = 0;

	Assert(desc->natts == RUN_NCOLUMNS);
	heap_deform_tuple(tuple, desc, values, nulls);

	run->shard = DatumGetInt32(values[n++]);
	run->run_id = *DatumGetUUIDP(values[n++]);
	run->first_execution_run_id = *DatumGetUUIDP(values[n++]);
	run->original_execution_run_id = *DatumGetUUIDP(values[n++]);
	run->next_event_id = DatumGetInt64(values[n++]);
	run->history_size = DatumGetInt64(values[n++]);
	run->start_time = DatumGetTimestampTz(values[n++]);
	run->execution_time = DatumGetTimestampTz(values[n++]);
	run->close_time = time_column(values, nulls, n++);
	run->last_event_time = DatumGetTimestampTz(values[n++]);
	run->first_task_time = time_column(values, nulls, n++);
	run->wakeup_time = time_column(values, nulls, n++);
	run->execution_expiration_time = time_column(values, nulls, n++);
	run->run_expiration_time = time_column(values, nulls, n++);
	run->task_scheduled_event_id = DatumGetInt64(values[n++]);
	run->task_started_event_id = DatumGetInt64(values[n++]);
	run->previous_started_event_id = DatumGetInt64(values[n++]);
	run->task_scheduled_time = time_column(values, nulls, n++);
	run->task_original_scheduled_time = time_column(values, nulls, n++);
	run->task_started_time = time_column(values, nulls, n++);
	token = uuid_column(values, nulls, n++);
	if (token)
		run->task_token = *token;
	run->task_attempt = DatumGetInt32(values[n++]);
	run->signal_count = DatumGetInt32(values[n++]);
	run->buffered_count = DatumGetInt32(values[n++]);
	run->buffered_size = DatumGetInt64(values[n++]);
	run->state_size = DatumGetInt64(values[n++]);
	run->pending_timers = DatumGetInt32(values[n++]);
	run->status = wfi_status(text_column(values, nulls, n++));
	run->is_current = DatumGetBool(values[n++]);
	run->cancel_requested = DatumGetBool(values[n++]);
	run->close_attempted = DatumGetBool(values[n++]);
	run->execution_timeout = usecs_column(values, nulls, n++);
	run->run_timeout = usecs_column(values, nulls, n++);
	run->task_timeout = usecs_column(values, nulls, n++);
	run->reset_run_id = uuid_column(values, nulls, n++);
	run->base_run_id = uuid_column(values, nulls, n++);
	run->parent_run_id = uuid_column(values, nulls, n++);
	run->parent_initiated_event_id = nulls[n] ? 0 : DatumGetInt64(values[n]);
	n++;
	run->namespace = text_column(values, nulls, n++);
	run->workflow_id = text_column(values, nulls, n++);
	run->workflow_type = text_column(values, nulls, n++);
	run->task_queue = text_column(values, nulls, n++);
	run->parent_namespace = text_column(values, nulls, n++);
	run->parent_workflow_id = text_column(values, nulls, n++);
	run->create_request_id = text_column(values, nulls, n++);
	run->cancel_request_id = text_column(values, nulls, n++);
	run->task_identity = text_column(values, nulls, n++);
	Assert(n == RUN_NCOLUMNS);
	return run;
}

/* The run a SELECT of RUN_COLUMNS finds, or NULL. */
static WfiRun *
select_run(Statement statement, Params *params, bool locked)
{
	SPITupleTable *table;
	WfiRun	   *run;

	if (execute(statement, params, SPI_OK_SELECT) == 0)
		return NULL;
	table = SPI_tuptable;
	run = read_run(table->vals[0], table->tupdesc);
	run->locked = locked;
	SPI_freetuptable(table);
	return run;
}

static WfiRun *
select_current(Statement statement, int32 shard, const char *namespace,
			   const char *workflow_id, bool locked)
{
	Params		params = {0};

	put(&params, Int32GetDatum(shard));
	put_text(&params, workflow_id);
	put_text(&params, namespace);
	return select_run(statement, &params, locked);
}

/*
 * Lock the current run of a workflow id.  NULL when there is none, but also
 * when the one that was current has been replaced while we waited for it:
 * ask again.
 */
WfiRun *
wfi_store_lock_current(int32 shard, const char *namespace,
					   const char *workflow_id)
{
	return select_current(LOCK_CURRENT, shard, namespace, workflow_id, true);
}

/* Read the current run of a workflow id, or NULL. */
WfiRun *
wfi_store_read_current(int32 shard, const char *namespace,
					   const char *workflow_id)
{
	return select_current(READ_CURRENT, shard, namespace, workflow_id, false);
}

/*
 * Lock a run; NULL when there is none, or, with skip_locked, when somebody
 * else holds it.
 */
WfiRun *
wfi_store_lock_run(int32 shard, const pg_uuid_t *run_id, bool skip_locked)
{
	Params		params;

	put_run(&params, shard, run_id);
	return select_run(skip_locked ? LOCK_RUN_SKIP : LOCK_RUN, &params, true);
}

/* Read a run, or NULL. */
WfiRun *
wfi_store_read_run(int32 shard, const pg_uuid_t *run_id)
{
	Params		params;

	put_run(&params, shard, run_id);
	return select_run(READ_RUN, &params, false);
}

/* Is there such a run? */
bool
wfi_store_run_exists(int32 shard, const pg_uuid_t *run_id)
{
	Params		params;

	put_run(&params, shard, run_id);
	return execute(RUN_EXISTS, &params, SPI_OK_SELECT) > 0;
}

/* Load memo and search attributes, unless they are there. */
void
wfi_store_read_memo(WfiRun *run)
{
	Params		params;
	SPITupleTable *table;
	Datum		values[2];
	bool		nulls[2];

	if (run->memo_loaded)
		return;
	run->memo_loaded = true;
	put_run(&params, run->shard, &run->run_id);
	if (execute(READ_MEMO, &params, SPI_OK_SELECT) == 0)
		return;
	table = SPI_tuptable;
	heap_deform_tuple(table->vals[0], table->tupdesc, values, nulls);
	run->memo = nulls[0] ? NULL : DatumGetJsonbPCopy(values[0]);
	run->search_attributes = nulls[1] ? NULL : DatumGetJsonbPCopy(values[1]);
	SPI_freetuptable(table);
}

/* Store a new run's row; false when its workflow id has a current run. */
bool
wfi_store_insert_run(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	put(&params, UUIDPGetDatum(&run->first_execution_run_id));
	put(&params, UUIDPGetDatum(&run->original_execution_run_id));
	put(&params, Int64GetDatum(run->next_event_id));
	put(&params, Int64GetDatum(run->history_size));
	put_time(&params, run->start_time);
	put_time(&params, run->execution_time);
	put_time(&params, run->close_time);
	put_time(&params, run->last_event_time);
	put_time(&params, run->first_task_time);
	put_time(&params, run->wakeup_time);
	put_time(&params, run->execution_expiration_time);
	put_time(&params, run->run_expiration_time);
	put(&params, Int64GetDatum(run->task_scheduled_event_id));
	put_time(&params, run->task_scheduled_time);
	put_time(&params, run->task_original_scheduled_time);
	put(&params, Int32GetDatum(run->task_attempt));
	put(&params, Int32GetDatum(run->signal_count));
	put(&params, Int64GetDatum(run->state_size));
	put_text(&params, wfi_status_name(run->status));
	put(&params, BoolGetDatum(run->is_current));
	put_usecs(&params, run->execution_timeout);
	put_usecs(&params, run->run_timeout);
	put_usecs(&params, run->task_timeout);
	put_text(&params, run->namespace);
	put_text(&params, run->workflow_id);
	put_text(&params, run->workflow_type);
	put_text(&params, run->task_queue);
	put_text(&params, run->create_request_id);
	put_pointer(&params, run->memo);
	put_pointer(&params, run->search_attributes);
	return execute(INSERT_RUN, &params, SPI_OK_INSERT) == 1;
}

/* Store a locked run's state. */
void
wfi_store_update_run(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	put(&params, Int64GetDatum(run->next_event_id));
	put(&params, Int64GetDatum(run->history_size));
	put_time(&params, run->close_time);
	put_time(&params, run->last_event_time);
	put_time(&params, run->first_task_time);
	put_time(&params, run->wakeup_time);
	put(&params, Int64GetDatum(run->task_scheduled_event_id));
	put(&params, Int64GetDatum(run->task_started_event_id));
	put(&params, Int64GetDatum(run->previous_started_event_id));
	put_time(&params, run->task_scheduled_time);
	put_time(&params, run->task_original_scheduled_time);
	put_time(&params, run->task_started_time);
	put_pointer(&params, run->task_started_event_id ? &run->task_token : NULL);
	put(&params, Int32GetDatum(run->task_attempt));
	put_text(&params, run->task_identity);
	put(&params, Int32GetDatum(run->signal_count));
	put(&params, Int32GetDatum(run->buffered_count));
	put(&params, Int64GetDatum(run->buffered_size));
	put(&params, Int64GetDatum(run->state_size));
	put(&params, Int32GetDatum(run->pending_timers));
	put_text(&params, wfi_status_name(run->status));
	put(&params, BoolGetDatum(run->cancel_requested));
	put(&params, BoolGetDatum(run->close_attempted));
	put_text(&params, run->cancel_request_id);
	put_pointer(&params, run->memo_changed ? run->memo : NULL);
	put_pointer(&params,
				run->search_attributes_changed ? run->search_attributes : NULL);
	execute_one(UPDATE_RUN, &params, SPI_OK_UPDATE);
}

/* A newer run takes this one's place as the current one. */
void
wfi_store_unset_current(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	execute_one(UNSET_CURRENT, &params, SPI_OK_UPDATE);
}

/* More events than a statement has parameters for, as arrays. */
static void
insert_event_array(const WfiRun *run)
{
	int			n = list_length(run->events);
	Datum	   *ids = palloc(n * sizeof(Datum));
	Datum	   *batches = palloc(n * sizeof(Datum));
	Datum	   *times = palloc(n * sizeof(Datum));
	Datum	   *types = palloc(n * sizeof(Datum));
	Datum	   *attributes = palloc(n * sizeof(Datum));
	Params		params;
	int			i = 0;
	ListCell   *lc;

	foreach(lc, run->events)
	{
		const WfiEvent *event = lfirst(lc);

		ids[i] = Int64GetDatum(event->event_id);
		batches[i] = Int64GetDatum(event->batch_id);
		times[i] = TimestampTzGetDatum(event->event_time);
		types[i] = CStringGetTextDatum(wfi_event_name(event->type));
		attributes[i] = PointerGetDatum(event->attributes);
		i++;
	}
	put_run(&params, run->shard, &run->run_id);
	put_pointer(&params, construct_array(ids, n, INT8OID, sizeof(int64),
										 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	put_pointer(&params, construct_array(batches, n, INT8OID, sizeof(int64),
										 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	put_pointer(&params, construct_array(times, n, TIMESTAMPTZOID,
										 sizeof(TimestampTz), FLOAT8PASSBYVAL,
										 TYPALIGN_DOUBLE));
	put_pointer(&params, construct_array(types, n, TEXTOID, -1, false,
										 TYPALIGN_INT));
	put_pointer(&params, construct_array(attributes, n, JSONBOID, -1, false,
										 TYPALIGN_INT));
	if (execute(INSERT_EVENTS_ARRAY, &params, SPI_OK_INSERT) != n)
		elog(ERROR, "could not store %d events", n);
}

/* Append the operation's events to the history. */
void
wfi_store_events(const WfiRun *run)
{
	int			n = list_length(run->events);
	Params		params;
	ListCell   *lc;

	if (n == 0)
		return;
	if (n > MAX_EVENT_ROWS)
	{
		insert_event_array(run);
		return;
	}
	put_run(&params, run->shard, &run->run_id);
	foreach(lc, run->events)
	{
		const WfiEvent *event = lfirst(lc);

		put(&params, Int64GetDatum(event->event_id));
		put(&params, Int64GetDatum(event->batch_id));
		put(&params, TimestampTzGetDatum(event->event_time));
		put_text(&params, wfi_event_name(event->type));
		put(&params, PointerGetDatum(event->attributes));
	}
	if (execute(INSERT_EVENTS_1 + n - 1, &params, SPI_OK_INSERT) != n)
		elog(ERROR, "could not store %d events", n);
}

/* An event from a row with EVENT_COLUMNS. */
static void
read_event(HeapTuple tuple, TupleDesc desc, WfiEvent *event)
{
	Datum		values[5];
	bool		nulls[5];

	heap_deform_tuple(tuple, desc, values, nulls);
	event->event_id = DatumGetInt64(values[0]);
	event->batch_id = DatumGetInt64(values[1]);
	event->event_time = DatumGetTimestampTz(values[2]);
	event->type = wfi_event_type(TextDatumGetCString(values[3]));
	event->attributes = DatumGetJsonbP(values[4]);
}

/* Hand every event of a run, in order, to the callback. */
void
wfi_store_read_events(int32 shard, const pg_uuid_t *run_id,
					  WfiEventCallback callback, void *arg)
{
	Params		params;
	SPITupleTable *table;
	uint64		rows;

	put_run(&params, shard, run_id);
	rows = execute(READ_EVENTS, &params, SPI_OK_SELECT);
	table = SPI_tuptable;
	for (uint64 i = 0; i < rows; i++)
	{
		WfiEvent	event;

		read_event(table->vals[i], table->tupdesc, &event);
		callback(&event, arg);
	}
	SPI_freetuptable(table);
}

/* One event of a run, or NULL. */
WfiEvent *
wfi_store_read_event(int32 shard, const pg_uuid_t *run_id, int64 event_id)
{
	Params		params;
	WfiEvent   *event;

	put_run(&params, shard, run_id);
	put(&params, Int64GetDatum(event_id));
	if (execute(READ_EVENT, &params, SPI_OK_SELECT) == 0)
		return NULL;
	event = palloc(sizeof(WfiEvent));
	read_event(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, event);
	return event;
}

/* The last event of that type in a run's history, or NULL. */
WfiEvent *
wfi_store_last_event(const WfiRun *run, WfiEventType type)
{
	Params		params;
	WfiEvent   *event;

	put_run(&params, run->shard, &run->run_id);
	put_text(&params, wfi_event_name(type));
	if (execute(LAST_EVENT, &params, SPI_OK_SELECT) == 0)
		return NULL;
	event = palloc(sizeof(WfiEvent));
	read_event(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, event);
	return event;
}

/* The stored buffered events of a run, in order of arrival. */
List *
wfi_store_read_buffer(const WfiRun *run)
{
	List	   *events = NIL;
	Params		params;
	SPITupleTable *table;
	uint64		rows;

	put_run(&params, run->shard, &run->run_id);
	rows = execute(READ_BUFFER, &params, SPI_OK_SELECT);
	table = SPI_tuptable;
	for (uint64 i = 0; i < rows; i++)
	{
		WfiEvent   *event = palloc0(sizeof(WfiEvent));
		Datum		values[3];
		bool		nulls[3];

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		event->event_time = DatumGetTimestampTz(values[0]);
		event->type = wfi_event_type(TextDatumGetCString(values[1]));
		event->attributes = DatumGetJsonbPCopy(values[2]);
		events = lappend(events, event);
	}
	SPI_freetuptable(table);
	return events;
}

/*
 * Store the operation's new buffered events; run->buffered_count says how
 * many were there before.
 */
void
wfi_store_append_buffer(const WfiRun *run)
{
	int			position = run->buffered_count;
	ListCell   *lc;

	foreach(lc, run->buffer)
	{
		const WfiEvent *event = lfirst(lc);
		Params		params;

		/* when the buffer was loaded, the stored ones come first */
		if (run->buffer_loaded &&
			foreach_current_index(lc) < run->buffered_count)
			continue;
		put_run(&params, run->shard, &run->run_id);
		put(&params, Int32GetDatum(position++));
		put(&params, TimestampTzGetDatum(event->event_time));
		put_text(&params, wfi_event_name(event->type));
		put(&params, PointerGetDatum(event->attributes));
		execute_one(INSERT_BUFFER, &params, SPI_OK_INSERT);
	}
}

/* Forget the stored buffered events. */
void
wfi_store_clear_buffer(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	execute(CLEAR_BUFFER, &params, SPI_OK_DELETE);
}

/* The stored timers of a run. */
List *
wfi_store_read_timers(const WfiRun *run)
{
	List	   *timers = NIL;
	Params		params;
	SPITupleTable *table;
	uint64		rows;

	put_run(&params, run->shard, &run->run_id);
	rows = execute(READ_TIMERS, &params, SPI_OK_SELECT);
	table = SPI_tuptable;
	for (uint64 i = 0; i < rows; i++)
	{
		WfiTimer   *timer = palloc(sizeof(WfiTimer));
		Datum		values[3];
		bool		nulls[3];

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		timer->timer_id = TextDatumGetCString(values[0]);
		timer->started_event_id = DatumGetInt64(values[1]);
		timer->fire_time = DatumGetTimestampTz(values[2]);
		timer->stored = true;
		timers = lappend(timers, timer);
	}
	SPI_freetuptable(table);
	return timers;
}

/* Store what the operation did to the run's timers. */
void
wfi_store_timers(const WfiRun *run)
{
	Params		params;
	ListCell   *lc;

	foreach(lc, run->removed_timers)
	{
		put_run(&params, run->shard, &run->run_id);
		put_text(&params, lfirst(lc));
		execute_one(DELETE_TIMER, &params, SPI_OK_DELETE);
	}
	foreach(lc, run->timers)
	{
		WfiTimer   *timer = lfirst(lc);

		if (timer->stored)
			continue;
		put_run(&params, run->shard, &run->run_id);
		put_text(&params, timer->timer_id);
		put(&params, Int64GetDatum(timer->started_event_id));
		put(&params, TimestampTzGetDatum(timer->fire_time));
		execute_one(INSERT_TIMER, &params, SPI_OK_INSERT);
		timer->stored = true;
	}
}

/* Has the run seen a signal with this request id? */
bool
wfi_store_seen_signal(const WfiRun *run, const char *request_id)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	put_text(&params, request_id);
	return execute(SEEN_SIGNAL, &params, SPI_OK_SELECT) > 0;
}

/* Remember the request ids of the operation's signals. */
void
wfi_store_signal_requests(const WfiRun *run)
{
	ListCell   *lc;

	foreach(lc, run->signal_requests)
	{
		Params		params;

		put_run(&params, run->shard, &run->run_id);
		put_text(&params, lfirst(lc));
		execute(INSERT_SIGNAL, &params, SPI_OK_INSERT);
	}
}

static void
insert_task(int64 queue_id, int32 shard, const pg_uuid_t *run_id,
			int64 scheduled_event_id, int32 attempt, TimestampTz now,
			char kind, const char *namespace, const char *task_queue)
{
	Params		params = {0};

	put(&params, Int64GetDatum(queue_id));
	put(&params, Int32GetDatum(shard));
	put(&params, UUIDPGetDatum(run_id));
	put(&params, Int64GetDatum(scheduled_event_id));
	put(&params, Int32GetDatum(attempt));
	put(&params, TimestampTzGetDatum(now));
	put(&params, CharGetDatum(kind));
	put_text(&params, namespace);
	put_text(&params, task_queue);
	execute_one(INSERT_TASK, &params, SPI_OK_INSERT);
}

/* Put the run's pending workflow task into its queue. */
void
wfi_store_insert_task(const WfiRun *run)
{
	insert_task(wfi_queue_id(WFI_TASK_WORKFLOW, run->namespace,
							 run->task_queue),
				run->shard, &run->run_id, run->task_scheduled_event_id,
				run->task_attempt, run->now, WFI_TASK_WORKFLOW,
				run->namespace, run->task_queue);
}

/*
 * Take up to so many tasks out of a queue, oldest first; tasks that somebody
 * else is taking are passed over.
 */
List *
wfi_store_claim_tasks(char kind, const char *namespace,
					  const char *task_queue, int32 most)
{
	List	   *tasks = NIL;
	Params		params = {0};
	SPITupleTable *table;
	uint64		rows;
	ListCell   *lc;

	put(&params, Int64GetDatum(wfi_queue_id(kind, namespace, task_queue)));
	put_text(&params, namespace);
	put_text(&params, task_queue);
	put(&params, CharGetDatum(kind));
	put(&params, Int64GetDatum((int64) most));
	rows = execute(CLAIM_TASKS, &params, SPI_OK_SELECT);
	table = SPI_tuptable;
	for (uint64 i = 0; i < rows; i++)
	{
		WfiTask    *task = palloc(sizeof(WfiTask));
		Datum		values[4];
		bool		nulls[4];

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		task->queue_id = DatumGetInt64(values[0]);
		task->task_id = DatumGetInt64(values[1]);
		task->shard = DatumGetInt32(values[2]);
		task->run_id = *DatumGetUUIDP(values[3]);
		tasks = lappend(tasks, task);
	}
	SPI_freetuptable(table);

	foreach(lc, tasks)
	{
		WfiTask    *task = lfirst(lc);

		params.n = 0;
		put(&params, Int64GetDatum(task->queue_id));
		put(&params, Int64GetDatum(task->task_id));
		put(&params, Int32GetDatum(task->shard));
		execute_one(DELETE_TASK, &params, SPI_OK_DELETE);
	}
	return tasks;
}

/* Put a claimed task back, at the end of its queue. */
void
wfi_store_return_task(const WfiTask *task, char kind, const char *namespace,
					  const char *task_queue, TimestampTz now)
{
	insert_task(task->queue_id, task->shard, &task->run_id, 0, 0, now, kind,
				namespace, task_queue);
}

/* The driver must look at this run no later than then. */
void
wfi_store_insert_wakeup(int32 shard, const pg_uuid_t *run_id,
						TimestampTz due_time)
{
	Params		params;

	put_run(&params, shard, run_id);
	put(&params, TimestampTzGetDatum(due_time));
	execute(INSERT_WAKEUP, &params, SPI_OK_INSERT);
}

/*
 * Lock the first due wake-up behind *after that nobody else holds; false when
 * there is none.
 */
bool
wfi_store_claim_wakeup(TimestampTz now, const WfiWakeup *after,
					   WfiWakeup *wakeup)
{
	Params		params = {0};
	SPITupleTable *table;
	Datum		values[3];
	bool		nulls[3];

	put(&params, TimestampTzGetDatum(now));
	put(&params, TimestampTzGetDatum(after->due_time));
	put(&params, UUIDPGetDatum(&after->run_id));
	put(&params, Int32GetDatum(after->shard));
	if (execute(CLAIM_WAKEUP, &params, SPI_OK_SELECT) == 0)
		return false;
	table = SPI_tuptable;
	heap_deform_tuple(table->vals[0], table->tupdesc, values, nulls);
	wakeup->due_time = DatumGetTimestampTz(values[0]);
	wakeup->run_id = *DatumGetUUIDP(values[1]);
	wakeup->shard = DatumGetInt32(values[2]);
	SPI_freetuptable(table);
	return true;
}

/* Remove a wake-up, if it is still there. */
void
wfi_store_delete_wakeup(const WfiWakeup *wakeup)
{
	Params		params;

	put_run(&params, wakeup->shard, &wakeup->run_id);
	put(&params, TimestampTzGetDatum(wakeup->due_time));
	execute(DELETE_WAKEUP, &params, SPI_OK_DELETE);
}

/* When is the first wake-up due?  WFI_NEVER when there is none. */
TimestampTz
wfi_store_next_wakeup(void)
{
	Params		params = {0};
	bool		isnull;
	Datum		due;

	if (execute(NEXT_WAKEUP, &params, SPI_OK_SELECT) == 0)
		return WFI_NEVER;
	due = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						&isnull);
	return DatumGetTimestampTz(due);
}

/* Notify queues whose oldest task was created before; how many. */
int
wfi_store_renotify(TimestampTz created_before)
{
	Params		params = {0};
	SPITupleTable *table;
	uint64		rows;

	put(&params, TimestampTzGetDatum(created_before));
	rows = execute(RENOTIFY, &params, SPI_OK_SELECT);
	table = SPI_tuptable;
	for (uint64 i = 0; i < rows; i++)
	{
		Datum		values[3];
		bool		nulls[3];

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		wfi_notify_queue(DatumGetChar(values[0]) == WFI_TASK_WORKFLOW ?
						 WFI_CHANNEL_WORKFLOW : WFI_CHANNEL_ACTIVITY,
						 TextDatumGetCString(values[1]),
						 DatumGetInt32(values[2]));
	}
	SPI_freetuptable(table);
	return (int) rows;
}

static uint64
execute_named(Statement statement, const char *name, int expected)
{
	Params		params = {0};

	put_text(&params, name);
	return execute(statement, &params, expected);
}

/* Is there such a namespace? */
bool
wfi_store_namespace_exists(const char *name)
{
	return execute_named(NAMESPACE_EXISTS, name, SPI_OK_SELECT) > 0;
}

/*
 * Are there runs in this namespace?  Afterwards, until the end of the
 * transaction, nobody can start one.
 */
bool
wfi_store_namespace_in_use(const char *name)
{
	Params		params = {0};

	execute(LOCK_EXECUTIONS, &params, SPI_OK_UTILITY);
	return execute_named(NAMESPACE_IN_USE, name, SPI_OK_SELECT) > 0;
}

/* A namespace as a JSON object, or NULL. */
Jsonb *
wfi_store_describe_namespace(const char *name)
{
	bool		isnull;
	Datum		value;

	if (execute_named(DESCRIBE_NAMESPACE, name, SPI_OK_SELECT) == 0)
		return NULL;
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						  &isnull);
	return DatumGetJsonbP(value);
}

/* Make a namespace; false when it exists. */
bool
wfi_store_create_namespace(const char *name, const Interval *retention,
						   const char *description)
{
	Params		params = {0};

	put_text(&params, name);
	put_pointer(&params, retention);
	put_text(&params, description);
	return execute(INSERT_NAMESPACE, &params, SPI_OK_INSERT) == 1;
}

/* Remove a namespace; false when there is none. */
bool
wfi_store_drop_namespace(const char *name)
{
	return execute_named(DELETE_NAMESPACE, name, SPI_OK_DELETE) == 1;
}
