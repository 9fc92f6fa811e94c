/*
 * check_state.c
 *	  Is what is stored beside a history what the history says?
 *
 * The history is replayed through the reducer.  What is not in histories, see
 * rebuild.c, is compared as far as it is determined.
 */
#include "postgres.h"

#include "check.h"

/*
 * The driver leaves a run alone for so long when it could not do what was
 * due, and moves its wake-up, in microseconds.
 */
#define MAX_DEFERRAL (10 * USECS_PER_MINUTE)

/* Complain unless two texts are the same; NULL stands for nothing. */
static void
same_text(const WfiChecked *c, const char *name, const char *expected,
		  const char *found)
{
	if (expected == NULL)
		expected = "nothing";
	if (found == NULL)
		found = "nothing";
	if (strcmp(expected, found) != 0)
		wfi_finding(c, 0, "state", psprintf("%s %s", name, expected), found);
}

static void
same_int(const WfiChecked *c, const char *name, int64 expected, int64 found)
{
	if (expected != found)
		wfi_finding(c, 0, "state", psprintf("%s " INT64_FORMAT, name, expected),
					psprintf(INT64_FORMAT, found));
}

static void
same_bool(const WfiChecked *c, const char *name, bool expected, bool found)
{
	if (expected != found)
		wfi_finding(c, 0, "state",
					psprintf("%s %s", name, expected ? "true" : "false"),
					found ? "true" : "false");
}

static const char *
time_text(TimestampTz time)
{
	return time == WFI_NEVER ? "nothing" : wfi_time_text(time);
}

static void
same_time(const WfiChecked *c, const char *name, TimestampTz expected,
		  TimestampTz found)
{
	if (expected != found)
		same_text(c, name, time_text(expected), time_text(found));
}

static void
same_interval(const WfiChecked *c, const char *name, int64 expected,
			  int64 found)
{
	if (expected != found)
		wfi_finding(c, 0, "state",
					psprintf("%s " INT64_FORMAT " microseconds", name, expected),
					psprintf(INT64_FORMAT, found));
}

/* What is in payloads is nobody's business here. */
static void
same_json(const WfiChecked *c, const char *name, Jsonb *expected,
		  Jsonb *found)
{
	if (expected == NULL && found == NULL)
		return;
	if (expected == NULL || found == NULL ||
		compareJsonbContainers(&expected->root, &found->root) != 0)
		wfi_finding(c, 0, "state", psprintf("%s as the history says", name),
					"another value");
}

/* The run's own columns, but those of its workflow task. */
static void
check_columns(const WfiChecked *c)
{
	const WfiRun *should = c->replay;
	const WfiRun *run = c->run;
	bool		open = wfi_run_open(run);

	same_text(c, "status", wfi_status_name(should->status),
			  wfi_status_name(run->status));
	same_bool(c, "cancel_requested", should->cancel_requested,
			  run->cancel_requested);
	if (run->cancel_request_id != NULL && !run->cancel_requested)
		same_text(c, "cancel_request_id", NULL, run->cancel_request_id);
	same_int(c, "history_size", should->history_size, run->history_size);
	same_int(c, "signal_count", should->signal_count, run->signal_count);
	same_int(c, "buffered_count", should->buffered_count, run->buffered_count);
	same_int(c, "buffered_size", should->buffered_size, run->buffered_size);
	same_int(c, "pending_timers", should->pending_timers, run->pending_timers);
	same_int(c, "pending_activities", should->pending_activities,
			 run->pending_activities);
	/* what a closing reply did beside its events is not in the history */
	if (open)
		same_int(c, "state_size", should->state_size, run->state_size);
	same_time(c, "start_time", should->start_time, run->start_time);
	same_time(c, "execution_time", should->execution_time,
			  run->execution_time);
	same_time(c, "close_time", should->close_time, run->close_time);
	same_time(c, "last_event_time", should->last_event_time,
			  run->last_event_time);
	/* a delay that is over while the run is paused */
	if (run->status != WFI_PAUSED || run->first_task_time != WFI_NEVER)
		same_time(c, "first_task_time", should->first_task_time,
				  run->first_task_time);
	same_time(c, "execution_expiration_time",
			  should->execution_expiration_time,
			  run->execution_expiration_time);
	same_time(c, "run_expiration_time", should->run_expiration_time,
			  run->run_expiration_time);
	same_interval(c, "execution_timeout", should->execution_timeout,
				  run->execution_timeout);
	same_interval(c, "run_timeout", should->run_timeout, run->run_timeout);
	same_interval(c, "task_timeout", should->task_timeout, run->task_timeout);
	same_json(c, "memo", should->memo, run->memo);
	same_json(c, "search_attributes", should->search_attributes,
			  run->search_attributes);
}

