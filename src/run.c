/*
 * run.c
 *	  One operation on one run: find and lock it, add events, finish.
 *
 * The rules of histories are kept here and nowhere else: which events wait in
 * the buffer, in what order the buffer is flushed, what makes a batch, and
 * what happens when a limit is crossed.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "eager.h"

/* What an event costs beside its attributes, in history size */
#define EVENT_OVERHEAD 48

/* How often a current run may be replaced under a call's feet */
#define MAX_LOOKUPS 10

/* Is the run open? */
bool
wfi_run_open(const WfiRun *run)
{
	return run->status == WFI_RUNNING || run->status == WFI_PAUSED;
}

/* Take the operation's clock reading; time in a run never goes backwards. */
void
wfi_run_touch(WfiRun *run)
{
	run->now = Max(GetCurrentTimestamp(), run->last_event_time);
}

/* Lock the current run of a workflow id; NULL when there is none. */
WfiRun *
wfi_run_lock_current(const char *namespace, const char *workflow_id)
{
	int32		shard = wfi_shard(namespace, workflow_id);

	for (int i = 0; i < MAX_LOOKUPS; i++)
	{
		WfiRun	   *run = wfi_store_lock_current(shard, namespace, workflow_id);

		if (run != NULL)
		{
			wfi_run_touch(run);
			return run;
		}
		/* none, or replaced by a newer one while we waited for its lock */
		if (wfi_store_read_current(shard, namespace, workflow_id) == NULL)
			return NULL;
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not locate the current run of workflow \"%s\"",
					workflow_id),
			 errhint("Retry the transaction.")));
	return NULL;				/* keep compiler quiet */
}

/* A run that was asked for by its id is of that workflow, or not found. */
static WfiRun *
check_owner(WfiRun *run, const char *namespace, const char *workflow_id)
{
	if (run != NULL && strcmp(run->workflow_id, workflow_id) == 0 &&
		strcmp(run->namespace, namespace) == 0)
		return run;
	return NULL;
}

/*
 * Lock a run: the given one, or the current one when run_id is NULL.  When
 * there is none: an error, or NULL with missing_ok.  That the namespace is
 * missing is never ok.
 */
WfiRun *
wfi_run_lock_target(const char *namespace, const char *workflow_id,
					const pg_uuid_t *run_id, bool missing_ok)
{
	WfiRun	   *run;

	if (run_id == NULL)
		run = wfi_run_lock_current(namespace, workflow_id);
	else
	{
		run = check_owner(wfi_store_lock_run(wfi_shard(namespace, workflow_id),
											 run_id),
						  namespace, workflow_id);
		if (run != NULL)
			wfi_run_touch(run);
	}
	if (run == NULL)
	{
		if (!missing_ok)
			wfi_error_not_found(namespace, workflow_id, run_id);
		wfi_check_namespace(namespace);
	}
	return run;
}

/* Read a run without locking it; an error when there is none. */
WfiRun *
wfi_run_read_target(const char *namespace, const char *workflow_id,
					const pg_uuid_t *run_id)
{
	int32		shard = wfi_shard(namespace, workflow_id);
	WfiRun	   *run;

	if (run_id == NULL)
		run = wfi_store_read_current(shard, namespace, workflow_id);
	else
		run = check_owner(wfi_store_read_run(shard, run_id),
						  namespace, workflow_id);
	if (run == NULL)
		wfi_error_not_found(namespace, workflow_id, run_id);
	return run;
}

/*
 * Does the run belong to the chain that began with that run?  When not: an
 * error, or false with missing_ok.  NULL fits every run.
 */
bool
wfi_run_check_chain(const WfiRun *run,
					const pg_uuid_t *first_execution_run_id, bool missing_ok)
{
	if (first_execution_run_id == NULL ||
		wfi_uuid_equal(first_execution_run_id, &run->first_execution_run_id))
		return true;
	if (!missing_ok)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_NOT_FOUND),
				 errmsg("workflow execution not found"),
				 errdetail("The current run of workflow \"%s\" does not belong to the chain that began with run \"%s\".",
						   run->workflow_id,
						   wfi_uuid_text(first_execution_run_id))));
	return false;
}

