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

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_tick);

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
 * Take the earliest due wake-up that nobody else is at work on, and lock its
 * run; *run is NULL when it is gone.  False when there is none: *next says
 * when to look again, DT_NOBEGIN when some were passed over because they, or
 * their runs, are locked.
 */
static bool
claim(TimestampTz now, WfiWakeup *wakeup, WfiRun **run, TimestampTz *next)
{
	WfiWalk    *wakeups = wfi_store_open_wakeups(now);
	bool		left = false;
	bool		found = false;
	WfiMissing	why = WFI_MISSING_BUSY;

	while (!found && why != WFI_MISSING_ALL &&
		   wfi_store_next_wakeup(wakeups, wakeup, next))
	{
		*run = wfi_store_try_run(wakeup->shard, &wakeup->run_id, NULL, &why);
		found = (*run != NULL || why == WFI_MISSING_GONE) &&
			wfi_store_delete_wakeup(wakeup->shard, &wakeup->run_id,
									wakeup->due_time);
		left |= !found;
	}
	left = wfi_store_close_wakeups(wakeups, left);
	if (found)
		return true;
	if (why == WFI_MISSING_ALL)
		*next = now + DEFER_USECS;
	else if (left)
		*next = DT_NOBEGIN;
	return false;
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
 * fire_run() in a subtransaction: an error in one run is a warning, and that
 * run is left alone for a while.
 */
static bool
fire_run_safely(WfiRun *run)
{
	WfiSubtransaction outer;
	int32		shard = run->shard;
	pg_uuid_t	run_id = run->run_id;
	volatile bool done = false;

	wfi_subtransaction_begin(&outer);
	PG_TRY();
	{
		done = fire_run(run);
		wfi_subtransaction_end(&outer, true);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(outer.context);
		error = CopyErrorData();
		FlushErrorState();
		wfi_subtransaction_end(&outer, false);
		wfi_store_storing(NULL);
		if (is_callers_error(error->sqlerrcode))
			ReThrowError(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("could not do what is due in run \"%s\": %s",
						wfi_uuid_text(&run_id), error->message)));
		wfi_store_insert_wakeup(shard, &run_id,
								GetCurrentTimestamp() + DEFER_USECS);
	}
	PG_END_TRY();
	return done;
}

/*
 * Claim the earliest due wake-up that nobody else holds, and do what is due
 * in its run, with "safely" as fire_run_safely() does.  *wakeup says which one
 * it was, also when an error is raised; *next, when there was none, when to
 * look again.
 */
WfiFireResult
wfi_fire_next(TimestampTz now, bool safely, WfiWakeup *wakeup,
			  TimestampTz *next)
{
	WfiFireResult result = WFI_FIRE_NOTHING;
	WfiRun	   *run;

	wfi_store_begin("wf_tick()", true);
	if (claim(now, wakeup, &run, next))
	{
		result = WFI_FIRE_STALE;
		if (run != NULL && wfi_run_open(run) &&
			(safely ? fire_run_safely(run) : fire_run(run)))
			result = WFI_FIRE_DONE;
	}
	wfi_store_end();
	return result;
}

/* Look at that wake-up's run later. */
void
wfi_defer_wakeup(const WfiWakeup *wakeup, TimestampTz until)
{
	wfi_store_begin("wf_tick()", true);
	(void) wfi_store_delete_wakeup(wakeup->shard, &wakeup->run_id, wakeup->due_time);
	wfi_store_insert_wakeup(wakeup->shard, &wakeup->run_id, until);
	wfi_store_end();
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

/*
 * Do what is due, looking at no more wake-ups than that; for how many runs
 * there was something to do.
 */
int
wfi_fire_due(int max_items)
{
	TimestampTz now = GetCurrentTimestamp();
	WfiWakeup	wakeup;
	TimestampTz next;
	int			done = 0;

	for (int i = 0; i < max_items; i++)
	{
		WfiFireResult result = wfi_fire_next(now, true, &wakeup, &next);

		if (result == WFI_FIRE_NOTHING)
			break;
		done += result == WFI_FIRE_DONE;
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
