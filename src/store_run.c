/*
 * store_run.c
 *	  Rows of runs.
 *
 * A row is read as one composite value: a statement costs by the column, and
 * this one has many.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/hsearch.h"
#include "utils/typcache.h"

#include "store.h"

/* The columns of wf.execution that the engine reads */
typedef enum RunColumn
{
	COL_SHARD,
	COL_RUN_ID,
	COL_FIRST_EXECUTION_RUN_ID,
	COL_ORIGINAL_EXECUTION_RUN_ID,
	COL_NEXT_EVENT_ID,
	COL_HISTORY_SIZE,
	COL_START_TIME,
	COL_EXECUTION_TIME,
	COL_CLOSE_TIME,
	COL_LAST_EVENT_TIME,
	COL_FIRST_TASK_TIME,
	COL_WAKEUP_TIME,
	COL_EXECUTION_EXPIRATION_TIME,
	COL_RUN_EXPIRATION_TIME,
	COL_TASK_SCHEDULED_EVENT_ID,
	COL_TASK_STARTED_EVENT_ID,
	COL_PREVIOUS_STARTED_EVENT_ID,
	COL_TASK_SCHEDULED_TIME,
	COL_TASK_ORIGINAL_SCHEDULED_TIME,
	COL_TASK_STARTED_TIME,
	COL_TASK_TOKEN,
	COL_TASK_ATTEMPT,
	COL_SIGNAL_COUNT,
	COL_BUFFERED_COUNT,
	COL_BUFFERED_SIZE,
	COL_STATE_SIZE,
	COL_PENDING_TIMERS,
	COL_PENDING_ACTIVITIES,
	COL_STATUS,
	COL_IS_CURRENT,
	COL_CANCEL_REQUESTED,
	COL_CLOSE_ATTEMPTED,
	COL_WAS_RESET,
	COL_EXECUTION_TIMEOUT,
	COL_RUN_TIMEOUT,
	COL_TASK_TIMEOUT,
	COL_RESET_RUN_ID,
	COL_BASE_RUN_ID,
	COL_LAST_COPIED_EVENT_ID,
	COL_PARENT_RUN_ID,
	COL_PARENT_INITIATED_EVENT_ID,
	COL_NAMESPACE,
	COL_WORKFLOW_ID,
	COL_WORKFLOW_TYPE,
	COL_TASK_QUEUE,
	COL_PARENT_NAMESPACE,
	COL_PARENT_WORKFLOW_ID,
	COL_CREATE_REQUEST_ID,
	COL_RESET_REQUEST_ID,
	COL_RESET_IDENTITY,
	COL_CANCEL_REQUEST_ID,
	COL_TASK_IDENTITY,
	COL_MEMO,
	COL_SEARCH_ATTRIBUTES,
	RUN_COLUMNS					/* how many there are */
} RunColumn;

