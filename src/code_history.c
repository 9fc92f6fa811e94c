/*
 * code_history.c
 *	  Histories as workflow code needs them, kept in memory.
 *
 * A session that runs workflow code keeps the histories it read, in a form
 * in which a replay finds what it looks for at once, and reads only new
 * events when the run's next task comes to it.  That is safe because stored
 * events never change; only those read by a transaction that then aborts may
 * never have been, so their histories are forgotten with it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "replay.h"

static HTAB *cache = NULL;
static MemoryContext cache_context = NULL;
static dlist_head by_use = DLIST_STATIC_INIT(by_use);
static Size cache_size = 0;

/* Is it an event that a command of workflow code became? */
bool
wfi_event_of_command(WfiEventType type)
{
	switch (type)
	{
		case WFI_EV_ACTIVITY_SCHEDULED:
		case WFI_EV_ACTIVITY_CANCEL_REQUESTED:
		case WFI_EV_TIMER_STARTED:
		case WFI_EV_TIMER_CANCELED:
		case WFI_EV_MARKER_RECORDED:
		case WFI_EV_SEARCH_ATTRIBUTES_UPSERTED:
		case WFI_EV_PROPERTIES_MODIFIED:
		case WFI_EV_CHILD_INITIATED:
		case WFI_EV_EXTERNAL_CANCEL_INITIATED:
		case WFI_EV_EXTERNAL_SIGNAL_INITIATED:
			return true;
		default:
			return false;
	}
}

/* The event of that id, or NULL when it is not in the history (yet). */
WfiSeen *
wfi_seen(const WfiCodeHistory *history, int64 event_id)
{
	if (event_id < 1 || event_id > history->n_events)
		return NULL;
	return &history->events[event_id - 1];
}

/* Make room for one more in an array of the history. */
static void *
room(WfiCodeHistory *history, void *array, int64 n, int64 *allocated,
	 Size size)
{
	if (n < *allocated)
		return array;
	*allocated = n == 0 ? 16 : 2 * n;
	if (array == NULL)
		return MemoryContextAllocHuge(history->context, *allocated * size);
	return repalloc_huge(array, *allocated * size);
}

static char *
keep_text(WfiCodeHistory *history, const Jsonb *attributes, const char *key)
{
	char	   *value = wfi_get_text(attributes, key);

	return value ? MemoryContextStrdup(history->context, value) : NULL;
}

static Jsonb *
keep_json(WfiCodeHistory *history, const Jsonb *attributes, const char *key)
{
	Jsonb	   *value = wfi_get_json(attributes, key);
	Jsonb	   *copy;

	if (value == NULL)
		return NULL;
	copy = MemoryContextAlloc(history->context, VARSIZE(value));
	memcpy(copy, value, VARSIZE(value));
	return copy;
}

static void
add_task(WfiCodeHistory *history, int64 started_event_id,
		 int64 completed_event_id)
{
	int64		allocated = history->allocated_tasks;
	WfiCodeTask *task;

	history->tasks = room(history, history->tasks, history->n_tasks,
						  &allocated, sizeof(WfiCodeTask));
	history->allocated_tasks = (int) allocated;
	task = &history->tasks[history->n_tasks++];
	task->started_event_id = started_event_id;
	task->completed_event_id = completed_event_id;
	task->started_time = history->last_started_time;
}

static void
add_signal(WfiCodeHistory *history, int64 event_id, const char *name)
{
	WfiSignals *signals = NULL;
	int64		allocated;

	for (int i = 0; i < history->n_signals && signals == NULL; i++)
	{
		if (strcmp(history->signals[i].name, name) == 0)
			signals = &history->signals[i];
	}
	if (signals == NULL)
	{
		Size		size = (history->n_signals + 1) * sizeof(WfiSignals);

		history->signals = history->signals == NULL ?
			MemoryContextAlloc(history->context, size) :
			repalloc(history->signals, size);
		signals = &history->signals[history->n_signals++];
		memset(signals, 0, sizeof(WfiSignals));
		signals->name = MemoryContextStrdup(history->context, name);
	}
	allocated = signals->allocated;
	signals->event_ids = room(history, signals->event_ids, signals->n,
							  &allocated, sizeof(int64));
	signals->allocated = (int) allocated;
	signals->event_ids[signals->n++] = event_id;
}

static void
add_seed(WfiCodeHistory *history, int64 event_id, const Jsonb *attributes,
		 const char *key)
{
	char	   *value = wfi_get_text(attributes, key);
	Size		size = (history->n_seeds + 1) * sizeof(WfiSeed);
	WfiSeed    *seed;

	history->seeds = history->seeds == NULL ?
		MemoryContextAlloc(history->context, size) :
		repalloc(history->seeds, size);
	seed = &history->seeds[history->n_seeds++];
	seed->event_id = event_id;
	if (value == NULL)
		seed->uuid = history->run_id;
	else
		seed->uuid = *DatumGetUUIDP(DirectFunctionCall1(uuid_in,
														CStringGetDatum(value)));
}

