/*
 * timers.c
 *	  User timers of a run.
 */
#include "postgres.h"

#include "workflow_interrupt.h"

/* Size of a pending timer, for the limit on a run's state */
#define TIMER_OVERHEAD 48

/* Have the run's timers at hand. */
void
wfi_timers_load(WfiRun *run)
{
	if (run->timers_loaded)
		return;
	if (!run->is_new && run->pending_timers > 0)
		run->timers = wfi_store_read_timers(run);
	run->timers_loaded = true;
}

/* A pending timer, or NULL. */
WfiTimer *
wfi_timer_find(WfiRun *run, const char *timer_id)
{
	ListCell   *lc;

	wfi_timers_load(run);
	foreach(lc, run->timers)
	{
		WfiTimer   *timer = lfirst(lc);

		if (strcmp(timer->timer_id, timer_id) == 0)
			return timer;
	}
	return NULL;
}

/* TimerStarted */
void
wfi_timer_add(WfiRun *run, const char *timer_id, int64 started_event_id,
			  TimestampTz fire_time)
{
	WfiTimer   *timer = palloc(sizeof(WfiTimer));

	wfi_timers_load(run);
	timer->timer_id = pstrdup(timer_id);
	timer->started_event_id = started_event_id;
	timer->fire_time = fire_time;
	timer->stored = false;
	run->timers = lappend(run->timers, timer);
	run->pending_timers++;
	run->state_size += strlen(timer_id) + TIMER_OVERHEAD;
}

/*
 * TimerFired and TimerCanceled.  Nothing happens when the timer is gone: it
 * had fired, the event was taken out of the buffer, and it was canceled.
 */
void
wfi_timer_remove(WfiRun *run, const char *timer_id)
{
	WfiTimer   *timer = wfi_timer_find(run, timer_id);

	if (timer == NULL)
		return;
	run->timers = list_delete_ptr(run->timers, timer);
	run->pending_timers--;
	run->state_size -= strlen(timer_id) + TIMER_OVERHEAD;
	if (timer->stored)
		run->removed_timers = lappend(run->removed_timers, timer->timer_id);
	else
	{
		/* a replay meets many of them */
		pfree(timer->timer_id);
		pfree(timer);
	}
}

/* When the first timer fires; timers not at hand are covered already. */
TimestampTz
wfi_timers_next(WfiRun *run)
{
	TimestampTz next = WFI_NEVER;
	ListCell   *lc;

	foreach(lc, run->timers)
		next = Min(next, ((WfiTimer *) lfirst(lc))->fire_time);
	return next;
}

/* Timers by fire time, then by age. */
static int
compare_timers(const ListCell *a, const ListCell *b)
{
	const WfiTimer *left = lfirst(a);
	const WfiTimer *right = lfirst(b);

	if (left->fire_time != right->fire_time)
		return left->fire_time < right->fire_time ? -1 : 1;
	return left->started_event_id < right->started_event_id ? -1 : 1;
}

/* Fire all timers that are due, and have the workflow told. */
void
wfi_timers_fire(WfiRun *run)
{
	List	   *due = NIL;
	ListCell   *lc;

	foreach(lc, run->timers)
	{
		if (((WfiTimer *) lfirst(lc))->fire_time <= run->now)
			due = lappend(due, lfirst(lc));
	}
	list_sort(due, compare_timers);
	foreach(lc, due)
	{
		WfiTimer   *timer = lfirst(lc);
		WfiObject	object;

		wfi_object_begin(&object);
		wfi_put_text(&object, "timer_id", timer->timer_id);
		wfi_put_id(&object, "started_event_id", timer->started_event_id);
		wfi_run_add(run, WFI_EV_TIMER_FIRED, wfi_object_end(&object));
	}
	wfi_task_schedule(run);
}
