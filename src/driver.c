/*
 * driver.c
 *	  The background worker that serves one database: sends the notifications
 *	  its transactions have deferred, fires due wake-ups, and announces again
 *	  what nobody has come for.
 *
 * It works in short transactions, one per wake-up, and sleeps outside of
 * them.  An error concerns the one thing that was tried: it is logged, and
 * the thing is tried again after a pause that doubles each time.  The driver
 * itself ends
 *
 *	 with code 0   when the extension is not (or no longer) there, when a
 *				   command wants the database for itself, or when
 *				   workflow_interrupt.enabled was turned off;
 *	 with code 1   when told to by SIGTERM, or by an error outside of the
 *				   loop.
 *
 * The server never starts it again by itself; the launcher does.
 *
 * Shared state is used through the functions of shmem.c only.
 */
#include "postgres.h"

#include "access/xact.h"
#include "background.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"


/* Sleep at most that long: a clock that was set is noticed. */
#define MAX_SLEEP_MS		60000

/* Pause before trying again what failed, doubled each time */
#define MIN_BACKOFF_MS		100
#define MAX_BACKOFF_MS		10000
#define MAX_ITEM_BACKOFF_MS	600000

/* Pause when all due wake-ups are locked by others, doubled each time */
#define MIN_LOCKED_MS		10
#define MAX_LOCKED_MS		100

/* Other work gets its turn after that long. */
#define FIRE_SLICE_MS		1000

/* When notices were lost, all queues are announced at most that often. */
#define LOST_INTERVAL_MS	100

/* Heartbeats are brought into the table this often. */
#define FLUSH_INTERVAL_MS	1000

/* Notices taken from shared memory at a time */
#define NOTICE_BATCH		128

/* Runs whose wake-ups failed, to remember how often */
#define MAX_FAILURES		1000

typedef struct Backoff
{
	int			pause;			/* ms; 0 when it did not fail last time */
	TimestampTz end;			/* not before */
} Backoff;

typedef struct FailureEntry
{
	pg_uuid_t	run_id;			/* must be first */
	int			pause;			/* ms */
} FailureEntry;

/* What firing one wake-up came to */
typedef struct FireState
{
	WfiFireResult result;
	WfiWakeup	wakeup;
	TimestampTz next;			/* when the next is due, if nothing fired */
	TimestampTz until;			/* when to try this one again */
} FireState;

/* Announcing queues */
typedef struct AnnounceState
{
	TimestampTz created_before;
	bool		done;
} AnnounceState;

pg_noreturn PGDLLEXPORT void wfi_driver_main(Datum main_arg);

static MemoryContext cycle_context = NULL;
static HTAB *failures = NULL;
static uint32 wait_event_main = 0;
static uint32 wait_event_pause = 0;

static bool extension_gone = false;
static TimestampTz window_end = DT_NOBEGIN; /* no NOTIFY before */
static TimestampTz last_flush = 0;	/* of heartbeats */
static TimestampTz last_announcement = DT_NOBEGIN;	/* of unclaimed tasks */
static Backoff notify_backoff = {0, DT_NOBEGIN};	/* of NOTIFY */
static Backoff look_backoff = {0, DT_NOBEGIN};	/* of using our tables */
static int	locked_pause = 0;

/*
 * Says that something has failed and when to try it again; pauses get longer.
 */
static void
back_off(Backoff *backoff)
{
	backoff->pause = Min(Max(backoff->pause * 2, MIN_BACKOFF_MS),
						 MAX_BACKOFF_MS);
	backoff->end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											   backoff->pause);
}

/*
 * Keeps our plans sane when the clock was set back: what is to happen within
 * a certain time must not move away.
 */
static void
heed_clock(TimestampTz now)
{
	window_end = Min(window_end,
					 TimestampTzPlusMilliseconds(now, wfi_notify_interval));
	last_announcement = Min(last_announcement, now);
	last_flush = Min(last_flush, now);
	notify_backoff.end = Min(notify_backoff.end,
							 TimestampTzPlusMilliseconds(now, notify_backoff.pause));
	look_backoff.end = Min(look_backoff.end,
						   TimestampTzPlusMilliseconds(now, look_backoff.pause));
}

/*
 * Runs one step in a transaction of its own.  Returns false when it failed;
 * the error is then logged and the transaction aborted.
 */
