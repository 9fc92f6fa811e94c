/*
 * shmem.c
 *	  Shared state of the background parts.
 *
 * There is one entry per database, made by the launcher for each connectable
 * one or by the first transaction that has something to tell about it, and
 * freed by the launcher when the database is gone.
 *
 * Locking: wfi_shared->lock guards everything.  It is held for a handful of
 * instructions per notice, never while anything can throw or wait.  The one
 * exception is wfi_driver_running(), which reads without it: the answer is
 * out of date as soon as it is given anyway.
 *
 * Latches are mostly set after the lock was released.  The owner may have
 * exited by then; its latch belongs to a PGPROC, so that at worst a process
 * that uses the PGPROC next wakes up once for nothing.
 *
 * Nothing here survives a restart of the server.  It does not have to: a
 * driver looks at the tables when it starts.
 */
#include "postgres.h"

#include <signal.h>

#include "background.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

/* A driver that failed is started again after this time. */
#define RESTART_DELAY_MS	5000

/* How long to wait for a driver to leave, and when to lose patience. */
#define EXIT_WAIT_MS		5000
#define EXIT_POLITE_MS		2000
#define EXIT_POLL_MS		5

WfiShared  *wfi_shared = NULL;

static WfiDatabase *my_database = NULL; /* see get_my_database() */
WfiDatabase *wfi_driven = NULL; /* what this driver serves */

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/*
 * Reserves shared memory and the lock.
 */
static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(add_size(MAXALIGN(sizeof(WfiShared)),
									wfi_notices_shmem_size()));
	RequestNamedLWLockTranche(WFI_LIBRARY_NAME, 1);
	wfi_heartbeat_shmem_request();
	wfi_pool_shmem_request();
}

/*
 * Creates the shared state, or finds it (EXEC_BACKEND).
 */
static void
shmem_startup(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	wfi_shared = ShmemInitStruct("workflow_interrupt state",
								 sizeof(WfiShared), &found);
	if (!found)
	{
		memset(wfi_shared, 0, sizeof(WfiShared));
		pg_atomic_init_u64(&wfi_shared->last_notify, 0);
		wfi_shared->lock = &(GetNamedLWLockTranche(WFI_LIBRARY_NAME))->lock;
	}
	wfi_notices_shmem_startup();
	LWLockRelease(AddinShmemInitLock);
	wfi_heartbeat_shmem_startup();
	wfi_pool_shmem_startup();
}

/*
 * Arranges for the shared state to be made.  To be called from _PG_init; does
 * nothing unless the library is being preloaded.
 */
void
wfi_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

/*
 * Finds the entry of a database, and makes one when asked to.  Returns NULL
 * when there is none, or no room for one.  The caller holds the lock,
 * exclusively if it wants an entry made.
 */
WfiDatabase *
wfi_find_database(Oid dboid, bool create)
{
	WfiDatabase *free_entry = NULL;
	int			i;

	Assert(OidIsValid(dboid));
	Assert(LWLockHeldByMeInMode(wfi_shared->lock, LW_EXCLUSIVE) ||
		   (!create && LWLockHeldByMe(wfi_shared->lock)));

	for (i = 0; i < WFI_MAX_DATABASES; i++)
	{
		WfiDatabase *database = &wfi_shared->databases[i];

		if (database->dboid == dboid)
			return database;
		if (free_entry == NULL && !OidIsValid(database->dboid))
			free_entry = database;
	}

	if (!create || free_entry == NULL)
		return NULL;

	memset(free_entry, 0, sizeof(WfiDatabase));
	free_entry->dboid = dboid;
	free_entry->state = WFI_DRIVER_IDLE;
	free_entry->planned = DT_NOEND;
	dlist_init(&free_entry->notices);
	dlist_init(&free_entry->later);
	return free_entry;
}

/*
 * The entry of the database we are connected to, or NULL.  Searches only once
 * per session; the caller holds the lock as for wfi_find_database().
 */
static WfiDatabase *
get_my_database(bool create)
{
	if (my_database == NULL || my_database->dboid != MyDatabaseId)
		my_database = wfi_find_database(MyDatabaseId, create);
	return my_database;
}

/*
 * Does a driver serve this database now?
 */
bool
wfi_driver_running(void)
{
	volatile WfiDatabase *database = my_database;

	if (wfi_shared == NULL)
		return false;

	if (database == NULL || database->dboid != MyDatabaseId)
	{
		LWLockAcquire(wfi_shared->lock, LW_SHARED);
		database = get_my_database(false);
		LWLockRelease(wfi_shared->lock);
		if (database == NULL)
			return false;
	}
	return database->state == WFI_DRIVER_RUNNING;
}

/*
 * Would publishing this change nothing?  The caller holds the lock.
 */
static bool
is_old_news(const WfiNews *news)
{
	WfiDatabase *database = get_my_database(false);

	if (database == NULL || database->state != WFI_DRIVER_RUNNING ||
		news->created || news->dropped || news->databases ||
		news->due < database->planned)
		return false;
	return wfi_notices_known(news->notices);
}

