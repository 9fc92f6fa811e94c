/*
 * pool.c
 *	  Shared state of the pool of workers, see pool.h.
 *
 * Everything is guarded by wfi_pool->lock, which is held for a walk over a few
 * hundred entries at most, never while anything can throw or wait.  It may be
 * taken while the lock of the heartbeat slots is held, not the other way
 * round.  What is read without it (how many crews there are, whether the
 * registrations have changed) may be out of date anyway.
 *
 * Marks and the number of ready tasks are hints, like notifications.  The
 * driver marks queues again whose tasks nobody has taken for a while.
 *
 * No slot is given away that would leave nothing to others: a role has a
 * limit of its own, and of a role's workers the last one takes no function
 * that another one is running.  So a function that never ends keeps itself
 * waiting, but nobody else.  Nor do different ones keep the role's workflows
 * from hearing of a cancel: there is a helper then.
 */
#include "postgres.h"

#include <signal.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "pool.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#define TRANCHE "workflow_interrupt pool"

/* Pause after a worker could not start, doubled each time */
#define MIN_PAUSE_MS	1000
#define MAX_PAUSE_MS	60000

/* ... or, when somebody is making room for it, after */
#define ROOM_PAUSE_MS	50

/* Activities that take all workers of a crew for so long bring it a helper */
#define HELPER_MS		100

/* When there was no process for somebody, keepers stay away for so long */
#define SCARCE_MS		60000

WfiPool    *wfi_pool = NULL;
WfiWorker  *wfi_this_worker = NULL;

/* Reserve shared memory and the lock. */
void
wfi_pool_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(WfiPool)));
	RequestNamedLWLockTranche(TRANCHE, 1);
}

/* Create the shared state, or find it (EXEC_BACKEND). */
void
wfi_pool_shmem_startup(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	wfi_pool = ShmemInitStruct(TRANCHE, sizeof(WfiPool), &found);
	if (!found)
	{
		memset(wfi_pool, 0, sizeof(WfiPool));
		wfi_pool->lock = &(GetNamedLWLockTranche(TRANCHE))->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* The place of a task queue in sets. */
int
wfi_queue_bit(char kind, const char *task_queue)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) task_queue,
										   strlen(task_queue), kind);

	return (int) (hash % WFI_QUEUE_BITS);
}

void
wfi_queue_set_add(WfiQueueSet *set, int bit)
{
	set->words[bit / 64] |= UINT64CONST(1) << (bit % 64);
}

void
wfi_queue_set_remove(WfiQueueSet *set, int bit)
{
	set->words[bit / 64] &= ~(UINT64CONST(1) << (bit % 64));
}

bool
wfi_queue_set_has(const WfiQueueSet *set, int bit)
{
	return (set->words[bit / 64] & (UINT64CONST(1) << (bit % 64))) != 0;
}

/* Leave in a set what is in the other one, too. */
void
wfi_queue_set_meet(WfiQueueSet *set, const WfiQueueSet *other)
{
	for (int i = 0; i < WFI_QUEUE_WORDS; i++)
		set->words[i] &= other->words[i];
}

void
wfi_queue_set_join(WfiQueueSet *set, const WfiQueueSet *other)
{
	for (int i = 0; i < WFI_QUEUE_WORDS; i++)
		set->words[i] |= other->words[i];
}

bool
wfi_queue_set_empty(const WfiQueueSet *set)
{
	uint64		any = 0;

	for (int i = 0; i < WFI_QUEUE_WORDS; i++)
		any |= set->words[i];
	return any == 0;
}

/* Mark what a crew serves of some queues; true if that is anything. */
static bool
mark(WfiCrew *crew, const WfiQueueSet *queues)
{
	uint64		any = 0;

	for (int i = 0; i < WFI_QUEUE_WORDS; i++)
	{
		uint64		word = crew->serves.words[i] & queues->words[i];

		any |= word;
		crew->marked.words[i] |= word;
	}
	return any != 0;
}

/* May there be anybody to publish to? */
bool
wfi_pool_exists(void)
{
	return wfi_pool != NULL && wfi_pool->ncrews > 0;
}

