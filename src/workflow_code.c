/*
 * workflow_code.c
 *	  Workflow tasks whose workflow is a function in this database.
 *
 * The function is called in a subtransaction that is always rolled back: all
 * that it leaves is what it asked for.  What ends it decides on the reply:
 *
 *	  it waits                   the commands it made
 *	  it returns                 ... and CompleteWorkflowExecution
 *	  WF001 leaves it            ... and CancelWorkflowExecution
 *	  another error leaves it    ... and FailWorkflowExecution
 *	  it does not fit the history, is gone, or the server is in trouble:
 *	                             the workflow task fails
 *
 * Local activities run between two calls of the function, in a subtransaction
 * that also has the reply, so that they count if and only if it is accepted.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "replay.h"

/* Why a workflow task fails */
typedef struct Trouble
{
	const char *cause;			/* of WorkflowTaskFailed; NULL: none */
	Jsonb	   *failure;
	const char *message;
} Trouble;

/* Workflow code that tries to write gets a hint. */
static void
add_hint(void *arg)
{
	if (geterrcode() == ERRCODE_READ_ONLY_SQL_TRANSACTION)
		errhint("Workflow code is run again and again, so it must not write. Do it in an activity, with wf_activity() or wf_local_activity().");
}

/* How a call of a function ended */
typedef struct Outcome
{
	bool		entered;		/* it began at all */
	ErrorData  *error;			/* NULL: it returned */
	Jsonb	   *result;
} Outcome;

/*
 * Call a function for a workflow task, in a subtransaction.  With a replay it
 * is workflow code: it can call our functions and cannot write, and nothing of
 * it is kept.  Of a local activity everything is but its settings, which the
 * workflow's code would not find when it is replayed.
 */
static Outcome
call_protected(const WfiFunction *function, Jsonb *input,
			   const WfiPolledTask *task, WfiReplay *replay)
{
	WfiReplay  *outer_replay = wfi_replay;
	void	   *outer_activity;
	ErrorContextCallback *outer_callbacks = error_context_stack;
	ErrorContextCallback callback = {NULL, add_hint, NULL};
	WfiSubtransaction outer;
	volatile Outcome outcome = {false, NULL, NULL};
	int			settings;

	outer_activity = wfi_activity_enter(task, replay ? NULL : function->name);
	wfi_subtransaction_begin(&outer);
	settings = NewGUCNestLevel();
	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		wfi_function_check(function);
		outcome.entered = true;
		wfi_replay = replay;
		/* the context of an error ends where the function begins */
		error_context_stack = replay ? &callback : NULL;
		if (replay != NULL)
			XactReadOnly = true;	/* until the end of the subtransaction */
		outcome.result = wfi_function_call(function, input);
		PopActiveSnapshot();
		AtEOXact_GUC(false, settings);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(outer.context);
		outcome.error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	wfi_replay = outer_replay;
	wfi_activity_leave(outer_activity);
	error_context_stack = outer_callbacks;
	wfi_subtransaction_end(&outer, replay == NULL && outcome.error == NULL);
	return outcome;
}

/*
 * Did it end by something that says nothing about the code?  It may go away
 * by itself: deadlocks, lack of resources, an administrator's doing, internal
 * errors.
 */
static bool
server_trouble(const Outcome *outcome)
{
	const ErrorData *error = outcome->error;

	if (error == NULL)
		return false;
	if (!outcome->entered)
		return true;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'):
			return true;
		default:
			return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

static void
set_trouble(Trouble *trouble, const char *cause, const char *message,
			int code)
{
	ErrorData	error = {0};

	error.message = unconstify(char *, message);
	error.sqlerrcode = code;
	trouble->cause = cause;
	trouble->message = message;
	trouble->failure = wfi_error_failure(&error, NULL);
}

/*
 * Trouble that is not the code's.  Whoever interrupted the statement in which
 * a session lets workflow code run means the whole statement.
 */
static void
set_server_trouble(Trouble *trouble, ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		MyBgworkerEntry == NULL && error->funcname != NULL &&
		strcmp(error->funcname, "ProcessInterrupts") == 0)
		ReThrowError(error);
	trouble->cause = "WorkflowWorkerUnhandledFailure";
	trouble->message = error->message;
	trouble->failure = wfi_error_failure(error, NULL);
}

