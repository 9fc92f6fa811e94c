/*
 * activity_api.c
 *	  Activities as workers see them: poll, heartbeat, and the replies, by
 *	  token or by id.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "eager.h"

PG_FUNCTION_INFO_V1(wfi_poll_activity_task);
PG_FUNCTION_INFO_V1(wfi_heartbeat);
PG_FUNCTION_INFO_V1(wfi_heartbeat_by_id);
PG_FUNCTION_INFO_V1(wfi_respond_activity_task_completed);
PG_FUNCTION_INFO_V1(wfi_respond_activity_task_completed_by_id);
PG_FUNCTION_INFO_V1(wfi_respond_activity_task_failed);
PG_FUNCTION_INFO_V1(wfi_respond_activity_task_failed_by_id);
PG_FUNCTION_INFO_V1(wfi_respond_activity_task_canceled);
PG_FUNCTION_INFO_V1(wfi_respond_activity_task_canceled_by_id);

/* An interval as a datum, or null for 0. */
static Datum
interval_datum(int64 usecs, bool *isnull)
{
	Interval   *interval;

	*isnull = usecs == 0;
	if (*isnull)
		return (Datum) 0;
	interval = palloc0(sizeof(Interval));
	interval->time = usecs;
	return IntervalPGetDatum(interval);
}

