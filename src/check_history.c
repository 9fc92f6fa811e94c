/*
 * check_history.c
 *	  The grammar of histories: what may follow what.
 *
 * A batch is what one operation wrote.  It has the form
 *
 *	  [head] [commands] [outside events [closing ones]] [tail]
 *
 * where the head is WorkflowExecutionStarted or the end of a workflow task,
 * commands follow WorkflowTaskCompleted only, outside events are what is
 * flushed from the buffer, those that close something pending last, and the
 * tail is the schedule or start of a workflow task, or the end of the run.
 * Beyond that order, events follow from those that they refer to.
 *
 * A gap, or an event that cannot be read, makes all that follows unreliable:
 * it is reported, and the run is not looked at any further.
 */
#include "postgres.h"

#include "check.h"

#define IN(phase) (1 << WFI_PHASE_##phase)

/* Where in a batch an event may stand, and where the batch is then */
typedef struct Rule
{
	int			phases;
	WfiPhase	next;
} Rule;

#define HEAD(next)		{IN(BEGIN), WFI_PHASE_##next}
#define COMMAND			{IN(COMMANDS), WFI_PHASE_COMMANDS}
#define CLOSE_COMMAND	{IN(COMMANDS), WFI_PHASE_CLOSED}
#define OUTSIDE			{IN(BEGIN) | IN(COMMANDS) | IN(OPEN), WFI_PHASE_OPEN}
#define CLOSING \
	{IN(BEGIN) | IN(COMMANDS) | IN(OPEN) | IN(CLOSING), WFI_PHASE_CLOSING}
#define CLOSE			{IN(BEGIN) | IN(OPEN) | IN(CLOSING), WFI_PHASE_CLOSED}

/* In the order of WfiEventType */
static const Rule rules[WFI_EVENT_TYPES] = {
	[WFI_EV_STARTED] = HEAD(OPEN),
	[WFI_EV_COMPLETED] = CLOSE_COMMAND,
	[WFI_EV_FAILED] = CLOSE_COMMAND,
	[WFI_EV_TIMED_OUT] = CLOSE,
	[WFI_EV_CANCELED] = CLOSE_COMMAND,
	[WFI_EV_TERMINATED] = CLOSE,
	[WFI_EV_CONTINUED_AS_NEW] = CLOSE_COMMAND,
	[WFI_EV_CANCEL_REQUESTED] = OUTSIDE,
	[WFI_EV_SIGNALED] = OUTSIDE,
	[WFI_EV_OPTIONS_UPDATED] = OUTSIDE,
	[WFI_EV_PAUSED] = OUTSIDE,
	[WFI_EV_UNPAUSED] = OUTSIDE,
	[WFI_EV_UPDATE_ADMITTED] = OUTSIDE,
	[WFI_EV_UPDATE_ACCEPTED] = COMMAND,
	[WFI_EV_UPDATE_COMPLETED] = COMMAND,
	[WFI_EV_TASK_SCHEDULED] = {IN(BEGIN) | IN(COMMANDS) | IN(OPEN) | IN(CLOSING),
	WFI_PHASE_SCHEDULED},
	[WFI_EV_TASK_STARTED] = {IN(BEGIN) | IN(SCHEDULED), WFI_PHASE_STARTED},
	[WFI_EV_TASK_COMPLETED] = HEAD(COMMANDS),
	[WFI_EV_TASK_TIMED_OUT] = HEAD(OPEN),
	[WFI_EV_TASK_FAILED] = HEAD(OPEN),
	[WFI_EV_ACTIVITY_SCHEDULED] = COMMAND,
	[WFI_EV_ACTIVITY_STARTED] = OUTSIDE,
	[WFI_EV_ACTIVITY_COMPLETED] = CLOSING,
	[WFI_EV_ACTIVITY_FAILED] = CLOSING,
	[WFI_EV_ACTIVITY_TIMED_OUT] = CLOSING,
	[WFI_EV_ACTIVITY_CANCEL_REQUESTED] = COMMAND,
	[WFI_EV_ACTIVITY_CANCELED] = CLOSING,
	[WFI_EV_TIMER_STARTED] = COMMAND,
	[WFI_EV_TIMER_FIRED] = OUTSIDE,
	[WFI_EV_TIMER_CANCELED] = COMMAND,
	[WFI_EV_MARKER_RECORDED] = COMMAND,
	[WFI_EV_SEARCH_ATTRIBUTES_UPSERTED] = COMMAND,
	[WFI_EV_PROPERTIES_MODIFIED] = COMMAND,
	[WFI_EV_CHILD_INITIATED] = COMMAND,
	[WFI_EV_CHILD_START_FAILED] = OUTSIDE,
	[WFI_EV_CHILD_STARTED] = OUTSIDE,
	[WFI_EV_CHILD_COMPLETED] = CLOSING,
	[WFI_EV_CHILD_FAILED] = CLOSING,
	[WFI_EV_CHILD_CANCELED] = CLOSING,
	[WFI_EV_CHILD_TIMED_OUT] = CLOSING,
	[WFI_EV_CHILD_TERMINATED] = CLOSING,
	[WFI_EV_EXTERNAL_CANCEL_INITIATED] = COMMAND,
	[WFI_EV_EXTERNAL_CANCEL_FAILED] = OUTSIDE,
	[WFI_EV_EXTERNAL_CANCEL_REQUESTED] = OUTSIDE,
	[WFI_EV_EXTERNAL_SIGNAL_INITIATED] = COMMAND,
	[WFI_EV_EXTERNAL_SIGNAL_FAILED] = OUTSIDE,
	[WFI_EV_EXTERNAL_SIGNALED] = OUTSIDE,
};