/* The most workers that a crew may have, besides its helper. */
int
wfi_crew_limit(void)
{
	return Min(wfi_max_workers_per_role, wfi_max_workers);
}

/* May there be workflow tasks that a crew could run? */
bool
wfi_workflows_wait(const WfiCrew *crew)
{
	WfiQueueSet queues = crew->marked;

	wfi_queue_set_meet(&queues, &crew->workflows);
	return !wfi_queue_set_empty(&queues);
}

/*
 * May a crew get another worker?  As long as it is below its limit; or else a
 * helper, when workflow tasks wait and all others run activities: since when
 * the last of them does, is *helper_since, else DT_NOBEGIN.
 */
static bool
may_grow(const WfiCrew *crew, TimestampTz *helper_since)
{
	int			workers = 0;
	bool		only_activities = true;
	TimestampTz since = DT_NOBEGIN;

	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		const WfiWorker *worker = &wfi_pool->workers[i];

		if (worker->state == WFI_WORKER_FREE ||
			&wfi_pool->crews[worker->crew] != crew)
			continue;
		workers += !worker->helper;
		only_activities &= worker->state == WFI_WORKER_BUSY &&
			worker->has_token;
		since = Max(since, worker->since);
	}
	*helper_since = DT_NOBEGIN;
	if (workers < wfi_crew_limit())
		return true;
	*helper_since = since;
	return crew->workers == workers && only_activities &&
		wfi_workflows_wait(crew);
}

/* A worker that is idle is to look after its crew's queues. */
static void
wake(WfiWorker *worker)
{
	worker->state = WFI_WORKER_LOOKING;
	worker->may_repeat = false;
	SetLatch(worker->latch);
}

/*
 * See to it that somebody looks after a crew's queues: one that is idle, or
 * one that the driver starts.  True when the driver has to be told.
 */
bool
wfi_pool_wake_one(WfiCrew *crew)
{
	int			index = crew - wfi_pool->crews;
	TimestampTz since;

	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		WfiWorker  *worker = &wfi_pool->workers[i];

		if (worker->crew != index || worker->leave)
			continue;
		if (worker->helper)
		{
			if (worker->state == WFI_WORKER_IDLE && wfi_workflows_wait(crew))
				wake(worker);	/* it does not look after all of them */
			continue;
		}
		if (worker->state == WFI_WORKER_STARTING)
			return false;		/* it will look */
		if (worker->state == WFI_WORKER_IDLE)
		{
			wake(worker);
			return false;
		}
	}
	if (crew->wanted || !may_grow(crew, &since) ||
		wfi_queue_set_empty(&crew->serves))
		return false;
	crew->wanted = true;
	return true;
}

/*
 * Tell the workers of this database what a transaction has committed.  A
 * worker that will look by itself needs nobody else for one task; one that
 * goes on with a task it has taken already will not.  Nothing here may throw.
 */
void
wfi_pool_publish(const WfiPoolNews *news)
{
	bool		poke = false;

	if (wfi_pool == NULL || (news->tasks == 0 && !news->registrations))
		return;
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	if (news->registrations)
	{
		wfi_pool->registrations++;
		poke = true;
	}
	for (int i = 0; i < WFI_MAX_CREWS && news->tasks > 0; i++)
	{
		WfiCrew    *crew = &wfi_pool->crews[i];

		if (crew->dboid != MyDatabaseId || !mark(crew, &news->queues))
			continue;
		crew->ready += news->tasks;
		if (wfi_this_worker == NULL || wfi_this_worker->crew != i ||
			wfi_this_worker->leave || wfi_this_worker->helper ||
			wfi_worker_has_next() || crew->ready > 1)
			poke |= wfi_pool_wake_one(crew);
	}
	LWLockRelease(wfi_pool->lock);
	if (poke)
		wfi_poke_driver(MyDatabaseId);
}

/* The worker that runs an attempt, or NULL; the caller holds the lock. */
static WfiWorker *
find_attempt(const pg_uuid_t *token)
{
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		WfiWorker  *worker = &wfi_pool->workers[i];

		if (worker->state != WFI_WORKER_FREE && worker->has_token &&
			wfi_uuid_equal(&worker->token, token))
			return worker;
	}
	return NULL;
}