/*
 * Tells the driver of this database what a transaction has committed, and
 * wakes it up if it has to do something about it earlier than it would by
 * itself.  Without a driver the launcher is woken up instead.
 *
 * Called after the commit, so nothing here may throw.
 */
void
wfi_shmem_publish(const WfiNews *news)
{
	WfiDatabase *database;
	Latch	   *driver_latch = NULL;
	Latch	   *launcher_latch = NULL;
	bool		wake = false;

	if (wfi_shared == NULL)
		return;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	if (is_old_news(news))
	{
		LWLockRelease(wfi_shared->lock);
		return;
	}
	LWLockRelease(wfi_shared->lock);

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	database = get_my_database(true);
	if (database != NULL)
	{
		wake = wfi_notices_add(database, news->notices);
		if (news->due < database->planned)
		{
			database->planned = news->due;
			wake = true;
		}
		if (news->dropped)
		{
			database->check = true;
			wake = true;
		}
		if (news->created)
		{
			database->creations++;
			database->retry_time = 0;
			wake = true;
		}

		/* Whoever has news, has the extension. */
		if (wake && !news->dropped && database->state == WFI_DRIVER_ABSENT)
			database->state = WFI_DRIVER_IDLE;
		if (wake)
			driver_latch = database->latch;
	}
	if (news->databases || (wake && driver_latch == NULL))
		launcher_latch = wfi_shared->launcher_latch;
	LWLockRelease(wfi_shared->lock);

	/* A driver looks at its own news before it goes to sleep. */
	if (driver_latch != NULL && driver_latch != MyLatch)
		SetLatch(driver_latch);
	if (launcher_latch != NULL)
		SetLatch(launcher_latch);
}

/*
 * Makes sure that the driver of a database looks around.
 */
void
wfi_poke_driver(Oid dboid)
{
	WfiDatabase *database;
	Latch	   *latch = NULL;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	database = wfi_find_database(dboid, false);
	if (database != NULL)
		latch = database->latch;
	LWLockRelease(wfi_shared->lock);
	if (latch != NULL)
		SetLatch(latch);
}

/*
 * Makes sure that all drivers look around.
 */
void
wfi_poke_drivers(void)
{
	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	for (int i = 0; i < WFI_MAX_DATABASES; i++)
	{
		if (wfi_shared->databases[i].latch != NULL)
			SetLatch(wfi_shared->databases[i].latch);
	}
	LWLockRelease(wfi_shared->lock);
}

/*
 * Makes sure that the launcher looks around.
 */
static void
poke_launcher(void)
{
	Latch	   *latch;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	latch = wfi_shared->launcher_latch;
	LWLockRelease(wfi_shared->lock);
	if (latch != NULL)
		SetLatch(latch);
}

/*
 * before_shmem_exit callback of the launcher.
 */
static void
launcher_detach(int code, Datum arg)
{
	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	wfi_shared->launcher_latch = NULL;
	LWLockRelease(wfi_shared->lock);
}

/*
 * Makes this process the launcher.  Drivers that its predecessor registered
 * and that have not shown up yet are forgotten: when they do, they find
 * another one in their place and leave.
 */
void
wfi_launcher_attach(void)
{
	int			i;

	before_shmem_exit(launcher_detach, (Datum) 0);

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	wfi_shared->launcher_latch = MyLatch;
	for (i = 0; i < WFI_MAX_DATABASES; i++)
	{
		WfiDatabase *database = &wfi_shared->databases[i];

		if (database->state == WFI_DRIVER_STARTING && database->pid == 0)
			database->state = WFI_DRIVER_IDLE;
	}
	LWLockRelease(wfi_shared->lock);
}

/*
 * Tells the driver of a database to leave, and the launcher not to start
 * another one.  Holds add up; each needs its wfi_release_database().
 */
void
wfi_hold_database(Oid dboid)
{
	WfiDatabase *database;
	Latch	   *latch = NULL;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	database = wfi_find_database(dboid, true);
	if (database != NULL)
	{
		database->holds++;
		latch = database->latch;
	}
	LWLockRelease(wfi_shared->lock);

	if (latch != NULL)
		SetLatch(latch);
	wfi_pool_expel(dboid);
}

/*
 * Undoes one wfi_hold_database().
 */
void
wfi_release_database(Oid dboid)
{
	WfiDatabase *database;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	database = wfi_find_database(dboid, false);
	if (database != NULL && database->holds > 0)
		database->holds--;
	LWLockRelease(wfi_shared->lock);
	poke_launcher();
}

/*
 * The processes of ours that are connected to a database, or will be: the
 * driver and the workers.
 */
static int
attached_processes(Oid dboid, int *pids)
{
	WfiDatabase *database;
	int			n = 0;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	database = wfi_find_database(dboid, false);
	if (database != NULL && database->pid != 0)
		pids[n++] = database->pid;
	LWLockRelease(wfi_shared->lock);
	return n + wfi_pool_pids(dboid, pids + n);
}

/*
 * Waits until none of our processes is connected to a database that is held,
 * for up to five seconds; those that do not leave by themselves are terminated
 * after two.
 */