/* What is expected at each phase, for people */
static const char *const phase_names[] = {
	[WFI_PHASE_BEGIN] = "at the beginning of a batch",
	[WFI_PHASE_COMMANDS] = "behind WorkflowTaskCompleted and commands",
	[WFI_PHASE_OPEN] = "behind the head of a batch or outside events",
	[WFI_PHASE_CLOSING] = "behind events that close something pending",
	[WFI_PHASE_SCHEDULED] = "behind WorkflowTaskScheduled in one batch",
	[WFI_PHASE_STARTED] = "behind WorkflowTaskStarted in one batch",
	[WFI_PHASE_CLOSED] = "behind the end of the run",
};

/* A finding about an event: what is expected of it, and what it is. */
static void
complain(const WfiChecked *c, const WfiEvent *event, const char *check_name,
		 const char *expected, const char *found)
{
	const char *name = wfi_event_name(event->type);

	wfi_finding(c, event->event_id, check_name,
				psprintf("%s: %s", name, expected), found);
}

/* Does an id among the attributes have the only value it can have? */
static void
expect_id(const WfiChecked *c, const WfiEvent *event, const char *name,
		  int64 expected)
{
	int64		found = wfi_get_int(event->attributes, name);

	if (found != expected)
		complain(c, event, "reference",
				 psprintf("%s " INT64_FORMAT, name, expected),
				 psprintf(INT64_FORMAT, found));
}

/* Note the kind of an event under its id. */
static void
remember(WfiChecked *c, const WfiEvent *event)
{
	if (event->event_id >= c->types_size)
	{
		int64		size = Max(64, c->types_size * 2);

		c->types = c->types ? repalloc_huge(c->types, size) :
			MemoryContextAlloc(c->context, size);
		c->types_size = size;
	}
	c->types[event->event_id] = (uint8) event->type;
	c->last_type = event->type;
}

/* An id that was used again must be free at the end of the batch. */
static void
check_reused(const WfiChecked *c, int64 event_id)
{
	const char *id = NULL;
	const char *what = "timer_id";
	ListCell   *lc;

	/* the newer one is found first, from behind */
	for (int i = list_length(c->replay->timers) - 1; i >= 0; i--)
	{
		const WfiTimer *timer = list_nth(c->replay->timers, i);

		if (timer->started_event_id == event_id)
			id = timer->timer_id;
		else if (id != NULL && strcmp(timer->timer_id, id) == 0)
			goto reused;
	}
	id = NULL;
	what = "activity_id";
	foreach(lc, c->replay->activities)
	{
		const WfiActivity *activity = lfirst(lc);

		if (activity->scheduled_event_id == event_id)
			id = activity->activity_id;
	}
	foreach(lc, c->replay->activities)
	{
		const WfiActivity *activity = lfirst(lc);

		if (id != NULL && activity->scheduled_event_id < event_id &&
			strcmp(activity->activity_id, id) == 0)
			goto reused;
	}
	return;

reused:
	wfi_finding(c, event_id, "reference",
				psprintf("%s: %s that is not pending",
						 wfi_event_name(c->types[event_id]), what),
				psprintf("\"%s\" is pending", id));
}