/* Give a started activity to the caller. */
static void
emit_activity(WfiPolledTask *task, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	const WfiActivity *activity = task->activity;
	Datum		values[14] = {0};
	bool		nulls[14] = {0};

	values[0] = CStringGetTextDatum(wfi_token_text(&task->token));
	values[1] = CStringGetTextDatum(task->workflow_id);
	values[2] = UUIDPGetDatum(&task->token.run_id);
	values[3] = CStringGetTextDatum(task->workflow_type);
	values[4] = CStringGetTextDatum(activity->activity_id);
	values[5] = CStringGetTextDatum(activity->activity_type);
	values[6] = Int32GetDatum(activity->attempt);
	nulls[7] = task->input == NULL;
	values[7] = PointerGetDatum(task->input);
	nulls[8] = activity->heartbeat_details == NULL;
	values[8] = PointerGetDatum(activity->heartbeat_details);
	values[9] = TimestampTzGetDatum(activity->first_scheduled_time);
	values[10] = TimestampTzGetDatum(activity->started_time);
	values[11] = interval_datum(activity->schedule_to_close_timeout, &nulls[11]);
	values[12] = interval_datum(activity->start_to_close_timeout, &nulls[12]);
	values[13] = interval_datum(activity->heartbeat_timeout, &nulls[13]);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * What a worker has to know of an activity that is started; the event is its
 * ActivityTaskScheduled.
 */
void
wfi_activity_polled(WfiRun *run, const WfiActivity *activity,
					const WfiEvent *event, const char *identity,
					WfiPolledTask *polled)
{
	wfi_run_polled(run, WFI_TASK_ACTIVITY, identity, polled);
	polled->activity = activity;
	polled->token.scheduled_event_id = activity->scheduled_event_id;
	polled->token.attempt = activity->attempt;
	polled->token.secret = activity->secret;
	polled->token.hash = activity->token;
	polled->task_queue = activity->task_queue;
	polled->started_time = activity->started_time;
	polled->time_limit = activity->start_to_close_timeout;
	if (event != NULL)
	{
		polled->input = wfi_get_json(event->attributes, "input");
		polled->header = wfi_get_json(event->attributes, "header");
	}
}

/* Start the activity that a claimed row of the queue points to. */
WfiClaim
wfi_activity_claim(const WfiTask *task, const char *identity,
				   WfiPolledTask *polled)
{
	WfiMissing	why;
	WfiRun	   *run = wfi_store_try_run(task->shard, &task->run_id,
										&task->run_tid, &why);
	WfiActivity *activity;
	const WfiEvent *event;

	if (run == NULL)
		return why == WFI_MISSING_GONE ? WFI_CLAIM_STALE : WFI_CLAIM_BUSY;
	if (run->status != WFI_RUNNING)
		return WFI_CLAIM_STALE;
	activity = wfi_activity_get_at(run, task->scheduled_event_id,
								   &task->activity_tid);
	if (activity == NULL || wfi_activity_started(activity) ||
		task->queue_id != wfi_queue_id(WFI_TASK_ACTIVITY, run->namespace,
									   activity->task_queue) ||
		activity->paused || !activity->dispatched ||
		activity->attempt != task->attempt)
		return WFI_CLAIM_STALE; /* the row outlived its attempt */
	wfi_run_touch(run);
	wfi_activity_start(run, activity, identity);
	if (wfi_run_finish(run) != NULL)
		return WFI_CLAIM_STALE;

	event = wfi_store_read_event(run->shard, &run->run_id,
								 activity->scheduled_event_id,
								 &task->event_tid);
	wfi_activity_polled(run, activity, event, identity, polled);
	return WFI_CLAIM_STARTED;
}

/* wf_poll_activity_task(task_queue, max_tasks, namespace, identity) */
Datum
wfi_poll_activity_task(PG_FUNCTION_ARGS)
{
	wfi_poll(fcinfo, WFI_TASK_ACTIVITY, emit_activity);
	return (Datum) 0;
}

/* Raise the error for a token or id that names no started activity. */
static void
error_activity(const char *detail)
{
	ereport(ERROR,
			(errcode(WFI_ERRCODE_TASK_NOT_FOUND),
			 errmsg("invalid activity ID or activity already timed out or invoking workflow is completed"),
			 errdetail("%s", detail)));
}

/* A run that was locked on behalf of an activity must be open. */
static void
check_open(WfiRun *run)
{
	if (!wfi_run_open(run))
		wfi_error_completed(run);
	wfi_run_touch(run);
}

/* Lock the run that a token is for. */
static WfiRun *
lock_run_of(const WfiToken *token)
{
	WfiRun	   *run = wfi_store_lock_run(token->shard, &token->run_id);

	if (run == NULL)
		error_activity("Its workflow run does not exist.");
	return run;
}

/* The started activity, of a locked run, that a token is for. */
static void
get_by_token(WfiRun *run, const WfiToken *token, WfiActivity **activity)
{
	check_open(run);
	*activity = wfi_activity_get(run, token->scheduled_event_id);
	if (*activity == NULL || !wfi_activity_started(*activity) ||
		(*activity)->attempt != token->attempt ||
		token->started_event_id != 0 ||
		!wfi_uuid_equal(&(*activity)->token, &token->hash))
		error_activity("It is finished, or in another attempt.");
}

/* Lock the run whose started activity a token is for. */
static WfiRun *
lock_by_token(const WfiToken *token, WfiActivity **activity)
{
	WfiRun	   *run = lock_run_of(token);

	get_by_token(run, token, activity);
	return run;
}

/* Lock the run of an activity that is named by its id. */
static WfiRun *
lock_by_id(FunctionCallInfo fcinfo, int run_arg, bool must_be_started,
		   WfiActivity **activity)
{
	char	   *workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	char	   *activity_id = wfi_arg_id(fcinfo, 1, "activity_id");
	WfiRun	   *run = wfi_run_lock_target(wfi_arg_namespace(fcinfo, run_arg + 1),
										  workflow_id,
										  wfi_arg_uuid(fcinfo, run_arg),
										  false);

	check_open(run);
	*activity = wfi_activity_find(run, activity_id);
	if (*activity == NULL)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_TASK_NOT_FOUND),
				 errmsg("cannot find pending activity with ActivityID %s",
						activity_id)));
	if (must_be_started && !wfi_activity_started(*activity))
		error_activity("It is not started.");
	return run;
}

/*
 * Finish an operation on an activity: if it closed, the workflow is told.
 * Tell the caller when a limit ended the run instead.
 */
static void
finish(WfiRun *run)
{
	if (run->buffer != NIL)
		wfi_task_schedule(run);
	(void) wfi_run_finish_or_warn(run);
}

