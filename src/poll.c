/*
 * poll.c
 *	  Workflow tasks as workers see them: poll, and the two replies.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "eager.h"

PG_FUNCTION_INFO_V1(wfi_poll_workflow_task);
PG_FUNCTION_INFO_V1(wfi_respond_workflow_task_completed);
PG_FUNCTION_INFO_V1(wfi_respond_workflow_task_failed);

/* The most tasks one poll may ask for, and of those that are stale remove */
#define MAX_TASKS 1000

/* How many overdue runs a poll looks after when there is no driver */
#define TICK_ITEMS 16

/* What a worker has to know of the run of a task that is started. */
void
wfi_run_polled(WfiRun *run, char kind, const char *identity,
			   WfiPolledTask *polled)
{
	polled->run = run;
	polled->token.kind = kind;
	polled->token.shard = run->shard;
	polled->token.run_id = run->run_id;
	polled->namespace = run->namespace;
	polled->workflow_id = run->workflow_id;
	polled->workflow_type = run->workflow_type;
	polled->identity = pstrdup(identity);
}

/* ... and of the workflow task that is. */
void
wfi_task_polled(WfiRun *run, const char *identity, WfiPolledTask *polled)
{
	wfi_run_polled(run, WFI_TASK_WORKFLOW, identity, polled);
	polled->token.scheduled_event_id = run->task_scheduled_event_id;
	polled->token.started_event_id = run->task_started_event_id;
	polled->token.attempt = run->task_attempt;
	polled->token.secret = run->task_secret;
	polled->token.hash = run->task_token;
	polled->task_queue = run->task_queue;
	polled->started_time = run->task_started_time;
	polled->time_limit = wfi_task_time_limit(run);
}

/* Where workers of a poll's queue listen */
static WfiChannelKind
channel_of(const WfiPoll *poll)
{
	return poll->kind == WFI_TASK_WORKFLOW ? WFI_CHANNEL_WORKFLOW :
		WFI_CHANNEL_ACTIVITY;
}

/* Start the workflow task that a claimed row of the queue points to. */
static WfiClaim
claim_workflow_task(const WfiTask *task, const char *identity,
					WfiPolledTask *polled)
{
	WfiMissing	why;
	WfiRun	   *run = wfi_store_try_run(task->shard, &task->run_id,
										&task->run_tid, &why);

	if (run == NULL)
		return why == WFI_MISSING_GONE ? WFI_CLAIM_STALE : WFI_CLAIM_BUSY;
	if (run->status != WFI_RUNNING || run->task_scheduled_event_id == 0 ||
		run->task_started_event_id != 0)
		return WFI_CLAIM_STALE;
	wfi_run_touch(run);
	wfi_task_start(run, identity);
	if (wfi_run_finish(run) != NULL)
		return WFI_CLAIM_STALE;

	wfi_task_polled(run, identity, polled);
	return WFI_CLAIM_STARTED;
}

/* Start the task of a claimed row, and give it to the receiver. */
static WfiClaim
claim_task(const WfiTask *task, const WfiPoll *poll, WfiReceiveTask receive,
		   void *arg)
{
	WfiPolledTask *polled = palloc0(sizeof(WfiPolledTask));
	WfiClaim	claim;

	if (poll->kind == WFI_TASK_WORKFLOW)
		claim = claim_workflow_task(task, poll->identity, polled);
	else
		claim = wfi_activity_claim(task, poll->identity, polled);
	if (claim == WFI_CLAIM_STARTED)
		receive(polled, arg);
	return claim;
}

/* Error context callback: which run was it about? */
static void
task_context(void *arg)
{
	const WfiTask *task = arg;

	errcontext("start of a task of run \"%s\"", wfi_uuid_text(&task->run_id));
}

/* Is an error a matter of the moment, rather than of what it came of? */
static bool
is_passing(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
			return true;
		default:
			return false;
	}
}

/*
 * The same; after an error this session leaves the run alone for a while, as
 * there are others in the queue.
 */
