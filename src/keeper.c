/*
 * keeper.c
 *	  Workflow code that stays where it waits.
 *
 * Code that is run from its top for each workflow task takes longer each time.
 * So a worker that meets a long history gets itself a process, its keeper,
 * that runs the code for it.  When the code waits, the keeper says what the
 * worker is to reply, but does not end the code: that stays on its stack until
 * the worker brings the run's next task, and then goes on with what is new in
 * the history.
 *
 * A keeper is a cache.  It writes nothing, and whatever it cannot do (there is
 * none yet, the code wants a local activity, there is trouble), the worker
 * does itself, by a replay.
 *
 * Code that is kept has a transaction, whose snapshots and locks are in the
 * way of others, so it is kept for a short while only.  A keeper goes with its
 * worker.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "tcop/tcopprot.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "background.h"
#include "pool.h"
#include "replay.h"
#include "shmem.h"

#define KEEPER_NAME		WFI_LIBRARY_NAME " keeper"

/* From that event on, a replay takes longer than to ask */
#define MIN_EVENTS		300

/* How long code is kept at a wait, and in one transaction */
#define MOST_WAIT_MS	100
#define MOST_USECS		USECS_PER_SEC

/* An idle keeper ends, and earlier when others need its place: it looks often */
#define MOST_IDLE_MS	5000
#define LOOK_MS			500

/* Pause after a keeper could not be started */
#define PAUSE_MS		1000

/* One that declines is not asked about so many tasks, doubled each time */
#define MOST_SKIPS	32

#define QUEUE_SIZE		((Size) 65536)

typedef struct KeeperStart
{
	Oid			dboid;
	Oid			role;
	dsm_handle	segment;
} KeeperStart;

/* What the worker asks: how to reply to that workflow task */
typedef struct Request
{
	int32		shard;
	pg_uuid_t	run_id;
	int64		started_event_id;
	TimestampTz started_time;
	Oid			function;
	char		names[FLEXIBLE_ARRAY_MEMBER];	/* namespace, type, queue */
} Request;

/* The answer: one of these, and commands as jsonb */
#define ANSWER_WAITS	'w'
#define ANSWER_CLOSES	'c'		/* the last of them closes the run */
#define ANSWER_DECLINES 'd'		/* no commands: find out yourself */

/* On both sides */
static dsm_segment *segment = NULL;
static shm_mq_handle *incoming;
static shm_mq_handle *outgoing;

/* In the worker */
static BackgroundWorkerHandle *handle = NULL;
static TimestampTz retry_time = 0;
static bool asking = false;		/* also when an error ended that */
static int	to_skip = 0;		/* so many tasks it is not asked about */
static int	skips = 0;			/* ... at first, after its last answer */

/* In the keeper */
static bool keeping = false;
static Request *request = NULL;
static WfiPolledTask task;		/* that it is about */
static Oid	kept_function;		/* whose code is run */
static bool code_changed;		/* perhaps, since it began */
static bool answered;
static bool pending = false;	/* it is for another run of the code */

pg_noreturn PGDLLEXPORT void wfi_keeper_main(Datum main_arg);

static shm_mq *
queue_at(int n)
{
	return (shm_mq *) ((char *) dsm_segment_address(segment) + n * QUEUE_SIZE);
}

/* Be one side of both queues. */
static void
attach_queues(int from, int to)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	dsm_pin_mapping(segment);
	shm_mq_set_receiver(queue_at(from), MyProc);
	shm_mq_set_sender(queue_at(to), MyProc);
	incoming = shm_mq_attach(queue_at(from), segment, NULL);
	outgoing = shm_mq_attach(queue_at(to), segment, NULL);
	MemoryContextSwitchTo(old);
}

/*
 * The worker's side
 */

/*
 * before_shmem_exit callback of a worker that has had a keeper.  That ends as
 * soon as it finds nobody at the other side of a queue, but one that has not
 * answered may be busy with the code for long.
 */
static void
end_keeper(int code, Datum arg)
{
	if (asking && handle != NULL)
		TerminateBackgroundWorker(handle);
}

/* Do without the keeper there is. */
static void
forget_keeper(void)
{
	end_keeper(0, (Datum) 0);
	shm_mq_detach(incoming);
	shm_mq_detach(outgoing);
	dsm_detach(segment);
	segment = NULL;
	asking = false;
}