/*
 * The batch is complete.  A run that goes on has a workflow task then, which
 * may be one without events, unless there is nothing to tell.
 */
static void
end_batch(WfiChecked *c)
{
	ListCell   *lc;

	if (c->told_at > c->completed_at && c->scheduled_at == 0 &&
		c->replay->status == WFI_RUNNING &&
		c->replay->first_task_time == WFI_NEVER &&
		!wfi_task_transient(c->replay))
	{
		wfi_finding(c, c->told_at, "order",
					psprintf("%s: a workflow task in its batch that tells of it",
							 wfi_event_name(c->types[c->told_at])), "none");
		c->told_at = 0;
	}
	if (c->scheduled_at == 0 && c->replay->status == WFI_RUNNING &&
		wfi_task_transient(c->replay))
		c->was_transient = true;

	foreach(lc, c->open_starts)
		wfi_finding(c, ((WfiOpenStart *) lfirst(lc))->event_id, "order",
					"ActivityTaskStarted: the end of the activity in its batch",
					"nothing");
	list_free_deep(c->open_starts);
	c->open_starts = NIL;
	foreach(lc, c->reused)
		check_reused(c, *(int64 *) lfirst(lc));
	list_free_deep(c->reused);
	c->reused = NIL;
}

/* Its place in its batch. */
static void
check_batch(WfiChecked *c, const WfiEvent *event)
{
	const Rule *rule = &rules[event->type];

	if (event->batch_id == event->event_id)
	{
		end_batch(c);
		if (c->phase != WFI_PHASE_CLOSED)
			c->phase = WFI_PHASE_BEGIN;
		c->batch_id = event->event_id;
		c->batch_time = event->event_time;
		c->same_time = rule->phases == IN(BEGIN);
	}
	else if (event->event_id == 1)
	{
		complain(c, event, "batch", "batch_id 1",
				 psprintf(INT64_FORMAT, event->batch_id));
		c->batch_id = 1;
	}
	else if (event->batch_id != c->batch_id)
	{
		/* one event astray is one finding */
		if (event->batch_id != c->other_batch_id)
			complain(c, event, "batch",
					 psprintf("batch_id " INT64_FORMAT " or " INT64_FORMAT,
							  c->batch_id, event->event_id),
					 psprintf(INT64_FORMAT, event->batch_id));
		c->other_batch_id = c->batch_id;
		c->batch_id = event->batch_id;
	}

	if ((rule->phases & (1 << c->phase)) == 0)
		complain(c, event, "order",
				 psprintf("not %s", phase_names[c->phase]),
				 c->replay->next_event_id == 1 ? "the first event" :
				 psprintf("behind %s", wfi_event_name(c->last_type)));
	else if (rule->phases == IN(COMMANDS))
		expect_id(c, event, "workflow_task_completed_event_id",
				  c->completed_at);
	if (c->phase != WFI_PHASE_CLOSED)
		c->phase = rule->next;
}

/*
 * Time does not go backwards, and all that follows from the head of a batch
 * has its time.  Starts of activities are recorded late, with their own.
 */
static void
check_time(WfiChecked *c, const WfiEvent *event)
{
	TimestampTz last = c->replay->last_event_time;

	if (event->type == WFI_EV_ACTIVITY_STARTED)
		return;
	if (c->same_time && event->batch_id != event->event_id)
	{
		if (event->event_time != c->batch_time)
			complain(c, event, "time",
					 psprintf("%s, as the first event of its batch",
							  wfi_time_text(c->batch_time)),
					 wfi_time_text(event->event_time));
	}
	else if (c->replay->next_event_id > 1 && event->event_time < last)
		complain(c, event, "time",
				 psprintf("not before %s", wfi_time_text(last)),
				 wfi_time_text(event->event_time));

	/* the replay takes times as they are, too */
	c->replay->last_event_time = DT_NOBEGIN;
}

