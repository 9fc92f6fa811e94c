/*
 * reset_plan.c
 *	  wf_reset_plan(): what wf_reset() would do, found out the same way, and
 *	  nothing changed.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "reset.h"

PG_FUNCTION_INFO_V1(wfi_reset_plan);

/* Where rows of the plan go */
typedef struct ResetPlan
{
	ReturnSetInfo *rsinfo;
	WfiReset	reset;
} ResetPlan;

/* Return a row; zero or NULL for what does not apply. */
static void
put_row(ResetPlan *plan, const char *kind, const char *action,
		const pg_uuid_t *run_id, int64 event_id, const char *name,
		const char *description)
{
	Datum		values[6] = {0};
	bool		nulls[6] = {0};

	values[0] = CStringGetTextDatum(kind);
	values[1] = CStringGetTextDatum(action);
	nulls[2] = run_id == NULL;
	values[2] = UUIDPGetDatum(run_id);
	nulls[3] = event_id == 0;
	values[3] = Int64GetDatum(event_id);
	nulls[4] = name == NULL;
	if (name != NULL)
		values[4] = CStringGetTextDatum(name);
	values[5] = CStringGetTextDatum(description);
	tuplestore_putvalues(plan->rsinfo->setResult, plan->rsinfo->setDesc,
						 values, nulls);
}

/* An event that is kept: is it an activity's result? */
static void
show_kept(WfiEvent *event, void *arg)
{
	ResetPlan  *plan = arg;
	const WfiRun *run = plan->reset.run;
	ListCell   *lc;

	if (event->type == WFI_EV_CANCEL_REQUESTED)
		put_row(plan, "CancelRequest", "Kept", &run->run_id, event->event_id,
				NULL, "the new run is asked to cancel, too");
	if (event->type != WFI_EV_ACTIVITY_SCHEDULED)
		return;
	foreach(lc, run->activities)
	{
		if (((WfiActivity *) lfirst(lc))->scheduled_event_id == event->event_id)
			return;				/* pending, shown elsewhere */
	}
	wfi_event_read(event);
	put_row(plan, "Activity", "KeepsResult", &run->run_id, event->event_id,
			wfi_get_text(event->attributes, "activity_id"),
			wfi_get_text(event->attributes, "activity_type"));
}

/* What is pending at the cut goes on in the new run. */
static void
show_pending(ResetPlan *plan)
{
	const WfiRun *run = plan->reset.run;
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	foreach(lc, run->activities)
	{
		const WfiActivity *activity = lfirst(lc);

		put_row(plan, "Activity", "RunsAgain", &run->run_id,
				activity->scheduled_event_id, activity->activity_id,
				activity->cancel_requested_event_id == 0 ?
				activity->activity_type :
				psprintf("%s, asked to cancel", activity->activity_type));
	}
	foreach(lc, run->timers)
	{
		const WfiTimer *timer = lfirst(lc);

		put_row(plan, "Timer", timer->fire_time <= now ? "FiresAtOnce" :
				"KeepsFireTime", &run->run_id, timer->started_event_id,
				timer->timer_id,
				psprintf("fires at %s", wfi_time_text(timer->fire_time)));
	}
}

/* The new run would have one more signal, and know its request id. */
static void
note_signal(WfiRun *run, char *request_id)
{
	run->signal_count++;
	if (request_id != NULL)
		run->signal_requests = lappend(run->signal_requests, request_id);
}

/* An event behind the cut. */
static void
show_left(const pg_uuid_t *run_id, WfiEvent *event, WfiReapply verdict,
		  void *arg)
{
	ResetPlan  *plan = arg;

	switch (event->type)
	{
		case WFI_EV_SIGNALED:
			wfi_event_read(event);
			if (verdict == WFI_REAPPLY)
				note_signal(plan->reset.run,
							wfi_get_text(event->attributes, "request_id"));
			put_row(plan, "Signal",
					verdict == WFI_REAPPLY ? "Reapplied" : "Dropped",
					run_id, event->event_id,
					wfi_get_text(event->attributes, "signal_name"),
					verdict == WFI_REAPPLY ? "recorded again in the new run" :
					"excluded");
			break;
		case WFI_EV_CANCEL_REQUESTED:
			put_row(plan, "CancelRequest", "Lost", run_id, event->event_id,
					NULL, "the new run is not asked to cancel");
			break;
		case WFI_EV_ACTIVITY_SCHEDULED:
			wfi_event_read(event);
			put_row(plan, "Activity", "Forgotten", run_id, event->event_id,
					wfi_get_text(event->attributes, "activity_id"),
					wfi_get_text(event->attributes, "activity_type"));
			break;
		case WFI_EV_TIMER_STARTED:
			wfi_event_read(event);
			put_row(plan, "Timer", "Forgotten", run_id, event->event_id,
					wfi_get_text(event->attributes, "timer_id"),
					"the code decides again");
			break;
		default:
			break;
	}
}

/* All rows of a plan. */
static void
show_plan(ResetPlan *plan)
{
	const WfiReset *reset = &plan->reset;
	WfiRun	   *run = reset->run;
	HTAB	   *seen;
	ListCell   *lc;

	if (reset->current != NULL && wfi_run_open(reset->current))
		put_row(plan, "Run", "Terminated", &reset->current->run_id, 0,
				reset->workflow_id, "the current run");
	put_row(plan, "Events", "Kept", &run->run_id, reset->event_id - 1, NULL,
			psprintf("1 to " INT64_FORMAT " of " INT64_FORMAT,
					 reset->event_id - 1, reset->base->next_event_id - 1));
	wfi_store_scan_events(run->shard, &run->run_id, 1, reset->event_id - 1,
						  show_kept, plan);
	show_pending(plan);
	wfi_reapply_walk(reset, show_left, plan);
	seen = wfi_reapply_seen(run);
	foreach(lc, reset->signals)
	{
		const WfiResetSignal *signal = lfirst(lc);
		bool		known = wfi_reapply_known(seen, signal);

		if (!known)
		{
			wfi_signal_check_count(run);
			note_signal(run, signal->request_id);
		}
		put_row(plan, "Signal", known ? "Duplicate" : "Delivered", NULL, 0,
				signal->signal_name,
				known ? "its request ID is known" : "given with the request");
	}
}

/*
 * wf_reset_plan(workflow_id, event_id, run_id, reapply_exclude, signals,
 * namespace)
 */
Datum
wfi_reset_plan(PG_FUNCTION_ARGS)
{
	ResetPlan	plan = {0};
	WfiReset   *reset = &plan.reset;

	InitMaterializedSRF(fcinfo, 0);
	plan.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	wfi_store_begin("wf_reset_plan()", false);
	reset->workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	reset->event_id = wfi_reset_arg_point(fcinfo, 1);
	reset->run_id = wfi_arg_uuid(fcinfo, 2);
	wfi_reset_args(fcinfo, 3, 4, reset);
	reset->namespace = wfi_arg_namespace(fcinfo, 5);

	wfi_reset_read_runs(reset);
	wfi_reset_check(reset);
	wfi_reset_rebuild(reset, NULL);
	show_plan(&plan);
	wfi_store_end();
	return (Datum) 0;
}
