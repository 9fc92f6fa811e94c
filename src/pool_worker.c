/*
 * pool_worker.c
 *	  What a worker tells the pool about itself, and asks it.
 *
 * See pool.c about locking.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pool.h"
#include "shmem.h"
#include "storage/ipc.h"

/* A worker gives way to another role's after that time */
#define TURN_USECS		USECS_PER_SEC

static WfiCrew *
my_crew(void)
{
	return &wfi_pool->crews[wfi_this_worker->crew];
}

/* What the last worker had to leave alone is to be looked at again. */
static void
release_withheld(WfiCrew *crew)
{
	wfi_queue_set_join(&crew->marked, &crew->withheld);
	memset(&crew->withheld, 0, sizeof(WfiQueueSet));
}

/*
 * before_shmem_exit callback of a worker: others take over what it has left.
 * One that did not get as far as looking for tasks could not connect, or had
 * nothing to do.
 */
static void
detach(int code, Datum arg)
{
	WfiCrew    *crew = my_crew();

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	if (wfi_this_worker->state == WFI_WORKER_STARTING)
		wfi_pool_put_off(crew);
	if (wfi_this_worker->in_queue)
		wfi_queue_set_add(&crew->marked, wfi_this_worker->queue);
	wfi_pool_free_worker(wfi_this_worker);
	release_withheld(crew);
	if (!wfi_queue_set_empty(&crew->marked))
		(void) wfi_pool_wake_one(crew);
	wfi_this_worker = NULL;
	LWLockRelease(wfi_pool->lock);

	/* there is room for another one, of whatever role */
	wfi_poke_drivers();
}

/* Take the place that was made for this process; false when it is not. */
bool
wfi_worker_attach(const WfiWorkerStart *start)
{
	WfiWorker  *worker = &wfi_pool->workers[start->index];

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	if (worker->generation == start->generation &&
		worker->state == WFI_WORKER_STARTING && worker->pid == 0)
	{
		worker->pid = MyProcPid;
		worker->latch = MyLatch;
		worker->start_time = GetCurrentTimestamp();
		wfi_this_worker = worker;
	}
	LWLockRelease(wfi_pool->lock);
	if (wfi_this_worker == NULL)
		return false;
	before_shmem_exit(detach, (Datum) 0);
	return true;
}

/* This worker is connected, and there are functions for it. */
void
wfi_worker_useful(void)
{
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	wfi_this_worker->state = WFI_WORKER_LOOKING;
	my_crew()->pause = 0;
	LWLockRelease(wfi_pool->lock);
}

/*
 * Does a crew wait for its first worker while there is no room?  The caller
 * holds the lock.
 */
static bool
crew_waits(void)
{
	int			workers = 0;
	bool		waiting = false;

	for (int i = 0; i < WFI_POOL_SIZE; i++)
		workers += wfi_pool->workers[i].state != WFI_WORKER_FREE;
	if (workers < wfi_max_workers)
		return false;
	for (int i = 0; i < WFI_MAX_CREWS; i++)
	{
		WfiCrew    *crew = &wfi_pool->crews[i];

		waiting |= crew->wanted && crew->workers == 0 && crew->pause == 0;
	}
	return waiting;
}

/* Then whoever had a turn has to go.  The caller holds the lock. */
static bool
others_turn(void)
{
	return GetCurrentTimestamp() >= wfi_this_worker->start_time + TURN_USECS &&
		crew_waits();
}

/* Is this worker, between two tasks, to end? */
bool
wfi_worker_must_leave(void)
{
	bool		result;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	result = wfi_this_worker->leave || others_turn();
	wfi_this_worker->leave = result;
	LWLockRelease(wfi_pool->lock);
	return result;
}

/* Does another worker of the crew run something, or may it be about to? */
static bool
occupied(const WfiWorker *worker)
{
	return worker->state == WFI_WORKER_BUSY ||
		(worker->state == WFI_WORKER_LOOKING && worker->may_repeat);
}

/*
 * Which functions this worker is to leave alone: none, unless it is the
 * crew's last one.  The caller holds the lock.
 */