/* WorkflowExecutionStarted says the same as the run's row. */
static void
check_started(const WfiChecked *c, const WfiEvent *event)
{
	const WfiRun *run = c->run;
	const struct
	{
		const char *name;
		const char *expected;
	}			pairs[] = {
		{"workflow_id", run->workflow_id},
		{"workflow_type", run->workflow_type},
		{"task_queue", run->task_queue},
		{"first_execution_run_id", wfi_uuid_text(&run->first_execution_run_id)},
		{"original_execution_run_id", wfi_uuid_text(&run->original_execution_run_id)},
	};

	for (int i = 0; i < (int) lengthof(pairs); i++)
	{
		char	   *found = wfi_get_text(event->attributes, pairs[i].name);

		if (strcmp(found, pairs[i].expected) != 0)
			wfi_finding(c, 1, "state",
						psprintf("%s %s", pairs[i].name, found),
						pairs[i].expected);
	}
}

/* A workflow task that is scheduled in the history. */
static void
check_task_scheduled(WfiChecked *c, const WfiEvent *event)
{
	int64		attempt = wfi_get_int(event->attributes, "attempt");
	bool		retry = wfi_task_transient(c->replay);

	if (c->scheduled_at != 0)
		complain(c, event, "order", "only when no workflow task is pending",
				 psprintf("that of event " INT64_FORMAT " is",
						  c->scheduled_at));
	if (c->replay->status == WFI_PAUSED)
		complain(c, event, "order", "not while the run is paused", "paused");
	if (attempt < 1 || (attempt > 1 && !retry))
		complain(c, event, "attribute", "attempt 1",
				 psprintf(INT64_FORMAT, attempt));
	if (attempt == 1 && retry && (c->last_type == WFI_EV_TASK_FAILED ||
								  c->last_type == WFI_EV_TASK_TIMED_OUT))
		complain(c, event, "order", "a retry has no event until it completes",
				 psprintf("behind %s", wfi_event_name(c->last_type)));
	c->scheduled_at = event->event_id;
	c->started_at = 0;
}

/* A workflow task that is started in the history. */
static void
check_task_started(WfiChecked *c, const WfiEvent *event)
{
	if (c->scheduled_at == 0 || c->started_at != 0)
		complain(c, event, "order", "a scheduled workflow task",
				 c->scheduled_at == 0 ? "none" : "started already");
	else
		expect_id(c, event, "scheduled_event_id", c->scheduled_at);
	c->started_at = event->event_id;
}

/* WorkflowTaskFailed says why; a reset says also from where to where. */
static void
check_task_failed(WfiChecked *c, const WfiEvent *event, const char *cause)
{
	bool		reset = strcmp(cause, "ResetWorkflow") == 0;
	char	   *base = wfi_get_text(event->attributes, "base_run_id");
	char	   *new = wfi_get_text(event->attributes, "new_run_id");

	if (reset != (base != NULL) || reset != (new != NULL))
	{
		complain(c, event, "attribute",
				 "base_run_id and new_run_id if the cause is ResetWorkflow",
				 cause);
		return;
	}
	if (!reset || strcmp(new, wfi_uuid_text(&c->run->run_id)) != 0)
		return;
	if (c->reset_at != 0)
		complain(c, event, "order", "one reset by which the run began",
				 psprintf("another one at event " INT64_FORMAT, c->reset_at));
	c->reset_at = event->event_id;
	c->reset_base = MemoryContextStrdup(c->context, base);
}