/* Raise the error for a run that is not there. */
void
wfi_error_not_found(const char *namespace, const char *workflow_id,
					const pg_uuid_t *run_id)
{
	wfi_check_namespace(namespace);
	if (run_id == NULL)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_NOT_FOUND),
				 errmsg("workflow not found for ID: %s", workflow_id)));
	ereport(ERROR,
			(errcode(WFI_ERRCODE_NOT_FOUND),
			 errmsg("workflow execution not found for workflow ID \"%s\" and run ID \"%s\"",
					workflow_id, wfi_uuid_text(run_id))));
}

/* Raise the error for a run that is closed. */
void
wfi_error_completed(const WfiRun *run)
{
	ereport(ERROR,
			(errcode(WFI_ERRCODE_COMPLETED),
			 errmsg("workflow execution already completed"),
			 errdetail("Run \"%s\" of workflow \"%s\" has status %s.",
					   wfi_uuid_text(&run->run_id), run->workflow_id,
					   wfi_status_name(run->status))));
}

/* The next direct event begins a new batch. */
void
wfi_run_new_batch(WfiRun *run)
{
	run->batch_id = 0;
}

/* What an event adds to the size of a history. */
Size
wfi_event_size(const WfiEvent *event)
{
	Size		size = event->attributes ? VARSIZE(event->attributes) :
	toast_raw_datum_size(event->unread);

	return size + EVENT_OVERHEAD;
}

/*
 * Give an event the next place in the history.  Time in a run never goes
 * backwards, but a start that is recorded late keeps its own.
 */
void
wfi_run_place(WfiRun *run, WfiEvent *event)
{
	event->event_id = run->next_event_id++;
	if (event->type != WFI_EV_ACTIVITY_STARTED)
	{
		event->event_time = Max(event->event_time, run->last_event_time);
		run->last_event_time = event->event_time;
	}
	run->history_size += wfi_event_size(event);
}

/* Append an event to the history, in the current batch. */
static void
append(WfiRun *run, WfiEvent *event)
{
	wfi_run_place(run, event);
	if (run->batch_id == 0)
		run->batch_id = event->event_id;
	event->batch_id = run->batch_id;
	run->events_size += wfi_event_size(event);
	run->events = lappend(run->events, event);
}

/*
 * Add an event: a direct one gets its id now, a bufferable one when the
 * buffer is flushed.  Either way it changes the run's state now.
 */
WfiEvent *
wfi_run_add(WfiRun *run, WfiEventType type, Jsonb *attributes)
{
	WfiEvent   *event = palloc0(sizeof(WfiEvent));

	Assert(wfi_run_open(run) || type == WFI_EV_STARTED);
	event->type = type;
	event->event_time = run->now;
	event->attributes = attributes;
	if (wfi_event_bufferable(type))
	{
		run->buffer = lappend(run->buffer, event);
		run->buffered_size += wfi_event_size(event);
	}
	else
		append(run, event);
	wfi_reduce(run, event);
	return event;
}

/* Have the stored buffered events at hand, in front of the new ones. */
void
wfi_run_load_buffer(WfiRun *run)
{
	if (run->buffer_loaded)
		return;
	if (run->buffered_count > 0)
		run->buffer = list_concat(wfi_store_read_buffer(run), run->buffer);
	run->buffer_loaded = true;
}

/* Does any event wait in the buffer? */
bool
wfi_run_has_buffered(WfiRun *run)
{
	return run->buffer != NIL ||
		(!run->buffer_loaded && run->buffered_count > 0);
}

/*
 * The closing event of an activity names its start, which has its id only
 * now: both are flushed together.
 */
static void
fill_in_started(WfiRun *run, WfiEvent *event)
{
	int64		scheduled_event_id;
	ListCell   *lc;

	if (event->type != WFI_EV_ACTIVITY_COMPLETED &&
		event->type != WFI_EV_ACTIVITY_FAILED &&
		event->type != WFI_EV_ACTIVITY_TIMED_OUT &&
		event->type != WFI_EV_ACTIVITY_CANCELED)
		return;
	scheduled_event_id = wfi_get_int(event->attributes, "scheduled_event_id");
	foreach(lc, run->buffer)
	{
		const WfiEvent *start = lfirst(lc);

		if (start->type == WFI_EV_ACTIVITY_STARTED &&
			wfi_get_int(start->attributes, "scheduled_event_id") ==
			scheduled_event_id)
		{
			WfiObject	object;

			wfi_object_begin(&object);
			wfi_put_id(&object, "started_event_id", start->event_id);
			event->attributes =
				DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
												   JsonbPGetDatum(event->attributes),
												   JsonbPGetDatum(wfi_object_end(&object))));
		}
	}
}