static void
look_around(WfiLook *look)
{
	WfiWorker  *me = wfi_this_worker;
	int			others = 0;

	look->nbusy = 0;
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		WfiWorker  *worker = &wfi_pool->workers[i];

		if (worker == me || worker->crew != me->crew || worker->helper ||
			!occupied(worker))
			continue;
		others++;
		if (worker->function != 0)
			look->busy[look->nbusy++] = worker->function;
	}
	me->may_repeat = wfi_crew_limit() - others > 1 || others == 0 || me->helper;
	if (me->may_repeat)
		look->nbusy = 0;
}

/*
 * Begin a look for a task: in which queues, and which functions to leave
 * alone.
 */
void
wfi_worker_begin_look(WfiLook *look)
{
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	wfi_this_worker->state = WFI_WORKER_LOOKING;
	look->queues = my_crew()->marked;
	memset(&look->begun, 0, sizeof(WfiQueueSet));
	look->no_activities = wfi_this_worker->helper;
	if (look->no_activities)
		wfi_queue_set_meet(&look->queues, &my_crew()->workflows);
	look_around(look);
	LWLockRelease(wfi_pool->lock);
}

/* Is a worker of the crew, other than this one, running that function? */
static bool
others_run(uint32 function)
{
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		const WfiWorker *worker = &wfi_pool->workers[i];

		if (worker != wfi_this_worker && worker->function == function &&
			worker->crew == wfi_this_worker->crew && occupied(worker))
			return true;
	}
	return false;
}

/*
 * This worker is about to be done with its task; may it go on with that
 * function of that kind, by the rules for those who look for tasks?  Then it has left the
 * function that it ran so far to others.
 */
bool
wfi_worker_goes_on(char kind, uint32 function)
{
	WfiWorker  *me = wfi_this_worker;
	WfiCrew    *crew = my_crew();
	WfiLook		look;
	bool		may;
	bool		poke = false;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	look_around(&look);
	may = !me->leave && !others_turn() &&
		!(me->helper && kind == WFI_TASK_ACTIVITY) &&
		(look.nbusy == 0 || !others_run(function));
	if (may)
	{
		if (!wfi_queue_set_empty(&crew->withheld) && !others_run(me->function))
		{
			release_withheld(crew);
			poke = wfi_pool_wake_one(crew);
		}
		me->function = function;
	}
	LWLockRelease(wfi_pool->lock);
	if (poke)
		wfi_poke_driver(MyDatabaseId);
	return may;
}

/*
 * This worker is about to look into a queue: what is marked later counts, also
 * when it comes to another queue that has the same place in sets.
 */
void
wfi_worker_begin_queue(int bit, WfiLook *look)
{
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	if (!wfi_queue_set_has(&look->begun, bit))
		wfi_queue_set_remove(&my_crew()->marked, bit);
	wfi_queue_set_add(&look->begun, bit);
	wfi_this_worker->queue = bit;
	wfi_this_worker->in_queue = true;
	LWLockRelease(wfi_pool->lock);
}

/*
 * Does a worker still run what was left to it?  When it is done, it releases
 * what is withheld.  The caller holds the lock.
 */
static bool
still_busy(const WfiLook *look)
{
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		const WfiWorker *worker = &wfi_pool->workers[i];

		if (worker == wfi_this_worker || worker->state != WFI_WORKER_BUSY ||
			worker->crew != wfi_this_worker->crew)
			continue;
		if (look->no_activities)
			return true;
		for (int j = 0; j < look->nbusy; j++)
		{
			if (look->busy[j] == worker->function)
				return true;
		}
	}
	return false;
}

/*
 * It has looked: where there was a task there may be more, and those it had
 * to leave alone are for whoever is done first; for itself, if all are by now.
 */
void
wfi_worker_end_queue(int bit, bool found, const WfiLook *look)
{
	WfiCrew    *crew = my_crew();

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	wfi_this_worker->in_queue = false;
	if (found)
		wfi_queue_set_add(&crew->marked, bit);
	else if (still_busy(look))
		wfi_queue_set_add(&crew->withheld, bit);
	else if (look->nbusy > 0)
		wfi_queue_set_add(&crew->marked, bit);
	LWLockRelease(wfi_pool->lock);
}