/* A workflow task without events: it is there, and behind the failed one. */
static void
check_transient_task(const WfiChecked *c)
{
	const WfiRun *should = c->replay;
	const WfiRun *run = c->run;

	if (run->task_attempt < should->task_attempt)
		same_int(c, "task_attempt", should->task_attempt, run->task_attempt);
	/* another event may have come since */
	if (run->task_scheduled_event_id < should->task_scheduled_event_id ||
		run->task_scheduled_event_id > run->next_event_id)
		same_int(c, "task_scheduled_event_id",
				 should->task_scheduled_event_id,
				 run->task_scheduled_event_id);
	else if (run->task_started_event_id != 0)
	{
		same_int(c, "task_scheduled_event_id", run->next_event_id,
				 run->task_scheduled_event_id);
		same_int(c, "task_started_event_id", run->next_event_id + 1,
				 run->task_started_event_id);
	}
	else if (should->task_started_event_id != 0)
		same_int(c, "task_started_event_id", run->next_event_id + 1, 0);
}

/* The pending workflow task, or that there is none. */
static void
check_task(const WfiChecked *c)
{
	const WfiRun *should = c->replay;
	const WfiRun *run = c->run;
	bool		started = run->task_started_event_id != 0;

	same_int(c, "previous_started_event_id",
			 should->previous_started_event_id,
			 run->previous_started_event_id);
	if (c->scheduled_at == 0 && should->task_scheduled_event_id != 0)
		check_transient_task(c);
	else if (c->scheduled_at == 0 && run->status == WFI_PAUSED && started)
	{
		/* it was started when the run was paused, which drops it here */
		same_int(c, "task_scheduled_event_id", run->next_event_id,
				 run->task_scheduled_event_id);
		same_int(c, "task_started_event_id", run->next_event_id + 1,
				 run->task_started_event_id);
	}
	else
	{
		same_int(c, "task_scheduled_event_id",
				 should->task_scheduled_event_id,
				 run->task_scheduled_event_id);
		same_int(c, "task_started_event_id", should->task_started_event_id,
				 run->task_started_event_id);
		if (wfi_run_open(run) && run->status != WFI_PAUSED)
			same_int(c, "task_attempt", should->task_attempt,
					 run->task_attempt);
		if (should->task_scheduled_event_id != 0)
			same_time(c, "task_scheduled_time", should->task_scheduled_time,
					  run->task_scheduled_time);
		if (should->task_started_event_id != 0)
		{
			same_time(c, "task_started_time", should->task_started_time,
					  run->task_started_time);
			same_text(c, "task_identity", should->task_identity,
					  run->task_identity);
		}
	}
	/* a task without events may have been refused, or have made up for it */
	if (!c->was_transient)
		same_bool(c, "close_attempted", should->close_attempted,
				  run->close_attempted);
}

static void
timer_finding(const WfiChecked *c, const WfiTimer *timer, const char *expected,
			  const char *found)
{
	wfi_finding(c, timer->started_event_id, "timer",
				psprintf("timer \"%s\": %s", timer->timer_id, expected),
				found);
}

static int
compare_timers(const ListCell *a, const ListCell *b)
{
	int64		left = ((const WfiTimer *) lfirst(a))->started_event_id;
	int64		right = ((const WfiTimer *) lfirst(b))->started_event_id;

	return left < right ? -1 : left > right;
}

/* Rows of wf.timer are the pending timers. */
static void
check_timers(const WfiChecked *c)
{
	List	   *should = list_copy(c->replay->timers);
	List	   *stored = list_copy(c->timers);
	int			i = 0;
	int			j = 0;

	list_sort(should, compare_timers);
	list_sort(stored, compare_timers);
	while (i < list_length(should) || j < list_length(stored))
	{
		const WfiTimer *a = i < list_length(should) ? list_nth(should, i) : NULL;
		const WfiTimer *b = j < list_length(stored) ? list_nth(stored, j) : NULL;
		int64		a_id = a ? a->started_event_id : PG_INT64_MAX;
		int64		b_id = b ? b->started_event_id : PG_INT64_MAX;

		if (a != NULL && a_id < b_id)
		{
			timer_finding(c, a, "pending", "no row");
			i++;
		}
		else if (b != NULL && b_id < a_id)
		{
			timer_finding(c, b, "not pending", "a row");
			j++;
		}
		else if (a != NULL && b != NULL)
		{
			if (strcmp(a->timer_id, b->timer_id) != 0)
				timer_finding(c, a, "its id", psprintf("\"%s\"", b->timer_id));
			if (a->fire_time != b->fire_time)
				timer_finding(c, a, psprintf("fire_time %s",
											 wfi_time_text(a->fire_time)),
							  wfi_time_text(b->fire_time));
			i++;
			j++;
		}
	}
}