static void
start_keeper(void)
{
	static bool registered = false;
	BackgroundWorker worker;
	KeeperStart start;

	retry_time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PAUSE_MS);
	segment = dsm_create(2 * QUEUE_SIZE, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (segment == NULL)
		return;
	shm_mq_create(queue_at(0), QUEUE_SIZE);
	shm_mq_create(queue_at(1), QUEUE_SIZE);
	attach_queues(1, 0);

	start.dboid = MyDatabaseId;
	start.role = GetSessionUserId();
	start.segment = dsm_segment_handle(segment);
	StaticAssertStmt(sizeof(KeeperStart) <= BGW_EXTRALEN,
					 "a keeper's start does not fit");
	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, KEEPER_NAME " for process %d",
			 MyProcPid);
	memcpy(worker.bgw_extra, &start, sizeof(start));
	if (!wfi_register_process(&worker, KEEPER_NAME, "wfi_keeper_main",
							  &handle))
		forget_keeper();
	else if (!registered)
	{
		before_shmem_exit(end_keeper, (Datum) 0);
		registered = true;
	}
}

/* Is there a keeper?  If not, there may soon be one. */
static bool
keeper_ready(void)
{
	pid_t		pid;

	if (segment != NULL && (asking || !wfi_pool_has_room()))
		forget_keeper();
	if (segment == NULL)
	{
		if (GetCurrentTimestamp() >= retry_time && wfi_pool_has_room())
			start_keeper();
		return false;
	}
	if (shm_mq_get_sender(queue_at(1)) != NULL)
		return true;
	if (GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED)
		forget_keeper();
	return false;
}

static bool
send_request(const WfiFunction *function, const WfiPolledTask *polled)
{
	Request		fixed = {0};
	shm_mq_iovec parts[4];

	fixed.shard = polled->token.shard;
	fixed.run_id = polled->token.run_id;
	fixed.started_event_id = polled->token.started_event_id;
	fixed.started_time = polled->started_time;
	fixed.function = function->function;
	parts[0].data = (const char *) &fixed;
	parts[0].len = offsetof(Request, names);
	parts[1].data = function->namespace;
	parts[2].data = function->name;
	parts[3].data = function->task_queue;
	for (int i = 1; i < 4; i++)
		parts[i].len = strlen(parts[i].data) + 1;
	return shm_mq_sendv(outgoing, parts, 4, false, true) == SHM_MQ_SUCCESS;
}

/*
 * Have this worker's keeper find out what to reply to a workflow task: the
 * commands, and whether they close the run.  False when a replay has to.  The
 * task must have been started in a transaction that has committed, and this
 * one must hold no lock that the code could wait for.
 */
bool
wfi_keeper_ask(const WfiFunction *function, const WfiPolledTask *polled,
			   Jsonb **commands, bool *closes)
{
	Size		size;
	void	   *data;
	char		kind;

	if (polled->token.attempt > 1 ||
		polled->token.started_event_id < MIN_EVENTS ||
		wfi_workflow_cache_size == 0 || !OidIsValid(function->function))
		return false;
	if (to_skip > 0)
	{
		to_skip--;
		return false;
	}
	if (!keeper_ready())
		return false;
	asking = true;
	if (!send_request(function, polled) ||
		shm_mq_receive(incoming, &size, &data, false) != SHM_MQ_SUCCESS)
	{
		forget_keeper();
		retry_time = 0;			/* it had been there */
		return false;
	}
	asking = false;
	kind = *(char *) data;
	skips = kind == ANSWER_DECLINES ?
		Min(Max(2 * skips, 1), MOST_SKIPS) : 0;
	to_skip = skips;
	if (kind == ANSWER_DECLINES)
		return false;
	*commands = palloc(size - 1);
	memcpy(*commands, (char *) data + 1, size - 1);
	*closes = kind == ANSWER_CLOSES;
	return true;
}

/*
 * The keeper's side
 */

/* Does this process keep code for a worker? */
bool
wfi_in_keeper(void)
{
	return keeping;
}

