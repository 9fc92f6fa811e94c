/*
 * eager.c
 *	  Eager execution: a worker goes on with what follows from its reply.
 *
 * The reply to an activity makes a workflow task, and that to a workflow task
 * makes activities.  A worker that can run one of them itself takes it in the
 * reply's transaction: the task is started as a poll would start it, but it
 * never is in a queue.  So a step of a workflow takes two transactions instead
 * of four, and nobody has to be woken up for it.
 */
#include "postgres.h"

#include "eager.h"

/* Size that a history must have left for the start of a workflow task */
#define START_SIZE 4096

/* Would the start of the workflow task take the history beyond a limit? */
static bool
no_room(const WfiRun *run)
{
	return run->next_event_id > wfi_history_count_limit ||
		run->history_size + START_SIZE > wfi_history_size_limit;
}

static bool
take_workflow_task(WfiRun *run, const WfiEager *eager)
{
	WfiPolledTask *task;

	if (!run->dispatch || no_room(run) ||
		!eager->wants(WFI_TASK_WORKFLOW, run->namespace, run->task_queue,
					  run->workflow_type))
		return false;
	run->dispatch = false;
	wfi_run_new_batch(run);
	wfi_task_start(run, eager->identity);
	task = palloc0(sizeof(WfiPolledTask));
	wfi_task_polled(run, eager->identity, task);
	eager->receive(task, eager->arg);
	return true;
}

/* The event by which the operation schedules an activity, or NULL. */
static const WfiEvent *
scheduled_event(const WfiRun *run, const WfiActivity *activity)
{
	ListCell   *lc;

	foreach(lc, run->events)
	{
		const WfiEvent *event = lfirst(lc);

		if (event->event_id == activity->scheduled_event_id)
			return event;
	}
	return NULL;
}

static bool
take_activity(WfiRun *run, WfiActivity *activity, const WfiEager *eager)
{
	const WfiEvent *event = scheduled_event(run, activity);
	WfiPolledTask *task;

	if (!activity->dispatch_now || event == NULL ||
		!eager->wants(WFI_TASK_ACTIVITY, run->namespace, activity->task_queue,
					  activity->activity_type))
		return false;
	activity->dispatch_now = false;
	wfi_activity_start(run, activity, eager->identity);
	task = palloc0(sizeof(WfiPolledTask));
	wfi_activity_polled(run, activity, event, eager->identity, task);
	eager->receive(task, eager->arg);
	return true;
}

/*
 * The operation is about to be stored: start one of the tasks that it makes,
 * if its worker wants any.
 */
void
wfi_eager_take(WfiRun *run)
{
	ListCell   *lc;

	if (run->eager == NULL || run->status != WFI_RUNNING ||
		take_workflow_task(run, run->eager))
		return;
	foreach(lc, run->activities)
	{
		if (take_activity(run, lfirst(lc), run->eager))
			return;
	}
}