static void
activity_finding(const WfiChecked *c, const WfiActivity *activity,
				 const char *expected, const char *found)
{
	wfi_finding(c, activity->scheduled_event_id, "activity",
				psprintf("activity \"%s\": %s", activity->activity_id,
						 expected), found);
}

/* One row of wf.activity against the pending activity it stands for. */
static void
check_activity(const WfiChecked *c, const WfiActivity *should,
			   const WfiCheckedActivity *row)
{
	const WfiActivity *stored = &row->activity;
	const char *state = wfi_activity_state(stored);

	if (strcmp(should->activity_id, stored->activity_id) != 0)
		activity_finding(c, should, "its id",
						 psprintf("\"%s\"", stored->activity_id));
	if (strcmp(should->activity_type, stored->activity_type) != 0)
		activity_finding(c, should,
						 psprintf("activity_type %s", should->activity_type),
						 stored->activity_type);
	if (should->first_scheduled_time != stored->first_scheduled_time)
		activity_finding(c, should,
						 psprintf("first_scheduled_time %s",
								  wfi_time_text(should->first_scheduled_time)),
						 wfi_time_text(stored->first_scheduled_time));
	if (should->cancel_requested_event_id != stored->cancel_requested_event_id)
		activity_finding(c, should,
						 psprintf("cancel_requested_event_id " INT64_FORMAT,
								  should->cancel_requested_event_id),
						 psprintf(INT64_FORMAT,
								  stored->cancel_requested_event_id));
	if (row->cancel_requested != (stored->cancel_requested_event_id != 0))
		activity_finding(c, should, "cancel_requested as the event of it",
						 row->cancel_requested ? "true" : "false");
	if (strcmp(row->state, state) != 0)
		activity_finding(c, should, psprintf("state %s", state), row->state);
	if (!stored->paused && stored->pause_info != NULL)
		activity_finding(c, should, "pause_info of a pause", "no pause");
	if (stored->attempt < 1)
		activity_finding(c, should, "attempt 1 or later",
						 psprintf("%d", stored->attempt));
	if (stored->scheduled_time < stored->first_scheduled_time)
		activity_finding(c, should,
						 psprintf("scheduled_time not before %s",
								  wfi_time_text(stored->first_scheduled_time)),
						 wfi_time_text(stored->scheduled_time));
	if (wfi_activity_started(stored) && !stored->dispatched)
		activity_finding(c, should, "dispatched, as it is started", "not");
}

/* Rows of wf.activity are the pending activities; both are in their order. */
static void
check_activities(const WfiChecked *c)
{
	const List *should = c->replay->activities;
	const List *stored = c->activities;
	const ListCell *i = list_head(should);
	const ListCell *j = list_head(stored);

	while (i != NULL || j != NULL)
	{
		const WfiActivity *a = i ? lfirst(i) : NULL;
		const WfiCheckedActivity *b = j ? lfirst(j) : NULL;
		int64		a_id = a ? a->scheduled_event_id : PG_INT64_MAX;
		int64		b_id = b ? b->activity.scheduled_event_id : PG_INT64_MAX;

		if (a != NULL && a_id < b_id)
			activity_finding(c, a, "pending", "no row");
		else if (b != NULL && b_id < a_id)
			activity_finding(c, &b->activity, "not pending", "a row");
		else if (a != NULL && b != NULL)
			check_activity(c, a, b);
		if (a_id <= b_id)
			i = lnext(should, i);
		if (b_id <= a_id)
			j = lnext(stored, j);
	}
}

