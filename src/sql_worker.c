/*
 * sql_worker.c
 *	  Workers that run SQL functions for tasks.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "sql_code.h"

PG_FUNCTION_INFO_V1(wfi_work);

/* How many overdue runs wf_work() looks after when there is no driver */
#define TICK_ITEMS 16

/* The types among some functions that are of a kind, on a queue: text[]. */
static ArrayType *
types_of(List *functions, const WfiPoll *poll)
{
	Datum	   *types = palloc((list_length(functions) + 1) * sizeof(Datum));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, functions)
	{
		const WfiFunction *function = lfirst(lc);

		if (function->kind == poll->kind &&
			strcmp(function->namespace, poll->namespace) == 0 &&
			strcmp(function->task_queue, poll->task_queue) == 0)
			types[n++] = CStringGetTextDatum(function->name);
	}
	if (n == 0)
		return NULL;
	return construct_array(types, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* The function among some that a task is for. */
static const WfiFunction *
function_for(List *functions, const WfiPoll *poll, const WfiPolledTask *task)
{
	const char *type = task->activity ? task->activity->activity_type :
	task->workflow_type;
	ListCell   *lc;

	foreach(lc, functions)
	{
		const WfiFunction *function = lfirst(lc);

		if (function->kind == poll->kind &&
			strcmp(function->name, type) == 0 &&
			strcmp(function->namespace, poll->namespace) == 0 &&
			strcmp(function->task_queue, poll->task_queue) == 0)
			return function;
	}
	elog(ERROR, "a task of type \"%s\" was not asked for", type);
	return NULL;				/* keep compiler quiet */
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

	poll->types = types_of(functions, poll);
	if (poll->types == NULL)
		return false;
	poll->context = CurrentMemoryContext;
	wfi_store_begin("wf_work()", true);
	(void) wfi_poll_tasks(poll, take_task, &task);
	wfi_store_end();
	if (task == NULL)
		return false;

	function = function_for(functions, poll, task);
	if (poll->kind == WFI_TASK_WORKFLOW)
		wfi_workflow_code_run(function, task);
	else
		wfi_activity_run_within(function, task);
	return true;
}

/* The functions of the current user, in the current memory context. */
static List *
own_functions(void)
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
		functions = own_functions();
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
