/*
 * store_parts.c
 *	  Rows of everything but the runs themselves: events, buffered events,
 *	  timers, signals seen, namespaces.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "store.h"

static void
put_event(Params *params, const WfiEvent *event)
{
	put(params, Int64GetDatum(event->event_id));
	put(params, Int64GetDatum(event->batch_id));
	put(params, TimestampTzGetDatum(event->event_time));
	put(params, wfi_store_event_type(event->type));
	put(params, PointerGetDatum(event->attributes));
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
		types[i] = wfi_store_event_type(event->type);
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
	put_pointer(&params, construct_array(types, n, wfi_store_event_type_oid(),
										 sizeof(Oid), true, TYPALIGN_INT));
	put_pointer(&params, construct_array(attributes, n, JSONBOID, -1, false,
										 TYPALIGN_INT));
	if (wfi_store_execute(INSERT_EVENTS_ARRAY, &params, SPI_OK_INSERT) != n)
		elog(ERROR, "could not store %d events", n);
}

/* The same without SQL, if that may be. */
static bool
insert_events_directly(const WfiRun *run)
{
	WfiDirectInsert *insert = wfi_direct_insert_begin(WFI_DIRECT_EVENT,
													  EVENT_NCOLUMNS);
	ListCell   *lc;

	if (insert == NULL)
		return false;
	foreach(lc, run->events)
	{
		WfiEvent   *event = lfirst(lc);
		Params		params;

		put_run(&params, run->shard, &run->run_id);
		put_event(&params, event);
		wfi_direct_insert(insert, params.values, NULL, &event->position);
	}
	wfi_direct_insert_end(insert);
	return true;
}

/*
 * Append the operation's events to the history.  Their positions are known
 * then, if SQL was not needed.
 */
void
wfi_store_events(const WfiRun *run)
{
	int			n = list_length(run->events);
	Params		params;
	ListCell   *lc;

	if (n == 0 || insert_events_directly(run))
		return;
	if (n > MAX_EVENT_ROWS)
	{
		insert_event_array(run);
		return;
	}
	put_run(&params, run->shard, &run->run_id);
	foreach(lc, run->events)
		put_event(&params, lfirst(lc));
	if (wfi_store_execute(INSERT_EVENTS_1 + n - 1, &params, SPI_OK_INSERT) != n)
		elog(ERROR, "could not store %d events", n);
}

/* An event from EVENT_COLUMNS. */
static void *
event_row(Datum *values, bool *nulls)
{
	WfiEvent   *event = palloc0(sizeof(WfiEvent));

	event->event_id = DatumGetInt64(values[0]);
	event->batch_id = DatumGetInt64(values[1]);
	event->event_time = DatumGetTimestampTz(values[2]);
	event->type = wfi_store_read_event_type(values[3]);
	event->attributes = DatumGetJsonbPCopy(values[4]);
	return event;
}

/* One event of a run, or NULL; where its row is can be given. */
WfiEvent *
wfi_store_read_event(int32 shard, const pg_uuid_t *run_id, int64 event_id,
					 const ItemPointerData *at)
{
	Params		params;
	ItemPointerData position = wfi_tid(at);

	put_run(&params, shard, run_id);
	put(&params, Int64GetDatum(event_id));
	return wfi_store_read(READ_EVENT, WFI_DIRECT_EVENT, &params, event_row,
						  &position);
}

/* The last event of that type in a run's history, or NULL. */
WfiEvent *
wfi_store_last_event(const WfiRun *run, WfiEventType type)
{
	Params		params;
	List	   *events;

	put_run(&params, run->shard, &run->run_id);
	put(&params, wfi_store_event_type(type));
	events = wfi_store_list(LAST_EVENT, &params, event_row);
	return events == NIL ? NULL : linitial(events);
}

/* A buffered event from its columns. */
void *
wfi_store_buffered_row(Datum *values, bool *nulls)
{
	WfiEvent   *event = palloc0(sizeof(WfiEvent));

	event->event_time = DatumGetTimestampTz(values[0]);
	event->type = wfi_store_read_event_type(values[1]);
	event->attributes = DatumGetJsonbPCopy(values[2]);
	return event;
}

