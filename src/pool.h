/*
 * pool.h
 *	  The pool of background workers that run SQL workflows and activities.
 *
 * Workers of one role in one database are a crew.  A crew knows, in shared
 * memory, which of its task queues may have tasks: commits mark them, and
 * wake a worker up.
 *
 * A worker that is done with a task may go on at once with one that follows
 * from it (eager.c), for a while; it stays BUSY then.
 *
 * While activities keep all workers of a crew, it has one more for workflow
 * tasks only, its helper, so that workflows hear of cancels.
 *
 * Life of a worker
 *
 *		 the driver registers it		it has functions
 *	FREE ---------------------> STARTING -----------> LOOKING <--+
 *	 ^								|				  |		^	 |
 *	 |								|	  nothing to do	|	  |	 | done
 *	 |								|				  v		|	 |
 *	 |		  ends					|				IDLE ---+	 |
 *	 +------------------------------+----------------- woken	 |
 *	 +--------------------------------------------- BUSY <-------+
 *								(LOOKING -> BUSY: it took a task)
 */
#ifndef WFI_POOL_H
#define WFI_POOL_H

#include "background.h"
#include "sql_code.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* The most workers there can be at a time, and roles with registrations */
#define WFI_POOL_SIZE	256
#define WFI_MAX_CREWS	256

/* A set of task queues: by a hash, so it may seem to have more than it has */
#define WFI_QUEUE_BITS	256
#define WFI_QUEUE_WORDS (WFI_QUEUE_BITS / 64)

typedef struct WfiQueueSet
{
	uint64		words[WFI_QUEUE_WORDS];
} WfiQueueSet;

/* What a committed transaction has for the workers */
typedef struct WfiPoolNews
{
	WfiQueueSet queues;			/* they got tasks */
	int			tasks;			/* about so many; 0: nothing */
	bool		registrations;	/* they have changed */
} WfiPoolNews;

/* What one look for tasks may take */
typedef struct WfiLook
{
	WfiQueueSet queues;			/* these may have some */
	WfiQueueSet begun;			/* it has begun to look into these */
	bool		no_activities;
	int			nbusy;			/* functions to leave alone, if any */
	uint32		busy[WFI_POOL_SIZE];
} WfiLook;

/* What is passed to a worker when it is registered */
typedef struct WfiWorkerStart
{
	int			index;
	uint32		generation;
	Oid			dboid;
	Oid			role;
} WfiWorkerStart;

typedef enum WfiWorkerState
{
	WFI_WORKER_FREE,			/* there is no such worker */
	WFI_WORKER_STARTING,
	WFI_WORKER_LOOKING,
	WFI_WORKER_BUSY,
	WFI_WORKER_IDLE
} WfiWorkerState;

typedef struct WfiCrew
{
	Oid			dboid;			/* InvalidOid: this entry is free */
	Oid			role;
	WfiQueueSet serves;			/* queues it has functions for */
	WfiQueueSet workflows;		/* ... of workflows */
	WfiQueueSet marked;			/* ... that may have tasks */
	WfiQueueSet withheld;		/* ... that its last worker has left alone */
	int			ready;			/* about so many tasks wait */
	int			workers;		/* those that are not free */
	bool		wanted;			/* the driver is to start one */
	int			pause;			/* ms; 0: the last one could start */
	TimestampTz retry_time;		/* start none before */
} WfiCrew;

typedef struct WfiWorker
{
	WfiWorkerState state;
	int			crew;
	uint32		generation;		/* counts the uses of this entry */
	bool		helper;			/* it runs no activities */
	int			pid;			/* 0 until it has attached */
	Latch	   *latch;
	bool		leave;			/* it is to end when it has done its task */
	bool		may_repeat;		/* looking, it may take any function */
	bool		in_queue;		/* it is looking into that one: */
	int			queue;
	uint32		function;		/* that it runs, by its hash; or 0 */
	TimestampTz start_time;
	/* the attempt of an activity that it runs */
	bool		has_token;
	TimestampTz since;			/* it runs activities */
	pg_uuid_t	token;			/* hash of the secret in its token */
	bool		interruptible;
	bool		cancel_requested;
	bool		ended;			/* by somebody else */
} WfiWorker;

typedef struct WfiPool
{
	LWLock	   *lock;
	volatile int ncrews;
	volatile uint32 registrations;	/* counts their changes */
	int			next_crew;		/* whose turn it is to get a worker */
	TimestampTz room_time;		/* until then, processes are scarce */
	WfiCrew		crews[WFI_MAX_CREWS];
	WfiWorker	workers[WFI_POOL_SIZE];
} WfiPool;

extern WfiPool *wfi_pool;		/* NULL when the library is not preloaded */
extern WfiWorker *wfi_this_worker;	/* this process, if it is a worker */

