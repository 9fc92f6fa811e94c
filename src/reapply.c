/*
 * reapply.c
 *	  What of the events behind a reset's point comes over to the new run.
 *
 * The events are those of the base run from the point on; when its history
 * ends by continuing as new, those of the next run, and so on.  A signal is
 * re-applied: who sent it will not send it again.  What the code did is not,
 * as the code decides again; nor is a request to cancel.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"

#include "reset.h"

/* What becomes of an event of that type. */
static WfiReapply
verdict_on(const WfiReset *reset, WfiEventType type)
{
	if (reset->exclude == WFI_EXCLUDE_ALL)
		return type == WFI_EV_SIGNALED ? WFI_REAPPLY_EXCLUDED : WFI_REAPPLY_NOT;
	switch (type)
	{
		case WFI_EV_SIGNALED:
			return (reset->exclude & WFI_EXCLUDE_SIGNAL) ?
				WFI_REAPPLY_EXCLUDED : WFI_REAPPLY;
		case WFI_EV_OPTIONS_UPDATED:
			return WFI_REAPPLY;
		default:

			/*
			 * Results of children that are pending in the new run will be
			 * re-applied here; nothing else is.
			 */
			return WFI_REAPPLY_NOT;
	}
}

/* One run's events on the walk */
typedef struct Walk
{
	const WfiReset *reset;
	const pg_uuid_t *run_id;
	WfiReapplyCallback callback;
	void	   *arg;
	bool		continued;		/* the last event continues in another run ... */
	pg_uuid_t	next;			/* ... which is this one */
} Walk;

static void
visit(WfiEvent *event, void *arg)
{
	Walk	   *walk = arg;

	walk->continued = false;
	if (event->type == WFI_EV_CONTINUED_AS_NEW)
	{
		char	   *next;

		wfi_event_read(event);
		next = wfi_get_text(event->attributes, "new_execution_run_id");
		if (next != NULL)
		{
			walk->next =
				*DatumGetUUIDP(DirectFunctionCall1(uuid_in,
												   CStringGetDatum(next)));
			walk->continued = true;
		}
	}
	walk->callback(walk->run_id, event, verdict_on(walk->reset, event->type),
				   walk->arg);
}

/*
 * Visit the events behind the point in order, with what becomes of each.  A
 * run that was deleted ends the walk.  When it ends in the current run, so do
 * the events that wait in that one's buffer.  The callback must not call the
 * store.
 */
void
wfi_reapply_walk(const WfiReset *reset, WfiReapplyCallback callback,
				 void *arg)
{
	WfiRun	   *current = reset->current;
	int64		first = reset->event_id;
	pg_uuid_t	run_id = reset->base->run_id;
	Walk		walk = {0};
	ListCell   *lc;

	walk.reset = reset;
	walk.callback = callback;
	walk.arg = arg;
	for (;;)
	{
		walk.run_id = &run_id;
		walk.continued = false;
		wfi_store_scan_events(reset->base->shard, &run_id, first,
							  PG_INT64_MAX, visit, &walk);
		if (!walk.continued)
			break;
		run_id = walk.next;
		first = 1;
	}
	if (current == NULL || !wfi_run_open(current) ||
		!wfi_uuid_equal(&run_id, &current->run_id))
		return;
	wfi_run_load_buffer(current);
	foreach(lc, current->buffer)
		visit(lfirst(lc), &walk);
}

/* The same event in another run. */
static Jsonb *
reapplied_attributes(WfiEvent *event)
{
	WfiObject	object;
	const char *const *key;
	static const char *const signal_keys[] = {
		"signal_name", "input", "identity", "header", "request_id", NULL
	};

	wfi_event_read(event);
	if (event->type != WFI_EV_SIGNALED)
		return DatumGetJsonbPCopy(JsonbPGetDatum(event->attributes));
	wfi_object_begin(&object);
	for (key = signal_keys; *key != NULL; key++)
		wfi_put_json(&object, *key, wfi_get_json(event->attributes, *key));
	return wfi_object_end(&object);
}

static void
reapply_event(const pg_uuid_t *run_id, WfiEvent *event, WfiReapply verdict,
			  void *arg)
{
	if (verdict == WFI_REAPPLY)
		wfi_run_add(arg, event->type, reapplied_attributes(event));
}

/* The key of a set of request ids is a pointer to one. */
static uint32
hash_id(const void *key, Size size)
{
	return string_hash(*(char *const *) key, SIZE_MAX);
}

static int
compare_ids(const void *a, const void *b, Size size)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The request ids of signals that the new run has seen, as a set. */
HTAB *
wfi_reapply_seen(const WfiRun *run)
{
	HASHCTL		control = {0};
	HTAB	   *seen;
	ListCell   *lc;

	control.keysize = control.entrysize = sizeof(char *);
	control.hash = hash_id;
	control.match = compare_ids;
	control.hcxt = CurrentMemoryContext;
	seen = hash_create("request ids", 64, &control,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	foreach(lc, run->signal_requests)
		(void) hash_search(seen, &lfirst(lc), HASH_ENTER, NULL);
	return seen;
}

/* Has the new run seen this signal of the request?  From now on it has. */
bool
wfi_reapply_known(HTAB *seen, const WfiResetSignal *signal)
{
	bool		known = false;

	if (signal->request_id != NULL)
		(void) hash_search(seen, &signal->request_id, HASH_ENTER, &known);
	return known;
}

/* Bring over what is re-applied, and behind it the signals of the request. */
void
wfi_reapply(WfiReset *reset)
{
	HTAB	   *seen;
	ListCell   *lc;

	if (reset->exclude != WFI_EXCLUDE_ALL)
		wfi_reapply_walk(reset, reapply_event, reset->run);
	seen = wfi_reapply_seen(reset->run);
	foreach(lc, reset->signals)
	{
		const WfiResetSignal *signal = lfirst(lc);

		if (!wfi_reapply_known(seen, signal))
			wfi_signal_run(reset->run, signal->signal_name, signal->input,
						   signal->request_id, reset->identity);
	}
	hash_destroy(seen);
}
