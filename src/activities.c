/*
 * activities.c
 *	  Life of an activity.
 *
 *	           dispatch        start          complete, fail, cancel, time out
 *	 waiting ----------> queued -----> started ------------------> closed
 *	    ^                                 |
 *	    +------------- retry -------------+
 *
 * Between ActivityTaskScheduled and the closing event nothing is in the
 * history: attempts, heartbeats and the last failure live in wf.activity.
 * ActivityTaskStarted is written together with the closing event.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "workflow_interrupt.h"

/* Size of a pending activity beside what is counted, for the state's limit */
#define ACTIVITY_OVERHEAD 256

/* Have all of the run's pending activities at hand. */
void
wfi_activities_load(WfiRun *run)
{
	ListCell   *lc;
	List	   *stored;

	if (run->activities_loaded)
		return;
	run->activities_loaded = true;
	if (run->is_new || run->pending_activities == 0)
		return;
	stored = wfi_store_read_activities(run);
	foreach(lc, stored)
	{
		WfiActivity *activity = lfirst(lc);
		bool		known = false;
		ListCell   *other;

		foreach(other, run->activities)
			known |= ((WfiActivity *) lfirst(other))->scheduled_event_id ==
			activity->scheduled_event_id;
		foreach(other, run->removed_activities)
			known |= ((WfiActivity *) lfirst(other))->scheduled_event_id ==
			activity->scheduled_event_id;
		if (!known)
			run->activities = lappend(run->activities, activity);
	}
}

/* Take one that was read into the run, unless it is gone or not there. */
static WfiActivity *
adopt(WfiRun *run, WfiActivity *activity)
{
	ListCell   *lc;

	if (activity == NULL)
		return NULL;
	foreach(lc, run->removed_activities)
	{
		if (((WfiActivity *) lfirst(lc))->scheduled_event_id ==
			activity->scheduled_event_id)
			return NULL;
	}
	run->activities = lappend(run->activities, activity);
	return activity;
}

/*
 * A pending activity by its ActivityTaskScheduled, or NULL.  Where its row is
 * can be given.
 */
WfiActivity *
wfi_activity_get_at(WfiRun *run, int64 scheduled_event_id,
					const ItemPointerData *at)
{
	ListCell   *lc;

	foreach(lc, run->activities)
	{
		WfiActivity *activity = lfirst(lc);

		if (activity->scheduled_event_id == scheduled_event_id)
			return activity;
	}
	if (run->activities_loaded || run->pending_activities == 0)
		return NULL;
	return adopt(run, wfi_store_read_activity(run, scheduled_event_id, at));
}

WfiActivity *
wfi_activity_get(WfiRun *run, int64 scheduled_event_id)
{
	return wfi_activity_get_at(run, scheduled_event_id, NULL);
}

/* A pending activity by its id, or NULL. */
WfiActivity *
wfi_activity_find(WfiRun *run, const char *activity_id)
{
	ListCell   *lc;

	foreach(lc, run->activities)
	{
		WfiActivity *activity = lfirst(lc);

		if (strcmp(activity->activity_id, activity_id) == 0)
			return activity;
	}
	if (run->activities_loaded || run->pending_activities == 0)
		return NULL;
	return adopt(run, wfi_store_find_activity(run, activity_id));
}

static int64
state_size(const WfiActivity *activity)
{
	/* not its queue, which an operator may change */
	return ACTIVITY_OVERHEAD + strlen(activity->activity_id) +
		strlen(activity->activity_type);
}

/* Take time-outs and retry policy from attributes that hold all of them. */
void
wfi_activity_set_options(WfiActivity *activity, const Jsonb *attributes)
{
	activity->schedule_to_close_timeout =
		wfi_get_duration(attributes, "schedule_to_close_timeout");
	activity->schedule_to_start_timeout =
		wfi_get_duration(attributes, "schedule_to_start_timeout");
	activity->start_to_close_timeout =
		wfi_get_duration(attributes, "start_to_close_timeout");
	activity->heartbeat_timeout =
		wfi_get_duration(attributes, "heartbeat_timeout");
	activity->retry_policy = wfi_get_json(attributes, "retry_policy");
}