/* The function of the local activity that the code wants, or NULL. */
static const WfiFunction *
find_local(const WfiReplay *replay, const WfiFunction *workflow)
{
	const WfiLocalActivity *local = replay->wanted;
	const WfiFunction *function;
	MemoryContext old;

	wfi_store_begin("workflow code", true);
	old = MemoryContextSwitchTo(replay->context);
	function = wfi_function_find(WFI_TASK_ACTIVITY, workflow->namespace,
								 local->name,
								 local->task_queue ? local->task_queue :
								 workflow->task_queue);
	MemoryContextSwitchTo(old);
	wfi_store_end();
	return function;
}

/*
 * Run the local activity that the code waits for.  An error is its outcome,
 * as long as it is its own.  The first one begins the subtransaction that the
 * reply will be in.
 */
static void
run_local(WfiReplay *replay, const WfiFunction *workflow, Trouble *trouble,
		  WfiSubtransaction *outer)
{
	WfiLocalActivity *local = replay->wanted;
	const WfiFunction *function = find_local(replay, workflow);
	MemoryContext context;
	MemoryContext old;
	Outcome		outcome;

	if (function == NULL || function->role != workflow->role)
	{
		set_trouble(trouble, "WorkflowWorkerUnhandledFailure",
					psprintf(function == NULL ?
							 "local activity type \"%s\" is not registered on task queue \"%s\"" :
							 "local activity type \"%s\" on task queue \"%s\" is registered by another role",
							 local->name,
							 local->task_queue ? local->task_queue :
							 workflow->task_queue),
					function == NULL ? ERRCODE_UNDEFINED_FUNCTION :
					ERRCODE_INSUFFICIENT_PRIVILEGE);
		return;
	}
	if (outer->context == NULL)
		wfi_subtransaction_begin(outer);
	context = AllocSetContextCreate(CurrentMemoryContext, "local activity",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	outcome = call_protected(function, local->input, replay->task, NULL);
	MemoryContextSwitchTo(old);
	if (server_trouble(&outcome))
	{
		set_server_trouble(trouble, outcome.error);
		return;
	}
	if (outcome.error != NULL)
		local->failure = wfi_error_failure(outcome.error, NULL);
	else if (outcome.result != NULL)
		local->result = DatumGetJsonbPCopy(JsonbPGetDatum(outcome.result));
	MemoryContextDelete(context);
	replay->locals = lappend(replay->locals, local);
}

/* A command that has only that attribute, if any. */
static Jsonb *
closing_command(const char *type, const char *key, const Jsonb *value)
{
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_text(&object, "command_type", type);
	wfi_put_json(&object, key, value);
	return wfi_object_end(&object);
}

/* Details of a workflow that canceled itself in words of its own. */
static Jsonb *
cancel_details(const ErrorData *error, const WfiReplay *replay)
{
	WfiObject	object;

	if (error->message == NULL || (replay->raised_code != 0 &&
								   strstr(error->message, replay->raised_message)))
		return NULL;
	wfi_object_begin(&object);
	wfi_put_text(&object, "message", error->message);
	wfi_put_text(&object, "detail", error->detail);
	return wfi_object_end(&object);
}

/* The command for an error that left the code. */
static Jsonb *
error_command(ErrorData *error, const WfiReplay *replay)
{
	bool		ours = replay->raised_code != 0 && error->message != NULL &&
	strstr(error->message, replay->raised_message) != NULL;
	Jsonb	   *cause = NULL;

	/* a language that knows no SQLSTATEs let it through */
	if (ours && error->sqlerrcode == ERRCODE_EXTERNAL_ROUTINE_EXCEPTION)
		error->sqlerrcode = replay->raised_code;
	if (error->sqlerrcode == WFI_ERRCODE_CANCELED)
		return closing_command("CancelWorkflowExecution", "details",
							   cancel_details(error, replay));
	if (ours && error->sqlerrcode == WFI_ERRCODE_ACTIVITY_FAILED)
		cause = replay->failure;
	return closing_command("FailWorkflowExecution", "failure",
						   wfi_error_failure(error, cause));
}

/*
 * Run the code, and again when it asked for local activities; the closing
 * command, or NULL when the code waits or there is trouble.
 */
static Jsonb *
run_code(WfiReplay *replay, const WfiFunction *function, Trouble *trouble,
		 WfiSubtransaction *outer)
{
	Outcome		outcome;
	MemoryContext old;

	do
	{
		if (replay->wanted != NULL)
		{
			if (wfi_in_keeper())
				return NULL;	/* it is its worker's business */
			run_local(replay, function, trouble, outer);
			if (trouble->cause != NULL)
				return NULL;
		}
		wfi_replay_begin(replay);
		old = MemoryContextSwitchTo(replay->context);
		outcome = call_protected(function, replay->history->input, replay->task,
								 replay);
		MemoryContextSwitchTo(old);
		if (!replay->blocked && !server_trouble(&outcome))
			wfi_replay_check_end(replay, outcome.error ? "fails" : "returns");
		if (replay->mismatch != NULL)
		{
			set_trouble(trouble, "NonDeterministicError", replay->mismatch,
						WFI_ERRCODE_NONDETERMINISM);
			return NULL;
		}
	} while (replay->wanted != NULL);

	if (replay->blocked)
		return NULL;
	if (server_trouble(&outcome))
	{
		set_server_trouble(trouble, outcome.error);
		return NULL;
	}
	if (outcome.error != NULL)
		return error_command(outcome.error, replay);
	return closing_command("CompleteWorkflowExecution", "result",
						   outcome.result);
}

/* The reply: what the code asked for, and how it ended. */
Jsonb *
wfi_reply_commands(const WfiReplay *replay, const Jsonb *closing)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < replay->n_commands; i++)
	{
		if (!replay->commands[i].dropped)
			wfi_push_value(&state, WJB_ELEM, replay->commands[i].command);
	}
	if (closing != NULL)
		wfi_push_value(&state, WJB_ELEM, closing);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* Send the reply; false when it was refused, of which a warning may tell. */
