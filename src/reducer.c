/*
 * reducer.c
 *	  What kinds of events there are, and what each does to a run's state.
 *
 * wfi_reduce() is the one place where an event changes state.  It needs
 * nothing but the run and the event, so that live operations, a reset's copy
 * and a checker that replays a history agree by construction.  What is not in
 * events (attempts, the token of a started task) is changed by the
 * transitions in workflow_task.c.
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
} EventInfo;

/* In the order of WfiEventType */
static const EventInfo event_info[WFI_EVENT_TYPES] = {
	{"WorkflowExecutionStarted"},
	{"WorkflowExecutionCompleted"},
	{"WorkflowExecutionFailed"},
	{"WorkflowExecutionTimedOut"},
	{"WorkflowExecutionCanceled"},
	{"WorkflowExecutionTerminated"},
	{"WorkflowExecutionContinuedAsNew"},
	{"WorkflowExecutionCancelRequested", true},
	{"WorkflowExecutionSignaled", true},
	{"WorkflowExecutionOptionsUpdated", true},
	{"WorkflowExecutionPaused", true},
	{"WorkflowExecutionUnpaused", true},
	{"WorkflowExecutionUpdateAdmitted", true},
	{"WorkflowExecutionUpdateAccepted"},
	{"WorkflowExecutionUpdateCompleted"},
	{"WorkflowTaskScheduled"},
	{"WorkflowTaskStarted"},
	{"WorkflowTaskCompleted"},
	{"WorkflowTaskTimedOut"},
	{"WorkflowTaskFailed"},
	{"ActivityTaskScheduled"},
	{"ActivityTaskStarted", true},
	{"ActivityTaskCompleted", true, true},
	{"ActivityTaskFailed", true, true},
	{"ActivityTaskTimedOut", true, true},
	{"ActivityTaskCancelRequested"},
	{"ActivityTaskCanceled", true, true},
	{"TimerStarted"},
	{"TimerFired", true},
	{"TimerCanceled"},
	{"MarkerRecorded"},
	{"UpsertWorkflowSearchAttributes"},
	{"WorkflowPropertiesModified"},
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
	run->start_time = event->event_time;
	run->execution_time = event->event_time + backoff;
	run->first_task_time = backoff ? run->execution_time : WFI_NEVER;
	run->execution_expiration_time = run->execution_timeout == 0 ? WFI_NEVER :
		run->start_time + run->execution_timeout;
	run->run_expiration_time = run->run_timeout == 0 ? WFI_NEVER :
		Min(run->execution_time + run->run_timeout,
			run->execution_expiration_time);
	run->task_attempt = 1;
	run->memo_loaded = true;
	reduce_object(run, &run->memo, &run->memo_changed,
				  wfi_get_json(attributes, "memo"));
	reduce_object(run, &run->search_attributes,
				  &run->search_attributes_changed,
				  wfi_get_json(attributes, "search_attributes"));
}

/*
 * Apply an event to the run's state.  A bufferable event is applied when it
 * happens, even if it gets its id only later.
 */
void
wfi_reduce(WfiRun *run, const WfiEvent *event)
{
	const Jsonb *attributes = event->attributes;

	switch (event->type)
	{
		case WFI_EV_STARTED:
			reduce_started(run, event);
			break;
		case WFI_EV_COMPLETED:
			reduce_close(run, WFI_COMPLETED, event->event_time);
			break;
		case WFI_EV_FAILED:
			reduce_close(run, WFI_FAILED, event->event_time);
			break;
		case WFI_EV_TIMED_OUT:
			reduce_close(run, WFI_TIMED_OUT, event->event_time);
			break;
		case WFI_EV_CANCELED:
			reduce_close(run, WFI_CANCELED, event->event_time);
			break;
		case WFI_EV_TERMINATED:
			reduce_close(run, WFI_TERMINATED, event->event_time);
			break;
		case WFI_EV_CONTINUED_AS_NEW:
			reduce_close(run, WFI_CONTINUED_AS_NEW, event->event_time);
			break;
		case WFI_EV_CANCEL_REQUESTED:
			run->cancel_requested = true;
			run->first_task_time = WFI_NEVER;	/* no delay for cancels */
			break;
		case WFI_EV_SIGNALED:
			run->signal_count++;
			break;
		case WFI_EV_PAUSED:
			run->status = WFI_PAUSED;
			break;
		case WFI_EV_UNPAUSED:
			run->status = WFI_RUNNING;
			break;
		case WFI_EV_TASK_SCHEDULED:
			run->task_scheduled_event_id = event->event_id;
			run->task_started_event_id = 0;
			run->task_attempt = (int32) wfi_get_int(attributes, "attempt");
			run->task_scheduled_time = event->event_time;
			run->task_original_scheduled_time = event->event_time;
			run->first_task_time = WFI_NEVER;
			break;
		case WFI_EV_TASK_STARTED:
			run->task_started_event_id = event->event_id;
			run->task_started_time = event->event_time;
			run->task_identity = wfi_get_text(attributes, "identity");
			break;
		case WFI_EV_TASK_COMPLETED:
			run->previous_started_event_id =
				wfi_get_int(attributes, "started_event_id");
			run->task_attempt = 1;
			reduce_task_end(run);
			break;
		case WFI_EV_TASK_TIMED_OUT:
			reduce_task_end(run);
			run->task_attempt++;
			break;
		case WFI_EV_TASK_FAILED:
			{
				char	   *cause = wfi_get_text(attributes, "cause");

				reduce_task_end(run);
				run->task_attempt++;
				if (cause == NULL)
					break;
				if (strcmp(cause, "ResetWorkflow") == 0 ||
					strcmp(cause, "WorkflowPauseRequestedBeforeTaskStarted") == 0)
					run->task_attempt = 1;
				else if (strcmp(cause, "UnhandledCommand") == 0)
					run->close_attempted = true;
				break;
			}
		case WFI_EV_TIMER_STARTED:
			wfi_timer_add(run, wfi_get_text(attributes, "timer_id"),
						  event->event_id,
						  event->event_time +
						  wfi_get_duration(attributes,
										   "start_to_fire_timeout"));
			break;
		case WFI_EV_TIMER_FIRED:
		case WFI_EV_TIMER_CANCELED:
			wfi_timer_remove(run, wfi_get_text(attributes, "timer_id"));
			break;
		case WFI_EV_ACTIVITY_SCHEDULED:
			wfi_activity_add(run, event);
			break;
		case WFI_EV_ACTIVITY_CANCEL_REQUESTED:
			wfi_activity_cancel_requested(run,
										  wfi_get_int(attributes,
													  "scheduled_event_id"),
										  event->event_id);
			break;
		case WFI_EV_ACTIVITY_COMPLETED:
		case WFI_EV_ACTIVITY_FAILED:
		case WFI_EV_ACTIVITY_TIMED_OUT:
		case WFI_EV_ACTIVITY_CANCELED:
			wfi_activity_remove(run, wfi_get_int(attributes,
												 "scheduled_event_id"));
			break;
		case WFI_EV_SEARCH_ATTRIBUTES_UPSERTED:
			reduce_object(run, &run->search_attributes,
						  &run->search_attributes_changed,
						  wfi_get_json(attributes, "search_attributes"));
			break;
		case WFI_EV_PROPERTIES_MODIFIED:
			reduce_object(run, &run->memo, &run->memo_changed,
						  wfi_get_json(attributes, "upserted_memo"));
			break;
		default:
			/* markers and the like: history only */
			break;
	}
}