/*
 * It looks no further: a queue that it has not come to is to be looked into
 * even if another one with the same place in sets was.
 */
void
wfi_worker_skip_queue(int bit, const WfiLook *look)
{
	if (!wfi_queue_set_has(&look->begun, bit))
		return;
	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	wfi_queue_set_add(&my_crew()->marked, bit);
	LWLockRelease(wfi_pool->lock);
}

/*
 * This worker has taken a task.  To be called before the transaction that
 * claims it commits, so that no news about the attempt is missed.  When more
 * tasks wait in queues, somebody else is woken up, who finds this queue marked.
 */
void
wfi_worker_took(uint32 function, const pg_uuid_t *token, bool interruptible,
				bool from_queue)
{
	WfiWorker  *me = wfi_this_worker;
	WfiCrew    *crew = my_crew();
	bool		poke = false;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	me->state = WFI_WORKER_BUSY;
	me->function = function;
	if (token != NULL && !me->has_token)
		me->since = GetCurrentTimestamp();
	me->has_token = token != NULL;
	if (token != NULL)
		me->token = *token;
	me->interruptible = interruptible;
	me->cancel_requested = false;
	me->ended = false;
	if (from_queue && crew->ready > 0 && --crew->ready > 0)
	{
		wfi_queue_set_add(&crew->marked, me->queue);
		poke = wfi_pool_wake_one(crew);
	}
	else if (token != NULL && crew->workers >= wfi_crew_limit() &&
			 wfi_workflows_wait(crew))
		poke = wfi_pool_wake_one(crew); /* there may be nobody else for them */
	LWLockRelease(wfi_pool->lock);
	if (poke)
		wfi_poke_driver(MyDatabaseId);
}

/*
 * This worker is done with its task, or could not take it after all.  False
 * when somebody else had ended the attempt, and is about to end this process.
 */
bool
wfi_worker_done(void)
{
	WfiWorker  *me = wfi_this_worker;
	WfiCrew    *crew = my_crew();
	bool		ended;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	ended = me->ended;
	me->state = WFI_WORKER_LOOKING;
	me->may_repeat = false;
	me->function = 0;
	me->has_token = false;
	release_withheld(crew);
	LWLockRelease(wfi_pool->lock);
	return !ended;
}

/* Is another worker of the crew in the middle of a queue? */
static bool
others_in_queue(void)
{
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		const WfiWorker *worker = &wfi_pool->workers[i];

		if (worker != wfi_this_worker && worker->in_queue &&
			worker->state != WFI_WORKER_FREE &&
			worker->crew == wfi_this_worker->crew)
			return true;
	}
	return false;
}

/*
 * There is nothing to do; false if there may be something since, or this
 * worker is not to rest while others wait for a place.  A queue that somebody
 * is looking into is not marked; there may be more in it than he takes.
 */
bool
wfi_worker_rest(void)
{
	WfiCrew    *crew = my_crew();
	bool		rest;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	rest = wfi_this_worker->helper ? !wfi_workflows_wait(crew) :
		wfi_queue_set_empty(&crew->marked);
	if (rest && crew_waits())
	{
		wfi_this_worker->leave = true;
		rest = false;
	}
	if (rest)
	{
		wfi_this_worker->state = WFI_WORKER_IDLE;
		if (!wfi_this_worker->helper && !others_in_queue())
			crew->ready = 0;
	}
	LWLockRelease(wfi_pool->lock);
	return rest;
}

/* Nothing has come up for long: true if this worker may end. */
bool
wfi_worker_retire(void)
{
	bool		retire;

	LWLockAcquire(wfi_pool->lock, LW_EXCLUSIVE);
	retire = wfi_this_worker->state == WFI_WORKER_IDLE;
	if (retire)
		wfi_this_worker->leave = true;
	LWLockRelease(wfi_pool->lock);
	return retire;
}

/* Is the attempt that this worker runs to cancel? */
bool
wfi_worker_cancel_requested(void)
{
	return wfi_this_worker != NULL && wfi_this_worker->cancel_requested;
}

/* ... and may that interrupt its statement? */
bool
wfi_worker_interruptible(void)
{
	return wfi_this_worker != NULL && wfi_this_worker->interruptible;
}