static bool
reply(const WfiReplay *replay, const Jsonb *commands, bool warn)
{
	const WfiPolledTask *task = replay->task;
	WfiRefusal	refusal = {0};

	wfi_store_begin("workflow code", true);
	if (replay->eager != NULL)
		MemoryContextSwitchTo(replay->eager->context);
	wfi_task_reply(&task->token, commands, false, task->identity, warn,
				   replay->eager, &refusal);
	wfi_store_end();
	return refusal.cause == NULL;
}

/*
 * The task fails.  Its second attempt follows at once; when that fails, too,
 * it is left to its time-out, and those grow.
 */
static void
reply_failed(const WfiPolledTask *task, const Trouble *trouble)
{
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("workflow task of \"%s\" failed: %s",
					task->workflow_id, trouble->message)));
	if (task->token.attempt > 1)
		return;
	wfi_store_begin("workflow code", true);
	wfi_task_reply_failed(&task->token, trouble->cause, trouble->failure,
						  task->identity);
	wfi_store_end();
}

/* End the subtransaction of a reply; when undone, nothing follows from it. */
static void
end_reply(WfiReplay *replay, WfiSubtransaction *outer, bool keep)
{
	wfi_subtransaction_end(outer, keep);
	outer->context = NULL;
	if (!keep && replay->eager != NULL)
		replay->eager->receive(NULL, replay->eager->arg);
}

/*
 * A reply was refused, and what local activities did is undone.  Send it once
 * more, for what the refusal leaves in the history.  It must not be accepted
 * without them; what they did was the reason then.
 */
static void
refuse_again(WfiReplay *replay, const Jsonb *commands,
			 WfiSubtransaction *outer, Trouble *trouble)
{
	bool		accepted;

	wfi_subtransaction_begin(outer);
	accepted = reply(replay, commands, true);
	end_reply(replay, outer, !accepted);
	if (accepted)
		set_trouble(trouble, "WorkflowWorkerUnhandledFailure",
					"the reply was refused because of what a local activity did; it must not signal or cancel its own workflow",
					ERRCODE_T_R_SERIALIZATION_FAILURE);
}

