/*
 * sql_worker.c
 *	  The background worker that runs SQL functions for tasks.
 *
 * It is connected as the role that registered the functions, and has exactly
 * that role's rights.  It looks for one task at a time: claims it in a short
 * transaction, and runs it in another.  The claim need not wait for the disk:
 * when it is lost, so is everything that came of it, and the task is in its
 * queue again.  A worker that dies leaves a task that times out.
 *
 * With a task that follows from the one it has run, it goes on at once; but
 * soon it looks into the queues again, as others wait there.
 *
 * It ends
 *
 *	 with code 0   when it has been idle for long, when it is told to leave,
 *				   when its role has lost its functions or its rights, or when
 *				   somebody else has ended the attempt that it ran;
 *	 with code 1   when told to by SIGTERM, or when its task takes longer than
 *				   it may.
 *
 * The server never starts it again by itself; the driver does.
 */
#include "postgres.h"

#include "access/xact.h"
#include "background.h"
#include "catalog/namespace.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

/* Pause when the runs of all tasks are locked, doubled each time */
#define MIN_BUSY_MS		1
#define MAX_BUSY_MS		100

/*
 * Pause after an error, doubled each time, and when to give up; unless it is a
 * run's, which this worker knows from then on, and there may be many.
 */
#define MIN_PAUSE_MS	100
#define MAX_ERRORS		6

/* For so long a worker goes on without a look at the queues */
#define GO_ON_USECS		(100 * INT64CONST(1000))

/* An activity's time limit is the driver's business first. */
#define GRACE_USECS		USECS_PER_SEC

pg_noreturn PGDLLEXPORT void wfi_worker_main(Datum main_arg);

/* A queue that the role has functions for */
typedef struct Queue
{
	WfiPoll		poll;
	int			bit;
} Queue;

static MemoryContext registry_context = NULL;	/* of these: */
static List *functions = NIL;	/* WfiFunction: the role's */
static Queue *queues = NULL;
static int	nqueues = 0;
static uint32 known_registrations;

static MemoryContext task_context = NULL;	/* of one task */
static MemoryContext next_context = NULL;	/* of the one that follows */
static char *identity;
static Oid	role;
static int	next_queue = 0;
static int	errors = 0;			/* in a row */
static int	busy_pause = 0;		/* ms; 0: no run was locked */
static bool role_changed = true;	/* perhaps, or what it may do */
static TimestampTz go_on_until;
static TimeoutId limit_timeout;

/*
 * Leave nothing of a task's behind for the next one: what needs a transaction
 * for that, see wfi_reset_session().
 */
static void
discard_objects(void)
{
	PortalHashTableDeleteAll();
	DropAllPreparedStatements();
	ResetSequenceCaches();
	ResetTempTableNamespace();
}

/*
 * Begin a transaction; the memory context stays.  What the task before has
 * left goes.
 */
void
wfi_begin_task_transaction(void)
{
	MemoryContext context = CurrentMemoryContext;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	discard_objects();
	MemoryContextSwitchTo(context);
}