/*
 * An attempt is to cancel: interrupt what it runs, if it can be interrupted.
 * Nothing here may throw.
 */
void
wfi_pool_cancel(const pg_uuid_t *token)
{
	WfiWorker  *worker;

	if (!wfi_pool_exists())
		return;
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	worker = find_attempt(token);
	if (worker != NULL && !worker->cancel_requested)
	{
		worker->cancel_requested = true;
		if (worker->interruptible)
			(void) kill(worker->pid, SIGINT);
	}
	LWLockRelease(wfi_pool->lock);
}

/*
 * An attempt is over (timed out, terminated, reset, answered by its id): end
 * the worker that still runs it, without a say.  Nothing here may throw.
 */
void
wfi_pool_end(const pg_uuid_t *token)
{
	WfiWorker  *worker;

	if (!wfi_pool_exists())
		return;
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	worker = find_attempt(token);
	if (worker != NULL && worker != wfi_this_worker)
	{
		worker->ended = true;
		(void) kill(worker->pid, SIGTERM);
	}
	LWLockRelease(wfi_pool->lock);
}

/* Have all workers of a database end when they have done their tasks. */
void
wfi_pool_expel(Oid dboid)
{
	if (!wfi_pool_exists())
		return;
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		WfiWorker  *worker = &wfi_pool->workers[i];

		if (worker->state == WFI_WORKER_FREE ||
			wfi_pool->crews[worker->crew].dboid != dboid)
			continue;
		worker->leave = true;
		if (worker->latch != NULL)
			SetLatch(worker->latch);
	}
	LWLockRelease(wfi_pool->lock);
}

/* The processes that are workers of a database; how many. */
int
wfi_pool_pids(Oid dboid, int *pids)
{
	int			n = 0;

	if (!wfi_pool_exists())
		return 0;
	LWLockAcquire(wfi_pool->lock, LW_SHARED);
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		WfiWorker  *worker = &wfi_pool->workers[i];

		if (worker->state != WFI_WORKER_FREE && worker->pid != 0 &&
			wfi_pool->crews[worker->crew].dboid == dboid)
			pids[n++] = worker->pid;
	}
	LWLockRelease(wfi_pool->lock);
	return n;
}

/* How often registrations have changed, in any database. */
uint32
wfi_pool_registrations(void)
{
	return wfi_pool->registrations;
}

/* The crew of a role in this database, or NULL; the caller holds the lock. */
static WfiCrew *
find_crew(Oid role, bool create)
{
	WfiCrew    *free_crew = NULL;

	for (int i = 0; i < WFI_MAX_CREWS; i++)
	{
		WfiCrew    *crew = &wfi_pool->crews[i];

		if (crew->dboid == MyDatabaseId && crew->role == role)
			return crew;
		if (free_crew == NULL && !OidIsValid(crew->dboid) &&
			crew->workers == 0)
			free_crew = crew;
	}
	if (!create || free_crew == NULL)
		return NULL;
	memset(free_crew, 0, sizeof(WfiCrew));
	free_crew->dboid = MyDatabaseId;
	free_crew->role = role;
	wfi_pool->ncrews++;
	return free_crew;
}

/* Which queues a role has functions for; false when there are too many roles. */
bool
wfi_pool_set_crew(Oid role, const WfiQueueSet *queues,
				  const WfiQueueSet *workflows)
{
	WfiCrew    *crew;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	crew = find_crew(role, true);
	if (crew != NULL)
	{
		crew->serves = *queues;
		crew->workflows = *workflows;
	}
	LWLockRelease(wfi_pool->lock);
	return crew != NULL;
}

/* A crew that serves nothing any more is forgotten with its last worker. */
static void
forget_if_done(WfiCrew *crew)
{
	if (crew->workers > 0 || !wfi_queue_set_empty(&crew->serves))
		return;
	crew->dboid = InvalidOid;
	wfi_pool->ncrews--;
}