/*
 * Flush the buffer: events get their ids in order of arrival, but those that
 * close something pending go behind all others.
 */
void
wfi_run_flush(WfiRun *run)
{
	ListCell   *lc;

	if (!wfi_run_has_buffered(run))
		return;
	wfi_run_load_buffer(run);
	foreach(lc, run->buffer)
	{
		WfiEvent   *event = lfirst(lc);

		if (!wfi_event_closes_pending(event->type))
			append(run, event);
	}
	foreach(lc, run->buffer)
	{
		WfiEvent   *event = lfirst(lc);

		if (wfi_event_closes_pending(event->type))
		{
			fill_in_started(run, event);
			append(run, event);
		}
	}
	run->buffer = NIL;
	run->buffered_size = 0;
}

/* The run as it is stored; what the operation did so far is forgotten. */
WfiRun *
wfi_run_reload(WfiRun *run)
{
	WfiRun	   *stored = wfi_store_lock_run(run->shard, &run->run_id);

	if (stored == NULL)
		elog(ERROR, "run \"%s\" has vanished", wfi_uuid_text(&run->run_id));
	stored->now = run->now;
	return stored;
}

/* Which limit the operation crosses; NULL for none. */
static const char *
over_limit(const WfiRun *run)
{
	int64		count = run->next_event_id - 1;

	if (!wfi_run_open(run))
		return NULL;
	if (count > wfi_history_count_limit)
		return "Workflow history count exceeds limit.";
	if (run->history_size > wfi_history_size_limit)
		return "Workflow history size exceeds limit.";
	if (run->state_size + run->buffered_size > wfi_state_size_limit)
		return "Workflow mutable state size exceeds limit.";
	return NULL;
}

/*
 * Flush the buffer, unless a worker is at the run's task.  NULL, or that the
 * operation has become too large, now that it has all its events.
 */
static const char *
flush_buffer(WfiRun *run)
{
	if (run->task_started_event_id != 0)
	{
		int			count = list_length(run->buffer);

		if (!run->buffer_loaded)
			count += run->buffered_count;
		if (count > wfi_max_buffered_events ||
			run->buffered_size > wfi_max_buffered_size)
		{
			/* too many events wait for this task: it has to go */
			wfi_task_fail(run, "ForceCloseCommand", NULL, WFI_IDENTITY_ENGINE);
			wfi_task_schedule(run);
		}
	}
	if (!wfi_run_open(run))
		return NULL;
	if (run->task_started_event_id == 0)
		wfi_run_flush(run);
	return run->events_size > wfi_transaction_size_limit ?
		"Transaction size exceeds limit." : NULL;
}

/* Say in the server's log that a run grows towards its limits. */
static void
warn_size(const WfiRun *run)
{
	int64		count = run->next_event_id - 1;
	int64		count_before = count - list_length(run->events);
	int64		size_before = run->history_size - run->events_size;

	if ((count > wfi_history_count_warning &&
		 count_before <= wfi_history_count_warning) ||
		(run->history_size > wfi_history_size_warning &&
		 size_before <= wfi_history_size_warning))
		ereport(LOG,
				(errmsg("history of workflow \"%s\" is getting large",
						run->workflow_id),
				 errdetail("Run \"%s\" has " INT64_FORMAT " events of " INT64_FORMAT " bytes.",
						   wfi_uuid_text(&run->run_id), count,
						   run->history_size)));
}

/*
 * Nothing is pending in a closed run any more: whoever works for it is told,
 * and the rows go.
 */
static void
clear_pending(WfiRun *run)
{
	if (run->pending_activities > 0)
	{
		wfi_activities_close(run);
		wfi_store_clear(run, WFI_PART_ACTIVITIES);
		run->activities = NIL;
		run->removed_activities = NIL;
		run->pending_activities = 0;
	}
	if (run->pending_timers > 0)
	{
		wfi_store_clear(run, WFI_PART_TIMERS);
		run->timers = NIL;
		run->removed_timers = NIL;
		run->pending_timers = 0;
	}
	if (run->wakeup_time != WFI_NEVER && !run->is_new)
		(void) wfi_store_delete_wakeup(run->shard, &run->run_id, run->wakeup_time);
	run->wakeup_time = WFI_NEVER;
}

