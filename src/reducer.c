/*
 * reducer.c
 *	  What kinds of events there are, and what each does to a run's state.
 *
 * wfi_reduce() is the one place where an event changes state.  It needs
 * nothing but the run and the event, so that live operations, a reset's copy
 * and a checker that replays a history agree by construction.  What is not in
 * events is listed in rebuild.c.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "workflow_interrupt.h"

typedef struct EventInfo
{
	const char *name;
	bool		bufferable;		/* waits while a workflow task is started */
	bool		closes_pending; /* goes behind the others when flushed */
	bool		read;			/* wfi_reduce() looks at its attributes */
} EventInfo;

/* In the order of WfiEventType */
static const EventInfo event_info[WFI_EVENT_TYPES] = {
	{"WorkflowExecutionStarted", false, false, true},
	{"WorkflowExecutionCompleted"},
	{"WorkflowExecutionFailed"},
	{"WorkflowExecutionTimedOut"},
	{"WorkflowExecutionCanceled"},
	{"WorkflowExecutionTerminated"},
	{"WorkflowExecutionContinuedAsNew"},
	{"WorkflowExecutionCancelRequested", true},
	{"WorkflowExecutionSignaled", true, false, true},
	{"WorkflowExecutionOptionsUpdated", true},
	{"WorkflowExecutionPaused", true},
	{"WorkflowExecutionUnpaused", true},
	{"WorkflowExecutionUpdateAdmitted", true},
	{"WorkflowExecutionUpdateAccepted"},
	{"WorkflowExecutionUpdateCompleted"},
	{"WorkflowTaskScheduled"},
	{"WorkflowTaskStarted", false, false, true},
	{"WorkflowTaskCompleted"},
	{"WorkflowTaskTimedOut"},
	{"WorkflowTaskFailed", false, false, true},
	{"ActivityTaskScheduled", false, false, true},
	{"ActivityTaskStarted", true},
	{"ActivityTaskCompleted", true, true, true},
	{"ActivityTaskFailed", true, true, true},
	{"ActivityTaskTimedOut", true, true, true},
	{"ActivityTaskCancelRequested", false, false, true},
	{"ActivityTaskCanceled", true, true, true},
	{"TimerStarted", false, false, true},
	{"TimerFired", true, false, true},
	{"TimerCanceled", false, false, true},
	{"MarkerRecorded"},
	{"UpsertWorkflowSearchAttributes", false, false, true},
	{"WorkflowPropertiesModified", false, false, true},
	{"StartChildWorkflowExecutionInitiated"},
	{"StartChildWorkflowExecutionFailed", true},
	{"ChildWorkflowExecutionStarted", true},
	{"ChildWorkflowExecutionCompleted", true, true},
	{"ChildWorkflowExecutionFailed", true, true},
	{"ChildWorkflowExecutionCanceled", true, true},
	{"ChildWorkflowExecutionTimedOut", true, true},
	{"ChildWorkflowExecutionTerminated", true, true},
	{"RequestCancelExternalWorkflowExecutionInitiated"},
	{"RequestCancelExternalWorkflowExecutionFailed", true},
	{"ExternalWorkflowExecutionCancelRequested", true},
	{"SignalExternalWorkflowExecutionInitiated"},
	{"SignalExternalWorkflowExecutionFailed", true},
	{"ExternalWorkflowExecutionSignaled", true},
};

/* In the order of WfiStatus */
static const char *const status_names[] = {
	"Running", "Completed", "Failed", "Canceled", "Terminated",
	"ContinuedAsNew", "TimedOut", "Paused"
};

/* Label of an event type. */
const char *
wfi_event_name(WfiEventType type)
{
	return event_info[type].name;
}

/* Label of a status. */
const char *
wfi_status_name(WfiStatus status)
{
	return status_names[status];
}

/* Does an event of this type wait while a workflow task is started? */
bool
wfi_event_bufferable(WfiEventType type)
{
	return event_info[type].bufferable;
}

/* Does it close something pending, and so go last when flushed? */
bool
wfi_event_closes_pending(WfiEventType type)
{
	return event_info[type].closes_pending;
}

/* Replace one of the two objects that the code can change. */
static void
reduce_object(WfiRun *run, Jsonb **object, bool *changed, Jsonb *value)
{
	if (value == NULL)
		return;
	if (*object)
		run->state_size -= VARSIZE(*object);
	*object = wfi_merge_objects(*object, value);
	run->state_size += VARSIZE(*object);
	*changed = true;
}

/* No workflow task is pending any more. */
static void
reduce_task_end(WfiRun *run)
{
	run->task_scheduled_event_id = 0;
	run->task_started_event_id = 0;
	run->task_identity = NULL;
	run->close_attempted = false;
}

