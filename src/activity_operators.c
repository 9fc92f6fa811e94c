/*
 * activity_operators.c
 *	  What operators can do with one pending activity: pause, unpause, reset,
 *	  change its options.  None of it is in the history.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_pause_activity);
PG_FUNCTION_INFO_V1(wfi_unpause_activity);
PG_FUNCTION_INFO_V1(wfi_reset_activity);
PG_FUNCTION_INFO_V1(wfi_update_activity_options);

/*
 * Lock the run and find the activity of the first two arguments; run_id and
 * namespace are the arguments from n on.
 */
static WfiRun *
lock_activity(FunctionCallInfo fcinfo, int n, WfiActivity **activity)
{
	char	   *workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	char	   *activity_id = wfi_arg_id(fcinfo, 1, "activity_id");
	WfiRun	   *run = wfi_run_lock_target(wfi_arg_namespace(fcinfo, n + 1),
										  workflow_id, wfi_arg_uuid(fcinfo, n),
										  false);

	if (!wfi_run_open(run))
		wfi_error_completed(run);
	*activity = wfi_activity_find(run, activity_id);
	if (*activity == NULL)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_TASK_NOT_FOUND),
				 errmsg("cannot find pending activity with ActivityID %s",
						activity_id)));
	(*activity)->changed = true;
	return run;
}

/* An activity that no worker has is dispatched again, now or when it is due. */
static void
dispatch_again(WfiRun *run, WfiActivity *activity)
{
	if (wfi_activity_started(activity))
		return;
	activity->dispatched = false;
	if (!activity->paused && run->status == WFI_RUNNING &&
		activity->scheduled_time <= run->now)
		wfi_activity_dispatch(activity);
}

/* Since when it is paused, by whom and why. */
static Jsonb *
pause_info(TimestampTz now, const char *identity, const char *reason,
		   const char *request_id)
{
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_time(&object, "pause_time", now);
	wfi_put_text(&object, "identity", identity);
	wfi_put_text(&object, "reason", reason);
	wfi_put_text(&object, "request_id", request_id);
	return wfi_object_end(&object);
}

/*
 * wf_pause_activity(workflow_id, activity_id, run_id, namespace, reason,
 * request_id, identity)
 */
Datum
wfi_pause_activity(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;
	char	   *reason;
	char	   *request_id;
	char	   *identity;
	bool		done = false;

	wfi_store_begin("wf_pause_activity()", true);
	reason = wfi_arg_optional_id(fcinfo, 4, "reason");
	request_id = wfi_arg_optional_id(fcinfo, 5, "request_id");
	identity = wfi_arg_identity(fcinfo, 6);
	run = lock_activity(fcinfo, 2, &activity);
	if (!activity->paused)
	{
		activity->paused = true;
		activity->pause_info = pause_info(run->now, identity, reason,
										  request_id);
		wfi_activity_tell(run, activity, "Paused");
		done = wfi_run_finish_or_warn(run);
	}
	else if (activity->pause_info == NULL ||
			 !wfi_pause_repeated(activity->pause_info, request_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("activity is already paused")));
	wfi_store_end();
	PG_RETURN_BOOL(done);
}

/* It goes on, unless its workflow is paused as well. */
static void
end_pause(WfiActivity *activity)
{
	activity->paused = false;
	activity->pause_info = NULL;
}

/*
 * wf_unpause_activity(workflow_id, activity_id, run_id, namespace,
 * reset_attempts, reset_heartbeat)
 */
Datum
wfi_unpause_activity(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;
	bool		reset_attempts;
	bool		reset_heartbeat;
	bool		done = false;

	wfi_store_begin("wf_unpause_activity()", true);
	reset_attempts = wfi_arg_bool(fcinfo, 4);
	reset_heartbeat = wfi_arg_bool(fcinfo, 5);
	run = lock_activity(fcinfo, 2, &activity);
	if (activity->paused)
	{
		end_pause(activity);
		if (!wfi_activity_started(activity))
			activity->scheduled_time = run->now;	/* whatever it waited for */
		if (reset_attempts)
			wfi_activity_reset(run, activity);
		if (reset_heartbeat)
			wfi_activity_drop_details(activity);
		wfi_activity_tell(run, activity, NULL);
		dispatch_again(run, activity);
		done = wfi_run_finish_or_warn(run);
	}
	wfi_store_end();
	PG_RETURN_BOOL(done);
}

