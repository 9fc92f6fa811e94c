/*
 * store_check.c
 *	  Reading for wf_check(): all tables at once, run by run.
 *
 * Each table is read by a cursor in the order of (shard, run id), so that they
 * can be walked together like the inputs of a merge join: each row is read
 * once, rows that belong to no run turn up between two runs, and no more than
 * some rows of each table are in memory.  All cursors have the snapshot of the
 * statement that calls wf_check(): what one transaction wrote is seen in all
 * tables or in none.
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "check.h"
#include "store.h"

/* Rows that are fetched at a time; they can be large */
#define FETCH_ROWS 50

#define MAX_COLUMNS 32

/* One table */
typedef struct Stream
{
	Portal		portal;
	SPITupleTable *rows;		/* NULL: to be fetched */
	uint64		count;
	uint64		next;			/* the row that values belong to */
	bool		looked_at;		/* values are filled in */
	bool		ended;
	Datum		values[MAX_COLUMNS];
	bool		nulls[MAX_COLUMNS];
} Stream;

struct WfiReader
{
	Stream		streams[WFI_CHECK_TABLES];
};

/* The first of a table's statements */
static const Statement statements[WFI_CHECK_TABLES] = {
	[WFI_CHECK_RUNS] = CHECK_RUNS,
	[WFI_CHECK_EVENTS] = CHECK_EVENTS,
	[WFI_CHECK_BUFFER] = CHECK_BUFFER,
	[WFI_CHECK_TIMERS] = CHECK_TIMERS,
	[WFI_CHECK_ACTIVITIES] = CHECK_ACTIVITIES,
	[WFI_CHECK_SIGNALS] = CHECK_SIGNALS,
	[WFI_CHECK_TASKS] = CHECK_TASKS,
	[WFI_CHECK_WAKEUPS] = CHECK_WAKEUPS,
};

/* The parameters for a scope; which variant of the statements they are for. */
static CheckVariant
put_scope(Params *params, const WfiScope *scope, bool whole_workflow)
{
	pg_uuid_t  *first;
	pg_uuid_t  *last;

	params->n = 0;
	if (scope->namespace == NULL)
		return CHECK_ALL;
	if (scope->workflow_id == NULL)
	{
		put_text(params, scope->namespace);
		return CHECK_NAMESPACE;
	}
	first = palloc(sizeof(pg_uuid_t));
	last = palloc(sizeof(pg_uuid_t));
	memset(first, 0, sizeof(pg_uuid_t));
	memset(last, 0xff, sizeof(pg_uuid_t));
	if (scope->run_id != NULL && !whole_workflow)
		*first = *last = *scope->run_id;
	put(params, Int32GetDatum(wfi_shard(scope->namespace,
										scope->workflow_id)));
	put(params, UUIDPGetDatum(first));
	put(params, UUIDPGetDatum(last));
	put_text(params, scope->namespace);
	put_text(params, scope->workflow_id);
	return CHECK_WORKFLOW;
}

/* Begin to read what is in a scope. */
WfiReader *
wfi_check_open(const WfiScope *scope)
{
	WfiReader  *reader = palloc0(sizeof(WfiReader));
	Params		params;
	CheckVariant variant = put_scope(&params, scope, false);

	for (int i = 0; i < WFI_CHECK_TABLES; i++)
		reader->streams[i].portal = wfi_store_cursor(statements[i] + variant,
													 &params);
	return reader;
}

/* End it. */
void
wfi_check_close(WfiReader *reader)
{
	for (int i = 0; i < WFI_CHECK_TABLES; i++)
	{
		SPI_freetuptable(reader->streams[i].rows);
		SPI_cursor_close(reader->streams[i].portal);
	}
}

