/*
 * workflow_task.c
 *	  Life of a workflow task.
 *
 *	      schedule          start            complete
 *	 none --------> scheduled ----> started -----------> none, attempt 1
 *	  ^                                |
 *	  +---- fail, time out: attempt + 1+
 *
 * At most one task is pending in a run.  An attempt above 1 is transient: its
 * events are not stored, history reads make them up, and they are written
 * when it completes.  When another event gets its id before a transient task
 * is started, the task starts as a normal first attempt behind that event.
 */
#include "postgres.h"

#include "workflow_interrupt.h"

/* From this attempt on the time limit grows, from this interval */
#define RETRY_MIN_ATTEMPTS 3
#define RETRY_INITIAL_INTERVAL (5 * USECS_PER_SEC)

/* Is the pending task, or would the next one be, a transient one? */
bool
wfi_task_transient(const WfiRun *run)
{
	return run->task_attempt > 1;
}

/* How long the pending or next task may run, in microseconds. */
int64
wfi_task_time_limit(const WfiRun *run)
{
	int64		most = (int64) wfi_task_retry_max_interval * USECS_PER_SEC;
	int64		delay = RETRY_INITIAL_INTERVAL;

	if (run->task_attempt <= RETRY_MIN_ATTEMPTS)
		return run->task_timeout;
	for (int i = RETRY_MIN_ATTEMPTS + 1; i < run->task_attempt && delay < most;
		 i++)
		delay *= 2;
	return run->task_timeout + Min(delay, most);
}

/* Attributes of WorkflowTaskScheduled for the pending task. */
Jsonb *
wfi_task_scheduled_attributes(const WfiRun *run)
{
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_text(&object, "task_queue", run->task_queue);
	wfi_put_duration(&object, "start_to_close_timeout",
					 wfi_task_time_limit(run));
	wfi_put_int(&object, "attempt", run->task_attempt);
	return wfi_object_end(&object);
}

/* Attributes of WorkflowTaskStarted for the pending task. */
Jsonb *
wfi_task_started_attributes(const WfiRun *run)
{
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_id(&object, "scheduled_event_id", run->task_scheduled_event_id);
	wfi_put_text(&object, "identity", run->task_identity);
	if (run->next_event_id > wfi_history_count_suggest ||
		run->history_size > wfi_history_size_suggest)
		wfi_put_bool(&object, "suggest_continue_as_new", true);
	wfi_put_int(&object, "history_size_bytes", run->history_size);
	return wfi_object_end(&object);
}

/*
 * Schedule a task, unless one is pending or the run is paused.  What waits in
 * the buffer comes first, and makes the task a normal one.
 */
void
wfi_task_schedule(WfiRun *run)
{
	wfi_task_schedule_heartbeat(run, run->now);
}

/* The same, for a task that goes on with the work of one scheduled before. */
void
wfi_task_schedule_heartbeat(WfiRun *run, TimestampTz original)
{
	if (run->status != WFI_RUNNING || run->task_scheduled_event_id != 0)
		return;
	if (wfi_run_has_buffered(run))
	{
		wfi_run_flush(run);
		run->task_attempt = 1;
	}
	if (wfi_task_transient(run))
	{
		run->task_scheduled_event_id = run->next_event_id;
		run->task_scheduled_time = run->now;
	}
	else
		wfi_run_add(run, WFI_EV_TASK_SCHEDULED,
					wfi_task_scheduled_attributes(run));
	run->task_original_scheduled_time = original;
	run->dispatch = true;
}

/* Give the scheduled task to a worker. */
void
wfi_task_start(WfiRun *run, const char *identity)
{
	Assert(run->task_scheduled_event_id != 0 && run->task_started_event_id == 0);
	run->task_identity = pstrdup(identity);
	wfi_random_uuid(&run->task_secret);
	wfi_hash_secret(&run->task_secret, &run->task_token);
	if (wfi_task_transient(run) &&
		run->task_scheduled_event_id != run->next_event_id)
	{
		TimestampTz original = run->task_original_scheduled_time;

		/* something happened since: it becomes a normal task behind that */
		run->task_attempt = 1;
		wfi_run_add(run, WFI_EV_TASK_SCHEDULED,
					wfi_task_scheduled_attributes(run));
		run->task_original_scheduled_time = original;
	}
	if (wfi_task_transient(run))
	{
		run->task_started_event_id = run->task_scheduled_event_id + 1;
		run->task_started_time = run->now;
	}
	else
	{
		wfi_run_add(run, WFI_EV_TASK_STARTED, wfi_task_started_attributes(run));
		wfi_run_new_batch(run);
	}
}

