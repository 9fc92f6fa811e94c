/*
 * launcher.c
 *	  The background worker that sees to it that every database with the
 *	  extension has a driver.
 *
 * The launcher is connected to no database, so it cannot know which ones have
 * the extension: it starts a driver in each connectable database that is not
 * a template, and a driver that does not find the extension says so in shared
 * memory and leaves for good.  wf._created() makes it worth another look.
 *
 * It looks around whenever its latch is set: by the server when a driver
 * has started or ended, by a driver that settles or detaches, at the commit
 * of anything that concerns it; otherwise once a minute.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "background.h"
#include "catalog/pg_database.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define LAUNCHER_NAME		"workflow_interrupt launcher"

/* The server starts the launcher again after this many seconds. */
#define LAUNCHER_RESTART	5

/* Look around at least that often. */
#define NAPTIME_MS			60000

/* Drivers that may be starting at a time, many just to find no extension. */
#define MAX_STARTING		4

/* Pause when the server has no room for a driver, doubled each time. */
#define MIN_BACKOFF_MS		5000
#define MAX_BACKOFF_MS		60000

pg_noreturn PGDLLEXPORT void wfi_launcher_main(Datum main_arg);

/* Drivers this process has registered, by entry; NULL: none or ended. */
static BackgroundWorkerHandle *handles[WFI_MAX_DATABASES];

static int	backoff = 0;		/* ms; 0: there was room last time */
static TimestampTz backoff_until = DT_NOBEGIN;
static bool too_many_reported = false;

/*
 * The databases that could have a driver: list of their OIDs, in the current
 * memory context.
 */
static List *
connectable_databases(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *result = NIL;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());

	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (form->datallowconn && !form->datistemplate &&
			form->datconnlimit != DATCONNLIMIT_INVALID_DB)
		{
			MemoryContext oldcontext = MemoryContextSwitchTo(context);

			result = lappend_oid(result, form->oid);
			MemoryContextSwitchTo(oldcontext);
		}
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);

	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

/*
 * Makes the entries fit the databases: new ones get an entry, those that are
 * gone (or must not be connected to) lose it, after their driver has left.
 */
static void
update_entries(List *databases)
{
	bool		too_many = false;
	ListCell   *lc;
	int			i;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < WFI_MAX_DATABASES; i++)
	{
		WfiDatabase *database = &wfi_shared->databases[i];

		if (!OidIsValid(database->dboid))
			continue;

		database->unwanted = !list_member_oid(databases, database->dboid);
		if (!database->unwanted)
			continue;
		if (database->latch != NULL)
			SetLatch(database->latch);
		else if (database->holds == 0 && handles[i] == NULL)
		{
			wfi_heartbeat_forget(database->dboid);
			wfi_pool_forget_crews(database->dboid, NIL);
			database->dboid = InvalidOid;
		}
	}
	foreach(lc, databases)
	{
		if (wfi_find_database(lfirst_oid(lc), true) == NULL)
			too_many = true;
	}
	LWLockRelease(wfi_shared->lock);

	if (too_many && !too_many_reported)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases for workflow_interrupt"),
				 errdetail("At most %d databases are served.",
						   WFI_MAX_DATABASES)));
	too_many_reported = too_many;
}

/*
 * Forgets the handles of drivers that have ended.  Their slots may be what
 * others have waited for.
 */
static void
reap_handles(void)
{
	int			i;

	for (i = 0; i < WFI_MAX_DATABASES; i++)
	{
		pid_t		pid;

		if (handles[i] != NULL &&
			GetBackgroundWorkerPid(handles[i], &pid) == BGWH_STOPPED)
		{
			pfree(handles[i]);
			handles[i] = NULL;
			backoff_until = DT_NOBEGIN;
		}
	}
}

/*
 * Registers a process of ours that works in a database, and is never started
 * again by the server; the caller has zeroed *worker and set the name and the
 * arguments.  *handle lives until the caller frees it, and what it was before
 * is freed: that can only be of a process that found itself replaced.  False
 * when the server has no room.
 */
bool
wfi_register_process(BackgroundWorker *worker, const char *type,
					 const char *function, BackgroundWorkerHandle **handle)
{
	MemoryContext oldcontext;
	bool		result;

	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, WFI_LIBRARY_NAME,
			sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function,
			sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
	worker->bgw_notify_pid = MyProcPid;

	if (*handle != NULL)
		pfree(*handle);
	*handle = NULL;
	oldcontext = MemoryContextSwitchTo(TopMemoryContext);
	result = RegisterDynamicBackgroundWorker(worker, handle);
	MemoryContextSwitchTo(oldcontext);
	return result;
}

/*
 * Settings of a process that works in a database, whatever the administrator
 * has set for that or for a role: no time-out must hit it, it works where
 * transactions are read-only by default, and it outlives errors.
 */
void
wfi_apply_settings(const char *name)
{
	static const char *const settings[][2] = {
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
#ifdef WFI_HAVE_TRANSACTION_TIMEOUT
		{"transaction_timeout", "0"},
#endif
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"exit_on_error", "off"},
	};

	SetConfigOption("application_name", name,
					PGC_SUSET, PGC_S_OVERRIDE);
	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1],
						PGC_SUSET, PGC_S_OVERRIDE);
}

