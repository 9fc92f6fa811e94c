/*
 * store_history.c
 *	  Whole histories, event by event: they can be large.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "tcop/dest.h"

#include "store.h"

/* Takes the rows of a statement as events */
typedef struct EventReceiver
{
	DestReceiver pub;			/* must be first */
	WfiEventCallback callback;
	void	   *arg;
	MemoryContext context;		/* of who scans */
} EventReceiver;

/* An event from columns in the order of EVENT_COLUMNS. */
static void
set_event(WfiEvent *event, const Datum *values)
{
	event->event_id = DatumGetInt64(values[0]);
	event->batch_id = DatumGetInt64(values[1]);
	event->event_time = DatumGetTimestampTz(values[2]);
	event->type = wfi_store_read_event_type(values[3]);
	event->attributes = NULL;
	event->unread = values[4];
}

static bool
receive_event(TupleTableSlot *slot, DestReceiver *self)
{
	EventReceiver *receiver = (EventReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);
	WfiEvent	event;

	slot_getallattrs(slot);
	set_event(&event, slot->tts_values);
	receiver->callback(&event, receiver->arg);
	MemoryContextSwitchTo(old);
	return true;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receiver_nothing(DestReceiver *self)
{
}

/* Execute a statement that returns EVENT_COLUMNS. */
static uint64
stream_events(Statement statement, Params *params, int expected,
			  WfiEventCallback callback, void *arg)
{
	EventReceiver receiver = {0};

	receiver.pub.receiveSlot = receive_event;
	receiver.pub.rStartup = receiver_startup;
	receiver.pub.rShutdown = receiver_nothing;
	receiver.pub.rDestroy = receiver_nothing;
	receiver.pub.mydest = DestTuplestore;	/* anything but DestSPI */
	receiver.callback = callback;
	receiver.arg = arg;
	receiver.context = CurrentMemoryContext;
	return wfi_store_stream(statement, params, &receiver.pub, expected);
}

/* Begin to read the events of a run from that one on; or NULL. */
static WfiDirectScan *
scan_directly(int32 shard, const pg_uuid_t *run_id, int64 first)
{
	Datum		key[3];

	key[0] = Int32GetDatum(shard);
	key[1] = UUIDPGetDatum(run_id);
	key[2] = Int64GetDatum(first - 1);
	return wfi_direct_scan_begin(WFI_DIRECT_EVENT, key, 3);
}

/* The next event up to that one, or false. */
static bool
scan_next(WfiDirectScan *scan, int64 last, const Datum **values,
		  WfiEvent *event)
{
	*values = wfi_direct_scan_next(scan);
	if (*values == NULL)
		return false;
	set_event(event, *values + WFI_RUN_COLUMNS);
	return event->event_id <= last;
}

/*
 * Hand events of a run, in order, to the callback, in the caller's memory
 * context.  Their attributes are there until it returns, and not read yet:
 * see wfi_event_read().  The callback must not call the store.
 */
void
wfi_store_scan_events(int32 shard, const pg_uuid_t *run_id, int64 first,
					  int64 last, WfiEventCallback callback, void *arg)
{
	WfiDirectScan *scan = wfi_store_writes() ?
	scan_directly(shard, run_id, first) : NULL;
	const Datum *values;
	WfiEvent	event;
	Params		params;

	if (scan != NULL)
	{
		while (scan_next(scan, last, &values, &event))
			callback(&event, arg);
		wfi_direct_scan_end(scan);
		return;
	}
	put_run(&params, shard, run_id);
	put(&params, Int64GetDatum(first));
	put(&params, Int64GetDatum(last));
	stream_events(SCAN_EVENTS, &params, SPI_OK_SELECT, callback, arg);
}

/* As wfi_store_copy_events(); how many, or -1 when a statement has to do it. */
static int64
copy_directly(int32 shard, const pg_uuid_t *from, const pg_uuid_t *to,
			  int64 last, WfiEventCallback callback, void *arg)
{
	WfiDirectScan *scan = scan_directly(shard, from, 1);
	WfiDirectInsert *insert;
	const Datum *values;
	WfiEvent	event;
	int64		copied = 0;

	if (scan == NULL)
		return -1;
	insert = wfi_direct_insert_begin(WFI_DIRECT_EVENT, EVENT_NCOLUMNS);
	if (insert == NULL)
	{
		wfi_direct_scan_end(scan);
		return -1;
	}
	while (scan_next(scan, last, &values, &event))
	{
		Datum		copy[EVENT_NCOLUMNS];

		memcpy(copy, values, sizeof(copy));
		copy[1] = UUIDPGetDatum(to);
		wfi_direct_insert(insert, copy, NULL, NULL);
		callback(&event, arg);
		copied++;
	}
	wfi_direct_insert_end(insert);
	wfi_direct_scan_end(scan);
	return copied;
}

/*
 * Copy the first events of one run to another one, and hand them to the
 * callback as above.
 */
void
wfi_store_copy_events(int32 shard, const pg_uuid_t *from,
					  const pg_uuid_t *to, int64 last,
					  WfiEventCallback callback, void *arg)
{
	int64		copied = copy_directly(shard, from, to, last, callback, arg);

	if (copied < 0)
	{
		Params		params;

		put_run(&params, shard, from);
		put(&params, UUIDPGetDatum(to));
		put(&params, Int64GetDatum(last));
		copied = stream_events(COPY_EVENTS, &params, SPI_OK_INSERT_RETURNING,
							   callback, arg);
	}
	if (copied != last)
		elog(ERROR, "could not copy " INT64_FORMAT " events", last);
}

/* Read the attributes of a scanned event, into the current memory context. */
void
wfi_event_read(WfiEvent *event)
{
	if (event->attributes == NULL)
		event->attributes = DatumGetJsonbP(event->unread);
}