/* What happened to what that event began is told by the event at hand. */
static void
set_outcome(WfiCodeHistory *history, WfiSeen *seen, int64 event_id,
			int64 refers_to)
{
	WfiSeen    *begun = wfi_seen(history, refers_to);

	seen->refers_to = refers_to;
	if (begun != NULL)
		begun->outcome = event_id;
}

/* Take from an event what a replay can ask for. */
static void
take_attributes(WfiCodeHistory *history, WfiSeen *seen, const WfiEvent *event)
{
	const Jsonb *attributes = event->attributes;
	char	   *string;

	switch (event->type)
	{
		case WFI_EV_STARTED:
			history->input = keep_json(history, attributes, "input");
			add_seed(history, event->event_id, attributes,
					 "original_execution_run_id");
			break;
		case WFI_EV_SIGNALED:
			string = wfi_get_text(attributes, "signal_name");

			add_signal(history, event->event_id, string ? string : "");
			seen->payload = keep_json(history, attributes, "input");
			break;
		case WFI_EV_CANCEL_REQUESTED:
			history->cancel_event_id = event->event_id;
			history->cancel_reason = keep_text(history, attributes, "cause");
			break;
		case WFI_EV_TASK_STARTED:
			history->last_started_time = event->event_time;
			break;
		case WFI_EV_TASK_COMPLETED:
			add_task(history, wfi_get_int(attributes, "started_event_id"),
					 event->event_id);
			break;
		case WFI_EV_TASK_FAILED:
			string = wfi_get_text(attributes, "cause");

			if (string != NULL && strcmp(string, "ResetWorkflow") == 0)
				add_seed(history, event->event_id, attributes, "new_run_id");
			break;
		case WFI_EV_ACTIVITY_SCHEDULED:
			seen->id = keep_text(history, attributes, "activity_id");
			seen->name = keep_text(history, attributes, "activity_type");
			break;
		case WFI_EV_ACTIVITY_CANCEL_REQUESTED:
			seen->refers_to = wfi_get_int(attributes, "scheduled_event_id");
			break;
		case WFI_EV_ACTIVITY_COMPLETED:
		case WFI_EV_ACTIVITY_FAILED:
		case WFI_EV_ACTIVITY_TIMED_OUT:
		case WFI_EV_ACTIVITY_CANCELED:
			set_outcome(history, seen, event->event_id,
						wfi_get_int(attributes, "scheduled_event_id"));
			seen->payload = keep_json(history, attributes,
									  event->type == WFI_EV_ACTIVITY_COMPLETED ?
									  "result" : "details");
			seen->failure = keep_json(history, attributes, "failure");
			break;
		case WFI_EV_TIMER_STARTED:
		case WFI_EV_TIMER_CANCELED:
			seen->id = keep_text(history, attributes, "timer_id");
			break;
		case WFI_EV_TIMER_FIRED:
			set_outcome(history, seen, event->event_id,
						wfi_get_int(attributes, "started_event_id"));
			break;
		case WFI_EV_MARKER_RECORDED:
			seen->id = keep_text(history, attributes, "marker_name");
			seen->payload = keep_json(history, attributes, "details");
			seen->failure = keep_json(history, attributes, "failure");
			if (seen->payload != NULL && wfi_is_object(seen->payload))
			{
				seen->name = keep_text(history, seen->payload,
									   "activity_type");
				seen->payload = keep_json(history, seen->payload, "result");
			}
			break;
		default:
			break;
	}
}

static void
add_event(WfiEvent *event, void *arg)
{
	WfiCodeHistory *history = arg;
	WfiSeen    *seen;

	if (event->event_id != history->n_events + 1)
		elog(ERROR, "event " INT64_FORMAT " follows event " INT64_FORMAT,
			 event->event_id, history->n_events);
	history->events = room(history, history->events, history->n_events,
						   &history->allocated_events, sizeof(WfiSeen));
	seen = &history->events[history->n_events++];
	memset(seen, 0, sizeof(WfiSeen));
	seen->type = event->type;
	wfi_event_read(event);
	take_attributes(history, seen, event);
}

/* Read what is new, up to a workflow task's start. */
static void
read_on(WfiCodeHistory *history, const WfiPolledTask *task)
{
	history->reading = true;
	wfi_store_scan_events(task->token.shard, &task->token.run_id,
						  history->n_events + 1,
						  task->token.started_event_id - 1, add_event,
						  history);
	history->reading = false;
}