/* A payload that is too large fails the activity instead of the call. */
static bool
too_large(WfiRun *run, WfiActivity *activity, const Jsonb *payload,
		  const char *what, const char *identity)
{
	if (payload == NULL || VARSIZE(payload) <= (Size) wfi_payload_size_limit)
		return false;
	wfi_activity_fail(run, activity,
					  wfi_failure(psprintf("%s size limit.", what)),
					  identity);
	finish(run);
	return true;
}

/* A payload of any size that can be an attribute at all. */
static Jsonb *
arg_json(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_JSONB_P(n);
}

/* The one row that a heartbeat returns. */
static Datum
heartbeat_row(TupleDesc desc, bool cancel_requested, bool paused,
			  bool was_reset)
{
	Datum		values[3];
	bool		nulls[3] = {0};

	values[0] = BoolGetDatum(cancel_requested);
	values[1] = BoolGetDatum(paused);
	values[2] = BoolGetDatum(was_reset);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* The type of that row, made once in a session. */
static TupleDesc
heartbeat_desc(void)
{
	static TupleDesc desc = NULL;

	if (desc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(CacheMemoryContext);
		TupleDesc	new_desc = CreateTemplateTupleDesc(3);

		TupleDescInitEntry(new_desc, 1, "cancel_requested", BOOLOID, -1, 0);
		TupleDescInitEntry(new_desc, 2, "activity_paused", BOOLOID, -1, 0);
		TupleDescInitEntry(new_desc, 3, "activity_reset", BOOLOID, -1, 0);
		desc = BlessTupleDesc(new_desc);
		MemoryContextSwitchTo(old);
	}
	return desc;
}

/*
 * Record a heartbeat of a started activity of a locked run; true when it
 * failed because of its details.
 */
static bool
record_heartbeat(WfiRun *run, WfiActivity *activity, Jsonb *details,
				 const char *identity)
{
	if (too_large(run, activity, details, "Heartbeat details exceed", identity))
		return true;
	activity->last_heartbeat_time = run->now;
	activity->heartbeat_details = details;
	wfi_heartbeat_stored(&activity->token, run->now);
	if (identity != NULL)
		activity->last_worker_identity = pstrdup(identity);
	activity->changed = true;
	finish(run);
	return false;
}

/* wf_heartbeat(task_token, details, identity) */
Datum
wfi_heartbeat(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	WfiToken	token;
	Jsonb	   *details;
	char	   *identity;
	bool		cancel_requested = true;
	bool		paused = false;
	bool		was_reset = false;
	bool		done;
	TimestampTz now;

	PreventCommandIfReadOnly("wf_heartbeat()");
	wfi_token_parse(wfi_arg_id(fcinfo, 0, "task_token"), WFI_TASK_ACTIVITY,
					&token);
	details = arg_json(fcinfo, 1);
	identity = PG_ARGISNULL(2) ? NULL : wfi_arg_identity(fcinfo, 2);
	desc = heartbeat_desc();
	if (wfi_heartbeat_record(&token, GetCurrentTimestamp(), details, identity,
							 &cancel_requested, &paused, &was_reset))
		PG_RETURN_DATUM(heartbeat_row(desc, cancel_requested, paused,
									  was_reset));

	wfi_store_begin("wf_heartbeat()", true);
	now = GetCurrentTimestamp();
	done = token.started_event_id == 0 &&
		(details == NULL ||
		 VARSIZE(details) <= (Size) wfi_payload_size_limit) &&
		wfi_store_heartbeat(&token, now, details, identity,
							&cancel_requested, &paused, &was_reset);
	if (done)
		wfi_heartbeat_resume(&token, now, cancel_requested, paused, was_reset);
	else
	{
		/* not so simple: find out what is the matter */
		WfiActivity *activity;
		WfiRun	   *run = lock_by_token(&token, &activity);

		if (!record_heartbeat(run, activity, details, identity))
		{
			cancel_requested = activity->cancel_requested_event_id != 0;
			paused = activity->paused;
			was_reset = activity->was_reset;
		}
	}
	wfi_store_end();
	PG_RETURN_DATUM(heartbeat_row(desc, cancel_requested, paused, was_reset));
}

/* wf_heartbeat_by_id(workflow_id, activity_id, details, run_id, ...) */
Datum
wfi_heartbeat_by_id(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = heartbeat_desc();
	WfiActivity *activity;
	WfiRun	   *run;
	bool		cancel_requested = true;
	bool		paused = false;
	bool		was_reset = false;

	wfi_store_begin("wf_heartbeat_by_id()", true);
	run = lock_by_id(fcinfo, 3, true, &activity);
	if (!record_heartbeat(run, activity, arg_json(fcinfo, 2),
						  PG_ARGISNULL(5) ? NULL :
						  wfi_arg_identity(fcinfo, 5)))
	{
		cancel_requested = activity->cancel_requested_event_id != 0;
		paused = activity->paused;
		was_reset = activity->was_reset;
	}
	wfi_store_end();
	PG_RETURN_DATUM(heartbeat_row(desc, cancel_requested, paused, was_reset));
}

/* Lock by the token in the first argument. */
static WfiRun *
lock_by_token_arg(FunctionCallInfo fcinfo, WfiActivity **activity)
{
	WfiToken	token;

	wfi_token_parse(wfi_arg_id(fcinfo, 0, "task_token"), WFI_TASK_ACTIVITY,
					&token);
	return lock_by_token(&token, activity);
}

static void
completed(WfiRun *run, WfiActivity *activity, Jsonb *result,
		  const char *identity)
{
	if (too_large(run, activity, result, "Complete result exceeds", identity))
		return;
	wfi_activity_complete(run, activity, result, identity);
	finish(run);
}

/*
 * An activity whose token is held by our own code is done.  If it has itself
 * closed its run, in this transaction, nobody waits for the reply.
 */
void
wfi_activity_reply(const WfiToken *token, const Jsonb *result,
				   const char *identity, WfiEager *eager)
{
	WfiActivity *activity;
	WfiRun	   *run = lock_run_of(token);

	if (!wfi_run_open(run) && wfi_store_has_written_run(run))
		return;
	get_by_token(run, token, &activity);
	run->eager = eager;
	completed(run, activity, unconstify(Jsonb *, result), identity);
}

/* wf_respond_activity_task_completed(task_token, result, identity) */
Datum
wfi_respond_activity_task_completed(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;

	wfi_store_begin("wf_respond_activity_task_completed()", true);
	run = lock_by_token_arg(fcinfo, &activity);
	completed(run, activity, arg_json(fcinfo, 1), wfi_arg_identity(fcinfo, 2));
	wfi_store_end();
	PG_RETURN_VOID();
}

/*
 * wf_respond_activity_task_completed_by_id(workflow_id, activity_id, result,
 * run_id, namespace, identity)
 */
Datum
wfi_respond_activity_task_completed_by_id(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;

	wfi_store_begin("wf_respond_activity_task_completed_by_id()", true);
	run = lock_by_id(fcinfo, 3, false, &activity);
	completed(run, activity, arg_json(fcinfo, 2), wfi_arg_identity(fcinfo, 5));
	wfi_store_end();
	PG_RETURN_VOID();
}

/* Is a member of an object absent, or of that type? */
static bool
has_type(const Jsonb *object, const char *key, enum jbvType type)
{
	const JsonbValue *value = wfi_get(object, key);

	return value == NULL || value->type == type;
}

/* A failure must be an object, with members of the right types. */
static Jsonb *
arg_failure(FunctionCallInfo fcinfo, int n)
{
	Jsonb	   *failure = arg_json(fcinfo, n);

	if (failure == NULL || !wfi_is_object(failure))
		ereport(ERROR,
				(errcode(failure ? ERRCODE_INVALID_PARAMETER_VALUE :
						 ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("failure must be a JSON object"),
				 errhint("Write it like {\"message\": \"...\", \"type\": \"...\"}.")));
	if (!has_type(failure, "message", jbvString) ||
		!has_type(failure, "type", jbvString) ||
		!has_type(failure, "non_retryable", jbvBool) ||
		wfi_get_duration(failure, "next_retry_delay") < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("malformed failure"),
				 errdetail("\"message\" and \"type\" are strings, \"non_retryable\" is a boolean, \"next_retry_delay\" a duration that is not negative.")));
	return failure;
}

static void
failed(WfiRun *run, WfiActivity *activity, Jsonb *failure,
	   Jsonb *last_heartbeat_details, const char *identity)
{
	if (too_large(run, activity, failure, "Failure exceeds", identity))
		return;
	if (last_heartbeat_details != NULL &&
		VARSIZE(last_heartbeat_details) <= (Size) wfi_payload_size_limit)
	{
		activity->heartbeat_details = last_heartbeat_details;
		activity->heartbeat_replaced = true;
		activity->changed = true;
	}
	wfi_activity_fail(run, activity, failure, identity);
	finish(run);
}

/* An attempt whose token is held by our own code failed. */
void
wfi_activity_reply_failed(const WfiToken *token, Jsonb *failure,
						  Jsonb *last_heartbeat_details, const char *identity)
{
	WfiActivity *activity;
	WfiRun	   *run = lock_by_token(token, &activity);

	failed(run, activity, failure, last_heartbeat_details, identity);
}

/*
 * wf_respond_activity_task_failed(task_token, failure,
 * last_heartbeat_details, identity)
 */
Datum
wfi_respond_activity_task_failed(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;
	Jsonb	   *failure;

	wfi_store_begin("wf_respond_activity_task_failed()", true);
	failure = arg_failure(fcinfo, 1);
	run = lock_by_token_arg(fcinfo, &activity);
	failed(run, activity, failure, arg_json(fcinfo, 2),
		   wfi_arg_identity(fcinfo, 3));
	wfi_store_end();
	PG_RETURN_VOID();
}

/*
 * wf_respond_activity_task_failed_by_id(workflow_id, activity_id, failure,
 * run_id, namespace, identity, last_heartbeat_details)
 */
Datum
wfi_respond_activity_task_failed_by_id(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;
	Jsonb	   *failure;

	wfi_store_begin("wf_respond_activity_task_failed_by_id()", true);
	failure = arg_failure(fcinfo, 2);
	run = lock_by_id(fcinfo, 3, true, &activity);
	failed(run, activity, failure, arg_json(fcinfo, 6),
		   wfi_arg_identity(fcinfo, 5));
	wfi_store_end();
	PG_RETURN_VOID();
}

static void
canceled(WfiRun *run, WfiActivity *activity, Jsonb *details,
		 const char *identity)
{
	if (activity->cancel_requested_event_id == 0)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_CANCEL_NOT_REQUESTED),
				 errmsg("unable to mark activity as canceled without activity being request canceled first")));
	if (too_large(run, activity, details, "Cancel details exceed", identity))
		return;
	wfi_activity_cancel(run, activity, details, identity);
	finish(run);
}

/* An activity whose token is held by our own code accepted its cancel. */
void
wfi_activity_reply_canceled(const WfiToken *token, Jsonb *details,
							const char *identity)
{
	WfiActivity *activity;
	WfiRun	   *run = lock_by_token(token, &activity);

	canceled(run, activity, details, identity);
}

/* wf_respond_activity_task_canceled(task_token, details, identity) */
Datum
wfi_respond_activity_task_canceled(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;

	wfi_store_begin("wf_respond_activity_task_canceled()", true);
	run = lock_by_token_arg(fcinfo, &activity);
	canceled(run, activity, arg_json(fcinfo, 1), wfi_arg_identity(fcinfo, 2));
	wfi_store_end();
	PG_RETURN_VOID();
}

/*
 * wf_respond_activity_task_canceled_by_id(workflow_id, activity_id, details,
 * run_id, namespace, identity)
 */
Datum
wfi_respond_activity_task_canceled_by_id(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;

	wfi_store_begin("wf_respond_activity_task_canceled_by_id()", true);
	run = lock_by_id(fcinfo, 3, true, &activity);
	canceled(run, activity, arg_json(fcinfo, 2), wfi_arg_identity(fcinfo, 5));
	wfi_store_end();
	PG_RETURN_VOID();
}