static int
compare_texts(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/*
 * Rows of wf.signal_request are the request ids of the signals, and are in
 * their order; no two signals have the same one.
 */
static void
check_signals(const WfiChecked *c)
{
	List	   *should = list_copy(c->replay->signal_requests);
	const ListCell *i;
	const ListCell *j = list_head(c->signals);
	const char *previous = NULL;

	list_sort(should, compare_texts);
	i = list_head(should);
	while (i != NULL || j != NULL)
	{
		const char *a = i ? lfirst(i) : NULL;
		const char *b = j ? lfirst(j) : NULL;
		int			order = a == NULL ? 1 : b == NULL ? -1 : strcmp(a, b);

		if (order < 0)
			wfi_finding(c, 0, "signal request",
						psprintf("signal request \"%s\": known, once", a),
						previous && strcmp(previous, a) == 0 ?
						"another signal" : "no row");
		else if (order > 0)
			wfi_finding(c, 0, "signal request",
						psprintf("signal request \"%s\": not known", b),
						"a row");
		if (order <= 0)
		{
			previous = a;
			i = lnext(should, i);
		}
		if (order >= 0)
			j = lnext(c->signals, j);
	}
}

/* Is there a task of that queue, and of that attempt unless it is 0? */
static bool
has_task(const WfiChecked *c, char kind, const char *task_queue,
		 int64 scheduled_event_id, int32 attempt)
{
	int64		queue_id = wfi_queue_id(kind, c->run->namespace, task_queue);
	ListCell   *lc;

	foreach(lc, c->tasks)
	{
		const WfiTask *task = lfirst(lc);

		if (task->queue_id == queue_id &&
			(attempt == 0 || (task->attempt == attempt &&
							  task->scheduled_event_id == scheduled_event_id)))
			return true;
	}
	return false;
}

/*
 * What waits for a worker is in a queue.  A paused run need have nothing
 * there; a poll takes any row of a run for its workflow task.
 */
static void
check_queues(const WfiChecked *c)
{
	const WfiRun *run = c->run;
	ListCell   *lc;

	if (run->status != WFI_RUNNING)
		return;
	if (run->task_scheduled_event_id != 0 && run->task_started_event_id == 0 &&
		!has_task(c, WFI_TASK_WORKFLOW, run->task_queue, 0, 0))
		wfi_finding(c, run->task_scheduled_event_id, "task",
					psprintf("workflow task in queue \"%s\"",
							 run->task_queue), "none");
	foreach(lc, c->activities)
	{
		const WfiActivity *activity = &((WfiCheckedActivity *) lfirst(lc))->activity;

		if (activity->dispatched && !activity->paused &&
			!wfi_activity_started(activity) &&
			!has_task(c, WFI_TASK_ACTIVITY, activity->task_queue,
					  activity->scheduled_event_id, activity->attempt))
			activity_finding(c, activity,
							 psprintf("a task in queue \"%s\" for attempt %d",
									  activity->task_queue,
									  activity->attempt), "none");
	}
}

/* The driver looks at the run no later than something falls due. */
static void
check_wakeup(const WfiChecked *c)
{
	WfiRun		run = *c->run;
	TimestampTz now = wfi_check_time(c);
	TimestampTz due;
	ListCell   *lc;

	if (!wfi_run_open(&run))
		return;
	/* what is due by what is stored */
	run.timers_loaded = run.activities_loaded = true;
	run.timers = c->timers;
	run.activities = NIL;
	foreach(lc, c->activities)
		run.activities = lappend(run.activities,
								 &((WfiCheckedActivity *) lfirst(lc))->activity);
	due = Min(wfi_run_next_due(&run), run.wakeup_time);
	if (due == WFI_NEVER || c->wakeup <= due ||
		(due <= now && c->wakeup <= now + MAX_DEFERRAL))
		return;
	wfi_finding(c, 0, "wake-up",
				psprintf("not after %s", wfi_time_text(due)),
				c->wakeup == WFI_NEVER ? "none" : wfi_time_text(c->wakeup));
}

/* The token of a started workflow task is known, and only then. */
static void
check_token(const WfiChecked *c)
{
	static const pg_uuid_t none = {{0}};
	bool		started = c->run->task_started_event_id != 0;
	bool		has_token = !wfi_uuid_equal(&c->run->task_token, &none);

	if (started != has_token)
		same_text(c, "task_token",
				  started ? "of the started workflow task" : NULL,
				  has_token ? "one" : NULL);
}

/* What is stored against the history, and what it needs elsewhere. */
void
wfi_check_state(WfiChecked *c)
{
	if (!c->broken)
	{
		check_columns(c);
		check_task(c);
		check_timers(c);
		check_activities(c);
		check_signals(c);
	}
	check_token(c);
	check_queues(c);
	check_wakeup(c);
}