void
wfi_commit_task_transaction(void)
{
	MemoryContext context = CurrentMemoryContext;

	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

/* After an error: it is logged, unless it is of no interest. */
void
wfi_abort_task_transaction(MemoryContext context, bool log)
{
	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	if (log)
		EmitErrorReport();
	AbortOutOfAnyTransaction();
	FlushErrorState();
	MemoryContextSwitchTo(context);
	RESUME_INTERRUPTS();
}

/* Note the queues of the functions there are. */
static void
set_queues(void)
{
	ListCell   *lc;

	nqueues = 0;
	queues = palloc0((list_length(functions) + 1) * sizeof(Queue));
	foreach(lc, functions)
	{
		const WfiFunction *function = lfirst(lc);
		bool		known = false;
		Queue	   *queue;

		for (int i = 0; i < nqueues; i++)
			known |= queues[i].poll.kind == function->kind &&
				strcmp(queues[i].poll.namespace, function->namespace) == 0 &&
				strcmp(queues[i].poll.task_queue, function->task_queue) == 0;
		if (known)
			continue;
		queue = &queues[nqueues++];
		queue->poll.kind = function->kind;
		queue->poll.namespace = function->namespace;
		queue->poll.task_queue = function->task_queue;
		queue->poll.identity = identity;
		queue->poll.most = 1;
		queue->bit = wfi_queue_bit(function->kind, function->task_queue);
	}
}

/* Have the registrations as they are now; in a transaction. */
static void
reload_registrations(void)
{
	uint32		registrations = wfi_pool_registrations();
	MemoryContext old;

	nqueues = 0;
	functions = NIL;
	MemoryContextReset(registry_context);
	old = MemoryContextSwitchTo(registry_context);
	functions = wfi_own_functions();
	set_queues();
	MemoryContextSwitchTo(old);
	known_registrations = registrations;
}

/* What a poll has received */
typedef struct Taken
{
	WfiPolledTask *task;
	const WfiFunction *function;
	const WfiPoll *poll;
	bool		busy;			/* there may be one later: its run is locked */
} Taken;

static const Taken *following = NULL;	/* what follows from the task that is
										 * run: NULL, or without a task */

/* Has this worker taken the next task, in the reply to its task? */
bool
wfi_worker_has_next(void)
{
	return following != NULL && following->task != NULL;
}

/* May a cancel interrupt what the activity runs? */
static bool
is_interruptible(const WfiFunction *function, const WfiPolledTask *task)
{
	JsonbValue *value = NULL;

	if (task->header != NULL && wfi_is_object(task->header))
		value = wfi_get(task->header, WFI_HEADER_INTERRUPTIBLE);
	if (value == NULL)
		value = wfi_get(function->options, WFI_HEADER_INTERRUPTIBLE);
	return value == NULL || value->type != jbvBool || value->val.boolean;
}

/* Receive a task. */
static void
take(Taken *taken, WfiPolledTask *task, bool from_queue)
{
	taken->function = wfi_function_for(functions, taken->poll, task);
	wfi_worker_took(wfi_function_hash(taken->function),
					task->activity != NULL ? &task->token.hash : NULL,
					task->activity != NULL &&
					is_interruptible(taken->function, task), from_queue);
	taken->task = task;
}

/* Receive the one task of a poll. */
static void
take_task(WfiPolledTask *task, void *arg)
{
	take(arg, task, true);
}

static WfiPoll
poll_for(char kind, const char *namespace, const char *task_queue)
{
	WfiPoll		poll = {0};

	poll.kind = kind;
	poll.namespace = namespace;
	poll.task_queue = task_queue;
	return poll;
}

/* Does this worker want a task that follows from its own? */
static bool
wants_next(char kind, const char *namespace, const char *task_queue,
		   const char *type)
{
	WfiPoll		poll = poll_for(kind, namespace, task_queue);
	const WfiFunction *function = wfi_function_of_type(functions, &poll, type);

	return function != NULL && wfi_enabled && !role_changed &&
		GetSessionUserId() == role &&
		wfi_pool_registrations() == known_registrations &&
		GetCurrentTimestamp() < go_on_until &&
		wfi_worker_goes_on(kind, wfi_function_hash(function));
}

/* Receive such a task; or none, when that was undone. */
static void
take_next(WfiPolledTask *task, void *arg)
{
	Taken	   *taken = arg;
	WfiPoll		poll;

	taken->task = NULL;
	if (task == NULL)
		return;
	poll = poll_for(task->token.kind, task->namespace, task->task_queue);
	taken->poll = &poll;
	take(taken, task, false);
	taken->poll = NULL;
}

/*
 * Claim a task of a queue, if there is one, in a transaction.  May raise an
 * error.
 */
static void
claim_task(const Queue *queue, const WfiLook *look, Taken *taken)
{
	WfiPoll		poll = queue->poll;
	TimestampTz left;

	taken->task = NULL;
	taken->poll = &poll;
	wfi_begin_task_transaction();
	wfi_commit_asynchronously();
	poll.context = task_context;
	poll.types = wfi_types_of(functions, &poll, look);
	if (poll.types != NULL && !role_changed)
	{
		wfi_store_begin("wf_work()", true);
		(void) wfi_poll_tasks(&poll, take_task, taken, &left);
		taken->busy = left != DT_NOBEGIN;
		wfi_store_end();
	}
	wfi_commit_task_transaction();
}

/* Be the role that registered the functions, and no role of its choice. */
static void
be_registrant(void)
{
	if (OidIsValid(GetCurrentRoleId()))
		SetConfigOption("role", "none", PGC_SUSET, PGC_S_SESSION);
}

/* Connect to a database as who registered the functions. */
void
wfi_connect_registrant(Oid dboid, Oid registrant, const char *process)
{
	role = registrant;
	BackgroundWorkerInitializeConnectionByOid(dboid, role,
											  WFI_WORKER_CONNECT_FLAGS);
	wfi_apply_settings(process);
	be_registrant();
}

/*
 * Leave nothing of a task's behind for the next one: settings, another role,
 * advisory locks; the rest goes later, see discard_objects().  A session that
 * has become somebody else's does not come back.
 */
void
wfi_reset_session(void)
{
	if (GetSessionUserId() != role)
		proc_exit(0);
	be_registrant();
	ResetAllOptions();
	LockReleaseAll(USER_LOCKMETHOD, true);
}

/*
 * Run a workflow task in a transaction; or, after an error, reply in one that
 * it failed.  False when that was rolled back.
 */
static bool
do_workflow_task(const Taken *taken, WfiEager *eager, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		wfi_begin_task_transaction();
		if (*error == NULL)
			wfi_workflow_code_run(taken->function, taken->task, eager);
		else
			wfi_workflow_code_failed(taken->task, *error);
		wfi_commit_task_transaction();
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*error = CopyErrorData();
		/* that it is over, or its run closed, is nothing unusual */
		wfi_abort_task_transaction(context, (*error)->sqlerrcode !=
								   WFI_ERRCODE_TASK_NOT_FOUND);
	}
	PG_END_TRY();
	return done;
}