/* Their names, and the parameter types of those that change */
static const struct
{
	const char *name;
	char		type;
}			run_columns[RUN_COLUMNS] = {
	[COL_SHARD] = {"shard"},
	[COL_RUN_ID] = {"run_id"},
	[COL_FIRST_EXECUTION_RUN_ID] = {"first_execution_run_id"},
	[COL_ORIGINAL_EXECUTION_RUN_ID] = {"original_execution_run_id"},
	[COL_NEXT_EVENT_ID] = {"next_event_id", 'l'},
	[COL_HISTORY_SIZE] = {"history_size", 'l'},
	[COL_START_TIME] = {"start_time"},
	[COL_EXECUTION_TIME] = {"execution_time"},
	[COL_CLOSE_TIME] = {"close_time", 't'},
	[COL_LAST_EVENT_TIME] = {"last_event_time", 't'},
	[COL_FIRST_TASK_TIME] = {"first_task_time", 't'},
	[COL_WAKEUP_TIME] = {"wakeup_time", 't'},
	[COL_EXECUTION_EXPIRATION_TIME] = {"execution_expiration_time"},
	[COL_RUN_EXPIRATION_TIME] = {"run_expiration_time"},
	[COL_TASK_SCHEDULED_EVENT_ID] = {"task_scheduled_event_id", 'l'},
	[COL_TASK_STARTED_EVENT_ID] = {"task_started_event_id", 'l'},
	[COL_PREVIOUS_STARTED_EVENT_ID] = {"previous_started_event_id", 'l'},
	[COL_TASK_SCHEDULED_TIME] = {"task_scheduled_time", 't'},
	[COL_TASK_ORIGINAL_SCHEDULED_TIME] = {"task_original_scheduled_time", 't'},
	[COL_TASK_STARTED_TIME] = {"task_started_time", 't'},
	[COL_TASK_TOKEN] = {"task_token", 'u'},
	[COL_TASK_ATTEMPT] = {"task_attempt", 'i'},
	[COL_SIGNAL_COUNT] = {"signal_count", 'i'},
	[COL_BUFFERED_COUNT] = {"buffered_count", 'i'},
	[COL_BUFFERED_SIZE] = {"buffered_size", 'l'},
	[COL_STATE_SIZE] = {"state_size", 'l'},
	[COL_PENDING_TIMERS] = {"pending_timers", 'i'},
	[COL_PENDING_ACTIVITIES] = {"pending_activities", 'i'},
	[COL_STATUS] = {"status", 'o'},
	[COL_IS_CURRENT] = {"is_current"},
	[COL_CANCEL_REQUESTED] = {"cancel_requested", 'b'},
	[COL_CLOSE_ATTEMPTED] = {"close_attempted", 'b'},
	[COL_WAS_RESET] = {"workflow_was_reset", 'b'},
	[COL_EXECUTION_TIMEOUT] = {"execution_timeout"},
	[COL_RUN_TIMEOUT] = {"run_timeout"},
	[COL_TASK_TIMEOUT] = {"task_timeout"},
	[COL_RESET_RUN_ID] = {"reset_run_id", 'u'},
	[COL_BASE_RUN_ID] = {"base_run_id"},
	[COL_LAST_COPIED_EVENT_ID] = {"last_copied_event_id"},
	[COL_PARENT_RUN_ID] = {"parent_run_id"},
	[COL_PARENT_INITIATED_EVENT_ID] = {"parent_initiated_event_id"},
	[COL_NAMESPACE] = {"namespace"},
	[COL_WORKFLOW_ID] = {"workflow_id"},
	[COL_WORKFLOW_TYPE] = {"workflow_type"},
	[COL_TASK_QUEUE] = {"task_queue"},
	[COL_PARENT_NAMESPACE] = {"parent_namespace"},
	[COL_PARENT_WORKFLOW_ID] = {"parent_workflow_id"},
	[COL_CREATE_REQUEST_ID] = {"create_request_id"},
	[COL_RESET_REQUEST_ID] = {"reset_request_id"},
	[COL_RESET_IDENTITY] = {"reset_identity"},
	[COL_CANCEL_REQUEST_ID] = {"cancel_request_id", 's'},
	[COL_TASK_IDENTITY] = {"task_identity", 's'},
	[COL_MEMO] = {"memo", 'j'},
	[COL_SEARCH_ATTRIBUTES] = {"search_attributes", 'j'},
};

/* Where they are in the table, in this life of the extension */
static int	run_attributes[RUN_COLUMNS];
static int	run_natts;
static bool have_run_attributes = false;

/* Plans of updates, by the set of columns they change */
typedef struct UpdatePlan
{
	uint64		changed;		/* must be first */
	SPIPlanPtr	plan;
} UpdatePlan;

static HTAB *update_plans = NULL;

/* Find the columns in the table. */
static void
find_attributes(TupleDesc desc)
{
	for (int i = 0; i < RUN_COLUMNS; i++)
	{
		run_attributes[i] = -1;
		for (int j = 0; j < desc->natts; j++)
		{
			Form_pg_attribute attribute = TupleDescAttr(desc, j);

			if (!attribute->attisdropped &&
				namestrcmp(&attribute->attname, run_columns[i].name) == 0)
				run_attributes[i] = j;
		}
		if (run_attributes[i] < 0)
			elog(ERROR, "wf.execution lacks column \"%s\"",
				 run_columns[i].name);
	}
	run_natts = desc->natts;
	have_run_attributes = true;
}

