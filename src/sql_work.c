/*
 * sql_work.c
 *	  Tasks for SQL functions, and wf_work(), which runs them in the calling
 *	  session.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pool.h"

PG_FUNCTION_INFO_V1(wfi_work);

/* How many overdue runs wf_work() looks after when there is no driver */
#define TICK_ITEMS 16

static bool
is_for(const WfiFunction *function, const WfiPoll *poll)
{
	return function->kind == poll->kind &&
		strcmp(function->namespace, poll->namespace) == 0 &&
		strcmp(function->task_queue, poll->task_queue) == 0;
}

/* What tells a function from others, in shared memory; never 0. */
uint32
wfi_function_hash(const WfiFunction *function)
{
	uint32		hash = hash_combine(string_hash(function->name, SIZE_MAX),
									string_hash(function->task_queue, SIZE_MAX));

	hash = hash_combine(hash, string_hash(function->namespace, SIZE_MAX));
	hash = hash_combine(hash, function->kind);
	return hash != 0 ? hash : 1;
}

/* Is a function to be left alone? */
static bool
is_busy(const WfiFunction *function, const WfiLook *look)
{
	uint32		hash;

	if (look == NULL)
		return false;
	if (look->no_activities && function->kind == WFI_TASK_ACTIVITY)
		return true;
	if (look->nbusy == 0)
		return false;
	hash = wfi_function_hash(function);
	for (int i = 0; i < look->nbusy; i++)
	{
		if (look->busy[i] == hash)
			return true;
	}
	return false;
}

/*
 * The types that a poll may take: text[] of those that there are functions
 * for, but for those to be left alone; NULL for none.
 */
ArrayType *
wfi_types_of(List *functions, const WfiPoll *poll, const WfiLook *look)
{
	Datum	   *types = palloc((list_length(functions) + 1) * sizeof(Datum));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, functions)
	{
		const WfiFunction *function = lfirst(lc);

		if (is_for(function, poll) && !is_busy(function, look))
			types[n++] = CStringGetTextDatum(function->name);
	}
	if (n == 0)
		return NULL;
	return construct_array(types, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* The function among some for a type of a queue, or NULL. */
WfiFunction *
wfi_function_of_type(List *functions, const WfiPoll *poll, const char *type)
{
	ListCell   *lc;

	foreach(lc, functions)
	{
		WfiFunction *function = lfirst(lc);

		if (is_for(function, poll) && strcmp(function->name, type) == 0)
			return function;
	}
	return NULL;
}

/* The function among some that a task is for, as it is now. */
const WfiFunction *
wfi_function_for(List *functions, const WfiPoll *poll,
				 const WfiPolledTask *task)
{
	const char *type = task->activity ? task->activity->activity_type :
	task->workflow_type;
	WfiFunction *function = wfi_function_of_type(functions, poll, type);

	if (function == NULL)
		elog(ERROR, "a task of type \"%s\" was not asked for", type);
	wfi_function_resolve(function);
	return function;
}

/* Receive the one task of a poll. */
static void
take_task(WfiPolledTask *task, void *arg)
{
	*(WfiPolledTask **) arg = task;
}

/*
 * Run one task of a queue that there is a function for, if there is any, in
 * the current transaction and memory context.
 */
static bool
work_within(WfiPoll *poll, List *functions)
{
	WfiPolledTask *task = NULL;
	const WfiFunction *function;
	TimestampTz ignored;

	poll->types = wfi_types_of(functions, poll, NULL);
	if (poll->types == NULL)
		return false;
	poll->context = CurrentMemoryContext;
	wfi_store_begin("wf_work()", true);
	(void) wfi_poll_tasks(poll, take_task, &task, &ignored);
	wfi_store_end();
	if (task == NULL)
		return false;

	function = wfi_function_for(functions, poll, task);
	if (poll->kind == WFI_TASK_WORKFLOW)
		wfi_workflow_code_run(function, task, NULL);
	else
		wfi_activity_run_within(function, task);
	return true;
}

/* The functions of the current user, in the current memory context. */
List *
wfi_own_functions(void)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			user = GetUserId();
	MemoryContext old;
	List	   *functions;

	wfi_store_begin("wf_work()", true);
	old = MemoryContextSwitchTo(context);
	functions = wfi_functions_of(user);
	MemoryContextSwitchTo(old);
	wfi_store_end();
	return functions;
}

/* wf_work(task_queue, max_tasks, namespace) */
Datum
wfi_work(PG_FUNCTION_ARGS)
{
	WfiPoll		poll = {0};
	int32		most;
	int32		done = 0;
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context;

	PreventCommandIfReadOnly("wf_work()");
	poll.task_queue = wfi_arg_id(fcinfo, 0, "task_queue");
	most = wfi_arg_count(fcinfo, 1, "max_tasks", PG_INT32_MAX);
	poll.namespace = wfi_arg_namespace(fcinfo, 2);
	poll.identity = GetUserNameFromId(GetSessionUserId(), false);
	poll.most = 1;
	if (wfi_enabled && !wfi_driver_running())
		wfi_fire_due(TICK_ITEMS);

	context = AllocSetContextCreate(old, "task", ALLOCSET_DEFAULT_SIZES);
	while (done < most)
	{
		List	   *functions;
		bool		worked;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		functions = wfi_own_functions();
		poll.kind = WFI_TASK_WORKFLOW;
		worked = work_within(&poll, functions);
		if (!worked)
		{
			poll.kind = WFI_TASK_ACTIVITY;
			worked = work_within(&poll, functions);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (!worked)
			break;
		done++;
	}
	MemoryContextDelete(context);
	if (done == 0)
	{
		wfi_store_begin("wf_work()", true);
		wfi_check_namespace(poll.namespace);
		wfi_store_end();
	}
	PG_RETURN_INT32(done);
}