/* settings.c */
extern int	wfi_max_workers;
extern int	wfi_max_workers_per_role;
extern int	wfi_worker_idle_timeout;

/* pool.c, for everybody */
extern void wfi_pool_shmem_request(void);
extern void wfi_pool_shmem_startup(void);
extern int	wfi_queue_bit(char kind, const char *task_queue);
extern void wfi_queue_set_add(WfiQueueSet *set, int bit);
extern void wfi_queue_set_remove(WfiQueueSet *set, int bit);
extern bool wfi_queue_set_empty(const WfiQueueSet *set);
extern bool wfi_queue_set_has(const WfiQueueSet *set, int bit);
extern void wfi_queue_set_meet(WfiQueueSet *set, const WfiQueueSet *other);
extern void wfi_queue_set_join(WfiQueueSet *set, const WfiQueueSet *other);
extern bool wfi_pool_exists(void);
extern void wfi_pool_publish(const WfiPoolNews *news);
extern void wfi_pool_cancel(const pg_uuid_t *token);
extern void wfi_pool_end(const pg_uuid_t *token);
extern void wfi_pool_expel(Oid dboid);
extern int	wfi_pool_pids(Oid dboid, int *pids);

/* for the driver */
extern uint32 wfi_pool_registrations(void);
extern bool wfi_pool_set_crew(Oid role, const WfiQueueSet *queues,
							  const WfiQueueSet *workflows);
extern void wfi_pool_forget_crews(Oid dboid, List *but_roles);
extern void wfi_pool_driver_attach(void);
extern bool wfi_pool_take_wish(WfiWorkerStart *start, TimestampTz *next);
extern void wfi_pool_withdraw(const WfiWorkerStart *start);
extern void wfi_pool_no_process(void);
extern bool wfi_pool_has_room(void);
extern void wfi_pool_start_failed(const WfiWorkerStart *start, bool no_process);
extern bool wfi_pool_not_attached(const WfiWorkerStart *start);
extern bool wfi_pool_take_marks(Oid role, WfiQueueSet *queues);

/* for pool_worker.c */
extern int	wfi_crew_limit(void);
extern bool wfi_workflows_wait(const WfiCrew *crew);
extern bool wfi_pool_wake_one(WfiCrew *crew);
extern void wfi_pool_free_worker(WfiWorker *worker);
extern void wfi_pool_put_off(WfiCrew *crew);

/* pool_worker.c: a worker, about itself */
extern bool wfi_worker_attach(const WfiWorkerStart *start);
extern void wfi_worker_useful(void);
extern bool wfi_worker_must_leave(void);
extern void wfi_worker_begin_look(WfiLook *look);
extern void wfi_worker_begin_queue(int bit, WfiLook *look);
extern void wfi_worker_end_queue(int bit, bool found, const WfiLook *look);
extern void wfi_worker_skip_queue(int bit, const WfiLook *look);
extern bool wfi_worker_goes_on(char kind, uint32 function);
extern void wfi_worker_took(uint32 function, const pg_uuid_t *token,
							bool interruptible, bool from_queue);
extern bool wfi_worker_done(void);
extern bool wfi_worker_rest(void);
extern bool wfi_worker_retire(void);
extern bool wfi_worker_cancel_requested(void);
extern bool wfi_worker_interruptible(void);

/* sql_worker.c */
extern bool wfi_worker_has_next(void);
extern void wfi_begin_task_transaction(void);
extern void wfi_commit_task_transaction(void);
extern void wfi_abort_task_transaction(MemoryContext context, bool log);
extern void wfi_connect_registrant(Oid dboid, Oid registrant,
								   const char *process);
extern void wfi_reset_session(void);

/* sql_activity.c */
extern bool wfi_activity_run(const WfiFunction *function,
							 const WfiPolledTask *task, WfiEager *eager);
extern void wfi_activity_interrupt(SIGNAL_ARGS);

/* pool_driver.c: what the driver does for the pool */
extern void wfi_pool_serve(void);
extern TimestampTz wfi_pool_next_service(void);

extern const char *wfi_role_problem(Oid role, int *sqlstate);

/* sql_work.c */
extern struct ArrayType *wfi_types_of(List *functions, const WfiPoll *poll,
									  const WfiLook *look);
extern WfiFunction *wfi_function_of_type(List *functions, const WfiPoll *poll,
										 const char *type);
extern const WfiFunction *wfi_function_for(List *functions,
										   const WfiPoll *poll,
										   const WfiPolledTask *task);
extern uint32 wfi_function_hash(const WfiFunction *function);
extern List *wfi_own_functions(void);

#endif							/* WFI_POOL_H */