/* ActivityTaskScheduled */
void
wfi_activity_add(WfiRun *run, const WfiEvent *event)
{
	const Jsonb *attributes = event->attributes;
	WfiActivity *activity = palloc0(sizeof(WfiActivity));

	activity->scheduled_event_id = event->event_id;
	activity->activity_id = wfi_get_text(attributes, "activity_id");
	activity->activity_type = wfi_get_text(attributes, "activity_type");
	activity->task_queue = wfi_get_text(attributes, "task_queue");
	if (activity->activity_id == NULL || activity->activity_type == NULL ||
		activity->task_queue == NULL)
		return;					/* such an event is not ours */
	activity->first_scheduled_time = event->event_time;
	activity->scheduled_time = event->event_time;
	wfi_activity_set_options(activity, attributes);
	activity->attempt = 1;
	activity->started_time = WFI_NEVER;
	activity->last_heartbeat_time = WFI_NEVER;
	activity->last_attempt_complete_time = WFI_NEVER;
	run->activities = lappend(run->activities, activity);
	run->pending_activities++;
	run->state_size += state_size(activity);
}

/* The closing events */
void
wfi_activity_remove(WfiRun *run, int64 scheduled_event_id)
{
	WfiActivity *activity = wfi_activity_get(run, scheduled_event_id);

	if (activity == NULL)
		return;
	run->activities = list_delete_ptr(run->activities, activity);
	if (activity->stored)
		run->removed_activities = lappend(run->removed_activities, activity);
	run->pending_activities--;
	run->state_size -= state_size(activity);
}

/* ActivityTaskCancelRequested */
void
wfi_activity_cancel_requested(WfiRun *run, int64 scheduled_event_id,
							  int64 event_id)
{
	WfiActivity *activity = wfi_activity_get(run, scheduled_event_id);

	if (activity == NULL)
		return;
	activity->cancel_requested_event_id = event_id;
	activity->changed = true;
}

/* The run begins anew by a reset: so do all that are pending. */
void
wfi_activities_rescheduled(WfiRun *run, TimestampTz time)
{
	ListCell   *lc;

	foreach(lc, run->activities)
	{
		WfiActivity *activity = lfirst(lc);

		activity->first_scheduled_time = time;
		activity->scheduled_time = time;
	}
}

/* Is a worker at it? */
bool
wfi_activity_started(const WfiActivity *activity)
{
	return activity->started_time != WFI_NEVER;
}

/* Its state under the API's names. */
const char *
wfi_activity_state(const WfiActivity *activity)
{
	if (activity->cancel_requested_event_id != 0)
		return "CancelRequested";
	if (activity->paused)
		return wfi_activity_started(activity) ? "PauseRequested" : "Paused";
	return wfi_activity_started(activity) ? "Started" : "Scheduled";
}

/*
 * Note something about an attempt, to be announced when the operation is
 * stored: an operation that is thrown away announces nothing.
 */
static void
add_news(WfiRun *run, const WfiActivity *activity, int kind,
		 const char *cause)
{
	WfiActivityNews *news;

	if (!wfi_activity_started(activity))
		return;
	news = palloc(sizeof(WfiActivityNews));
	news->kind = kind;
	news->cause = cause;
	news->activity = *activity;
	run->activity_news = lappend(run->activity_news, news);
}

/* Have its task put into its queue, when the operation is stored. */
void
wfi_activity_dispatch(WfiActivity *activity)
{
	activity->dispatched = true;
	activity->dispatch_now = true;
	activity->changed = true;
}

/* Give a queued activity to a worker. */
void
wfi_activity_start(WfiRun *run, WfiActivity *activity, const char *identity)
{
	activity->started_time = run->now;
	wfi_random_uuid(&activity->secret);
	wfi_hash_secret(&activity->secret, &activity->token);
	activity->identity = pstrdup(identity);
	activity->last_worker_identity = activity->identity;
	activity->changed = true;
	add_news(run, activity, WFI_ATTEMPT_BEGINS, NULL);
}

/*
 * The worker that runs it has to learn something: by its next heartbeat, and
 * at once when there is a cause to push.
 */
void
wfi_activity_tell(WfiRun *run, const WfiActivity *activity, const char *cause)
{
	add_news(run, activity, WFI_ATTEMPT_GOES_ON, cause);
}

/*
 * Push a cause to the worker of an attempt.  Whoever may connect can listen,
 * so the payload names no workflow and carries no token.
 */