/* The end of a workflow task. */
static void
check_task_end(WfiChecked *c, const WfiEvent *event)
{
	bool		failed = event->type == WFI_EV_TASK_FAILED;
	const char *cause = failed ? wfi_get_text(event->attributes, "cause") : "";
	bool		started = !failed ||
	wfi_get_int(event->attributes, "started_event_id") != 0;

	if (c->scheduled_at == 0)
		complain(c, event, "order", "a pending workflow task", "none");
	else if (started && c->started_at != event->event_id - 1)
		complain(c, event, "order", "directly behind WorkflowTaskStarted",
				 psprintf("behind %s", wfi_event_name(c->last_type)));
	else
	{
		expect_id(c, event, "scheduled_event_id", c->scheduled_at);
		expect_id(c, event, "started_event_id", c->started_at);
	}
	if (event->type != WFI_EV_TASK_COMPLETED &&
		wfi_task_transient(c->replay) && strcmp(cause, "ResetWorkflow") != 0)
		complain(c, event, "order", "a retry has no event unless it completes",
				 psprintf("attempt %d", c->replay->task_attempt));
	if (failed)
		check_task_failed(c, event, cause);
	c->scheduled_at = 0;
	c->started_at = 0;
	c->was_transient = false;
	if (event->type == WFI_EV_TASK_COMPLETED)
		c->completed_at = event->event_id;
	else
		c->told_at = event->event_id;
}

/* Is the id of an activity or timer in use? */
static void
note_reused(WfiChecked *c, const WfiEvent *event, bool in_use)
{
	int64	   *event_id;

	if (!in_use)
		return;
	/* it may have finished meanwhile, and its end be flushed behind this */
	event_id = MemoryContextAlloc(c->context, sizeof(int64));
	*event_id = event->event_id;
	c->reused = lappend(c->reused, event_id);
}

/* The pending activity that an event is about, or NULL. */
static WfiActivity *
activity_of(const WfiChecked *c, const WfiEvent *event)
{
	int64		id = wfi_get_int(event->attributes, "scheduled_event_id");
	WfiActivity *activity = wfi_activity_get(c->replay, id);

	/* that it is an activity at all has been checked */
	if (activity == NULL && id > 0 && id < c->replay->next_event_id &&
		c->types[id] == WFI_EV_ACTIVITY_SCHEDULED)
		complain(c, event, "reference",
				 "scheduled_event_id is a pending activity's",
				 psprintf(INT64_FORMAT ", not pending", id));
	return activity;
}

static void
check_activity_started(WfiChecked *c, const WfiEvent *event)
{
	const WfiActivity *activity = activity_of(c, event);
	WfiOpenStart *start;

	if (activity == NULL)
		return;
	if (event->event_time < activity->first_scheduled_time)
		complain(c, event, "time",
				 psprintf("not before %s, when it was scheduled",
						  wfi_time_text(activity->first_scheduled_time)),
				 wfi_time_text(event->event_time));
	start = palloc(sizeof(WfiOpenStart));
	start->scheduled_event_id = activity->scheduled_event_id;
	start->event_id = event->event_id;
	c->open_starts = lappend(c->open_starts, start);
}

/* The end of an activity names its start, if it was started. */
static void
check_activity_end(WfiChecked *c, const WfiEvent *event, bool buffered)
{
	const WfiActivity *activity = activity_of(c, event);
	int64		started_event_id = 0;
	bool		started = false;
	ListCell   *lc;

	if (activity == NULL)
		return;
	foreach(lc, c->open_starts)
	{
		WfiOpenStart *start = lfirst(lc);

		if (start->scheduled_event_id != activity->scheduled_event_id)
			continue;
		started = true;
		started_event_id = start->event_id;
		c->open_starts = foreach_delete_current(c->open_starts, lc);
	}
	if (!buffered)
		expect_id(c, event, "started_event_id", started_event_id);
	else if (!started && (event->type == WFI_EV_ACTIVITY_COMPLETED ||
						  event->type == WFI_EV_ACTIVITY_FAILED))
		complain(c, event, "order", "behind ActivityTaskStarted",
				 "without one");
	if (event->type == WFI_EV_ACTIVITY_CANCELED)
		expect_id(c, event, "latest_cancel_requested_event_id",
				  activity->cancel_requested_event_id);
}

/* Cancel requests of one activity. */
static void
check_activity_cancel(const WfiChecked *c, const WfiEvent *event)
{
	const WfiActivity *activity = activity_of(c, event);

	if (activity != NULL && activity->cancel_requested_event_id != 0)
		complain(c, event, "order", "one for an activity",
				 psprintf("another one at event " INT64_FORMAT,
						  activity->cancel_requested_event_id));
}

