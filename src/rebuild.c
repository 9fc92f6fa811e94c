/*
 * rebuild.c
 *	  The state of a run from its history: events 1 to k, and nothing else.
 *
 * A reset takes the state of the new run from the copied prefix this way, and
 * a checker compares what is stored with it.  What comes out is what live
 * operations had at the end of the batch of event k, but for what is not in
 * histories:
 *
 *	 - events that wait in the buffer (reducing them as well gives the state
 *	   that is stored with them), and which of them were told to the worker;
 *	 - attempts of workflow tasks above the second, the start of a transient
 *	   one, tokens, the first schedule of a row of heartbeating tasks, and that
 *	   a transient task was refused for UnhandledCommand (close_attempted);
 *	 - attempts, starts, heartbeats and last failures of activities, whether
 *	   they are in a queue, and what operators did to them;
 *	 - request ids of cancel requests, that the start delay of a run was over
 *	   while it was paused, planned wake-ups;
 *	 - which run is current, and what a run became the base of.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "workflow_interrupt.h"

/*
 * A run before its first event, with the fixed facts of another: its names,
 * lineage and parent.
 */
WfiRun *
wfi_rebuild_begin(const WfiRun *of)
{
	WfiRun	   *run = palloc0(sizeof(WfiRun));

	run->shard = of->shard;
	run->run_id = of->run_id;
	run->first_execution_run_id = of->first_execution_run_id;
	run->original_execution_run_id = of->original_execution_run_id;
	run->namespace = of->namespace;
	run->workflow_id = of->workflow_id;
	run->workflow_type = of->workflow_type;
	run->task_queue = of->task_queue;
	run->create_request_id = of->create_request_id;
	run->parent_run_id = of->parent_run_id;
	run->parent_namespace = of->parent_namespace;
	run->parent_workflow_id = of->parent_workflow_id;
	run->parent_initiated_event_id = of->parent_initiated_event_id;

	run->next_event_id = 1;
	run->last_event_time = DT_NOBEGIN;
	run->close_time = WFI_NEVER;
	run->wakeup_time = WFI_NEVER;
	run->task_scheduled_time = WFI_NEVER;
	run->task_original_scheduled_time = WFI_NEVER;
	run->task_started_time = WFI_NEVER;

	/* nothing is to be looked up */
	run->is_new = true;
	run->memo_loaded = true;
	run->timers_loaded = true;
	run->activities_loaded = true;
	run->buffer_loaded = true;
	return run;
}

/*
 * A batch is complete.  When a workflow task failed in it and no other one
 * was scheduled, a transient one is pending, which has no events.
 */
static void
end_batch(WfiRun *run)
{
	if (run->status != WFI_RUNNING || run->task_scheduled_event_id != 0 ||
		!wfi_task_transient(run))
		return;
	run->task_scheduled_event_id = run->next_event_id;
	run->task_scheduled_time = run->last_event_time;
	run->task_original_scheduled_time = run->last_event_time;
}

/*
 * Add the next event.  Its attributes may be left unread if the reducer does
 * not look at them.
 */
void
wfi_rebuild_add(WfiRun *run, WfiEvent *event)
{
	if (event->batch_id != run->batch_id)
	{
		end_batch(run);
		run->batch_id = event->batch_id;
	}
	wfi_run_place(run, event);
	wfi_reduce(run, event);
}

/* That was the last event. */
void
wfi_rebuild_end(WfiRun *run)
{
	end_batch(run);
	run->batch_id = 0;
	if (wfi_run_open(run))
		return;
	/* nothing is pending in a closed run */
	run->activities = NIL;
	run->pending_activities = 0;
	run->timers = NIL;
	run->pending_timers = 0;
}

/* One event that is read, on its way into the state. */
typedef struct Replay
{
	WfiRun	   *run;
	WfiRebuildVisitor visit;
	void	   *arg;
	MemoryContext scratch;
	int			unreset;		/* events since the scratch memory was reset */
} Replay;

static void
replay(WfiEvent *event, void *arg)
{
	Replay	   *state = arg;

	if (event->batch_id != state->run->batch_id)
		end_batch(state->run);
	if (state->visit)
		state->visit(state->run, event, state->arg);
	if (wfi_reduce_reads(state->run, event->type))
	{
		MemoryContext old = MemoryContextSwitchTo(state->scratch);

		wfi_event_read(event);
		MemoryContextSwitchTo(old);
	}
	wfi_rebuild_add(state->run, event);
	if (++state->unreset == 100)
	{
		MemoryContextReset(state->scratch);
		state->unreset = 0;
	}
}

/*
 * The state of a run after the first events of its history.  With another
 * run id: the state of a run with that id whose history begins with these
 * events.  The visitor sees every event together with the state before it.
 */
WfiRun *
wfi_rebuild_visit(const WfiRun *of, const pg_uuid_t *run_id,
				  int64 last_event_id, WfiRebuildVisitor visit, void *arg)
{
	Replay		state;

	state.run = wfi_rebuild_begin(of);
	if (run_id != NULL)
		state.run->run_id = *run_id;
	state.scratch = AllocSetContextCreate(CurrentMemoryContext, "replay",
										  ALLOCSET_DEFAULT_SIZES);
	state.unreset = 0;
	state.visit = visit;
	state.arg = arg;
	wfi_store_scan_events(of->shard, &of->run_id, 1, last_event_id, replay,
						  &state);
	MemoryContextDelete(state.scratch);
	wfi_rebuild_end(state.run);
	return state.run;
}

/* The same without a visitor. */
WfiRun *
wfi_rebuild(const WfiRun *of, const pg_uuid_t *run_id, int64 last_event_id)
{
	return wfi_rebuild_visit(of, run_id, last_event_id, NULL, NULL);
}