/* The run is over. */
static void
reduce_close(WfiRun *run, WfiStatus status, TimestampTz time)
{
	reduce_task_end(run);
	run->status = status;
	run->close_time = time;
	run->first_task_time = WFI_NEVER;
}

/* The clocks of the run's own time-outs begin to run. */
static void
reduce_start_time(WfiRun *run, TimestampTz time, int64 backoff)
{
	run->start_time = time;
	run->execution_time = time + backoff;
	run->execution_expiration_time = run->execution_timeout == 0 ? WFI_NEVER :
		run->start_time + run->execution_timeout;
	run->run_expiration_time = run->run_timeout == 0 ? WFI_NEVER :
		Min(run->execution_time + run->run_timeout,
			run->execution_expiration_time);
}

/* The first event sets up nearly everything. */
static void
reduce_started(WfiRun *run, const WfiEvent *event)
{
	const Jsonb *attributes = event->attributes;
	int64		backoff = wfi_get_duration(attributes,
										   "first_workflow_task_backoff");

	run->status = WFI_RUNNING;
	run->execution_timeout = wfi_get_duration(attributes,
											  "workflow_execution_timeout");
	run->run_timeout = wfi_get_duration(attributes, "workflow_run_timeout");
	run->task_timeout = wfi_get_duration(attributes, "workflow_task_timeout");
	reduce_start_time(run, event->event_time, backoff);
	run->first_task_time = backoff ? run->execution_time : WFI_NEVER;
	run->task_attempt = 1;
	run->memo_loaded = true;
	reduce_object(run, &run->memo, &run->memo_changed,
				  wfi_get_json(attributes, "memo"));
	reduce_object(run, &run->search_attributes,
				  &run->search_attributes_changed,
				  wfi_get_json(attributes, "search_attributes"));
}

/* A signal; its request id will be known. */
static void
reduce_signaled(WfiRun *run, const WfiEvent *event)
{
	char	   *request_id = wfi_get_text(event->attributes, "request_id");

	run->signal_count++;
	if (request_id != NULL)
		run->signal_requests = lappend(run->signal_requests, request_id);
}

/* No task is due while the run is paused, not even one without events. */
static void
reduce_paused(WfiRun *run)
{
	run->status = WFI_PAUSED;
	if (run->task_scheduled_event_id != 0 && run->task_started_event_id == 0 &&
		wfi_task_transient(run))
	{
		reduce_task_end(run);
		run->task_attempt = 1;
	}
}

/*
 * The copied prefix of another run ends here and this run begins: all of its
 * clocks but those of timers start anew.  Such events in the prefix itself
 * are about other runs.
 */
static void
reduce_reset(WfiRun *run, const WfiEvent *event)
{
	char	   *new_run_id = wfi_get_text(event->attributes, "new_run_id");

	if (new_run_id == NULL ||
		strcmp(new_run_id, wfi_uuid_text(&run->run_id)) != 0)
		return;
	reduce_start_time(run, event->event_time, 0);
	wfi_activities_rescheduled(run, event->event_time);
}

/* A workflow task failed: the next one is its next attempt, or a first one. */
static void
reduce_task_failed(WfiRun *run, const WfiEvent *event)
{
	char	   *cause = wfi_get_text(event->attributes, "cause");

	reduce_task_end(run);
	run->task_attempt++;
	if (cause == NULL)
		return;
	if (strcmp(cause, "ResetWorkflow") == 0)
	{
		run->task_attempt = 1;
		reduce_reset(run, event);
	}
	else if (strcmp(cause, "WorkflowPauseRequestedBeforeTaskStarted") == 0)
		run->task_attempt = 1;
	else if (strcmp(cause, "UnhandledCommand") == 0)
		run->close_attempted = true;
}

/* Events of workflow tasks; one that fails has a function of its own. */
static void
reduce_task(WfiRun *run, const WfiEvent *event)
{
	switch (event->type)
	{
		case WFI_EV_TASK_SCHEDULED:
			run->task_scheduled_event_id = event->event_id;
			run->task_started_event_id = 0;
			if (wfi_task_transient(run))
				run->task_attempt = (int32) wfi_get_int(event->attributes,
														"attempt");
			run->task_scheduled_time = event->event_time;
			run->task_original_scheduled_time = event->event_time;
			run->first_task_time = WFI_NEVER;
			break;
		case WFI_EV_TASK_STARTED:
			run->task_started_event_id = event->event_id;
			run->task_started_time = event->event_time;
			run->task_identity = wfi_get_text(event->attributes, "identity");
			break;
		case WFI_EV_TASK_COMPLETED:
			run->previous_started_event_id = run->task_started_event_id;
			run->task_attempt = 1;
			reduce_task_end(run);
			break;
		default:				/* WFI_EV_TASK_TIMED_OUT */
			reduce_task_end(run);
			run->task_attempt++;
			break;
	}
}