static void
push(const WfiRun *run, const WfiActivity *activity, const char *cause)
{
	WfiObject	object;
	Jsonb	   *payload;

	if (activity->identity == NULL || *activity->identity == '\0')
		return;
	wfi_object_begin(&object);
	wfi_put_uuid(&object, "run_id", &run->run_id);
	wfi_put_text(&object, "activity_id", activity->activity_id);
	wfi_put_int(&object, "attempt", activity->attempt);
	wfi_put_text(&object, "cause", cause);
	payload = wfi_object_end(&object);
	wfi_notify_worker(activity->identity,
					  JsonbToCString(NULL, &payload->root, VARSIZE(payload)));
}

/* The operation is being stored: announce what it noted about attempts. */
void
wfi_activities_announce(const WfiRun *run)
{
	ListCell   *lc;

	foreach(lc, run->activity_news)
	{
		const WfiActivityNews *news = lfirst(lc);

		switch (news->kind)
		{
			case WFI_ATTEMPT_BEGINS:
				wfi_heartbeat_begin(run, &news->activity);
				break;
			case WFI_ATTEMPT_GOES_ON:
				wfi_heartbeat_tell(run, &news->activity);
				break;
			case WFI_ATTEMPT_ENDS:
				wfi_heartbeat_end(run, &news->activity);
				break;
		}
		if (news->cause != NULL)
			push(run, &news->activity, news->cause);
	}
}

/* ActivityTaskStarted, late, with the time of the real start. */
static void
add_started(WfiRun *run, const WfiActivity *activity, const char *identity)
{
	WfiObject	object;
	WfiEvent   *event;

	wfi_object_begin(&object);
	wfi_put_id(&object, "scheduled_event_id", activity->scheduled_event_id);
	wfi_put_text(&object, "identity", identity);
	wfi_put_int(&object, "attempt", activity->attempt);
	wfi_put_json(&object, "last_failure", activity->last_failure);
	event = wfi_run_add(run, WFI_EV_ACTIVITY_STARTED, wfi_object_end(&object));
	if (wfi_activity_started(activity))
		event->event_time = activity->started_time;
}

/*
 * Close an activity: the rest of its events.  The id of ActivityTaskStarted
 * is filled in when both are flushed.  The cause is what to push to the
 * worker, if it does not know.  The caller schedules a workflow task.
 */
static void
close_activity(WfiRun *run, const WfiActivity *activity, WfiEventType type,
			   WfiObject *object, const char *cause)
{
	if (wfi_activity_started(activity))
		add_started(run, activity, activity->identity);
	add_news(run, activity, WFI_ATTEMPT_ENDS, cause);
	wfi_put_id(object, "scheduled_event_id", activity->scheduled_event_id);
	wfi_run_add(run, type, wfi_object_end(object));
}

/*
 * An activity is done.  One that no worker has (completed by its id) gets a
 * start made up.
 */
void
wfi_activity_complete(WfiRun *run, WfiActivity *activity, const Jsonb *result,
					  const char *identity)
{
	WfiObject	object;

	if (!wfi_activity_started(activity))
		add_started(run, activity, identity);
	wfi_object_begin(&object);
	wfi_put_json(&object, "result", result);
	wfi_put_text(&object, "identity", identity);
	close_activity(run, activity, WFI_EV_ACTIVITY_COMPLETED, &object, NULL);
}

/* A started activity accepted its cancellation, or one that was not begun. */
void
wfi_activity_cancel(WfiRun *run, WfiActivity *activity, const Jsonb *details,
					const char *identity)
{
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_json(&object, "details", details);
	wfi_put_id(&object, "latest_cancel_requested_event_id",
			   activity->cancel_requested_event_id);
	wfi_put_text(&object, "identity", identity);
	close_activity(run, activity, WFI_EV_ACTIVITY_CANCELED, &object, NULL);
}

/* Does it wait to be dispatched, rather than for its run to be unpaused? */
static bool
dispatchable(const WfiRun *run, const WfiActivity *activity)
{
	return run->status == WFI_RUNNING && !activity->paused &&
		!wfi_activity_started(activity) && !activity->dispatched;
}

/* The beginning of a member that is a string. */
static void
put_clipped(WfiObject *object, const Jsonb *from, const char *key, int most)
{
	char	   *value = wfi_get_text(from, key);

	if (value == NULL)
		return;
	value[pg_mbcliplen(value, strlen(value), most)] = '\0';
	wfi_put_text(object, key, value);
}

/* A failure as the state keeps it: cut to size. */
static Jsonb *
kept_failure(const Jsonb *failure)
{
	WfiObject	object;

	if (VARSIZE(failure) <= (Size) wfi_failure_size_limit)
		return (Jsonb *) failure;
	wfi_object_begin(&object);
	put_clipped(&object, failure, "message", wfi_failure_size_limit / 2);
	put_clipped(&object, failure, "type", wfi_failure_size_limit / 4);
	put_clipped(&object, failure, "timeout_type", wfi_failure_size_limit / 4);
	return wfi_object_end(&object);
}