bool
wfi_driver_step(WfiDriverStep step, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = true;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		step(arg);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		AbortOutOfAnyTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
		ok = false;
	}
	PG_END_TRY();

	MemoryContextSwitchTo(context);
	wfi_notify_directly(false);
	return ok;
}

/*
 * A transaction that only notifies need not wait for its WAL: when it is
 * lost, so are the listeners.
 */
void
wfi_commit_asynchronously(void)
{
	(void) set_config_option("synchronous_commit", "off",
							 PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Step: is the extension still there?  We may have been told of its creation
 * or end before the catalog caches were: a transaction sends invalidation
 * messages after it has become visible.
 */
static void
check_extension(void *arg)
{
	InvalidateSystemCaches();
	*(bool *) arg = wfi_extension_exists();
}

/*
 * Step: sends all notices.
 */
static void
send_notices(void *arg)
{
	WfiNotice  *notices = palloc(NOTICE_BATCH * sizeof(WfiNotice));
	int			n;

	wfi_commit_asynchronously();
	while ((n = wfi_driver_take_notices(notices, NOTICE_BATCH)) > 0)
	{
		int			i;

		for (i = 0; i < n; i++)
			wfi_send_notice(&notices[i]);
	}
}

/*
 * Protects the extension from being dropped until the end of the transaction,
 * which also keeps us from standing in the way of DROP EXTENSION, or in its
 * middle.  False if it is gone or about to be: the caller does nothing then.
 */
bool
wfi_lock_extension(void)
{
	Oid			extension = get_extension_oid(WFI_LIBRARY_NAME, true);
	LOCKTAG		tag;

	if (OidIsValid(extension))
	{
		SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension,
						   0);
		if (LockAcquire(&tag, AccessShareLock, false, true) ==
			LOCKACQUIRE_NOT_AVAIL)
			return false;
		AcceptInvalidationMessages();
	}
	extension_gone = !wfi_extension_exists();
	return !extension_gone;
}

/*
 * Step: announces queues with tasks that were created before.
 */
static void
announce_queues(void *arg)
{
	AnnounceState *state = arg;

	if (!wfi_lock_extension())
		return;
	wfi_commit_asynchronously();
	wfi_notify_directly(true);
	(void) wfi_renotify(state->created_before);
	state->done = true;
}

/*
 * Step: brings heartbeats from shared memory into the table.
 */
static void
flush_heartbeats(void *arg)
{
	if (!wfi_lock_extension())
		return;
	wfi_commit_asynchronously();
	(void) wfi_heartbeat_flush();
}

/*
 * Error context callback: which run was it about?
 */
static void
wakeup_context(void *arg)
{
	const WfiWakeup *wakeup = &((FireState *) arg)->wakeup;

	if (wakeup->due_time != DT_NOEND)
		errcontext("wake-up of run \"%s\"", wfi_uuid_text(&wakeup->run_id));
}

/*
 * Step: fires one wake-up, or finds out when the next is due.
 */
static void
fire_one(void *arg)
{
	FireState  *state = arg;
	ErrorContextCallback context;

	if (!wfi_lock_extension())
	{
		state->next = DT_NOBEGIN;	/* as if a due one was locked */
		return;
	}

	context.callback = wakeup_context;
	context.arg = state;
	context.previous = error_context_stack;
	error_context_stack = &context;
	state->result = wfi_fire_next(GetCurrentTimestamp(), false, &state->wakeup,
								  &state->next);
	error_context_stack = context.previous;
}

/*
 * Step: defers a wake-up.
 */
static void
defer_one(void *arg)
{
	FireState  *state = arg;

	wfi_defer_wakeup(&state->wakeup, state->until);
}

/*
 * When to try a wake-up again that has failed.
 */
static TimestampTz
note_failure(const pg_uuid_t *run_id)
{
	FailureEntry *entry;
	bool		found;

	if (failures != NULL && hash_get_num_entries(failures) >= MAX_FAILURES)
	{
		hash_destroy(failures);
		failures = NULL;
	}
	if (failures == NULL)
	{
		HASHCTL		info;

		memset(&info, 0, sizeof(info));
		info.keysize = sizeof(pg_uuid_t);
		info.entrysize = sizeof(FailureEntry);
		failures = hash_create("workflow_interrupt failures", 64, &info,
							   HASH_ELEM | HASH_BLOBS);
	}

	entry = hash_search(failures, run_id, HASH_ENTER, &found);
	entry->pause = found ? Min(entry->pause * 2, MAX_ITEM_BACKOFF_MS) :
		MIN_BACKOFF_MS;
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), entry->pause);
}

