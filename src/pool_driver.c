/*
 * pool_driver.c
 *	  What the driver of a database does for the pool: says who serves which
 *	  queues, starts workers, and sees to the tasks of roles that no worker can
 *	  be.
 *
 * A role that was dropped, or may not connect any more, still has its
 * registrations.  Nobody can run their functions, so their tasks fail, with a
 * failure that says why; retry policies decide what follows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool.h"
#include "postmaster/bgworker.h"
#include "shmem.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* How many tasks without a worker fail in one transaction */
#define FAIL_BATCH 16

#define DRIVER_IDENTITY "workflow_interrupt driver"

/* What is known of all roles with registrations */
static MemoryContext registry_context = NULL;
static List *functions = NIL;	/* WfiFunction */
static uint64 digest;			/* of them */
static TimestampTz last_read = DT_NOBEGIN;
static uint32 known_registrations;
static bool registrations_known = false;

/* Workers this driver has registered that have not come yet */
static BackgroundWorkerHandle *handles[WFI_POOL_SIZE];
static WfiWorkerStart starts[WFI_POOL_SIZE];

static TimestampTz next_service = DT_NOEND;
static bool full_reported = false;

/*
 * Why no worker can connect to this database as a role; NULL when one can.
 * *sqlstate says what kind of error that is.
 */
const char *
wfi_role_problem(Oid role, int *sqlstate)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	const char *name;
	bool		can_login;

	*sqlstate = ERRCODE_UNDEFINED_OBJECT;
	if (!HeapTupleIsValid(tuple))
		return "the role that registered it does not exist any more";
	name = pstrdup(NameStr(((Form_pg_authid) GETSTRUCT(tuple))->rolname));
	can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);

	*sqlstate = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
	if (!can_login && !WFI_WORKER_NEEDS_NO_LOGIN)
		return psprintf("role \"%s\", which registered it, is not permitted to log in",
						name);
	if (object_aclcheck(DatabaseRelationId, MyDatabaseId, role,
						ACL_CONNECT) != ACLCHECK_OK)
		return psprintf("role \"%s\", which registered it, is not permitted to connect to the database",
						name);
	return NULL;
}

/* What tells a registration from others and from what it was */
static uint64
digest_of(const WfiFunction *function)
{
	const char *key = psprintf("%u %u %s.%s", function->role, function->owner,
							   function->function_schema,
							   function->function_name);

	return hash_bytes_extended((const unsigned char *) key, strlen(key),
							   wfi_function_hash(function));
}

/* Step: read all registrations. */
static void
read_registrations(void *arg)
{
	MemoryContext old;
	ListCell   *lc;

	if (!wfi_lock_extension())
		return;
	if (registry_context == NULL)
		registry_context = AllocSetContextCreate(TopMemoryContext,
												 "registrations",
												 ALLOCSET_DEFAULT_SIZES);
	functions = NIL;
	MemoryContextReset(registry_context);
	wfi_store_begin("wf_work()", true);
	old = MemoryContextSwitchTo(registry_context);
	functions = wfi_functions_of(InvalidOid);
	MemoryContextSwitchTo(old);
	digest = 0;
	foreach(lc, functions)
		digest += digest_of(lfirst(lc));
	wfi_store_end();
	*(bool *) arg = true;
}

/* Say in shared memory which roles serve which queues. */
static void
set_crews(void)
{
	List	   *roles = NIL;
	ListCell   *lc;

	foreach(lc, functions)
		roles = list_append_unique_oid(roles,
									   ((WfiFunction *) lfirst(lc))->role);
	wfi_pool_forget_crews(MyDatabaseId, roles);
	foreach(lc, roles)
	{
		WfiQueueSet queues = {0};
		WfiQueueSet workflows = {0};
		ListCell   *other;

		foreach(other, functions)
		{
			const WfiFunction *function = lfirst(other);
			int			bit = wfi_queue_bit(function->kind,
											function->task_queue);

			if (function->role != lfirst_oid(lc))
				continue;
			wfi_queue_set_add(&queues, bit);
			if (function->kind == WFI_TASK_WORKFLOW)
				wfi_queue_set_add(&workflows, bit);
		}
		if (!wfi_pool_set_crew(lfirst_oid(lc), &queues, &workflows))
			ereport(WARNING,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many roles have registered functions for workflows and activities"),
					 errdetail("At most %d roles are served.",
							   WFI_MAX_CREWS)));
	}
}

/*
 * When registrations have changed, what waits may have somebody to run it.
 * Nobody tells of those that pg_restore brings, so they are looked for as
 * unclaimed tasks are.
 */
static void
reload_registrations(void)
{
	uint32		registrations = wfi_pool_registrations();
	bool		told = !registrations_known || registrations != known_registrations;
	uint64		known_digest = digest;
	TimestampTz now = GetCurrentTimestamp();
	bool		done = false;

	last_read = Min(last_read, now);	/* the clock may have been set back */
	if (!told &&
		now < TimestampTzPlusMilliseconds(last_read, wfi_renotify_interval))
		return;
	last_read = now;
	if (!wfi_driver_step(read_registrations, &done) || !done)
		return;					/* again at the next opportunity */
	if (!told)
	{
		WfiPoolNews news = {.registrations = true};

		/* tell the workers, too; and oneself */
		if (digest != known_digest)
			wfi_pool_publish(&news);
		return;
	}
	registrations_known = true;
	known_registrations = registrations;
	set_crews();
	wfi_driver_set_lost();
}