static WfiRun *
read_run(TupleDesc desc, Datum *all, bool *all_nulls)
{
	WfiRun	   *run = palloc0(sizeof(WfiRun));
	WfiRun	   *stored = palloc(sizeof(WfiRun));
	Datum		values[RUN_COLUMNS];
	bool		nulls[RUN_COLUMNS];

	if (!have_run_attributes || desc->natts != run_natts)
		find_attributes(desc);
	for (int i = 0; i < RUN_COLUMNS; i++)
	{
		values[i] = all[run_attributes[i]];
		nulls[i] = all_nulls[run_attributes[i]];
	}
	run->shard = DatumGetInt32(values[COL_SHARD]);
	run->run_id = *DatumGetUUIDP(values[COL_RUN_ID]);
	run->first_execution_run_id = *DatumGetUUIDP(values[COL_FIRST_EXECUTION_RUN_ID]);
	run->original_execution_run_id = *DatumGetUUIDP(values[COL_ORIGINAL_EXECUTION_RUN_ID]);
	run->next_event_id = DatumGetInt64(values[COL_NEXT_EVENT_ID]);
	run->history_size = DatumGetInt64(values[COL_HISTORY_SIZE]);
	run->start_time = time_column(values, nulls, COL_START_TIME);
	run->execution_time = time_column(values, nulls, COL_EXECUTION_TIME);
	run->close_time = time_column(values, nulls, COL_CLOSE_TIME);
	run->last_event_time = time_column(values, nulls, COL_LAST_EVENT_TIME);
	run->first_task_time = time_column(values, nulls, COL_FIRST_TASK_TIME);
	run->wakeup_time = time_column(values, nulls, COL_WAKEUP_TIME);
	run->execution_expiration_time = time_column(values, nulls, COL_EXECUTION_EXPIRATION_TIME);
	run->run_expiration_time = time_column(values, nulls, COL_RUN_EXPIRATION_TIME);
	run->task_scheduled_event_id = DatumGetInt64(values[COL_TASK_SCHEDULED_EVENT_ID]);
	run->task_started_event_id = DatumGetInt64(values[COL_TASK_STARTED_EVENT_ID]);
	run->previous_started_event_id = DatumGetInt64(values[COL_PREVIOUS_STARTED_EVENT_ID]);
	run->task_scheduled_time = time_column(values, nulls, COL_TASK_SCHEDULED_TIME);
	run->task_original_scheduled_time = time_column(values, nulls, COL_TASK_ORIGINAL_SCHEDULED_TIME);
	run->task_started_time = time_column(values, nulls, COL_TASK_STARTED_TIME);
	run->task_attempt = DatumGetInt32(values[COL_TASK_ATTEMPT]);
	run->signal_count = DatumGetInt32(values[COL_SIGNAL_COUNT]);
	run->buffered_count = DatumGetInt32(values[COL_BUFFERED_COUNT]);
	run->buffered_size = DatumGetInt64(values[COL_BUFFERED_SIZE]);
	run->state_size = DatumGetInt64(values[COL_STATE_SIZE]);
	run->pending_timers = DatumGetInt32(values[COL_PENDING_TIMERS]);
	run->pending_activities =
		DatumGetInt32(values[COL_PENDING_ACTIVITIES]);
	run->status = wfi_store_read_status(values[COL_STATUS]);
	run->is_current = DatumGetBool(values[COL_IS_CURRENT]);
	run->cancel_requested = DatumGetBool(values[COL_CANCEL_REQUESTED]);
	run->close_attempted = DatumGetBool(values[COL_CLOSE_ATTEMPTED]);
	run->was_reset = DatumGetBool(values[COL_WAS_RESET]);
	run->execution_timeout = usecs_column(values, nulls, COL_EXECUTION_TIMEOUT);
	run->run_timeout = usecs_column(values, nulls, COL_RUN_TIMEOUT);
	run->task_timeout = usecs_column(values, nulls, COL_TASK_TIMEOUT);
	run->reset_run_id = uuid_column(values, nulls, COL_RESET_RUN_ID);
	run->base_run_id = uuid_column(values, nulls, COL_BASE_RUN_ID);
	if (!nulls[COL_LAST_COPIED_EVENT_ID])
		run->last_copied_event_id = DatumGetInt64(values[COL_LAST_COPIED_EVENT_ID]);
	run->reset_request_id = text_column(values, nulls, COL_RESET_REQUEST_ID);
	run->reset_identity = text_column(values, nulls, COL_RESET_IDENTITY);
	run->parent_run_id = uuid_column(values, nulls, COL_PARENT_RUN_ID);
	if (!nulls[COL_PARENT_INITIATED_EVENT_ID])
		run->parent_initiated_event_id = DatumGetInt64(values[COL_PARENT_INITIATED_EVENT_ID]);
	run->namespace = text_column(values, nulls, COL_NAMESPACE);
	run->workflow_id = text_column(values, nulls, COL_WORKFLOW_ID);
	run->workflow_type = text_column(values, nulls, COL_WORKFLOW_TYPE);
	run->task_queue = text_column(values, nulls, COL_TASK_QUEUE);
	run->parent_namespace = text_column(values, nulls, COL_PARENT_NAMESPACE);
	run->parent_workflow_id = text_column(values, nulls, COL_PARENT_WORKFLOW_ID);
	run->create_request_id = text_column(values, nulls, COL_CREATE_REQUEST_ID);
	run->cancel_request_id = text_column(values, nulls, COL_CANCEL_REQUEST_ID);
	run->task_identity = text_column(values, nulls, COL_TASK_IDENTITY);
	if (!nulls[COL_TASK_TOKEN])
		run->task_token = *DatumGetUUIDP(values[COL_TASK_TOKEN]);
	*stored = *run;
	run->stored = stored;
	return run;
}