/* Run a workflow task; false when that was rolled back. */
static bool
run_workflow_task(const Taken *taken, WfiEager *eager)
{
	ErrorData  *error = NULL;

	if (do_workflow_task(taken, eager, &error))
		return true;
	if (error->sqlerrcode != WFI_ERRCODE_TASK_NOT_FOUND)
		(void) do_workflow_task(taken, NULL, &error);
	return false;
}

/* A task takes too long: end, at the next opportunity and without a say. */
static void
time_is_up(void)
{
	InterruptPending = true;
	ProcDiePending = true;
	SetLatch(MyLatch);
}

/* Run a task, and take one that follows from it. */
static void
run_task(const Taken *taken, Taken *next)
{
	const WfiPolledTask *task = taken->task;
	WfiEager	eager = {identity, next_context, wants_next, take_next, next};
	bool		done;

	following = next;
	MemoryContextReset(next_context);
	pgstat_report_activity(STATE_RUNNING, taken->function->name);
	if (task->time_limit != 0)
		enable_timeout_at(limit_timeout,
						  task->started_time + task->time_limit +
						  (task->activity != NULL ? GRACE_USECS : 0));
	if (task->activity != NULL)
		done = wfi_activity_run(taken->function, task, &eager);
	else
		done = run_workflow_task(taken, &eager);
	following = NULL;
	disable_timeout(limit_timeout, false);
	if (!done)
		next->task = NULL;
	if (next->task == NULL && !wfi_worker_done())
		proc_exit(0);
	wfi_reset_session();
}

/* Run a task that was claimed, and what follows from it, for a while. */
static void
run_tasks(Taken taken)
{
	go_on_until = GetCurrentTimestamp() + GO_ON_USECS;
	while (taken.task != NULL)
	{
		MemoryContext context = task_context;
		Taken		next = {0};

		run_task(&taken, &next);
		task_context = next_context;
		next_context = context;
		MemoryContextSwitchTo(task_context);
		taken = next;
	}
}

/* After an error that is not a task's: pause, and in the end give up. */
static void
pause_after_error(bool of_run)
{
	if (of_run)
		errors = 0;
	else if (++errors >= MAX_ERRORS)
		proc_exit(1);
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 MIN_PAUSE_MS << errors, PG_WAIT_EXTENSION);
}

/* Tasks are there, but their runs are locked: try again soon. */
static void
pause_for_busy(void)
{
	busy_pause = Min(Max(busy_pause * 2, MIN_BUSY_MS), MAX_BUSY_MS);
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 busy_pause, PG_WAIT_EXTENSION);
}

/*
 * Look for a task in a queue that may have some.  False after an error, which
 * is logged.
 */
static bool
look_into(const Queue *queue, WfiLook *look, Taken *taken)
{
	volatile bool failed = false;

	wfi_worker_begin_queue(queue->bit, look);
	PG_TRY();
	{
		claim_task(queue, look, taken);
	}
	PG_CATCH();
	{
		wfi_abort_task_transaction(task_context, true);
		failed = true;
	}
	PG_END_TRY();
	wfi_worker_end_queue(queue->bit,
						 failed || role_changed || taken->busy ||
						 taken->task != NULL, look);
	return !failed;
}

