/*
 * sql_activity.c
 *	  Activities whose code is a SQL function.
 *
 * The function's effects and its completion commit together: there is no
 * effect without completion, and none twice but for a recorded retry.  When
 * it fails, its effects are gone, and the failure is what is recorded.
 *
 * A cancel is raised in the function as WF001, once: by its next heartbeat or,
 * in a background worker, by interrupting the statement that runs.  The server
 * raises 57014 for an interrupt; a callback that sees every error before any
 * handler does makes it WF001.  What the function does about it (undo things,
 * with further statements and heartbeats; go on; raise it again) is not
 * disturbed any more.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "pool.h"

PG_FUNCTION_INFO_V1(wfi_activity_heartbeat);
PG_FUNCTION_INFO_V1(wfi_activity_heartbeat_details);
PG_FUNCTION_INFO_V1(wfi_activity_info);

/* An attempt that this process is running */
typedef struct Attempt
{
	struct Attempt *outer;		/* wf_work() can be called by an activity */
	const WfiPolledTask *task;
	const WfiActivity *activity;
	MemoryContext context;		/* lives as long as the task */
	Jsonb	   *details;		/* of the last heartbeat */
	bool		reported;		/* that was in this attempt */
	Jsonb	   *refused;		/* its result, which is too large */
	bool		cancel_requested;
	bool		cancel_raised;
	bool		in_worker;		/* and not within somebody's transaction */
	bool		local;			/* part of a workflow task, which is the task */
	WfiEager   *eager;			/* who goes on with what follows, or NULL */
} Attempt;

static Attempt *attempt = NULL;
static volatile sig_atomic_t interrupts_welcome = false;

/*
 * SIGINT in a worker.  It counts while an activity's function runs that has
 * not been told of a cancel yet.
 */