/* The end of a timer names a pending one. */
static void
check_timer_end(const WfiChecked *c, const WfiEvent *event)
{
	int64		id = wfi_get_int(event->attributes, "started_event_id");
	char	   *timer_id = wfi_get_text(event->attributes, "timer_id");
	ListCell   *lc;

	foreach(lc, c->replay->timers)
	{
		const WfiTimer *timer = lfirst(lc);

		if (timer->started_event_id == id &&
			strcmp(timer->timer_id, timer_id) == 0)
			return;
	}
	complain(c, event, "reference",
			 "timer_id and started_event_id are a pending timer's",
			 psprintf("\"%s\", " INT64_FORMAT, timer_id, id));
}

/* What follows from what is pending, in the history or in the buffer. */
static void
check_pending(WfiChecked *c, const WfiEvent *event, bool buffered)
{
	switch (event->type)
	{
		case WFI_EV_TERMINATED:
			{
				char	   *identity = wfi_get_text(event->attributes, "identity");

				c->ended_by_reset = identity != NULL &&
					strcmp(identity, WFI_IDENTITY_RESETTER) == 0;
				break;
			}
		case WFI_EV_CANCEL_REQUESTED:
			if (c->replay->cancel_requested)
				complain(c, event, "order", "once in a run", "again");
			break;
		case WFI_EV_PAUSED:
			if (c->replay->status == WFI_PAUSED)
				complain(c, event, "order", "a run that is not paused",
						 "paused");
			break;
		case WFI_EV_UNPAUSED:
			if (c->replay->status != WFI_PAUSED)
				complain(c, event, "order", "a run that is paused",
						 "not paused");
			break;
		case WFI_EV_ACTIVITY_SCHEDULED:
			note_reused(c, event,
						wfi_activity_find(c->replay,
										  wfi_get_text(event->attributes,
													   "activity_id")) != NULL);
			break;
		case WFI_EV_ACTIVITY_STARTED:
			check_activity_started(c, event);
			break;
		case WFI_EV_ACTIVITY_COMPLETED:
		case WFI_EV_ACTIVITY_FAILED:
		case WFI_EV_ACTIVITY_TIMED_OUT:
		case WFI_EV_ACTIVITY_CANCELED:
			check_activity_end(c, event, buffered);
			break;
		case WFI_EV_ACTIVITY_CANCEL_REQUESTED:
			check_activity_cancel(c, event);
			break;
		case WFI_EV_TIMER_STARTED:
			note_reused(c, event,
						wfi_timer_find(c->replay,
									   wfi_get_text(event->attributes,
													"timer_id")) != NULL);
			break;
		case WFI_EV_TIMER_FIRED:
		case WFI_EV_TIMER_CANCELED:
			check_timer_end(c, event);
			break;
		default:
			break;
	}
}

/* Must a workflow task tell the code of it? */
static bool
must_be_told(WfiEventType type)
{
	return type == WFI_EV_STARTED ||
		(wfi_event_bufferable(type) && type != WFI_EV_PAUSED &&
		 type != WFI_EV_OPTIONS_UPDATED && type != WFI_EV_ACTIVITY_STARTED);
}

/* Workflow tasks, and that nothing comes between their start and end. */
static void
check_tasks(WfiChecked *c, const WfiEvent *event)
{
	switch (event->type)
	{
		case WFI_EV_TASK_SCHEDULED:
			check_task_scheduled(c, event);
			return;
		case WFI_EV_TASK_STARTED:
			check_task_started(c, event);
			return;
		case WFI_EV_TASK_COMPLETED:
		case WFI_EV_TASK_TIMED_OUT:
		case WFI_EV_TASK_FAILED:
			check_task_end(c, event);
			return;
		default:
			break;
	}
	if (c->started_at != 0 && c->started_at == event->event_id - 1)
		complain(c, event, "order", "not behind WorkflowTaskStarted",
				 "before the end of that task");
	if (must_be_told(event->type))
		c->told_at = event->event_id;
}