/* Events of timers. */
static void
reduce_timer(WfiRun *run, const WfiEvent *event)
{
	char	   *timer_id = wfi_get_text(event->attributes, "timer_id");

	if (timer_id == NULL)
		return;
	if (event->type == WFI_EV_TIMER_STARTED)
		wfi_timer_add(run, timer_id, event->event_id,
					  event->event_time +
					  wfi_get_duration(event->attributes,
									   "start_to_fire_timeout"));
	else
		wfi_timer_remove(run, timer_id);
	pfree(timer_id);
}

/* Events of activities that change what is pending. */
static void
reduce_activity(WfiRun *run, const WfiEvent *event)
{
	int64		scheduled_event_id;

	if (event->type == WFI_EV_ACTIVITY_SCHEDULED)
	{
		wfi_activity_add(run, event);
		return;
	}
	scheduled_event_id = wfi_get_int(event->attributes, "scheduled_event_id");
	if (event->type == WFI_EV_ACTIVITY_CANCEL_REQUESTED)
		wfi_activity_cancel_requested(run, scheduled_event_id,
									  event->event_id);
	else
		wfi_activity_remove(run, scheduled_event_id);
}

/* The status that an event leaves a run with which it closes. */
static WfiStatus
closed_status(WfiEventType type)
{
	switch (type)
	{
		case WFI_EV_COMPLETED:
			return WFI_COMPLETED;
		case WFI_EV_FAILED:
			return WFI_FAILED;
		case WFI_EV_TIMED_OUT:
			return WFI_TIMED_OUT;
		case WFI_EV_CANCELED:
			return WFI_CANCELED;
		case WFI_EV_TERMINATED:
			return WFI_TERMINATED;
		default:
			return WFI_CONTINUED_AS_NEW;
	}
}

/*
 * Does wfi_reduce() look at the attributes of an event of this type, when the
 * run is in this state?  Others need not be read.
 */
bool
wfi_reduce_reads(const WfiRun *run, WfiEventType type)
{
	return event_info[type].read ||
		(type == WFI_EV_TASK_SCHEDULED && wfi_task_transient(run));
}

/*
 * Apply an event to the run's state.  A bufferable event is applied when it
 * happens, even if it gets its id only later.
 */
void
wfi_reduce(WfiRun *run, const WfiEvent *event)
{
	switch (event->type)
	{
		case WFI_EV_STARTED:
			reduce_started(run, event);
			break;
		case WFI_EV_COMPLETED:
		case WFI_EV_FAILED:
		case WFI_EV_TIMED_OUT:
		case WFI_EV_CANCELED:
		case WFI_EV_TERMINATED:
		case WFI_EV_CONTINUED_AS_NEW:
			reduce_close(run, closed_status(event->type), event->event_time);
			break;
		case WFI_EV_CANCEL_REQUESTED:
			run->cancel_requested = true;
			run->first_task_time = WFI_NEVER;	/* no delay for cancels */
			break;
		case WFI_EV_SIGNALED:
			reduce_signaled(run, event);
			break;
		case WFI_EV_PAUSED:
			reduce_paused(run);
			break;
		case WFI_EV_UNPAUSED:
			run->status = WFI_RUNNING;
			break;
		case WFI_EV_TASK_SCHEDULED:
		case WFI_EV_TASK_STARTED:
		case WFI_EV_TASK_COMPLETED:
		case WFI_EV_TASK_TIMED_OUT:
			reduce_task(run, event);
			break;
		case WFI_EV_TASK_FAILED:
			reduce_task_failed(run, event);
			break;
		case WFI_EV_TIMER_STARTED:
		case WFI_EV_TIMER_FIRED:
		case WFI_EV_TIMER_CANCELED:
			reduce_timer(run, event);
			break;
		case WFI_EV_ACTIVITY_SCHEDULED:
		case WFI_EV_ACTIVITY_CANCEL_REQUESTED:
		case WFI_EV_ACTIVITY_COMPLETED:
		case WFI_EV_ACTIVITY_FAILED:
		case WFI_EV_ACTIVITY_TIMED_OUT:
		case WFI_EV_ACTIVITY_CANCELED:
			reduce_activity(run, event);
			break;
		case WFI_EV_SEARCH_ATTRIBUTES_UPSERTED:
			reduce_object(run, &run->search_attributes,
						  &run->search_attributes_changed,
						  wfi_get_json(event->attributes,
									   "search_attributes"));
			break;
		case WFI_EV_PROPERTIES_MODIFIED:
			reduce_object(run, &run->memo, &run->memo_changed,
						  wfi_get_json(event->attributes, "upserted_memo"));
			break;
		default:
			/* markers and the like: history only */
			break;
	}
}