/* Forget the crews of a database, but those of some roles. */
void
wfi_pool_forget_crews(Oid dboid, List *but_roles)
{
	if (!wfi_pool_exists())
		return;
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < WFI_MAX_CREWS; i++)
	{
		WfiCrew    *crew = &wfi_pool->crews[i];

		if (crew->dboid != dboid ||
			list_member_oid(but_roles, crew->role))
			continue;
		for (int j = 0; j < WFI_POOL_SIZE; j++)
		{
			WfiWorker  *worker = &wfi_pool->workers[j];

			if (worker->state == WFI_WORKER_FREE || worker->crew != i)
				continue;
			worker->leave = true;
			if (worker->latch != NULL)
				SetLatch(worker->latch);
		}
		memset(&crew->serves, 0, sizeof(WfiQueueSet));
		memset(&crew->marked, 0, sizeof(WfiQueueSet));
		crew->wanted = false;
		forget_if_done(crew);
	}
	LWLockRelease(wfi_pool->lock);
}

/* A worker is no more; the caller holds the lock. */
void
wfi_pool_free_worker(WfiWorker *worker)
{
	WfiCrew    *crew = &wfi_pool->crews[worker->crew];

	worker->state = WFI_WORKER_FREE;
	worker->pid = 0;
	worker->latch = NULL;
	worker->has_token = false;
	crew->workers--;
	forget_if_done(crew);
}

/*
 * A new driver of this database: what the one before has registered, and has
 * not come yet, will find that it is not expected any more.
 */
void
wfi_pool_driver_attach(void)
{
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		WfiWorker  *worker = &wfi_pool->workers[i];

		if (worker->state == WFI_WORKER_STARTING && worker->pid == 0 &&
			wfi_pool->crews[worker->crew].dboid == MyDatabaseId)
			wfi_pool_free_worker(worker);
	}
	LWLockRelease(wfi_pool->lock);
}

/*
 * Make room for a worker of a crew that has none, or for its helper, if
 * possible: somebody who is idle goes.  False when nobody is.
 */
static bool
make_room(int crew)
{
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		WfiWorker  *worker = &wfi_pool->workers[i];

		if (worker->state == WFI_WORKER_IDLE && worker->crew != crew)
		{
			if (!worker->leave)
			{
				worker->leave = true;
				SetLatch(worker->latch);
			}
			return true;
		}
	}
	return false;
}

/*
 * The next worker of this database to be started, if there is one and room
 * for it; its entry is then its own.  Lowers *next to when to ask again.
 */
bool
wfi_pool_take_wish(WfiWorkerStart *start, TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();
	int			workers = 0;
	int			entry = -1;
	bool		taken = false;

	if (!wfi_pool_exists())
		return false;
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		if (wfi_pool->workers[i].state != WFI_WORKER_FREE)
			workers++;
		else if (entry < 0)
			entry = i;
	}
	for (int n = 0, first = wfi_pool->next_crew; n < WFI_MAX_CREWS && !taken; n++)
	{
		int			i = (first + n) % WFI_MAX_CREWS;
		WfiCrew    *crew = &wfi_pool->crews[i];
		WfiWorker  *worker;
		TimestampTz since;

		if (!crew->wanted || crew->dboid != MyDatabaseId)
			continue;
		/* nor when others have done what it was wanted for */
		if (!may_grow(crew, &since) ||
			(crew->ready == 0 && wfi_queue_set_empty(&crew->marked)))
		{
			crew->wanted = false;
			continue;
		}
		/* mind that the clock may have been set back */
		crew->retry_time =
			Min(crew->retry_time,
				TimestampTzPlusMilliseconds(now, crew->pause));
		if (crew->retry_time > now)
		{
			*next = Min(*next, crew->retry_time);
			continue;
		}
		/* activities may be done soon */
		if (since != DT_NOBEGIN && now >= since &&
			now < TimestampTzPlusMilliseconds(since, HELPER_MS))
		{
			*next = Min(*next,
						TimestampTzPlusMilliseconds(since, HELPER_MS));
			continue;
		}
		if (entry < 0 || workers >= wfi_max_workers)
		{
			if (crew->workers == 0 || since != DT_NOBEGIN)
				(void) make_room(i);
			continue;
		}
		worker = &wfi_pool->workers[entry];
		start->index = entry;
		start->generation = worker->generation + 1;
		start->dboid = crew->dboid;
		start->role = crew->role;
		memset(worker, 0, sizeof(WfiWorker));
		worker->state = WFI_WORKER_STARTING;
		worker->crew = i;
		worker->generation = start->generation;
		worker->helper = since != DT_NOBEGIN;
		crew->workers++;
		crew->wanted = false;
		wfi_pool->next_crew = (i + 1) % WFI_MAX_CREWS;
		taken = true;
	}
	LWLockRelease(wfi_pool->lock);
	return taken;
}