static WfiClaim
try_task(WfiTask *task, const WfiPoll *poll, WfiReceiveTask receive, void *arg)
{
	volatile WfiClaim claim = WFI_CLAIM_STALE;
	ErrorContextCallback context;

	context.callback = task_context;
	context.arg = task;
	context.previous = error_context_stack;
	PG_TRY();
	{
		error_context_stack = &context;
		claim = claim_task(task, poll, receive, arg);
	}
	PG_CATCH();
	{
		if (!is_passing(geterrcode()))
			wfi_store_remember_failing(&task->run_id);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return claim;
}

/*
 * Claim tasks and start them, each in memory of its own, as histories can be
 * large; how many.  Tasks whose runs are locked stay in the queue; *left says
 * when the youngest of them was made, DT_NOBEGIN when there is none.  So do
 * those that have raised an error; they do not count as left, since nobody
 * need hurry to look at them again.
 */
int
wfi_poll_tasks(const WfiPoll *poll, WfiReceiveTask receive, void *arg,
			   TimestampTz *left)
{
	MemoryContext context = poll->context;
	int32		started = 0;
	int32		stale = 0;
	WfiWalk    *queue;
	WfiTask		task;

	if (context == NULL)
		context = AllocSetContextCreate(CurrentMemoryContext, "task",
										ALLOCSET_DEFAULT_SIZES);

	*left = DT_NOBEGIN;
	queue = wfi_store_open_queue(poll);
	while (started < poll->most && stale < MAX_TASKS &&
		   wfi_store_next_task(queue, &task))
	{
		MemoryContext old;
		WfiClaim	claim;

		if (wfi_store_known_failing(&task.run_id))
			continue;
		old = MemoryContextSwitchTo(context);
		claim = try_task(&task, poll, receive, arg);
		if (claim == WFI_CLAIM_BUSY)
			*left = Max(*left, task.created_time);
		else
			wfi_store_delete_task(&task);
		started += claim == WFI_CLAIM_STARTED;
		stale += claim == WFI_CLAIM_STALE;
		MemoryContextSwitchTo(old);
		if (poll->context == NULL)
			MemoryContextReset(context);
	}
	*left = wfi_store_close_queue(queue, *left);

	/* there may be others behind, which this poll was a chance for */
	if (stale == MAX_TASKS)
		wfi_notify_queue(channel_of(poll), poll->task_queue, task.shard);
	return started;
}

/* A poll with arguments (task_queue, max_tasks, namespace, identity). */
void
wfi_poll(FunctionCallInfo fcinfo, char kind, WfiReceiveTask receive)
{
	const char *function = kind == WFI_TASK_WORKFLOW ?
	"wf_poll_workflow_task()" : "wf_poll_activity_task()";
	WfiPoll		poll = {0};
	int			started;
	TimestampTz left;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly(function);
	if (wfi_enabled && !wfi_driver_running())
		wfi_fire_due(TICK_ITEMS);

	wfi_store_begin(function, true);
	poll.kind = kind;
	poll.task_queue = wfi_arg_id(fcinfo, 0, "task_queue");
	poll.most = wfi_arg_count(fcinfo, 1, "max_tasks", MAX_TASKS);
	poll.namespace = wfi_arg_namespace(fcinfo, 2);
	poll.identity = wfi_arg_identity(fcinfo, 3);
	started = wfi_poll_tasks(&poll, receive, fcinfo->resultinfo, &left);
	if (started == 0)
		wfi_check_namespace(poll.namespace);

	/*
	 * Nobody may tell of a task whose run was locked: the lock says nothing
	 * when its holder rolls back, or changes nothing.  An old one is
	 * announced every renotify_interval, for as long as the lock is held.
	 */
	if (started < poll.most &&
		left > TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										   -wfi_renotify_interval))
		wfi_notify_queue_later(channel_of(&poll), poll.task_queue);
	wfi_store_end();
}