/*
 * Fires one due wake-up.  When there is nothing to fire now, or firing has to
 * pause, returns false and sets state->next to when to look again.
 */
static bool
fire_next(FireState *state)
{
	memset(state, 0, sizeof(FireState));
	state->wakeup.due_time = DT_NOEND;
	state->next = DT_NOEND;

	if (wfi_driver_step(fire_one, state))
	{
		look_backoff.pause = 0;
		if (extension_gone || state->result == WFI_FIRE_NOTHING)
			return false;
		if (failures != NULL)
			(void) hash_search(failures, &state->wakeup.run_id, HASH_REMOVE,
							   NULL);
		return true;
	}

	if (state->wakeup.due_time != DT_NOEND)
	{
		state->until = note_failure(&state->wakeup.run_id);
		if (wfi_driver_step(defer_one, state))
			return true;
	}

	/* It is not about one run. */
	back_off(&look_backoff);
	state->next = look_backoff.end;
	return false;
}

/*
 * When are heartbeats to be flushed next?
 */
static TimestampTz
next_flush(void)
{
	if (!wfi_heartbeat_active())
		return DT_NOEND;
	return TimestampTzPlusMilliseconds(last_flush, FLUSH_INTERVAL_MS);
}

/*
 * Fires what is due, for a while, and plans when to look again.
 */
static void
fire_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz slice_end = TimestampTzPlusMilliseconds(now, FIRE_SLICE_MS);
	FireState	state;

	pgstat_report_activity(STATE_RUNNING, "firing wake-ups");
	wfi_driver_begin_look();
	while (fire_next(&state))
	{
		MemoryContextReset(cycle_context);
		locked_pause = 0;

		now = GetCurrentTimestamp();
		if (now >= slice_end || InterruptPending || ConfigReloadPending ||
			wfi_driver_must_leave() || now >= next_flush() ||
			(now >= window_end && wfi_driver_has_notices()))
		{
			wfi_driver_plan(now);
			return;
		}
	}

	/* If something is due that we did not get, somebody else holds it. */
	now = GetCurrentTimestamp();
	if (state.next > now)
		locked_pause = 0;
	else
	{
		locked_pause = Min(Max(locked_pause * 2, MIN_LOCKED_MS),
						   MAX_LOCKED_MS);
		state.next = TimestampTzPlusMilliseconds(now, locked_pause);
	}
	wfi_driver_plan(Min(state.next,
						TimestampTzPlusMilliseconds(now, MAX_SLEEP_MS)));
}

/*
 * Sends what was deferred.  When that fails, all queues are to be announced
 * later; news for workers are lost, they learn by their next heartbeat.
 */
static void
notify(void)
{
	pgstat_report_activity(STATE_RUNNING, "sending notifications");
	if (pg_atomic_read_u64(&wfi_shared->last_notify) != PG_UINT64_MAX)
		pg_atomic_write_u64(&wfi_shared->last_notify, GetCurrentTimestamp());
	if (wfi_driver_step(send_notices, NULL))
		notify_backoff.pause = 0;
	else
	{
		wfi_driver_set_lost();
		back_off(&notify_backoff);
	}
	window_end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											 wfi_notify_interval);
}

/*
 * Announces queues with tasks that have waited for too long, or all that have
 * tasks.  Also a chance to look for wake-ups nobody told us about.
 */
static void
announce(bool all)
{
	TimestampTz now = GetCurrentTimestamp();
	AnnounceState state = {now, false};

	if (!all)
		state.created_before =
			TimestampTzPlusMilliseconds(now, -wfi_renotify_interval);
	last_announcement = now;
	wfi_driver_plan(now);
	if (wfi_notify_mode == WFI_NOTIFY_OFF && !wfi_pool_exists())
		return;

	pgstat_report_activity(STATE_RUNNING, "announcing unclaimed tasks");
	if (!wfi_driver_step(announce_queues, &state))
		back_off(&look_backoff);
	if (all && !state.done)
		wfi_driver_set_lost();
}