/* What to look at when failing tasks of a role */
typedef struct FailState
{
	Oid			role;
	const WfiFunction *function;	/* only its tasks */
	const char *problem;		/* NULL: the role is all right */
	int			sqlstate;
	int			failed;
	List	   *tasks;			/* WfiPolledTask */
} FailState;

static void
collect_task(WfiPolledTask *task, void *arg)
{
	FailState  *state = arg;

	state->tasks = lappend(state->tasks, task);
}

/* Step: can a worker be that role? */
static void
examine_role(void *arg)
{
	FailState  *state = arg;

	state->problem = wfi_role_problem(state->role, &state->sqlstate);
	if (state->problem != NULL)
		state->problem = MemoryContextStrdup(registry_context,
											 state->problem);
}

/*
 * Step: fail some tasks of a function whose role has a problem.  A workflow
 * task that failed is given out again at once, so only its first attempt is
 * failed; later ones have to wait for their time-outs.
 */
static void
fail_tasks(void *arg)
{
	FailState  *state = arg;
	WfiPoll		poll = {0};
	WfiObject	failure;
	Jsonb	   *failure_json;
	TimestampTz ignored;
	ListCell   *lc;

	if (!wfi_lock_extension())
		return;
	wfi_object_begin(&failure);
	wfi_put_text(&failure, "message",
				 psprintf("could not run function %s: %s",
						  wfi_function_signature(state->function),
						  state->problem));
	wfi_put_text(&failure, "type",
				 pstrdup(unpack_sql_state(state->sqlstate)));
	failure_json = wfi_object_end(&failure);

	poll.kind = state->function->kind;
	poll.namespace = state->function->namespace;
	poll.task_queue = state->function->task_queue;
	poll.types = wfi_types_of(list_make1(unconstify(WfiFunction *,
													state->function)),
							  &poll, NULL);
	poll.identity = DRIVER_IDENTITY;
	poll.most = FAIL_BATCH;
	poll.context = CurrentMemoryContext;
	state->tasks = NIL;
	wfi_store_begin("wf_work()", true);
	state->failed = wfi_poll_tasks(&poll, collect_task, state, &ignored);
	foreach(lc, state->tasks)
	{
		const WfiPolledTask *task = lfirst(lc);

		if (task->activity != NULL)
			wfi_activity_reply_failed(&task->token, failure_json, NULL,
									  DRIVER_IDENTITY);
		else if (task->token.attempt == 1)
			wfi_task_reply_failed(&task->token,
								  "WorkflowWorkerUnhandledFailure",
								  failure_json, DRIVER_IDENTITY);
	}
	wfi_store_end();
}

/* Fail what waits for a role that has a problem; false when it has none. */
static bool
fail_role(Oid role)
{
	FailState	state = {0};
	WfiQueueSet queues;
	ListCell   *lc;

	state.role = role;
	if (!wfi_driver_step(examine_role, &state) || state.problem == NULL)
		return false;
	if (!wfi_pool_take_marks(role, &queues))
		return true;
	foreach(lc, functions)
	{
		state.function = lfirst(lc);
		if (state.function->role != role ||
			!wfi_queue_set_has(&queues,
							   wfi_queue_bit(state.function->kind,
											 state.function->task_queue)))
			continue;
		do
		{
			state.failed = 0;
			if (!wfi_driver_step(fail_tasks, &state))
				break;
		} while (state.failed == FAIL_BATCH);
	}
	return true;
}

/* Forget the handles of workers that have come, and see to those that cannot. */
static void
reap_handles(void)
{
	for (int i = 0; i < WFI_POOL_SIZE; i++)
	{
		pid_t		pid;

		if (handles[i] == NULL)
			continue;
		if (wfi_pool_not_attached(&starts[i]))
		{
			if (GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
				continue;
			wfi_pool_start_failed(&starts[i], false);
		}
		pfree(handles[i]);
		handles[i] = NULL;
	}
}

/* Register a worker; false when the server has no room for it. */
static bool
register_worker(const WfiWorkerStart *start)
{
	BackgroundWorker worker;

	StaticAssertStmt(sizeof(WfiWorkerStart) <= BGW_EXTRALEN,
					 "a worker's start does not fit");
	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN,
			 WFI_WORKER_NAME " for role %u in database %u",
			 start->role, start->dboid);
	memcpy(worker.bgw_extra, start, sizeof(WfiWorkerStart));
	starts[start->index] = *start;
	return wfi_register_process(&worker, WFI_WORKER_NAME, "wfi_worker_main",
								&handles[start->index]);
}

/* Start the workers that are wanted and have room. */
static void
start_workers(void)
{
	WfiWorkerStart start;

	while (wfi_pool_take_wish(&start, &next_service))
	{
		if (fail_role(start.role))
			wfi_pool_withdraw(&start);
		else if (register_worker(&start))
			full_reported = false;
		else
		{
			if (!full_reported)
				ereport(LOG,
						(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						 errmsg("out of background worker slots for workflow_interrupt"),
						 errdetail("Workflows and activities in SQL have fewer workers than workflow_interrupt.max_workers allows."),
						 errhint("You might need to increase max_worker_processes.")));
			full_reported = true;
			wfi_pool_no_process();
			wfi_pool_start_failed(&start, true);
		}
	}
}

/* One round of the driver's service for the pool. */
void
wfi_pool_serve(void)
{
	next_service = DT_NOEND;
	reload_registrations();
	reap_handles();
	if (!wfi_pool_exists())
		return;
	pgstat_report_activity(STATE_RUNNING, "starting workers");
	start_workers();
}

/* When the next round is due, if nothing calls for one earlier. */
TimestampTz
wfi_pool_next_service(void)
{
	return next_service;
}