/* Give a started task to the caller. */
static void
emit_workflow_task(WfiPolledTask *task, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	Datum		values[8];
	bool		nulls[8] = {0};

	values[0] = CStringGetTextDatum(wfi_token_text(&task->token));
	values[1] = CStringGetTextDatum(task->workflow_id);
	values[2] = UUIDPGetDatum(&task->token.run_id);
	values[3] = CStringGetTextDatum(task->workflow_type);
	values[4] = Int32GetDatum(task->token.attempt);
	values[5] = Int64GetDatum(task->run->previous_started_event_id);
	values[6] = Int64GetDatum(task->token.started_event_id);
	values[7] = JsonbPGetDatum(wfi_history_json(task->run));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* wf_poll_workflow_task(task_queue, max_tasks, namespace, identity) */
Datum
wfi_poll_workflow_task(PG_FUNCTION_ARGS)
{
	wfi_poll(fcinfo, WFI_TASK_WORKFLOW, emit_workflow_task);
	return (Datum) 0;
}

/* Lock the run whose started workflow task the token is for. */
static WfiRun *
lock_by_token(const WfiToken *token)
{
	WfiRun	   *run = wfi_store_lock_run(token->shard, &token->run_id);

	if (run == NULL || !wfi_run_open(run) ||
		run->task_started_event_id == 0 ||
		run->task_scheduled_event_id != token->scheduled_event_id ||
		run->task_started_event_id != token->started_event_id ||
		run->task_attempt != token->attempt ||
		!wfi_uuid_equal(&run->task_token, &token->hash))
		ereport(ERROR,
				(errcode(WFI_ERRCODE_TASK_NOT_FOUND),
				 errmsg("workflow task not found"),
				 errdetail("It was completed, failed or timed out, or its run is closed.")));
	wfi_run_touch(run);
	return run;
}

/* Has the run been heartbeating its workflow task for too long? */
static bool
heartbeat_timed_out(const WfiRun *run)
{
	int64		most = (int64) wfi_task_heartbeat_timeout * USECS_PER_SEC;

	return run->task_original_scheduled_time != WFI_NEVER &&
		run->now > run->task_original_scheduled_time + most;
}

/* A refused reply: fail the task, and what follows from that. */
static void
refuse_reply(WfiRun *run, const WfiRefusal *refusal, const char *identity)
{
	wfi_task_fail(run, refusal->cause, wfi_failure(refusal->message),
				  identity);
	if (refusal->terminate)
		wfi_terminate_run(run, refusal->message, NULL, WFI_IDENTITY_ENGINE);
	else
		wfi_task_schedule(run);
}

/*
 * Apply a worker's reply to its run and store the outcome; refusal->cause is
 * set when the reply was not accepted.
 */
static void
apply_reply(WfiRun *run, const Jsonb *commands, bool force_new,
			const char *identity, WfiRefusal *refusal)
{
	bool		heartbeat = force_new && JB_ROOT_COUNT(commands) == 0;
	TimestampTz original = run->task_original_scheduled_time;
	const char *limit;

	if (heartbeat && heartbeat_timed_out(run))
	{
		wfi_task_time_out(run);
		wfi_task_schedule(run);
		refusal->cause = "WorkflowTaskHeartbeatTimeout";
		refusal->message = "workflow task heartbeat timeout";
	}
	else
	{
		bool		transient = wfi_task_transient(run);
		bool		had_buffered = wfi_run_has_buffered(run);
		WfiEvent   *completed = wfi_task_complete(run, identity);

		wfi_commands_apply(run, commands, completed->event_id, identity,
						   had_buffered, refusal);
		if (refusal->cause != NULL)
		{
			/* a retry that is refused again has to wait for its time-out */
			if (transient && strcmp(refusal->cause, "UnhandledCommand") != 0)
				return;
			*run = *wfi_run_reload(run);
			refuse_reply(run, refusal, identity);
		}
		else if (wfi_run_open(run) &&
				 (force_new || wfi_run_has_buffered(run)))
			wfi_task_schedule_heartbeat(run, heartbeat ? original : run->now);
	}

	limit = wfi_run_finish(run);
	if (limit)
	{
		refusal->cause = "ForceCloseCommand";
		refusal->message = limit;
	}
}

/*
 * The worker is done with its task; refusal->cause is set when its reply was
 * not accepted, and the client may be warned of that.
 */
void
wfi_task_reply(const WfiToken *token, const Jsonb *commands, bool force_new,
			   const char *identity, bool warn, WfiEager *eager,
			   WfiRefusal *refusal)
{
	WfiRun	   *run = lock_by_token(token);

	run->eager = eager;
	if (force_new && run->status == WFI_PAUSED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("workflow is paused and a new workflow task cannot be forced")));
	apply_reply(run, commands, force_new, identity, refusal);

	if (warn && refusal->cause != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("workflow task of \"%s\" was not accepted: %s",
						run->workflow_id, refusal->message)));
}

/* The worker failed at its task, which is given out again. */
void
wfi_task_reply_failed(const WfiToken *token, const char *cause,
					  const Jsonb *failure, const char *identity)
{
	WfiRun	   *run = lock_by_token(token);

	if (strcmp(cause, "GrpcMessageTooLarge") == 0)
		wfi_terminate_run(run, cause, NULL, WFI_IDENTITY_ENGINE);
	else
	{
		wfi_task_fail(run, cause, failure, identity);
		wfi_task_schedule(run);
	}
	(void) wfi_run_finish_or_warn(run);
}