/* The crew's worker could not be started: try again after a pause. */
void
wfi_pool_put_off(WfiCrew *crew)
{
	crew->pause = Min(Max(crew->pause * 2, MIN_PAUSE_MS), MAX_PAUSE_MS);
	crew->retry_time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   crew->pause);
	crew->wanted = !wfi_queue_set_empty(&crew->serves);
}

/* The entry of a worker that is to be started, unless it has been freed. */
static WfiWorker *
expected_worker(const WfiWorkerStart *start)
{
	WfiWorker  *worker = &wfi_pool->workers[start->index];

	if (worker->generation == start->generation &&
		worker->state == WFI_WORKER_STARTING && worker->pid == 0)
		return worker;
	return NULL;
}

/* A worker is not to be started after all. */
void
wfi_pool_withdraw(const WfiWorkerStart *start)
{
	WfiWorker  *worker;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	worker = expected_worker(start);
	if (worker != NULL)
		wfi_pool_free_worker(worker);
	LWLockRelease(wfi_pool->lock);
}

/*
 * The server had no process for a worker or a driver: workers do without their
 * keepers for a while.
 */
void
wfi_pool_no_process(void)
{
	if (wfi_pool == NULL)
		return;
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	wfi_pool->room_time =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SCARCE_MS);
	LWLockRelease(wfi_pool->lock);
}

/* May a worker have a keeper? */
bool
wfi_pool_has_room(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz room_time;

	LWLockAcquire(wfi_pool->lock, LW_SHARED);
	room_time = wfi_pool->room_time;
	LWLockRelease(wfi_pool->lock);

	/* mind that the clock may have been set back */
	return now >= room_time ||
		now < TimestampTzPlusMilliseconds(room_time, -SCARCE_MS);
}

/*
 * A worker that was to be started is not there and will not come.  If that is
 * for want of a process, then whoever is idle makes room for a crew that has
 * none, which tries again as soon as that can have happened.
 */
void
wfi_pool_start_failed(const WfiWorkerStart *start, bool no_process)
{
	WfiWorker  *worker;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	worker = expected_worker(start);
	if (worker != NULL)
	{
		WfiCrew    *crew = &wfi_pool->crews[worker->crew];

		wfi_pool_free_worker(worker);
		wfi_pool_put_off(crew);
		if (no_process && crew->workers == 0 && make_room(worker->crew))
		{
			crew->pause = ROOM_PAUSE_MS;
			crew->retry_time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), crew->pause);
		}
	}
	LWLockRelease(wfi_pool->lock);
}

/* Has a worker that was registered not come yet? */
bool
wfi_pool_not_attached(const WfiWorkerStart *start)
{
	bool		result;

	LWLockAcquire(wfi_pool->lock, LW_SHARED);
	result = expected_worker(start) != NULL;
	LWLockRelease(wfi_pool->lock);
	return result;
}

/*
 * For the driver, about a role that no worker can be: which of its queues may
 * have tasks, so that it can see to them itself.
 */
bool
wfi_pool_take_marks(Oid role, WfiQueueSet *queues)
{
	WfiCrew    *crew;

	memset(queues, 0, sizeof(WfiQueueSet));
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	crew = find_crew(role, false);
	if (crew != NULL)
	{
		*queues = crew->marked;
		memset(&crew->marked, 0, sizeof(WfiQueueSet));
		crew->ready = 0;
		crew->wanted = false;
	}
	LWLockRelease(wfi_pool->lock);
	return !wfi_queue_set_empty(queues);
}