void
wfi_activity_interrupt(SIGNAL_ARGS)
{
	int			save_errno = errno;

	if (interrupts_welcome)
	{
		InterruptPending = true;
		QueryCancelPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* From now on an activity's code is not interrupted any more. */
static void
refuse_interrupts(void)
{
	interrupts_welcome = false;
	QueryCancelPending = false;
}

static Attempt *
current_attempt(void)
{
	if (attempt == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this is not the code of an activity"),
				 errhint("It can be called while a function that was registered with wf_register_activity() is run for a task.")));
	return attempt;
}

static const char *const cancel_message = "activity canceled";

/* wf_activity_heartbeat(details) */
Datum
wfi_activity_heartbeat(PG_FUNCTION_ARGS)
{
	Attempt    *this = current_attempt();
	Jsonb	   *details = wfi_arg_payload(fcinfo, 0, "details");

	if (this->details != NULL && this->reported)
		pfree(this->details);
	this->details = NULL;
	this->reported = true;
	if (details != NULL)
	{
		this->details = MemoryContextAlloc(this->context, VARSIZE(details));
		memcpy(this->details, details, VARSIZE(details));
	}
	if (!this->local)
		wfi_heartbeat_report(&this->task->token, GetCurrentTimestamp(),
							 details, &this->cancel_requested);
	if (this->cancel_requested && !this->cancel_raised)
	{
		this->cancel_raised = true;
		if (this->in_worker)
			refuse_interrupts();
		ereport(ERROR,
				(errcode(WFI_ERRCODE_CANCELED),
				 errmsg("%s", cancel_message)));
	}
	PG_RETURN_BOOL(this->cancel_requested);
}

/* wf_activity_heartbeat_details() */
Datum
wfi_activity_heartbeat_details(PG_FUNCTION_ARGS)
{
	Attempt    *this = current_attempt();

	if (this->details == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(this->details);
}

/* wf_activity_info() */
Datum
wfi_activity_info(PG_FUNCTION_ARGS)
{
	Attempt    *this = current_attempt();
	const WfiPolledTask *task = this->task;
	const WfiActivity *activity = this->activity;
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_text(&object, "namespace", task->namespace);
	wfi_put_text(&object, "workflow_id", task->workflow_id);
	wfi_put_uuid(&object, "run_id", &task->token.run_id);
	wfi_put_text(&object, "workflow_type", task->workflow_type);
	wfi_put_text(&object, "task_queue", task->task_queue);
	wfi_put_text(&object, "activity_id", activity->activity_id);
	wfi_put_text(&object, "activity_type", activity->activity_type);
	wfi_put_int(&object, "attempt", activity->attempt);
	wfi_put_time(&object, "scheduled_time", activity->first_scheduled_time);
	wfi_put_time(&object, "started_time", activity->started_time);
	wfi_put_duration(&object, "schedule_to_close_timeout",
					 activity->schedule_to_close_timeout);
	wfi_put_duration(&object, "start_to_close_timeout",
					 activity->start_to_close_timeout);
	wfi_put_duration(&object, "heartbeat_timeout",
					 activity->heartbeat_timeout);
	wfi_put_json(&object, "last_failure", activity->last_failure);
	wfi_put_bool(&object, "cancel_requested", this->cancel_requested);
	PG_RETURN_JSONB_P(wfi_object_end(&object));
}

/*
 * Error context callback around an activity's function: an interrupt because
 * of a cancel becomes WF001 before any handler sees it.
 */
static void
turn_into_cancel(void *arg)
{
	Attempt    *this = arg;

	if (geterrcode() != ERRCODE_QUERY_CANCELED || !interrupts_welcome ||
		!wfi_worker_cancel_requested())
		return;
	refuse_interrupts();
	this->cancel_requested = true;
	this->cancel_raised = true;
	errcode(WFI_ERRCODE_CANCELED);
	errmsg("%s", cancel_message);
}

/*
 * A result that is too large makes the activity fail, and so be undone; it is
 * replied after that.
 */
static void
check_result(Attempt *this, const Jsonb *result)
{
	if (result == NULL || VARSIZE(result) <= (Size) wfi_payload_size_limit)
		return;
	this->refused = MemoryContextAlloc(this->context, VARSIZE(result));
	memcpy(this->refused, result, VARSIZE(result));
	ereport(ERROR,
			(errcode(WFI_ERRCODE_LIMIT_EXCEEDED),
			 errmsg("result exceeds the size limit")));
}

/*
 * Run an activity's function, and reply what it returned, in the current
 * transaction or subtransaction.
 */
static void
call_and_reply(const WfiFunction *function, Attempt *this)
{
	const WfiPolledTask *task = this->task;
	ErrorContextCallback *outer = error_context_stack;
	ErrorContextCallback callback;
	Jsonb	   *result;

	/* who lets it run is not part of an error's context */
	callback.callback = turn_into_cancel;
	callback.arg = this;
	callback.previous = NULL;
	error_context_stack = &callback;
	result = wfi_function_call(function, task->input);
	error_context_stack = outer;

	/* now that it is done, a cancel comes too late */
	if (this->in_worker)
		refuse_interrupts();
	check_result(this, result);
	wfi_store_begin("wf_work()", true);
	if (this->eager != NULL)
		MemoryContextSwitchTo(this->eager->context);
	wfi_activity_reply(&task->token, result, task->identity, this->eager);
	wfi_store_end();
}

/* A text as a JSON string, or NULL. */
static Jsonb *
json_string(const char *string)
{
	JsonbValue	value;

	if (string == NULL)
		return NULL;
	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	return JsonbValueToJsonb(&value);
}

/*
 * Does an attempt end because it was to cancel?  A language that knows no
 * SQLSTATEs lets that through as an error of its own.
 */
static bool
is_cancel(const Attempt *this, const ErrorData *error)
{
	if (!this->cancel_requested)
		return false;
	return error->sqlerrcode == WFI_ERRCODE_CANCELED ||
		(error->sqlerrcode == ERRCODE_EXTERNAL_ROUTINE_EXCEPTION &&
		 this->cancel_raised && error->message != NULL &&
		 strstr(error->message, cancel_message) != NULL);
}

/*
 * Reply that an attempt ended with an error: it was canceled, if it was asked
 * to and says so; else it failed.
 */
static void
reply_error(const Attempt *this, const ErrorData *error)
{
	const WfiPolledTask *task = this->task;

	wfi_store_begin("wf_work()", true);
	if (this->refused != NULL)
		wfi_activity_reply(&task->token, this->refused, task->identity, NULL);
	else if (is_cancel(this, error))
		wfi_activity_reply_canceled(&task->token, json_string(error->detail),
									task->identity);
	else
		wfi_activity_reply_failed(&task->token,
								  wfi_error_failure(error, NULL),
								  this->reported ? this->details : NULL,
								  task->identity);
	wfi_store_end();
}

static void
begin_attempt(Attempt *this, const WfiPolledTask *task)
{
	memset(this, 0, sizeof(Attempt));
	this->outer = attempt;
	this->task = task;
	this->activity = task->activity;
	this->context = CurrentMemoryContext;
	this->details = task->activity->heartbeat_details;
	attempt = this;
}

/*
 * Workflow code, or a local activity of that type within its task, is about to
 * run: who ran so far, for wfi_activity_leave().  A local activity may do what
 * others do, but nobody follows its heartbeats.  It is known in the current
 * memory context.
 */
void *
wfi_activity_enter(const WfiPolledTask *task, const char *local_type)
{
	Attempt    *outer = attempt;
	WfiActivity *activity;
	Attempt    *this;

	attempt = NULL;
	if (local_type == NULL)
		return outer;
	activity = palloc0(sizeof(WfiActivity));
	activity->activity_type = pstrdup(local_type);
	activity->attempt = 1;
	activity->first_scheduled_time = activity->started_time =
		GetCurrentTimestamp();
	this = palloc0(sizeof(Attempt));
	this->task = task;
	this->activity = activity;
	this->context = CurrentMemoryContext;
	this->local = true;
	attempt = this;
	return outer;
}

void
wfi_activity_leave(void *outer)
{
	attempt = outer;
}

/*
 * Run an activity within the current transaction, for wf_work(): in a
 * subtransaction, with a snapshot of its own, and of its settings nothing is
 * left for the next task.  The current memory context lives as long as the
 * task.
 */
void
wfi_activity_run_within(const WfiFunction *function,
						const WfiPolledTask *task)
{
	WfiSubtransaction outer;
	ErrorContextCallback *callbacks = error_context_stack;
	Attempt		this;
	int			settings;

	begin_attempt(&this, task);
	wfi_subtransaction_begin(&outer);
	settings = NewGUCNestLevel();
	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		call_and_reply(function, &this);
		PopActiveSnapshot();
		AtEOXact_GUC(false, settings);
		wfi_subtransaction_end(&outer, true);
		attempt = this.outer;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(outer.context);
		error = CopyErrorData();
		FlushErrorState();
		error_context_stack = callbacks;
		wfi_subtransaction_end(&outer, false);
		attempt = this.outer;
		/* who interrupts wf_work() does not mean the activity */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
			ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED))
			ReThrowError(error);
		reply_error(&this, error);
	}
	PG_END_TRY();
}