/* Have the stream's next row at hand; false when there is none. */
static bool
look(Stream *stream)
{
	if (stream->looked_at)
		return true;
	if (stream->ended)
		return false;
	if (stream->next == stream->count)
	{
		MemoryContext context = CurrentMemoryContext;

		SPI_freetuptable(stream->rows);
		SPI_cursor_fetch(stream->portal, true, FETCH_ROWS);
		MemoryContextSwitchTo(context);
		stream->rows = SPI_tuptable;
		stream->count = SPI_processed;
		stream->next = 0;
		if (stream->count == 0)
		{
			stream->ended = true;
			return false;
		}
	}
	Assert(stream->rows->tupdesc->natts <= MAX_COLUMNS);
	heap_deform_tuple(stream->rows->vals[stream->next], stream->rows->tupdesc,
					  stream->values, stream->nulls);
	stream->looked_at = true;
	return true;
}

/*
 * Does the table's next row belong to the run (0), to one in front of it (-1)
 * or to a later one, or is there none (1)?  NULL is behind all runs.
 */
int
wfi_check_look(WfiReader *reader, WfiCheckTable table, const WfiRun *run)
{
	Stream	   *stream = &reader->streams[table];
	int32		shard;
	int			order;

	if (!look(stream))
		return 1;
	if (run == NULL)
		return -1;
	shard = DatumGetInt32(stream->values[0]);
	if (shard != run->shard)
		return shard < run->shard ? -1 : 1;
	order = memcmp(DatumGetUUIDP(stream->values[1])->data, run->run_id.data,
				   UUID_LEN);
	return order < 0 ? -1 : order > 0;
}

/* The run that the table's next row, which was looked at, belongs to. */
const pg_uuid_t *
wfi_check_run_id(WfiReader *reader, WfiCheckTable table)
{
	return DatumGetUUIDP(reader->streams[table].values[1]);
}

static WfiCheckedRun *
take_run(Datum *values, bool *nulls)
{
	WfiCheckedRun *checked = palloc(sizeof(WfiCheckedRun));
	WfiRun	   *run = wfi_store_composite_run(values[0]);

	run->memo_loaded = true;
	run->memo = nulls[1] ? NULL : DatumGetJsonbPCopy(values[1]);
	run->search_attributes = nulls[2] ? NULL : DatumGetJsonbPCopy(values[2]);
	checked->run = run;
	checked->has_namespace = DatumGetBool(values[3]);
	return checked;
}

static WfiEvent *
take_event(Datum *values)
{
	WfiEvent   *event = palloc0(sizeof(WfiEvent));

	event->event_id = DatumGetInt64(values[0]);
	event->batch_id = DatumGetInt64(values[1]);
	event->event_time = DatumGetTimestampTz(values[2]);
	event->type = wfi_store_read_event_type(values[3]);
	event->unread = values[4];
	return event;
}

static WfiCheckedEvent *
take_buffered(Datum *values, bool *nulls)
{
	WfiCheckedEvent *checked = palloc(sizeof(WfiCheckedEvent));

	checked->position = DatumGetInt32(values[0]);
	checked->event = *(WfiEvent *) wfi_store_buffered_row(values + 1, nulls + 1);
	return checked;
}

static WfiCheckedActivity *
take_activity(Datum *values, bool *nulls)
{
	WfiCheckedActivity *checked = palloc(sizeof(WfiCheckedActivity));

	checked->activity = *(WfiActivity *) wfi_store_activity_row(values, nulls);
	checked->state = TextDatumGetCString(values[ACT_STATE]);
	checked->cancel_requested = DatumGetBool(values[ACT_CANCEL_REQUESTED]);
	return checked;
}

static WfiTask *
take_task(Datum *values)
{
	WfiTask    *task = palloc0(sizeof(WfiTask));

	task->queue_id = DatumGetInt64(values[0]);
	task->scheduled_event_id = DatumGetInt64(values[1]);
	task->attempt = DatumGetInt32(values[2]);
	return task;
}

static TimestampTz *
take_wakeup(Datum *values)
{
	TimestampTz *wakeup = palloc(sizeof(TimestampTz));

	*wakeup = DatumGetTimestampTz(values[0]);
	return wakeup;
}