/* wf_respond_workflow_task_completed(task_token, commands, force, identity) */
Datum
wfi_respond_workflow_task_completed(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[3] = {0};
	bool		nulls[3] = {0};
	WfiRefusal	refusal = {0};
	MemoryContext old;
	char	   *token;
	WfiToken	parsed;
	Jsonb	   *commands;
	bool		force_new;
	char	   *identity;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);

	wfi_store_begin("wf_respond_workflow_task_completed()", true);
	token = wfi_arg_id(fcinfo, 0, "task_token");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", "commands")));
	commands = PG_GETARG_JSONB_P(1);
	wfi_commands_check(commands);
	force_new = wfi_arg_bool(fcinfo, 2);
	identity = wfi_arg_identity(fcinfo, 3);

	wfi_token_parse(token, WFI_TASK_WORKFLOW, &parsed);
	wfi_task_reply(&parsed, commands, force_new, identity, true, NULL,
				   &refusal);

	old = MemoryContextSwitchTo(wfi_store_caller_context());
	values[0] = BoolGetDatum(refusal.cause == NULL);
	if (refusal.cause != NULL)
	{
		values[1] = CStringGetTextDatum(refusal.cause);
		values[2] = CStringGetTextDatum(refusal.message);
	}
	else
		nulls[1] = nulls[2] = true;
	MemoryContextSwitchTo(old);
	wfi_store_end();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* The causes of WorkflowTaskFailed that a worker may report */
static const char *const failed_causes[] = {
	"UnhandledCommand",
	"BadScheduleActivityAttributes",
	"BadRequestCancelActivityAttributes",
	"BadStartTimerAttributes",
	"BadCancelTimerAttributes",
	"BadRecordMarkerAttributes",
	"BadCompleteWorkflowExecutionAttributes",
	"BadFailWorkflowExecutionAttributes",
	"BadCancelWorkflowExecutionAttributes",
	"BadRequestCancelExternalWorkflowExecutionAttributes",
	"BadContinueAsNewAttributes",
	"StartTimerDuplicateId",
	"ResetStickyTaskQueue",
	"WorkflowWorkerUnhandledFailure",
	"BadSignalWorkflowExecutionAttributes",
	"BadStartChildExecutionAttributes",
	"ForceCloseCommand",
	"FailoverCloseCommand",
	"BadSignalInputSize",
	"BadBinary",
	"ScheduleActivityDuplicateId",
	"BadSearchAttributes",
	"NonDeterministicError",
	"BadModifyWorkflowPropertiesAttributes",
	"PendingChildWorkflowsLimitExceeded",
	"PendingActivitiesLimitExceeded",
	"PendingSignalsLimitExceeded",
	"PendingRequestCancelLimitExceeded",
	"BadUpdateWorkflowExecutionMessage",
	"UnhandledUpdate",
	"BadScheduleNexusOperationAttributes",
	"PendingNexusOperationsLimitExceeded",
	"BadRequestCancelNexusOperationAttributes",
	"FeatureDisabled",
	"GrpcMessageTooLarge",
	"PayloadsTooLarge",
};

static void
check_cause(const char *cause)
{
	for (int i = 0; i < (int) lengthof(failed_causes); i++)
	{
		if (strcmp(failed_causes[i], cause) == 0)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown workflow task failed cause \"%s\"", cause),
			 errhint("A worker whose code raised an error reports \"WorkflowWorkerUnhandledFailure\".")));
}

/* wf_respond_workflow_task_failed(task_token, cause, failure, identity) */
Datum
wfi_respond_workflow_task_failed(PG_FUNCTION_ARGS)
{
	char	   *token;
	WfiToken	parsed;
	char	   *cause;
	Jsonb	   *failure;
	char	   *identity;

	wfi_store_begin("wf_respond_workflow_task_failed()", true);
	token = wfi_arg_id(fcinfo, 0, "task_token");
	cause = wfi_arg_id(fcinfo, 1, "cause");
	check_cause(cause);
	failure = wfi_arg_object(fcinfo, 2, "failure");
	identity = wfi_arg_identity(fcinfo, 3);

	wfi_token_parse(token, WFI_TASK_WORKFLOW, &parsed);
	wfi_task_reply_failed(&parsed, cause, failure, identity);
	wfi_store_end();
	PG_RETURN_VOID();
}