/* Reply that an attempt ended with an error, in a transaction of its own. */
static void
reply_error_in_worker(const Attempt *this, const ErrorData *error)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		wfi_begin_task_transaction();
		reply_error(this, error);
		wfi_commit_task_transaction();
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		/* that the attempt is over is nothing unusual */
		wfi_abort_task_transaction(context,
								   code != WFI_ERRCODE_TASK_NOT_FOUND &&
								   code != WFI_ERRCODE_COMPLETED);
	}
	PG_END_TRY();
}

/*
 * Run an activity in a worker: what its function does and that it is done is
 * one transaction; false when that was rolled back.  The current memory
 * context lives as long as the task.
 */
bool
wfi_activity_run(const WfiFunction *function, const WfiPolledTask *task,
				 WfiEager *eager)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;
	Attempt		this;

	begin_attempt(&this, task);
	this.in_worker = true;
	this.eager = eager;
	PG_TRY();
	{
		wfi_begin_task_transaction();
		interrupts_welcome = true;
		if (wfi_worker_cancel_requested() && wfi_worker_interruptible())
			QueryCancelPending = InterruptPending = true;	/* it came early */
		call_and_reply(function, &this);
		wfi_commit_task_transaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		wfi_abort_task_transaction(context, false);
	}
	PG_END_TRY();
	refuse_interrupts();
	this.cancel_requested |= wfi_worker_cancel_requested();
	attempt = this.outer;
	if (error != NULL)
		reply_error_in_worker(&this, error);
	return error == NULL;
}