/*
 * Look into the queues that may have tasks, and run the first that is found;
 * false when there is none.
 */
static bool
look_for_task(void)
{
	WfiLook		look;
	Taken		taken = {0};
	bool		busy = false;
	bool		failed = false;
	uint64		failures;
	int			i;

	wfi_worker_begin_look(&look);
	failures = wfi_store_failures();
	for (i = 0; i < nqueues && taken.task == NULL && !failed; i++)
	{
		const Queue *queue = &queues[(next_queue + i) % nqueues];

		if (!wfi_queue_set_has(&look.queues, queue->bit))
			continue;
		taken.busy = false;
		failed = !look_into(queue, &look, &taken);
		busy |= taken.busy;
	}
	for (int j = i; j < nqueues; j++)
		wfi_worker_skip_queue(queues[(next_queue + j) % nqueues].bit, &look);
	next_queue = (next_queue + i) % nqueues;
	if (failed)
	{
		(void) wfi_worker_done();
		pause_after_error(wfi_store_failures() != failures);
		return true;
	}
	errors = 0;
	if (taken.task != NULL)
	{
		busy_pause = 0;
		run_tasks(taken);
		return true;
	}
	if (busy)
		pause_for_busy();
	else
		busy_pause = 0;
	return busy;
}

/* Invalidation callback: some role or database has changed. */
static void
note_role_change(Datum arg, int cacheid, uint32 hashvalue)
{
	role_changed = true;
}

/*
 * Have the registrations as they are now.  False when there are none of this
 * role any more, or it may not connect any more.
 */
static bool
is_useful(void)
{
	volatile bool useful = false;

	if (!role_changed && wfi_pool_registrations() == known_registrations)
		return true;
	role_changed = false;
	PG_TRY();
	{
		int			sqlstate;

		wfi_begin_task_transaction();
		if (wfi_extension_exists() && wfi_role_problem(role, &sqlstate) == NULL)
		{
			reload_registrations();
			useful = functions != NIL;
			if (useful)
				wfi_worker_useful();
		}
		wfi_commit_task_transaction();
	}
	PG_CATCH();
	{
		wfi_abort_task_transaction(task_context, true);
	}
	PG_END_TRY();
	return useful;
}

/* Sleep until there may be something to do; end when that takes too long. */
static void
rest(void)
{
	int			events;

	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	events = WaitLatch(MyLatch,
					   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					   wfi_worker_idle_timeout, PG_WAIT_EXTENSION);
	if ((events & WL_TIMEOUT) && wfi_worker_retire())
		proc_exit(0);
}

/* Main function of a worker; what it is to be is in bgw_extra. */
void
wfi_worker_main(Datum main_arg)
{
	WfiWorkerStart start;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, wfi_activity_interrupt);
	BackgroundWorkerUnblockSignals();

	if (!wfi_worker_attach(&start))
		proc_exit(0);
	wfi_connect_registrant(start.dboid, start.role, WFI_WORKER_NAME);
	CacheRegisterSyscacheCallback(AUTHOID, note_role_change, (Datum) 0);
	CacheRegisterSyscacheCallback(DATABASEOID, note_role_change, (Datum) 0);
	limit_timeout = RegisterTimeout(USER_TIMEOUT, time_is_up);
	identity = MemoryContextStrdup(TopMemoryContext,
								   psprintf("%s worker %d",
											WFI_LIBRARY_NAME, MyProcPid));
	registry_context = AllocSetContextCreate(TopMemoryContext,
											 "registrations",
											 ALLOCSET_DEFAULT_SIZES);
	task_context = AllocSetContextCreate(TopMemoryContext, "task",
										 ALLOCSET_DEFAULT_SIZES);
	next_context = AllocSetContextCreate(TopMemoryContext, "next task",
										 ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		ResetLatch(MyLatch);
		wfi_serve_signals();
		MemoryContextReset(task_context);
		MemoryContextSwitchTo(task_context);
		if (!wfi_enabled || wfi_worker_must_leave() || !is_useful())
			proc_exit(0);
		if (!look_for_task() && wfi_worker_rest())
			rest();
		else
			pgstat_report_stat(false);
	}
}