/* Forget a history. */
static void
forget(WfiCodeHistory *history)
{
	Assert(!history->in_use);
	cache_size -= history->size;
	dlist_delete(&history->node);
	MemoryContextDelete(history->context);
	hash_search(cache, &history->run_id, HASH_REMOVE, NULL);
}

/*
 * The last one of those used in this transaction before that one, or of all;
 * NULL when there is no other.  They are the last ones in the list, so that
 * subtransactions, which workflow code can have in numbers, need not look at
 * all that is in memory.
 */
static WfiCodeHistory *
used_before(WfiCodeHistory *next)
{
	WfiCodeHistory *history;
	dlist_node *node = &by_use.head;

	if (next != NULL)
		node = &next->node;
	if (node->prev == &by_use.head)
		return NULL;
	history = dlist_container(WfiCodeHistory, node, node->prev);
	return history->level > 0 ? history : NULL;
}

/*
 * The extension has begun another life in this database: what a restore has
 * brought into it under a known run's id may be another history.
 */
void
wfi_history_forget_all(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &by_use)
	{
		WfiCodeHistory *history = dlist_container(WfiCodeHistory, node,
												  iter.cur);

		if (!history->in_use)
			forget(history);
	}
}

/* Forget what was read at that nesting level of transactions or below. */
static void
forget_aborted(int level)
{
	WfiCodeHistory *history;
	WfiCodeHistory *kept = NULL;

	while ((history = used_before(kept)) != NULL)
	{
		if (history->level < level)
		{
			kept = history;
			continue;
		}
		history->in_use = false;
		forget(history);
	}
}

/* What was read at that level belongs to that other level now. */
static void
pass_on(int level, int to)
{
	for (WfiCodeHistory *history = used_before(NULL), *before; history != NULL;
		 history = before)
	{
		before = used_before(history);
		if (history->level >= level)
			history->level = to;
	}
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		pass_on(1, 0);
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_aborted(1);
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId id,
					  SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_COMMIT_SUB)
		pass_on(level, level - 1);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_aborted(level);
}

static void
make_cache(void)
{
	HASHCTL		control = {0};

	cache_context = AllocSetContextCreate(TopMemoryContext,
										  "workflow histories",
										  ALLOCSET_SMALL_SIZES);
	control.keysize = sizeof(pg_uuid_t);
	control.entrysize = sizeof(WfiCodeHistory);
	control.hcxt = cache_context;
	cache = hash_create("workflow histories", 64, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/*
 * The history up to a workflow task's start, from memory as far as it is
 * there.  It stays usable until wfi_history_close().
 */
WfiCodeHistory *
wfi_history_open(const WfiPolledTask *task)
{
	WfiCodeHistory *history;
	bool		found;

	if (cache == NULL)
		make_cache();
	history = hash_search(cache, &task->token.run_id, HASH_FIND, &found);
	if (!found)
	{
		MemoryContext context = AllocSetContextCreate(cache_context,
													  "workflow history",
													  ALLOCSET_START_SMALL_SIZES);

		history = hash_search(cache, &task->token.run_id, HASH_ENTER, NULL);
		memset((char *) history + sizeof(pg_uuid_t), 0,
			   sizeof(WfiCodeHistory) - sizeof(pg_uuid_t));
		history->context = context;
	}
	else
		dlist_delete(&history->node);
	dlist_push_tail(&by_use, &history->node);
	history->level = GetCurrentTransactionNestLevel();
	history->in_use = true;

	wfi_store_begin("workflow code", true);
	read_on(history, task);
	wfi_store_end();
	if (history->n_seeds == 0)
		elog(ERROR, "history of run \"%s\" is gone",
			 wfi_uuid_text(&history->run_id));
	cache_size -= history->size;
	history->size = MemoryContextMemAllocated(history->context, true);
	cache_size += history->size;
	return history;
}

/*
 * Read on, up to the start of a later workflow task, for code that is kept: it
 * runs in a transaction that it cannot write in, and with an older snapshot.
 * What is read has been committed, so it stays when subtransactions of the
 * code abort.
 */
void
wfi_history_extend(WfiCodeHistory *history, const WfiPolledTask *task)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	wfi_store_begin("workflow code", false);
	read_on(history, task);
	wfi_store_end();
	PopActiveSnapshot();
}

/* Done with a history: it stays in memory while there is need and room. */
void
wfi_history_close(WfiCodeHistory *history, bool run_closed)
{
	history->in_use = false;
	if (run_closed || history->reading)
		forget(history);
	while (cache_size > (Size) wfi_workflow_cache_size * 1024 &&
		   !dlist_is_empty(&by_use))
	{
		WfiCodeHistory *oldest = dlist_head_element(WfiCodeHistory, node,
													&by_use);

		if (oldest->in_use)
			break;
		forget(oldest);
	}
}