/* Wait for a request; false when there is none for so long. */
static bool
next_request(int patience)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													patience);

	for (;;)
	{
		Size		size;
		void	   *data;
		long		rest;
		shm_mq_result result = shm_mq_receive(incoming, &size, &data, true);

		if (result == SHM_MQ_DETACHED)
			proc_exit(0);
		if (result == SHM_MQ_SUCCESS)
		{
			request = repalloc(request, size);
			memcpy(request, data, size);
			return true;
		}
		rest = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		if (rest <= 0)
			return false;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 rest, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
answer(char kind, const Jsonb *commands)
{
	shm_mq_iovec parts[2];

	parts[0].data = &kind;
	parts[0].len = 1;
	parts[1].data = (const char *) commands;
	parts[1].len = commands ? VARSIZE(commands) : 0;
	if (shm_mq_sendv(outgoing, parts, commands ? 2 : 1, false,
					 true) != SHM_MQ_SUCCESS)
		proc_exit(0);
	answered = true;
}

static void
set_task(void)
{
	memset(&task, 0, sizeof(task));
	task.token.kind = WFI_TASK_WORKFLOW;
	task.token.shard = request->shard;
	task.token.run_id = request->run_id;
	task.token.started_event_id = request->started_event_id;
	task.token.attempt = 1;
	task.started_time = request->started_time;
}

/* Can the code that has come to a wait go on with the request? */
static bool
go_on(WfiReplay *replay)
{
	WfiCodeHistory *history = replay->history;
	int64		started_event_id = replay->current.started_event_id;

	AcceptInvalidationMessages();
	if (!wfi_uuid_equal(&request->run_id, &history->run_id) ||
		request->started_event_id <= started_event_id ||
		request->function != kept_function || code_changed)
		return false;
	set_task();
	wfi_history_extend(history, &task);
	/* its task must have been completed, by what it made for it */
	if (replay->position >= history->n_tasks ||
		history->tasks[replay->position].started_event_id != started_event_id)
		return false;
	wfi_replay_continue(replay);
	return true;
}

/*
 * Code has come to a wait in the task under way.  In a keeper: answer what it
 * has asked for, and keep it.  True when it can go on with the next task.
 */
bool
wfi_keeper_wait(WfiReplay *replay)
{
	Jsonb	   *commands;

	if (!keeping)
		return false;
	/* the code must not go on when it handles an error of what follows */
	replay->blocked = true;
	commands = wfi_reply_commands(replay, NULL);
	answer(ANSWER_WAITS, commands);
	pfree(commands);
	if (GetCurrentTimestamp() >
		GetCurrentTransactionStartTimestamp() + MOST_USECS ||
		!next_request(MOST_WAIT_MS))
		return false;

	pending = true;
	if (!go_on(replay))
		return false;
	replay->blocked = false;
	pending = false;
	answered = false;
	return true;
}

/* The function that the request is about, when it is still the same. */
static const WfiFunction *
find_function(void)
{
	WfiPoll		poll = {0};
	WfiFunction *function;
	const char *type;

	poll.kind = WFI_TASK_WORKFLOW;
	poll.namespace = request->names;
	type = poll.namespace + strlen(poll.namespace) + 1;
	poll.task_queue = type + strlen(type) + 1;
	function = wfi_function_of_type(wfi_own_functions(), &poll, type);
	if (function == NULL)
		return NULL;
	wfi_function_resolve(function);
	return function->function == request->function ? function : NULL;
}

/* Wait for a request that is not about code that is kept. */
static void
await_request(void)
{
	int			idle = 0;

	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	while (!next_request(LOOK_MS))
	{
		idle += LOOK_MS;
		if (idle >= MOST_IDLE_MS || !wfi_pool_has_room())
			proc_exit(0);
	}
}

/* Run the code for a request, and for as many as it can be kept for. */
static void
serve(MemoryContext context)
{
	Jsonb	   *volatile commands = NULL;

	answered = false;
	pending = false;
	PG_TRY();
	{
		const WfiFunction *function;

		wfi_begin_task_transaction();
		code_changed = false;
		set_task();
		function = find_function();
		if (function != NULL)
		{
			kept_function = function->function;
			pgstat_report_activity(STATE_RUNNING, function->name);
			commands = wfi_workflow_code_answer(function, &task);
		}
		wfi_commit_task_transaction();
	}
	PG_CATCH();
	{
		wfi_abort_task_transaction(context, true);
		commands = NULL;
	}
	PG_END_TRY();
	if (!answered)
		answer(commands ? ANSWER_CLOSES : ANSWER_DECLINES, commands);
	wfi_reset_session();
}

/* Invalidation callback: some function has changed. */
static void
note_code_change(Datum arg, int cacheid, uint32 hashvalue)
{
	code_changed = true;
}

/* Main function of a keeper; what it is to be is in bgw_extra. */
void
wfi_keeper_main(Datum main_arg)
{
	KeeperStart start;
	MemoryContext context;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SIG_IGN);	/* nobody cancels workflow code like that */
	BackgroundWorkerUnblockSignals();
	wfi_connect_registrant(start.dboid, start.role, KEEPER_NAME);
	segment = dsm_attach(start.segment);
	if (segment == NULL)
		proc_exit(0);			/* its worker is gone already */
	attach_queues(0, 1);
	CacheRegisterSyscacheCallback(PROCOID, note_code_change, (Datum) 0);
	keeping = true;
	request = MemoryContextAlloc(TopMemoryContext, sizeof(Request));
	context = AllocSetContextCreate(TopMemoryContext, "kept code",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		wfi_serve_signals();
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		if (!pending)
			await_request();
		serve(context);
	}
}
