/*
 * wakeup.c
 *	  What falls due: start delays, timers, time-outs.
 *
 * A run has one wake-up, no later than anything that can fall due in it, so
 * most operations need not write one.  When it fires, the run is looked at
 * afresh: what is due is done, one thing at a time, and the next wake-up is
 * planned.  A wake-up that comes too early, or twice, does nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/extension.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_tick);

/* How many locked runs one search for something to do passes over */
#define MAX_BUSY 100

/* A run that cannot be worked on is left alone for so long */
#define DEFER_USECS (10 * USECS_PER_SEC)

/* When the started workflow task times out. */
static TimestampTz
task_deadline(const WfiRun *run)
{
	if (run->task_started_event_id == 0)
		return WFI_NEVER;
	return run->task_started_time + wfi_task_time_limit(run);
}

/* When the run itself times out. */
static TimestampTz
run_deadline(const WfiRun *run)
{
	return Min(run->run_expiration_time, run->execution_expiration_time);
}

/* When something next falls due in a run, as far as it is loaded. */
TimestampTz
wfi_run_next_due(WfiRun *run)
{
	TimestampTz due = Min(run_deadline(run), run->first_task_time);

	due = Min(due, task_deadline(run));
	due = Min(due, wfi_activities_next(run));
	return Min(due, wfi_timers_next(run));
}

/* The run's time is over. */
static void
time_out_run(WfiRun *run)
{
	bool		execution = run->execution_expiration_time <= run->now;
	WfiObject	object;

	if (run->task_started_event_id != 0)
		wfi_task_fail(run, "ForceCloseCommand", NULL, WFI_IDENTITY_ENGINE);
	wfi_run_flush(run);
	wfi_object_begin(&object);
	wfi_put_text(&object, "retry_state",
				 execution ? "Timeout" : "RetryPolicyNotSet");
	wfi_run_add(run, WFI_EV_TIMED_OUT, wfi_object_end(&object));
}

/* Do the one thing that fell due first, and store; false for nothing. */
static bool
fire_run(WfiRun *run)
{
	TimestampTz due;
	TimestampTz planned = run->wakeup_time;

	wfi_run_touch(run);
	wfi_timers_load(run);
	wfi_activities_load(run);
	due = wfi_run_next_due(run);
	if (due > run->now && planned > run->now)
		return false;			/* another wake-up is on its way */

	run->wakeup_time = WFI_NEVER;
	if (due <= run->now)
	{
		if (due == run_deadline(run))
			time_out_run(run);
		else if (due == run->first_task_time)
		{
			run->first_task_time = WFI_NEVER;
			wfi_task_schedule(run);
		}
		else if (due == task_deadline(run))
		{
			wfi_task_time_out(run);
			wfi_task_schedule(run);
		}
		else if (due == wfi_timers_next(run))
			wfi_timers_fire(run);
		else
			wfi_activities_fire(run);
	}
	wfi_run_finish(run);
	return due <= run->now;
}

/*
 * Claim the earliest due wake-up that nobody else holds, and do what is due
 * in its run.  *wakeup says which one it was, also when an error is raised.
 */
WfiFireResult
wfi_fire_next(TimestampTz now, WfiWakeup *wakeup)
{
	WfiFireResult result = WFI_FIRE_NOTHING;
	WfiWakeup	after = {0};
	WfiRun	   *run = NULL;

	wfi_store_begin("wf_tick()", true);
	after.due_time = DT_NOBEGIN;
	for (int i = 0; i < MAX_BUSY; i++)
	{
		if (!wfi_store_claim_wakeup(now, &after, wakeup))
			break;
		run = wfi_store_lock_run(wakeup->shard, &wakeup->run_id, true);
		if (run == NULL &&
			wfi_store_run_exists(wakeup->shard, &wakeup->run_id))
		{
			after = *wakeup;	/* somebody is at work on it */
			continue;
		}
		wfi_store_delete_wakeup(wakeup);
		if (run != NULL && wfi_run_open(run) && fire_run(run))
			result = WFI_FIRE_DONE;
		else
			result = WFI_FIRE_STALE;
		break;
	}
	wfi_store_end();
	return result;
}

/* Look at that wake-up's run later. */
void
wfi_defer_wakeup(const WfiWakeup *wakeup, TimestampTz until)
{
	wfi_store_begin("wf_tick()", true);
	wfi_store_delete_wakeup(wakeup);
	wfi_store_insert_wakeup(wakeup->shard, &wakeup->run_id, until);
	wfi_store_end();
}

/* When is the earliest wake-up due?  DT_NOEND when there is none. */
TimestampTz
wfi_next_wakeup(void)
{
	TimestampTz next;

	wfi_store_begin("wf_tick()", true);
	next = wfi_store_next_wakeup();
	wfi_store_end();
	return next;
}

/* Notify queues whose oldest task was created before; how many. */
int
wfi_renotify(TimestampTz created_before)
{
	int			queues;

	wfi_store_begin("wf_tick()", true);
	queues = wfi_store_renotify(created_before);
	wfi_store_end();
	return queues;
}

/* Is the extension installed in this database? */
bool
wfi_extension_exists(void)
{
	Oid			schema;

	if (!OidIsValid(get_extension_oid("workflow_interrupt", true)))
		return false;
	schema = get_namespace_oid("wf", true);
	return OidIsValid(schema) &&
		OidIsValid(get_relname_relid("wakeup", schema));
}

/* Errors that are about the caller, not about one run. */
static bool
is_callers_error(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_READ_ONLY_SQL_TRANSACTION);
}

/*
 * wfi_fire_next() in a subtransaction: an error in one run is a warning, and
 * that run is left alone for a while.
 */
static WfiFireResult
fire_next_safely(TimestampTz now)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	WfiWakeup	wakeup = {0};
	volatile WfiFireResult result = WFI_FIRE_NOTHING;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		result = wfi_fire_next(now, &wakeup);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (wakeup.due_time == 0 || is_callers_error(error->sqlerrcode))
			ReThrowError(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("could not do what is due in run \"%s\": %s",
						wfi_uuid_text(&wakeup.run_id), error->message)));
		wfi_defer_wakeup(&wakeup, now + DEFER_USECS);
		result = WFI_FIRE_STALE;
	}
	PG_END_TRY();
	return result;
}

/* Do what is due, for at most so many runs; for how many it did something. */
int
wfi_fire_due(int max_items)
{
	TimestampTz now = GetCurrentTimestamp();
	int			done = 0;

	while (done < max_items)
	{
		WfiFireResult result = fire_next_safely(now);

		if (result == WFI_FIRE_NOTHING)
			break;
		if (result == WFI_FIRE_DONE)
			done++;
	}
	return done;
}

/* wf_tick(max_items) */
Datum
wfi_tick(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(wfi_fire_due(wfi_arg_count(fcinfo, 0, "max_items",
											   PG_INT32_MAX)));
}