/* As if it had never heartbeaten. */
static void
forget_heartbeats(WfiActivity *activity)
{
	activity->last_heartbeat_time = WFI_NEVER;
	activity->heartbeat_details = NULL;
	activity->heartbeat_replaced = true;
}

/* Set an activity up for its next attempt. */
static void
retry(WfiRun *run, WfiActivity *activity, const Jsonb *failure, int64 backoff,
	  const char *cause)
{
	add_news(run, activity, WFI_ATTEMPT_ENDS, cause);
	activity->attempt++;
	if (activity->was_reset)
	{
		activity->attempt = 1;
		activity->was_reset = false;
	}
	activity->last_attempt_complete_time = run->now;
	activity->scheduled_time = run->now + backoff;
	activity->started_time = WFI_NEVER;
	activity->identity = NULL;
	activity->dispatched = false;
	activity->last_failure = kept_failure(failure);
	if (activity->heartbeat_reset)
	{
		activity->heartbeat_reset = false;
		forget_heartbeats(activity);
	}
	activity->changed = true;
	if (backoff == 0 && dispatchable(run, activity))
		wfi_activity_dispatch(activity);
}

/*
 * Count attempts from 1 again.  A running attempt goes on and is told by its
 * next heartbeat; when it fails, the next one is the first.
 */
void
wfi_activity_reset(WfiRun *run, WfiActivity *activity)
{
	if (wfi_activity_started(activity))
		activity->was_reset = true;
	else
	{
		activity->attempt = 1;
		activity->scheduled_time = run->now;
	}
}

/*
 * The next attempt begins without details of heartbeats.  Those of a running
 * one still count for its own time-outs.
 */
void
wfi_activity_reset_heartbeat(WfiActivity *activity)
{
	if (wfi_activity_started(activity))
		activity->heartbeat_reset = true;
	else
		forget_heartbeats(activity);
}

/*
 * Drop the details of its heartbeats so far; those to come count.  That it
 * was alive stays true.
 */
void
wfi_activity_drop_details(WfiActivity *activity)
{
	activity->heartbeat_details = NULL;
	activity->heartbeat_replaced = true;
	if (wfi_activity_started(activity) &&
		activity->last_heartbeat_time != WFI_NEVER)
		wfi_heartbeat_stored(&activity->token,
							 activity->last_heartbeat_time);
}

/*
 * An attempt failed: the next one, or ActivityTaskFailed.  One that no worker
 * has (its result, given by its id, was too large) gets a start made up.
 */
void
wfi_activity_fail(WfiRun *run, WfiActivity *activity, const Jsonb *failure,
				  const char *identity)
{
	int64		backoff;
	const char *state = wfi_retry_state(activity, failure, NULL, run->now,
										&backoff);
	WfiObject	object;

	if (state == NULL)
	{
		retry(run, activity, failure, backoff, NULL);
		return;
	}
	if (!wfi_activity_started(activity))
		add_started(run, activity, identity);
	wfi_object_begin(&object);
	wfi_put_json(&object, "failure", failure);
	wfi_put_text(&object, "identity", identity);
	wfi_put_text(&object, "retry_state", state);
	close_activity(run, activity, WFI_EV_ACTIVITY_FAILED, &object, NULL);
}

/* One of the four time limits, as seen from now */
typedef struct Limit
{
	const char *type;
	TimestampTz due;
} Limit;

/* Take a limit if it is the nearer one. */
static void
consider(Limit *limit, const char *type, TimestampTz from, int64 timeout)
{
	if (timeout != 0 && from + timeout < limit->due)
	{
		limit->type = type;
		limit->due = from + timeout;
	}
}

/* The limit that an activity reaches first; of two at once, it is this order. */
static Limit
next_limit(const WfiActivity *activity)
{
	Limit		limit = {NULL, WFI_NEVER};

	if (wfi_activity_started(activity))
		consider(&limit, "StartToClose", activity->started_time,
				 activity->start_to_close_timeout);
	else
		consider(&limit, "ScheduleToStart", activity->scheduled_time,
				 activity->schedule_to_start_timeout);
	consider(&limit, "ScheduleToClose", activity->first_scheduled_time,
			 activity->schedule_to_close_timeout);
	if (wfi_activity_started(activity))
	{
		TimestampTz sign_of_life = activity->started_time;

		if (activity->last_heartbeat_time != WFI_NEVER)
			sign_of_life = Max(sign_of_life, activity->last_heartbeat_time);
		consider(&limit, "Heartbeat", sign_of_life,
				 activity->heartbeat_timeout);
	}
	return limit;
}