/*
 * When are unclaimed tasks to be announced next?
 */
static TimestampTz
next_announcement(void)
{
	return TimestampTzPlusMilliseconds(last_announcement,
									   wfi_driver_has_lost() ?
									   LOST_INTERVAL_MS :
									   wfi_renotify_interval);
}

/*
 * Flushes heartbeats; after a failure the next round tries again.
 */
static void
flush(TimestampTz now)
{
	last_flush = now;
	pgstat_report_activity(STATE_RUNNING, "storing heartbeats");
	(void) wfi_driver_step(flush_heartbeats, NULL);
}

/*
 * Is the extension there?  If not, this is remembered for the launcher, and
 * the driver has to end.
 */
static bool
extension_present(void)
{
	for (;;)
	{
		uint32		creations = wfi_driver_creations();
		bool		exists = true;

		/* If it cannot be told, it is there until the next look. */
		extension_gone = false;
		(void) wfi_driver_step(check_extension, &exists);
		if (exists)
			return true;
		if (wfi_driver_set_absent(creations))
		{
			wfi_heartbeat_forget(MyDatabaseId);
			return false;
		}
	}
}

/*
 * Sleeps until there may be something to do.  For some time after a round of
 * NOTIFY that does not include new notices, so that they pile up.
 */
static void
sleep_until_work(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next;
	bool		pausing = now < window_end;

	next = Max(Min(wfi_driver_planned(), next_announcement()),
			   look_backoff.end);
	next = Min(next, next_flush());
	next = Min(next, wfi_pool_next_service());
	next = Min(next, Max(wfi_driver_next_notice(),
						 Max(window_end, notify_backoff.end)));
	if (pausing)
		next = Min(next, window_end);
	next = Min(next, TimestampTzPlusMilliseconds(now, MAX_SLEEP_MS));
	next = Max(next, now);		/* it might be infinitely early */

	(void) WaitLatch(MyLatch,
					 (pausing ? 0 : WL_LATCH_SET) |
					 WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 TimestampDifferenceMilliseconds(now, next),
					 pausing ? wait_event_pause : wait_event_main);
}

/*
 * One round: whatever there is to do now.
 */
static void
work(void)
{
	TimestampTz now = GetCurrentTimestamp();

	heed_clock(now);
	if (now >= window_end && now >= notify_backoff.end &&
		wfi_driver_has_notices())
		notify();
	if (next_flush() <= now)
		flush(now);
	wfi_pool_serve();
	if (now >= look_backoff.end)
	{
		if (next_announcement() <= now)
			announce(wfi_driver_take_lost());
		if (wfi_driver_planned() <= now)
			fire_due();
	}
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(true);
}

/*
 * Settings of the driver's own: it must not wait long for the locks of DDL
 * (and rather give way than have the deadlock detector decide).
 */
static void
apply_settings(void)
{
	wfi_apply_settings(WFI_DRIVER_NAME);
	SetConfigOption("search_path", "pg_catalog, pg_temp",
					PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "500ms", PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Main function of a driver; the argument is the OID of its database.
 */
void
wfi_driver_main(Datum main_arg)
{
	Oid			dboid = DatumGetObjectId(main_arg);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!wfi_driver_attach(dboid))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	apply_settings();
	wfi_pool_driver_attach();
	wait_event_main = WaitEventExtensionNew("WorkflowInterruptDriverMain");
	wait_event_pause = WaitEventExtensionNew("WorkflowInterruptDriverPause");
	cycle_context = AllocSetContextCreate(TopMemoryContext, WFI_DRIVER_NAME,
										  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(cycle_context);

	if (!extension_present())
		proc_exit(0);
	wfi_driver_set_running();
	wfi_driver_set_lost();

	for (;;)
	{
		ResetLatch(MyLatch);
		wfi_serve_signals();
		if (!wfi_enabled || wfi_driver_must_leave())
			proc_exit(0);
		if ((extension_gone || wfi_driver_must_check()) &&
			!extension_present())
		{
			wfi_pool_forget_crews(MyDatabaseId, NIL);
			proc_exit(0);
		}

		MemoryContextReset(cycle_context);
		work();
		if (!extension_gone)
			sleep_until_work();
	}
}