void
wfi_await_driver_exit(Oid dboid)
{
	TimestampTz start = GetCurrentTimestamp();
	static uint32 wait_event = 0;
	int			known[WFI_POOL_SIZE + 1];
	int			nknown = 0;
	bool		terminated = false;

	if (wait_event == 0)
		wait_event = WaitEventExtensionNew("WorkflowInterruptDriverExit");

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		int			pids[WFI_POOL_SIZE + 1];
		int			attached = attached_processes(dboid, pids);
		bool		gone = attached == 0;

		/* Having detached, they are still backends of the database for a bit. */
		for (int i = 0; i < nknown && gone; i++)
			gone = BackendPidGetProc(known[i]) == NULL;
		if (gone || TimestampDifferenceExceeds(start, now, EXIT_WAIT_MS))
			return;
		if (attached > 0)
		{
			memcpy(known, pids, attached * sizeof(int));
			nknown = attached;
		}
		if (attached > 0 && !terminated &&
			TimestampDifferenceExceeds(start, now, EXIT_POLITE_MS))
		{
			for (int i = 0; i < attached; i++)
				(void) kill(pids[i], SIGTERM);
			terminated = true;
		}

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 EXIT_POLL_MS, wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * before_shmem_exit callback of a driver: says that it is gone, and lets the
 * launcher decide what follows.  What waits to be sent is forgotten, as the
 * next driver begins with announcing all queues.
 */
static void
driver_detach(int code, Datum arg)
{
	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	wfi_notices_forget(wfi_driven);
	wfi_driven->pid = 0;
	wfi_driven->latch = NULL;
	wfi_driven->planned = DT_NOEND;
	if (wfi_driven->state != WFI_DRIVER_ABSENT)
		wfi_driven->state = WFI_DRIVER_IDLE;
	if (code != 0 && wfi_driven->holds == 0)
		wfi_driven->retry_time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
															 RESTART_DELAY_MS);
	LWLockRelease(wfi_shared->lock);
	poke_launcher();
}

/*
 * Makes this process the driver of a database; false when it is not to be
 * one, because of a hold or because there is another one.
 */
bool
wfi_driver_attach(Oid dboid)
{
	WfiDatabase *database;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	database = wfi_find_database(dboid, false);
	if (database != NULL && database->pid == 0 &&
		database->state == WFI_DRIVER_STARTING)
	{
		if (database->holds > 0 || database->unwanted)
			database->state = WFI_DRIVER_IDLE;
		else
		{
			database->pid = MyProcPid;
			database->latch = MyLatch;
			database->planned = DT_NOBEGIN;
			wfi_driven = database;
		}
	}
	LWLockRelease(wfi_shared->lock);

	if (wfi_driven == NULL)
		return false;
	before_shmem_exit(driver_detach, (Datum) 0);
	return true;
}

/*
 * How often the extension was created here.  To be asked before looking
 * whether it exists, see wfi_driver_set_absent().
 */
uint32
wfi_driver_creations(void)
{
	uint32		creations;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	creations = wfi_driven->creations;
	wfi_driven->check = false;
	LWLockRelease(wfi_shared->lock);
	return creations;
}

/*
 * Says that this driver serves its database now.
 */
void
wfi_driver_set_running(void)
{
	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	wfi_driven->state = WFI_DRIVER_RUNNING;
	LWLockRelease(wfi_shared->lock);
	poke_launcher();
}

/*
 * Says that the database does not have the extension, so that nobody looks
 * again until it is created.  False when it was created meanwhile: look
 * again.
 */
bool
wfi_driver_set_absent(uint32 creations)
{
	bool		absent = false;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	if (wfi_driven->creations == creations)
	{
		wfi_driven->state = WFI_DRIVER_ABSENT;
		absent = true;
	}
	LWLockRelease(wfi_shared->lock);
	return absent;
}

/*
 * Does anybody want this driver to end?
 */
bool
wfi_driver_must_leave(void)
{
	bool		result;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	result = wfi_driven->holds > 0 || wfi_driven->unwanted;
	LWLockRelease(wfi_shared->lock);
	return result;
}

/*
 * Might the extension have been dropped?
 */
bool
wfi_driver_must_check(void)
{
	bool		result;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	result = wfi_driven->check;
	LWLockRelease(wfi_shared->lock);
	return result;
}

/*
 * When is this driver to look for due wake-ups?
 */
TimestampTz
wfi_driver_planned(void)
{
	TimestampTz planned;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	planned = wfi_driven->planned;
	LWLockRelease(wfi_shared->lock);
	return planned;
}

/*
 * To be called before looking at the table of wake-ups: what is committed
 * from now on, and may be missed, counts from scratch.
 */
void
wfi_driver_begin_look(void)
{
	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	wfi_driven->planned = DT_NOEND;
	LWLockRelease(wfi_shared->lock);
}

/*
 * Look for due wake-ups no later than at that time.
 */
void
wfi_driver_plan(TimestampTz due)
{
	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	wfi_driven->planned = Min(wfi_driven->planned, due);
	LWLockRelease(wfi_shared->lock);
}