/* A run from its row as a composite value. */
WfiRun *
wfi_store_composite_run(Datum value)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(value);
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row),
											  HeapTupleHeaderGetTypMod(row));
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	HeapTupleData tuple = {0};
	WfiRun	   *run;

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	tuple.t_data = row;
	heap_deform_tuple(&tuple, desc, values, nulls);
	run = read_run(desc, values, nulls);
	ReleaseTupleDesc(desc);
	return run;
}

static void
set_locked(WfiRun *run)
{
	wfi_store_check_storing(run);
	run->locked = true;
}

/* The run that a SELECT of whole rows finds, or NULL. */
static WfiRun *
select_run(Statement statement, Params *params, bool locked)
{
	SPITupleTable *table;
	Datum		row;
	Datum		position;
	bool		isnull;
	WfiRun	   *run;

	if (wfi_store_execute(statement, params, SPI_OK_SELECT) == 0)
		return NULL;
	table = SPI_tuptable;
	row = SPI_getbinval(table->vals[0], table->tupdesc, 1, &isnull);
	run = wfi_store_composite_run(row);
	position = SPI_getbinval(table->vals[0], table->tupdesc, 2, &isnull);
	run->position = *(ItemPointer) DatumGetPointer(position);
	if (locked)
		set_locked(run);
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
	Datum		key[3];
	WfiRun	   *run;
	bool		found;

	key[0] = Int32GetDatum(shard);
	key[1] = CStringGetTextDatum(workflow_id);
	key[2] = CStringGetTextDatum(namespace);
	if (!wfi_direct_lock(WFI_DIRECT_CURRENT, key, NULL, false, read_run, &run,
						 &found, NULL))
		return select_current(LOCK_CURRENT, shard, namespace, workflow_id,
							  true);
	if (run)
		set_locked(run);
	return run;
}

/* Read the current run of a workflow id, or NULL. */
WfiRun *
wfi_store_read_current(int32 shard, const char *namespace,
					   const char *workflow_id)
{
	return select_current(READ_CURRENT, shard, namespace, workflow_id, false);
}