/*
 * Check the next event of the history.  The current memory context needs not
 * outlive the call.
 */
void
wfi_check_event(WfiChecked *c, WfiEvent *event)
{
	MemoryContext old;

	if (c->broken)
		return;
	if (event->event_id != c->replay->next_event_id)
	{
		wfi_finding(c, c->replay->next_event_id, "event id",
					psprintf("event " INT64_FORMAT, c->replay->next_event_id),
					psprintf("event " INT64_FORMAT, event->event_id));
		c->broken = true;
		return;
	}
	if (event->event_id == 1 && event->type != WFI_EV_STARTED)
	{
		wfi_finding(c, 1, "order", wfi_event_name(WFI_EV_STARTED),
					wfi_event_name(event->type));
		c->broken = true;
		return;
	}
	wfi_event_read(event);
	if (!wfi_check_attributes(c, event, false))
	{
		c->broken = true;
		return;
	}
	old = MemoryContextSwitchTo(c->context);
	check_batch(c, event);
	check_time(c, event);
	check_tasks(c, event);
	if (event->type == WFI_EV_STARTED)
		check_started(c, event);
	check_pending(c, event, false);
	remember(c, event);
	wfi_rebuild_add(c->replay, event);
	MemoryContextSwitchTo(old);
}

/* The history is read. */
void
wfi_check_history_end(WfiChecked *c)
{
	const WfiRun *run = c->run;
	int64		next = c->replay->next_event_id;

	if (c->broken)
		return;
	if (next != run->next_event_id)
	{
		if (next < run->next_event_id)
			wfi_finding(c, next, "event id",
						psprintf("event " INT64_FORMAT, next), "nothing");
		else
			wfi_finding(c, 0, "state",
						psprintf("next_event_id " INT64_FORMAT, next),
						psprintf(INT64_FORMAT, run->next_event_id));
		c->broken = true;
		return;
	}
	end_batch(c);
	wfi_rebuild_end(c->replay);
	if (c->scheduled_at != 0 && wfi_task_transient(c->replay))
		wfi_finding(c, c->scheduled_at, "order",
					"WorkflowTaskScheduled: a retry has no event until it completes",
					psprintf("attempt %d", c->replay->task_attempt));
}

/* One event that waits in the buffer. */
static void
check_buffered(WfiChecked *c, WfiEvent *event, TimestampTz *last)
{
	if (!wfi_event_bufferable(event->type))
		complain(c, event, "buffered event", "not in the buffer", "there");
	if (event->type != WFI_EV_ACTIVITY_STARTED)
	{
		if (event->event_time < *last)
			complain(c, event, "buffered event",
					 psprintf("time not before %s", wfi_time_text(*last)),
					 wfi_time_text(event->event_time));
		*last = Max(*last, event->event_time);
	}
	check_pending(c, event, true);
	wfi_reduce(c->replay, event);
	c->replay->buffered_count++;
	c->replay->buffered_size += wfi_event_size(event);
}

/*
 * Events that wait for the end of a started workflow task.  They have changed
 * the state when they happened.
 */
void
wfi_check_buffer(WfiChecked *c)
{
	TimestampTz last = c->replay->last_event_time;
	int32		position = 0;
	ListCell   *lc;

	if (c->buffer == NIL || c->broken)
		return;
	if (c->run->task_started_event_id == 0)
		wfi_finding(c, 0, "buffered event",
					"none, as no workflow task is started",
					psprintf("%d", list_length(c->buffer)));
	/* only the start of a transient one is not in the history */
	if (c->scheduled_at == 0 && c->replay->task_scheduled_event_id != 0)
		c->replay->task_started_event_id =
			c->replay->task_scheduled_event_id + 1;
	foreach(lc, c->buffer)
	{
		WfiCheckedEvent *buffered = lfirst(lc);

		if (buffered->position != position)
			wfi_finding(c, 0, "buffered event",
						psprintf("position %d", position),
						psprintf("position %d", buffered->position));
		position = buffered->position + 1;
		if (!wfi_check_attributes(c, &buffered->event, true))
		{
			c->broken = true;
			return;
		}
		check_buffered(c, &buffered->event, &last);
	}
	end_batch(c);
}