/*
 * wf_reset_activity(workflow_id, activity_id, run_id, namespace, keep_paused,
 * reset_heartbeat)
 */
Datum
wfi_reset_activity(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;
	bool		done;

	wfi_store_begin("wf_reset_activity()", true);
	run = lock_activity(fcinfo, 2, &activity);
	wfi_activity_reset(run, activity);
	if (!wfi_arg_bool(fcinfo, 4))
		end_pause(activity);
	if (wfi_arg_bool(fcinfo, 5))
		wfi_activity_reset_heartbeat(activity);
	wfi_activity_tell(run, activity, NULL);
	dispatch_again(run, activity);
	done = wfi_run_finish_or_warn(run);
	wfi_store_end();
	PG_RETURN_BOOL(done);
}

/* A time-out: the argument's, or the present one when it is null. */
static void
put_timeout(FunctionCallInfo fcinfo, int n, const char *name, int64 present,
			WfiObject *object)
{
	wfi_put_duration(object, name, PG_ARGISNULL(n) ? present :
					 wfi_arg_timeout(fcinfo, n, name));
}

/*
 * wf_update_activity_options(workflow_id, activity_id, run_id, namespace,
 * task_queue, schedule_to_close_timeout, schedule_to_start_timeout,
 * start_to_close_timeout, heartbeat_timeout, retry_policy)
 */
Datum
wfi_update_activity_options(PG_FUNCTION_ARGS)
{
	WfiActivity *activity;
	WfiRun	   *run;
	char	   *task_queue;
	Jsonb	   *policy;
	WfiObject	wanted;
	WfiObject	options;
	const char *problem;
	bool		done;

	wfi_store_begin("wf_update_activity_options()", true);
	run = lock_activity(fcinfo, 2, &activity);
	task_queue = PG_ARGISNULL(4) ? NULL : wfi_arg_id(fcinfo, 4, "task_queue");
	policy = wfi_arg_retry_policy(fcinfo, 9);

	wfi_object_begin(&wanted);
	put_timeout(fcinfo, 5, "schedule_to_close_timeout",
				activity->schedule_to_close_timeout, &wanted);
	put_timeout(fcinfo, 6, "schedule_to_start_timeout",
				activity->schedule_to_start_timeout, &wanted);
	put_timeout(fcinfo, 7, "start_to_close_timeout",
				activity->start_to_close_timeout, &wanted);
	put_timeout(fcinfo, 8, "heartbeat_timeout", activity->heartbeat_timeout,
				&wanted);
	wfi_put_json(&wanted, "retry_policy",
				 policy ? policy : activity->retry_policy);
	wfi_object_begin(&options);
	problem = wfi_activity_policy(wfi_object_end(&wanted), run->run_timeout,
								  &options);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid activity options"),
				 errdetail("%s", problem)));
	wfi_activity_set_options(activity, wfi_object_end(&options));
	if (policy != NULL && !wfi_activity_started(activity) &&
		activity->attempt > 1)
	{
		/* it waits as long as it would have by this policy */
		activity->scheduled_time = activity->last_attempt_complete_time +
			wfi_retry_interval(activity, activity->attempt - 1);
		dispatch_again(run, activity);
	}
	if (task_queue != NULL && strcmp(task_queue, activity->task_queue) != 0)
	{
		activity->task_queue = task_queue;
		dispatch_again(run, activity);
	}
	done = wfi_run_finish_or_warn(run);
	wfi_store_end();
	PG_RETURN_BOOL(done);
}