/* Lock a run; NULL when there is none. */
WfiRun *
wfi_store_lock_run(int32 shard, const pg_uuid_t *run_id)
{
	Params		params;
	WfiRun	   *run;
	bool		found;

	put_run(&params, shard, run_id);
	if (!wfi_direct_lock(WFI_DIRECT_RUN, params.values, NULL, false, read_run,
						 &run, &found, NULL))
		return select_run(LOCK_RUN, &params, true);
	if (run)
		set_locked(run);
	return run;
}

static void *
read_xid(Datum *values, bool *nulls)
{
	TransactionId *xid = palloc(sizeof(TransactionId));

	*xid = DatumGetTransactionId(values[0]);
	return xid;
}

/* Is it this transaction that has made the run what it is? */
bool
wfi_store_has_written_run(const WfiRun *run)
{
	Params		params;
	List	   *xids;

	put_run(&params, run->shard, &run->run_id);
	xids = wfi_store_list(RUN_WRITER, &params, read_xid);
	return xids != NIL &&
		TransactionIdIsCurrentTransactionId(*(TransactionId *) linitial(xids));
}

/*
 * Lock a run without waiting; NULL, and why, when that cannot be.  Where its
 * row is can be given.
 */
WfiRun *
wfi_store_try_run(int32 shard, const pg_uuid_t *run_id,
				  const ItemPointerData *at, WfiMissing *why)
{
	bool		any = false;
	Params		none = {0};

	*why = WFI_MISSING_BUSY;
	if (wfi_store_known_busy(run_id))
		return NULL;
	for (;;)
	{
		Params		params;
		WfiRun	   *run;
		bool		found;
		TransactionId holder = InvalidTransactionId;

		put_run(&params, shard, run_id);
		if (!wfi_direct_lock(WFI_DIRECT_RUN, params.values, at, true, read_run,
							 &run, &found, &holder))
		{
			run = select_run(LOCK_RUN_SKIP, &params, true);
			found = run != NULL ||
				wfi_store_execute(RUN_EXISTS, &params, SPI_OK_SELECT) > 0;
		}
		if (run != NULL || found || any)
		{
			if (run)
				set_locked(run);
			else if (TransactionIdIsValid(holder))
				wfi_store_remember_busy(run_id, holder);
			if (!found)
				*why = WFI_MISSING_GONE;
			return run;
		}
		/* look again if there are runs: this one may have come with them */
		any = wfi_store_execute(ANY_RUN, &none, SPI_OK_SELECT) > 0;
		if (!any)
		{
			*why = WFI_MISSING_ALL;
			return NULL;
		}
	}
}

/* Read a run, or NULL. */
WfiRun *
wfi_store_read_run(int32 shard, const pg_uuid_t *run_id)
{
	Params		params;

	put_run(&params, shard, run_id);
	return select_run(READ_RUN, &params, false);
}