/* Registers a driver for the database of an entry. */
static bool
register_driver(int i, Oid dboid)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, WFI_DRIVER_NAME " for database %u",
			 dboid);
	worker.bgw_main_arg = ObjectIdGetDatum(dboid);
	return wfi_register_process(&worker, WFI_DRIVER_NAME, "wfi_driver_main",
								&handles[i]);
}

/*
 * Notes that the server had no room for a driver.  Says so once, until there
 * was room again.
 */
static void
back_off(void)
{
	wfi_pool_no_process();
	if (backoff == 0)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("out of background worker slots for workflow_interrupt"),
				 errdetail("Timers and notifications wait in databases that have no driver."),
				 errhint("You might need to increase max_worker_processes.")));
	backoff = Min(Max(backoff * 2, MIN_BACKOFF_MS), MAX_BACKOFF_MS);
	backoff_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												backoff);
}

/*
 * Picks the next database that needs a driver now and marks it as starting:
 * returns its entry and OID, or -1.  Lowers *next to the time when one will
 * have waited long enough.
 */
static int
pick_database(Oid *dboid, TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();
	int			starting = 0;
	int			picked = -1;
	int			i;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < WFI_MAX_DATABASES; i++)
	{
		WfiDatabase *database = &wfi_shared->databases[i];

		if (!OidIsValid(database->dboid) || database->unwanted)
			continue;

		/* Did it end before it could attach? */
		if (database->state == WFI_DRIVER_STARTING && database->pid == 0 &&
			handles[i] == NULL)
		{
			database->state = WFI_DRIVER_IDLE;
			database->retry_time =
				TimestampTzPlusMilliseconds(now, MIN_BACKOFF_MS);
		}

		if (database->state == WFI_DRIVER_STARTING)
			starting++;
		if (database->state != WFI_DRIVER_IDLE || database->holds > 0)
			continue;

		/* Mind that the clock may have been set back. */
		database->retry_time =
			Min(database->retry_time,
				TimestampTzPlusMilliseconds(now, MIN_BACKOFF_MS));
		if (database->retry_time > now)
			*next = Min(*next, database->retry_time);
		else if (picked < 0)
			picked = i;
	}

	/* When there are many, the end of each is a reason to look again. */
	if (starting >= MAX_STARTING)
		picked = -1;
	if (picked >= 0)
	{
		wfi_shared->databases[picked].state = WFI_DRIVER_STARTING;
		*dboid = wfi_shared->databases[picked].dboid;
	}
	LWLockRelease(wfi_shared->lock);
	return picked;
}

/*
 * Takes back pick_database().
 */
static void
unpick_database(int i)
{
	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	if (wfi_shared->databases[i].state == WFI_DRIVER_STARTING)
		wfi_shared->databases[i].state = WFI_DRIVER_IDLE;
	LWLockRelease(wfi_shared->lock);
}

/*
 * Starts the drivers that are missing.  Returns when to look again.
 */
static TimestampTz
start_drivers(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = TimestampTzPlusMilliseconds(now, NAPTIME_MS);

	if (!wfi_enabled)
		return next;
	backoff_until = Min(backoff_until,
						TimestampTzPlusMilliseconds(now, backoff));
	if (now < backoff_until)
		return Min(next, backoff_until);

	for (;;)
	{
		Oid			dboid;
		int			i = pick_database(&dboid, &next);

		if (i < 0)
			return next;
		if (!register_driver(i, dboid))
		{
			unpick_database(i);
			back_off();
			return Min(next, backoff_until);
		}
		backoff = 0;
	}
}

/*
 * Does what signals have asked this process for; to be called between
 * transactions.  A request to cancel comes too late then and is ignored, as
 * in an idle session.
 */
void
wfi_serve_signals(void)
{
	HOLD_CANCEL_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	RESUME_CANCEL_INTERRUPTS();
	QueryCancelPending = false;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Main function of the launcher.
 */
void
wfi_launcher_main(Datum main_arg)
{
	MemoryContext context;
	uint32		wait_event;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	SetConfigOption("application_name", LAUNCHER_NAME,
					PGC_USERSET, PGC_S_OVERRIDE);
	wait_event = WaitEventExtensionNew("WorkflowInterruptLauncherMain");
	context = AllocSetContextCreate(TopMemoryContext, LAUNCHER_NAME,
									ALLOCSET_DEFAULT_SIZES);
	wfi_launcher_attach();

	for (;;)
	{
		TimestampTz next;
		long		timeout;

		ResetLatch(MyLatch);
		wfi_serve_signals();

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		pgstat_report_activity(STATE_RUNNING, "looking for databases");
		reap_handles();
		update_entries(connectable_databases());
		next = start_drivers();
		pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, NULL);

		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout, wait_event);
	}
}

/*
 * Registers the launcher.  To be called from _PG_init; does nothing unless
 * the library is being preloaded, or during pg_upgrade.
 */
void
wfi_launcher_register(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = LAUNCHER_RESTART;
	strlcpy(worker.bgw_library_name, WFI_LIBRARY_NAME,
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "wfi_launcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, LAUNCHER_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_type, LAUNCHER_NAME, BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