/*
 * Take the table's next row, which was looked at; see WfiCheckTable for what
 * comes out.
 */
void *
wfi_check_take(WfiReader *reader, WfiCheckTable table)
{
	Stream	   *stream = &reader->streams[table];

	/* behind the key */
	Datum	   *values = stream->values + WFI_RUN_COLUMNS;
	bool	   *nulls = stream->nulls + WFI_RUN_COLUMNS;

	Assert(stream->looked_at);
	stream->looked_at = false;
	stream->next++;
	switch (table)
	{
		case WFI_CHECK_RUNS:
			return take_run(values, nulls);
		case WFI_CHECK_EVENTS:
			return take_event(values);
		case WFI_CHECK_BUFFER:
			return take_buffered(values, nulls);
		case WFI_CHECK_TIMERS:
			return wfi_store_timer_row(values, nulls);
		case WFI_CHECK_ACTIVITIES:
			return take_activity(values, nulls);
		case WFI_CHECK_SIGNALS:
			return TextDatumGetCString(values[0]);
		case WFI_CHECK_TASKS:
			return take_task(values);
		case WFI_CHECK_WAKEUPS:
			return take_wakeup(values);
		default:
			elog(ERROR, "unknown table %d", (int) table);
			return NULL;		/* keep compiler quiet */
	}
}

/*
 * Hand the workflows in a scope that have not exactly one current run to the
 * callback, with the number of current runs and of all.
 */
void
wfi_check_current(const WfiScope *scope, WfiCurrentCallback callback,
				  void *arg)
{
	Params		params;
	CheckVariant variant = put_scope(&params, scope, true);
	uint64		rows = wfi_store_execute(CHECK_CURRENT + variant, &params,
										 SPI_OK_SELECT);
	SPITupleTable *table = SPI_tuptable;

	for (uint64 i = 0; i < rows; i++)
	{
		Datum		values[4];
		bool		nulls[4];

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		callback(TextDatumGetCString(values[0]),
				 TextDatumGetCString(values[1]), DatumGetInt64(values[2]),
				 DatumGetInt64(values[3]), arg);
	}
	SPI_freetuptable(table);
}

/* A current run of the run's workflow; false when there is none. */
bool
wfi_check_current_of(const WfiRun *run, pg_uuid_t *current,
					 TimestampTz *close_time)
{
	Params		params = {0};
	Datum		values[2];
	bool		nulls[2];

	put(&params, Int32GetDatum(run->shard));
	put_text(&params, run->workflow_id);
	put_text(&params, run->namespace);
	if (wfi_store_execute(CURRENT_RUN_OF, &params, SPI_OK_SELECT) == 0)
		return false;
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values,
					  nulls);
	*current = *DatumGetUUIDP(values[0]);
	*close_time = time_column(values, nulls, 1);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* Find the workflow of a run, in whatever shard; false when there is none. */
bool
wfi_check_find_run(const pg_uuid_t *run_id, WfiScope *scope)
{
	Params		params = {0};
	Datum		values[2];
	bool		nulls[2];

	put_pointer(&params, run_id);
	if (wfi_store_execute(FIND_RUN, &params, SPI_OK_SELECT) == 0)
		return false;
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values,
					  nulls);
	scope->namespace = TextDatumGetCString(values[0]);
	scope->workflow_id = TextDatumGetCString(values[1]);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/*
 * The first event of a run before a certain one that its base does not have
 * just so; 0 when there is none.
 */
int64
wfi_check_first_difference(const WfiRun *run, const pg_uuid_t *base_run_id,
						   int64 before)
{
	Params		params;
	bool		isnull;

	put_run(&params, run->shard, &run->run_id);
	put_pointer(&params, base_run_id);
	put(&params, Int64GetDatum(before));
	if (wfi_store_execute(FIRST_DIFFERENCE, &params, SPI_OK_SELECT) == 0)
		return 0;
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, 1, &isnull));
}