/* Read the run that a reset with that request id made, or NULL. */
WfiRun *
wfi_store_find_reset(int32 shard, const char *namespace,
					 const char *workflow_id, const char *reset_request_id)
{
	Params		params = {0};

	put(&params, Int32GetDatum(shard));
	put_text(&params, workflow_id);
	put_text(&params, namespace);
	put_text(&params, reset_request_id);
	return select_run(FIND_RESET, &params, false);
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

/*
 * Store a new run's row, with what a reset brings over if it made the run;
 * false when its workflow id has a current run.
 */
bool
wfi_store_insert_run(const WfiRun *run)
{
	Params		params;
	bool		reset = run->base_run_id != NULL;

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
	put(&params, wfi_store_status(run->status));
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
	if (reset)
	{
		put(&params, Int64GetDatum(run->previous_started_event_id));
		put(&params, BoolGetDatum(run->cancel_requested));
		put(&params, Int32GetDatum(run->pending_timers));
		put(&params, Int32GetDatum(run->pending_activities));
		put_pointer(&params, run->base_run_id);
		put(&params, Int64GetDatum(run->last_copied_event_id));
		put_text(&params, run->reset_request_id);
		put_text(&params, run->reset_identity);
		put_pointer(&params, run->parent_run_id);
		if (run->parent_run_id)
			put(&params, Int64GetDatum(run->parent_initiated_event_id));
		else
			put_null(&params);
		put_text(&params, run->parent_namespace);
		put_text(&params, run->parent_workflow_id);
	}
	return wfi_store_execute(reset ? INSERT_RESET_RUN : INSERT_RUN, &params,
							 SPI_OK_INSERT) == 1;
}

/*
 * The columns that differ from what is stored, as a set of bits, and their
 * values as parameters in the order of the columns.
 */
static uint64
changed_columns(const WfiRun *run, Params *params)
{
	const WfiRun *old = run->stored;
	uint64		changed = 0;

#define CHANGED(column, differs, value) \
	do { \
		if (differs) \
		{ \
			changed |= UINT64CONST(1) << (column); \
			value; \
		} \
	} while (0)
#define CHANGED_FIELD(column, field, value) \
	CHANGED(column, run->field != old->field, value)
#define CHANGED_INT64(column, field) \
	CHANGED_FIELD(column, field, put(params, Int64GetDatum(run->field)))
#define CHANGED_INT32(column, field) \
	CHANGED_FIELD(column, field, put(params, Int32GetDatum(run->field)))
#define CHANGED_BOOL(column, field) \
	CHANGED_FIELD(column, field, put(params, BoolGetDatum(run->field)))
#define CHANGED_TIME(column, field) \
	CHANGED_FIELD(column, field, put_time(params, run->field))
#define CHANGED_TEXT(column, field) \
	CHANGED_FIELD(column, field, put_text(params, run->field))

	CHANGED_INT64(COL_NEXT_EVENT_ID, next_event_id);
	CHANGED_INT64(COL_HISTORY_SIZE, history_size);
	CHANGED_TIME(COL_CLOSE_TIME, close_time);
	CHANGED_TIME(COL_LAST_EVENT_TIME, last_event_time);
	CHANGED_TIME(COL_FIRST_TASK_TIME, first_task_time);
	CHANGED_TIME(COL_WAKEUP_TIME, wakeup_time);
	CHANGED_INT64(COL_TASK_SCHEDULED_EVENT_ID, task_scheduled_event_id);
	CHANGED_INT64(COL_TASK_STARTED_EVENT_ID, task_started_event_id);
	CHANGED_INT64(COL_PREVIOUS_STARTED_EVENT_ID, previous_started_event_id);
	CHANGED_TIME(COL_TASK_SCHEDULED_TIME, task_scheduled_time);
	CHANGED_TIME(COL_TASK_ORIGINAL_SCHEDULED_TIME, task_original_scheduled_time);
	CHANGED_TIME(COL_TASK_STARTED_TIME, task_started_time);
	CHANGED(COL_TASK_TOKEN,
			run->task_started_event_id != old->task_started_event_id,
			put_pointer(params, run->task_started_event_id != 0 ?
						&run->task_token : NULL));
	CHANGED_INT32(COL_TASK_ATTEMPT, task_attempt);
	CHANGED_INT32(COL_SIGNAL_COUNT, signal_count);
	CHANGED_INT32(COL_BUFFERED_COUNT, buffered_count);
	CHANGED_INT64(COL_BUFFERED_SIZE, buffered_size);
	CHANGED_INT64(COL_STATE_SIZE, state_size);
	CHANGED_INT32(COL_PENDING_TIMERS, pending_timers);
	CHANGED_INT32(COL_PENDING_ACTIVITIES, pending_activities);
	CHANGED_FIELD(COL_STATUS, status,
				  put(params, wfi_store_status(run->status)));
	CHANGED_BOOL(COL_CANCEL_REQUESTED, cancel_requested);
	CHANGED_BOOL(COL_CLOSE_ATTEMPTED, close_attempted);
	CHANGED_BOOL(COL_WAS_RESET, was_reset);
	CHANGED_FIELD(COL_RESET_RUN_ID, reset_run_id,
				  put_pointer(params, run->reset_run_id));
	CHANGED_TEXT(COL_CANCEL_REQUEST_ID, cancel_request_id);
	CHANGED_TEXT(COL_TASK_IDENTITY, task_identity);
	CHANGED(COL_MEMO, run->memo_changed, put_pointer(params, run->memo));
	CHANGED(COL_SEARCH_ATTRIBUTES, run->search_attributes_changed,
			put_pointer(params, run->search_attributes));
	return changed;
}

/* The plan that updates a set of columns, made at its first use. */
static SPIPlanPtr
update_plan(uint64 changed)
{
	UpdatePlan *entry;
	bool		found;
	StringInfoData sql;
	StringInfoData param_types;
	int			n = 3;

	if (update_plans == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(uint64);
		control.entrysize = sizeof(UpdatePlan);
		update_plans = hash_create("workflow_interrupt update plans", 64,
								   &control, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(update_plans, &changed, HASH_FIND, &found);
	if (found)
		return entry->plan;

	initStringInfo(&sql);
	initStringInfo(&param_types);
	appendStringInfoString(&param_types, "iup");
	appendStringInfoString(&sql, "UPDATE wf.execution SET");
	for (int i = 0; i < RUN_COLUMNS; i++)
	{
		if ((changed & (UINT64CONST(1) << i)) == 0)
			continue;
		Assert(run_columns[i].type != 0);
		appendStringInfo(&sql, "%s %s = $%d", n == 3 ? "" : ",",
						 run_columns[i].name, n + 1);
		appendStringInfoChar(&param_types, run_columns[i].type);
		n++;
	}
	appendStringInfoString(&sql, " WHERE shard OPERATOR(pg_catalog.=) $1"
						   " AND run_id OPERATOR(pg_catalog.=) $2"
						   " AND ctid OPERATOR(pg_catalog.=) $3");
	{
		SPIPlanPtr	plan = wfi_store_plan(sql.data, param_types.data);

		entry = hash_search(update_plans, &changed, HASH_ENTER, &found);
		entry->plan = plan;
	}
	return entry->plan;
}

/* The same without SQL, if that may be. */
static bool
update_directly(const WfiRun *run, uint64 changed, const Params *params)
{
	Datum	   *values = palloc0(run_natts * sizeof(Datum));
	bool	   *nulls = palloc0(run_natts * sizeof(bool));
	bool	   *replace = palloc0(run_natts * sizeof(bool));
	int			n = 3;			/* behind the key */

	for (int i = 0; i < RUN_COLUMNS; i++)
	{
		int			attribute = run_attributes[i];

		if ((changed & (UINT64CONST(1) << i)) == 0)
			continue;
		values[attribute] = params->values[n];
		nulls[attribute] = params->nulls[n] == 'n';
		replace[attribute] = true;
		n++;
	}
	return wfi_direct_update(run->position, values, nulls, replace);
}

/*
 * Store what changed in a locked run, once per operation.  The executor's
 * work grows with the columns of a statement, so there is one for each set of
 * columns met.
 */
void
wfi_store_update_run(const WfiRun *run)
{
	Params		params;
	uint64		changed;

	Assert(run->locked);
	put_run(&params, run->shard, &run->run_id);
	put_pointer(&params, &run->position);
	changed = changed_columns(run, &params);
	if (changed == 0)
		return;
	if (!update_directly(run, changed, &params) &&
		wfi_store_execute_plan(update_plan(changed), &params,
							   SPI_OK_UPDATE) != 1)
		elog(ERROR, "could not update run \"%s\"",
			 wfi_uuid_text(&run->run_id));
}

/* Forget what was known of an earlier life of the extension. */
void
wfi_store_forget_runs(void)
{
	have_run_attributes = false;
	if (update_plans != NULL)
	{
		HASH_SEQ_STATUS status;
		UpdatePlan *entry;

		hash_seq_init(&status, update_plans);
		while ((entry = hash_seq_search(&status)) != NULL)
			SPI_freeplan(entry->plan);
		hash_destroy(update_plans);
		update_plans = NULL;
	}
}

/* A newer run takes this one's place as the current one. */
void
wfi_store_unset_current(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	wfi_store_execute_one(UNSET_CURRENT, &params, SPI_OK_UPDATE);
}