/* When it must be looked at: to be dispatched, or to time out. */
static TimestampTz
activity_due(const WfiRun *run, const WfiActivity *activity)
{
	TimestampTz due;

	if (activity->paused)
		return WFI_NEVER;		/* put off until it is unpaused */
	due = next_limit(activity).due;
	if (dispatchable(run, activity))
		due = Min(due, activity->scheduled_time);
	return due;
}

/* When the first of those at hand must be looked at. */
TimestampTz
wfi_activities_next(WfiRun *run)
{
	TimestampTz next = WFI_NEVER;
	ListCell   *lc;

	foreach(lc, run->activities)
		next = Min(next, activity_due(run, lfirst(lc)));
	return next;
}

/* {"message": ..., "timeout_type": ..., ...} */
static Jsonb *
timeout_failure(const WfiActivity *activity, const char *type,
				const char *message, const Jsonb *cause)
{
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_text(&object, "message", message);
	wfi_put_text(&object, "timeout_type", type);
	wfi_put_json(&object, "last_heartbeat_details",
				 activity->heartbeat_details);
	wfi_put_json(&object, "cause", cause);
	return wfi_object_end(&object);
}

/*
 * An attempt took too long: the next one, or ActivityTaskTimedOut.  The last
 * failure before is the cause of the latter only: kept for the next attempt,
 * causes would pile up.
 */
static void
time_out(WfiRun *run, WfiActivity *activity, const char *type)
{
	const char *message = psprintf("activity %s timeout", type);
	Jsonb	   *failure = timeout_failure(activity, type, message, NULL);
	int64		backoff;
	const char *state = wfi_retry_state(activity, failure, type, run->now,
										&backoff);
	WfiObject	object;

	if (state == NULL)
	{
		retry(run, activity, failure, backoff, "TimedOut");
		return;
	}
	if (strcmp(state, "Timeout") == 0 && wfi_activity_started(activity) &&
		strcmp(type, "ScheduleToClose") != 0)
	{
		type = "ScheduleToClose";
		message = "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying";
	}
	failure = timeout_failure(activity, type, message, activity->last_failure);
	wfi_object_begin(&object);
	wfi_put_json(&object, "failure", failure);
	wfi_put_text(&object, "retry_state", state);
	close_activity(run, activity, WFI_EV_ACTIVITY_TIMED_OUT, &object,
				   "TimedOut");
}

/* Dispatch, or time out, what is due. */
void
wfi_activities_fire(WfiRun *run)
{
	List	   *activities = list_copy(run->activities);
	ListCell   *lc;

	foreach(lc, activities)
	{
		WfiActivity *activity = lfirst(lc);
		Limit		limit = next_limit(activity);

		if (activity->paused)
			continue;
		if (limit.due <= run->now)
			time_out(run, activity, limit.type);
		else if (dispatchable(run, activity) &&
				 activity->scheduled_time <= run->now)
			wfi_activity_dispatch(activity);
	}
	if (wfi_run_has_buffered(run))
		wfi_task_schedule(run);
}

/*
 * The run goes on after a pause: polls have dropped the tasks they met, so
 * what no worker has is dispatched again.
 */
void
wfi_activities_unpause(WfiRun *run)
{
	ListCell   *lc;

	wfi_activities_load(run);
	foreach(lc, run->activities)
	{
		WfiActivity *activity = lfirst(lc);

		if (wfi_activity_started(activity))
			continue;
		activity->dispatched = false;
		activity->changed = true;
		if (dispatchable(run, activity) &&
			activity->scheduled_time <= run->now)
			wfi_activity_dispatch(activity);
	}
}

/* The run has closed: tell the workers that still run its activities. */
void
wfi_activities_close(WfiRun *run)
{
	ListCell   *lc;

	wfi_activities_load(run);
	foreach(lc, run->activities)
		add_news(run, lfirst(lc), WFI_ATTEMPT_ENDS,
				 run->was_reset ? "Reset" :
				 run->status == WFI_TIMED_OUT ? "TimedOut" : "Terminated");
}