/* Store what the operation did beside the run's own row. */
static void
store_parts(WfiRun *run)
{
	TimestampTz due;

	wfi_store_events(run);
	if (run->timers_loaded)
		wfi_store_timers(run);
	if (run->activities != NIL || run->removed_activities != NIL)
		wfi_store_activities(run);
	if (run->activity_news != NIL)
		wfi_activities_announce(run);
	if (run->signal_requests != NIL)
		wfi_store_signal_requests(run);
	if (run->dispatch)
		wfi_store_insert_task(run);

	/*
	 * A poll passes over a run that is locked, so whoever holds the lock of
	 * one with a waiting task tells the queue again.
	 */
	if (run->task_scheduled_event_id != 0 && run->task_started_event_id == 0)
		wfi_notify_queue(WFI_CHANNEL_WORKFLOW, run->task_queue, run->shard);

	due = run->wakeup_time;
	if (due != WFI_NEVER && (run->is_new || run->wakeup_moved))
	{
		wfi_store_insert_wakeup(run->shard, &run->run_id, due);
		wfi_wakeup_at(due);
	}
	warn_size(run);
}

/* Make sure that the run is looked at when the next thing falls due. */
static void
plan_wakeup(WfiRun *run)
{
	TimestampTz due = wfi_run_open(run) ? wfi_run_next_due(run) : WFI_NEVER;

	if (due < run->wakeup_time)
	{
		run->wakeup_time = due;
		run->wakeup_moved = true;
	}
}

/* Bring the stored buffered events in line with the run's. */
static void
store_buffer(WfiRun *run)
{
	if (!wfi_run_open(run))
	{
		/* what was not flushed by then is dropped */
		run->buffer_loaded = true;
		run->buffer = NIL;
		run->buffered_size = 0;
	}
	if (run->buffer_loaded && run->buffer == NIL)
	{
		if (run->buffered_count > 0)
			wfi_store_clear(run, WFI_PART_BUFFER);
		run->buffered_count = 0;
		run->buffered_size = 0;
	}
	else if (run->buffer != NIL)
	{
		int			total = list_length(run->buffer);

		if (!run->buffer_loaded)
			total += run->buffered_count;
		wfi_store_append_buffer(run);
		run->buffered_count = total;
	}
}

/*
 * Finish an operation on a locked run and store it.  NULL, or, when the
 * operation crossed a limit, which one: the run has then been terminated
 * instead, and nothing else of the operation is left.
 */
const char *
wfi_run_finish(WfiRun *run)
{
	const char *limit = over_limit(run);

	if (limit == NULL)
		limit = flush_buffer(run);
	if (limit == NULL)
		wfi_eager_take(run);
	else
	{
		*run = *wfi_run_reload(run);
		wfi_terminate_run(run, limit, NULL, WFI_IDENTITY_ENGINE);
	}

	wfi_store_storing(run);
	if (!wfi_run_open(run))
		clear_pending(run);
	plan_wakeup(run);
	store_buffer(run);
	store_parts(run);
	wfi_store_update_run(run);
	wfi_store_storing(NULL);
	return limit;
}

/*
 * As wfi_run_finish(), for calls that answer with a warning when a limit ended
 * the run instead; false then.
 */
bool
wfi_run_finish_or_warn(WfiRun *run)
{
	const char *limit = wfi_run_finish(run);

	if (limit)
		ereport(WARNING,
				(errcode(WFI_ERRCODE_LIMIT_EXCEEDED),
				 errmsg("workflow \"%s\" was terminated: %s",
						run->workflow_id, limit),
				 errdetail("What was asked for is not recorded.")));
	return limit == NULL;
}

/*
 * Store a run that is new.  False, and nothing stored, when its workflow id
 * has a current run already.
 */
bool
wfi_run_create(WfiRun *run)
{
	bool		created;

	wfi_run_flush(run);
	plan_wakeup(run);
	wfi_store_storing(run);
	created = wfi_store_insert_run(run);
	if (created)
		store_parts(run);
	wfi_store_storing(NULL);
	return created;
}