/* The attributes that name the events of the task that ends. */
static void
put_task(WfiObject *object, const WfiRun *run)
{
	wfi_put_id(object, "scheduled_event_id", run->task_scheduled_event_id);
	wfi_put_id(object, "started_event_id", run->task_started_event_id);
}

/* The started task is done: WorkflowTaskCompleted, which is returned. */
WfiEvent *
wfi_task_complete(WfiRun *run, const char *identity)
{
	WfiObject	object;

	if (wfi_task_transient(run))
	{
		/* it succeeds after all, so its events become real, with their times */
		TimestampTz now = run->now;
		TimestampTz started_time = run->task_started_time;

		/* as the worker saw it: of the history before these two events */
		Jsonb	   *started = wfi_task_started_attributes(run);

		run->now = run->task_scheduled_time;
		wfi_run_add(run, WFI_EV_TASK_SCHEDULED,
					wfi_task_scheduled_attributes(run));
		run->now = started_time;
		wfi_run_add(run, WFI_EV_TASK_STARTED, started);
		wfi_run_new_batch(run);
		run->now = now;
	}
	wfi_object_begin(&object);
	put_task(&object, run);
	wfi_put_text(&object, "identity", identity);
	return wfi_run_add(run, WFI_EV_TASK_COMPLETED, wfi_object_end(&object));
}

/*
 * The task failed; the caller goes on with what is next.  A transient task
 * leaves no event.
 */
void
wfi_task_fail(WfiRun *run, const char *cause, const Jsonb *failure,
			  const char *identity)
{
	WfiObject	object;
	WfiEvent	event = {0};

	wfi_object_begin(&object);
	put_task(&object, run);
	wfi_put_text(&object, "cause", cause);
	wfi_put_json(&object, "failure", failure);
	wfi_put_text(&object, "identity", identity);
	event.type = WFI_EV_TASK_FAILED;
	event.attributes = wfi_object_end(&object);
	if (wfi_task_transient(run))
		wfi_reduce(run, &event);
	else
		wfi_run_add(run, WFI_EV_TASK_FAILED, event.attributes);
}

/*
 * A reset cuts the history of a run at its pending task: that one fails, after
 * what it lacks of events has been made up.
 */
void
wfi_task_reset(WfiRun *run, const pg_uuid_t *base_run_id, const char *reason)
{
	WfiObject	object;

	Assert(run->task_scheduled_event_id != 0);
	/* by a history, one without events is never started */
	if (wfi_task_transient(run) && run->task_started_event_id == 0)
	{
		/* behind an event that it has not seen it is a first attempt */
		if (run->task_scheduled_event_id != run->next_event_id)
			run->task_attempt = 1;
		wfi_run_add(run, WFI_EV_TASK_SCHEDULED,
					wfi_task_scheduled_attributes(run));
	}
	if (run->task_started_event_id == 0)
	{
		run->task_identity = pstrdup(WFI_IDENTITY_ENGINE);
		wfi_run_add(run, WFI_EV_TASK_STARTED, wfi_task_started_attributes(run));
		wfi_run_new_batch(run);
	}
	wfi_object_begin(&object);
	put_task(&object, run);
	wfi_put_text(&object, "cause", "ResetWorkflow");
	wfi_object_nested(&object, "failure");
	wfi_put_text(&object, "message", reason);
	wfi_object_nested(&object, "reset_workflow_failure_info");
	wfi_object_nested_end(&object);
	wfi_object_nested_end(&object);
	wfi_put_text(&object, "identity", WFI_IDENTITY_ENGINE);
	wfi_put_uuid(&object, "base_run_id", base_run_id);
	wfi_put_uuid(&object, "new_run_id", &run->run_id);
	wfi_run_add(run, WFI_EV_TASK_FAILED, wfi_object_end(&object));
}

/* The started task took too long; a transient one leaves no event. */
void
wfi_task_time_out(WfiRun *run)
{
	WfiObject	object;
	WfiEvent	event = {0};

	wfi_object_begin(&object);
	put_task(&object, run);
	wfi_put_text(&object, "timeout_type", "StartToClose");
	event.type = WFI_EV_TASK_TIMED_OUT;
	event.attributes = wfi_object_end(&object);
	if (wfi_task_transient(run))
		wfi_reduce(run, &event);
	else
		wfi_run_add(run, WFI_EV_TASK_TIMED_OUT, event.attributes);
}