/*
 * Run the code and reply; true when that closed the run.  A refused reply
 * takes back what local activities did, and is then sent again for what the
 * refusal leaves in the history.
 */
static bool
run_and_reply_in(WfiReplay *replay, const WfiFunction *function,
				 WfiSubtransaction *outer)
{
	Trouble		trouble = {0};
	Jsonb	   *closing;
	Jsonb	   *commands = NULL;
	bool		accepted = false;

	closing = run_code(replay, function, &trouble, outer);
	if (trouble.cause == NULL)
	{
		commands = wfi_reply_commands(replay, closing);
		accepted = reply(replay, commands, outer->context == NULL);
	}
	if (outer->context != NULL)
	{
		end_reply(replay, outer, accepted);
		if (trouble.cause == NULL && !accepted)
			refuse_again(replay, commands, outer, &trouble);
	}
	if (trouble.cause != NULL)
		reply_failed(replay->task, &trouble);

	/* what another replay would bring again need not wait for the disk */
	if (accepted && closing == NULL && replay->locals == NIL &&
		replay->eager != NULL)
		wfi_commit_asynchronously();
	return accepted && closing != NULL;
}

/*
 * The same.  Whoever handles an error must not find a subtransaction of ours
 * where he expects his own.
 */
static bool
run_and_reply(WfiReplay *replay, const WfiFunction *function)
{
	WfiSubtransaction outer = {0};
	volatile bool closed = false;

	PG_TRY();
	{
		closed = run_and_reply_in(replay, function, &outer);
	}
	PG_CATCH();
	{
		if (outer.context != NULL)
			wfi_subtransaction_end(&outer, false);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return closed;
}

static WfiReplay *
make_replay(const WfiPolledTask *task)
{
	WfiReplay  *replay = palloc0(sizeof(WfiReplay));

	replay->task_context = CurrentMemoryContext;
	replay->context = AllocSetContextCreate(CurrentMemoryContext,
											"run of workflow code",
											ALLOCSET_DEFAULT_SIZES);
	replay->task = task;
	replay->current.started_event_id = task->token.started_event_id;
	replay->current.started_time = task->started_time;
	return replay;
}

void
wfi_workflow_code_run(const WfiFunction *function, const WfiPolledTask *task,
					  WfiEager *eager)
{
	MemoryContext old;
	WfiReplay  *replay;
	Jsonb	   *commands;
	bool		closed;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "workflow code",
												  ALLOCSET_DEFAULT_SIZES);

	old = MemoryContextSwitchTo(context);
	replay = make_replay(task);
	replay->eager = eager;
	if (eager != NULL && wfi_keeper_ask(function, task, &commands, &closed))
	{
		if (reply(replay, commands, true) && !closed)
			wfi_commit_asynchronously();
	}
	else
	{
		replay->history = wfi_history_open(task);
		closed = run_and_reply(replay, function);
		wfi_history_close(replay->history, closed);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * In a keeper: run the code for a task, and for those that it can be kept for.
 * The commands that close the run; NULL when it waits, which has been answered,
 * or its worker is to run the code.
 */
Jsonb *
wfi_workflow_code_answer(const WfiFunction *function,
						 const WfiPolledTask *task)
{
	Trouble		trouble = {0};
	WfiReplay  *replay;
	Jsonb	   *closing;
	Jsonb	   *commands = NULL;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "workflow code",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	replay = make_replay(task);
	replay->history = wfi_history_open(task);
	closing = run_code(replay, function, &trouble, NULL);
	MemoryContextSwitchTo(old);
	if (closing != NULL)
		commands = wfi_reply_commands(replay, closing);
	wfi_history_close(replay->history, closing != NULL);
	MemoryContextDelete(context);
	return commands;
}

void
wfi_workflow_code_failed(const WfiPolledTask *task, ErrorData *error)
{
	Trouble		trouble = {0};

	set_server_trouble(&trouble, error);
	reply_failed(task, &trouble);
}