/* The stored buffered events of a run, in order of arrival. */
List *
wfi_store_read_buffer(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	return wfi_store_list(READ_BUFFER, &params, wfi_store_buffered_row);
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
		put(&params, wfi_store_event_type(event->type));
		put(&params, PointerGetDatum(event->attributes));
		wfi_store_execute_one(INSERT_BUFFER, &params, SPI_OK_INSERT);
	}
}

/* A timer from its columns. */
void *
wfi_store_timer_row(Datum *values, bool *nulls)
{
	WfiTimer   *timer = palloc(sizeof(WfiTimer));

	timer->timer_id = TextDatumGetCString(values[0]);
	timer->started_event_id = DatumGetInt64(values[1]);
	timer->fire_time = DatumGetTimestampTz(values[2]);
	timer->stored = true;
	return timer;
}

/* The stored timers of a run. */
List *
wfi_store_read_timers(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	return wfi_store_list(READ_TIMERS, &params, wfi_store_timer_row);
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
		wfi_store_execute_one(DELETE_TIMER, &params, SPI_OK_DELETE);
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
		wfi_store_execute_one(INSERT_TIMER, &params, SPI_OK_INSERT);
		timer->stored = true;
	}
}

/* Forget all stored rows of one kind of a run. */
void
wfi_store_clear(const WfiRun *run, WfiPart part)
{
	static const Statement statements[] = {
		[WFI_PART_BUFFER] = CLEAR_BUFFER,
		[WFI_PART_TIMERS] = CLEAR_TIMERS,
		[WFI_PART_ACTIVITIES] = CLEAR_ACTIVITIES,
	};
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	wfi_store_execute(statements[part], &params, SPI_OK_DELETE);
}

/* Has the run seen a signal with this request id? */
bool
wfi_store_seen_signal(const WfiRun *run, const char *request_id)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	put_text(&params, request_id);
	return wfi_store_execute(SEEN_SIGNAL, &params, SPI_OK_SELECT) > 0;
}

/* Remember the request ids of the operation's signals. */
void
wfi_store_signal_requests(const WfiRun *run)
{
	int			n = list_length(run->signal_requests);
	Datum	   *ids = palloc(n * sizeof(Datum));
	Params		params;

	for (int i = 0; i < n; i++)
		ids[i] = CStringGetTextDatum(list_nth(run->signal_requests, i));
	put_run(&params, run->shard, &run->run_id);
	put_pointer(&params, construct_array(ids, n, TEXTOID, -1, false,
										 TYPALIGN_INT));
	wfi_store_execute(INSERT_SIGNALS, &params, SPI_OK_INSERT);
}

static uint64
execute_named(Statement statement, const char *name, int expected)
{
	Params		params = {0};

	put_text(&params, name);
	return wfi_store_execute(statement, &params, expected);
}

/*
 * Hold a namespace to the end of the transaction: shared by those who start
 * runs in it, exclusive for who drops it.
 */
static void
lock_namespace(const char *name, LOCKMODE mode)
{
	Oid			schema = get_namespace_oid("wf", false);

	LockDatabaseObject(get_relname_relid("namespace", schema),
					   hash_bytes((const unsigned char *) name, strlen(name)),
					   0, mode);
}

/* Is there such a namespace?  With hold, it stays until we are done. */
bool
wfi_store_namespace_exists(const char *name, bool hold)
{
	Params		params = {0};

	put_text(&params, name);
	if (!hold)
		return wfi_store_execute(NAMESPACE_EXISTS, &params,
								 SPI_OK_SELECT) > 0;
	lock_namespace(name, AccessShareLock);
	return wfi_store_exists_now(NAMESPACE_EXISTS, &params);
}

/*
 * Are there runs in this namespace?  Until the end of the transaction nobody
 * can start one.
 */
bool
wfi_store_namespace_in_use(const char *name)
{
	Params		params = {0};

	lock_namespace(name, AccessExclusiveLock);
	put_text(&params, name);
	return wfi_store_exists_now(NAMESPACE_IN_USE, &params);
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
	return wfi_store_execute(INSERT_NAMESPACE, &params, SPI_OK_INSERT) == 1;
}

/* Remove a namespace; false when there is none. */
bool
wfi_store_drop_namespace(const char *name)
{
	return execute_named(DELETE_NAMESPACE, name, SPI_OK_DELETE) == 1;
}
