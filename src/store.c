/*
 * store.c
 *	  Execution of the engine's statements, and the rows of runs.
 *
 * The statements run as the owner of schema wf: callers need EXECUTE on the
 * functions and nothing else.  Locks are taken in one order: the run's row
 * first, then rows of its other tables.  Rows of wf.task and wf.wakeup, and
 * the runs they lead to, are locked with SKIP LOCKED only.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/syscache.h"

#include "store.h"

static SPIPlanPtr plans[STATEMENTS];
static Oid	plans_schema = InvalidOid;	/* schema wf the plans were made for */

/* What wfi_store_begin() found, for wfi_store_end() */
static MemoryContext caller_context;
static Oid	caller_user;
static int	caller_security;
static bool read_only;

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
		const StatementDef *def = &wfi_statements[statement];
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
uint64
wfi_store_execute(Statement statement, Params *params, int expected)
{
	int			result;

	Assert(params->n == (int) strlen(wfi_statements[statement].types));
	result = SPI_execute_plan(get_plan(statement), params->values,
							  params->nulls, read_only, 0);
	if (result != expected)
		elog(ERROR, "statement %d gave %s", (int) statement,
			 SPI_result_code_string(result));
	return SPI_processed;
}

/* As wfi_store_execute(), for statements that must hit exactly one row. */
void
wfi_store_execute_one(Statement statement, Params *params, int expected)
{
	uint64		rows = wfi_store_execute(statement, params, expected);

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

	if (wfi_store_execute(statement, params, SPI_OK_SELECT) == 0)
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
	return wfi_store_execute(RUN_EXISTS, &params, SPI_OK_SELECT) > 0;
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
	if (wfi_store_execute(READ_MEMO, &params, SPI_OK_SELECT) == 0)
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
	return wfi_store_execute(INSERT_RUN, &params, SPI_OK_INSERT) == 1;
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
	wfi_store_execute_one(UPDATE_RUN, &params, SPI_OK_UPDATE);
}

/* A newer run takes this one's place as the current one. */
void
wfi_store_unset_current(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	wfi_store_execute_one(UNSET_CURRENT, &params, SPI_OK_UPDATE);
}
