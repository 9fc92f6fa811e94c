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

static bool
receive_event(TupleTableSlot *slot, DestReceiver *self)
{
	EventReceiver *receiver = (EventReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->context);
	WfiEvent	event;

	slot_getallattrs(slot);
	event.event_id = DatumGetInt64(slot->tts_values[0]);
	event.batch_id = DatumGetInt64(slot->tts_values[1]);
	event.event_time = DatumGetTimestampTz(slot->tts_values[2]);
	event.type = wfi_store_read_event_type(slot->tts_values[3]);
	event.attributes = NULL;
	event.unread = slot->tts_values[4];
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

/*
 * Hand events of a run, in order, to the callback, in the caller's memory
 * context.  Their attributes are there until it returns, and not read yet:
 * see wfi_event_read().  The callback must not call the store.
 */
void
wfi_store_scan_events(int32 shard, const pg_uuid_t *run_id, int64 first,
					  int64 last, WfiEventCallback callback, void *arg)
{
	Params		params;

	put_run(&params, shard, run_id);
	put(&params, Int64GetDatum(first));
	put(&params, Int64GetDatum(last));
	stream_events(SCAN_EVENTS, &params, SPI_OK_SELECT, callback, arg);
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
	Params		params;

	put_run(&params, shard, from);
	put(&params, UUIDPGetDatum(to));
	put(&params, Int64GetDatum(last));
	if (stream_events(COPY_EVENTS, &params, SPI_OK_INSERT_RETURNING, callback,
					  arg) != last)
		elog(ERROR, "could not copy " INT64_FORMAT " events", last);
}

/* Read the attributes of a scanned event, into the current memory context. */
void
wfi_event_read(WfiEvent *event)
{
	if (event->attributes == NULL)
		event->attributes = DatumGetJsonbP(event->unread);
}
