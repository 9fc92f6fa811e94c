/*
 * describe.c
 *	  wf_describe() and wf_result(): how a run stands, and what came of it.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_describe);
PG_FUNCTION_INFO_V1(wfi_result);

/* How many runs of a chain are followed to its end */
#define MAX_CHAIN 100000

/* {"workflow_id": ..., "run_id": ...} */
static void
put_execution(WfiObject *object, const char *key, const char *workflow_id,
			  const pg_uuid_t *run_id)
{
	wfi_object_nested(object, key);
	wfi_put_text(object, "workflow_id", workflow_id);
	wfi_put_uuid(object, "run_id", run_id);
	wfi_object_nested_end(object);
}

static void
put_config(WfiObject *object, const WfiRun *run)
{
	wfi_object_nested(object, "execution_config");
	wfi_put_text(object, "task_queue", run->task_queue);
	wfi_put_duration(object, "workflow_execution_timeout",
					 run->execution_timeout);
	wfi_put_duration(object, "workflow_run_timeout", run->run_timeout);
	wfi_put_duration(object, "default_workflow_task_timeout",
					 run->task_timeout);
	wfi_object_nested_end(object);
}

static void
put_info(WfiObject *object, const WfiRun *run)
{
	wfi_object_nested(object, "workflow_execution_info");
	put_execution(object, "execution", run->workflow_id, &run->run_id);
	wfi_put_text(object, "namespace", run->namespace);
	wfi_put_text(object, "type", run->workflow_type);
	wfi_put_text(object, "task_queue", run->task_queue);
	wfi_put_text(object, "status", wfi_status_name(run->status));
	wfi_put_time(object, "start_time", run->start_time);
	wfi_put_time(object, "execution_time", run->execution_time);
	wfi_put_time(object, "close_time", run->close_time);
	wfi_put_int(object, "history_length", run->next_event_id - 1);
	wfi_put_int(object, "history_size_bytes", run->history_size);
	wfi_put_uuid(object, "first_run_id", &run->first_execution_run_id);
	if (run->parent_workflow_id != NULL)
		put_execution(object, "parent_execution", run->parent_workflow_id,
					  run->parent_run_id);
	wfi_put_json(object, "memo", run->memo);
	wfi_put_json(object, "search_attributes", run->search_attributes);
	wfi_object_nested_end(object);
}

/* Who paused the run, and why. */
static void
put_pause(WfiObject *object, WfiRun *run)
{
	const WfiEvent *pause;

	if (run->status != WFI_PAUSED)
		return;
	pause = wfi_last_event(run, WFI_EV_PAUSED);
	if (pause == NULL)
		return;
	wfi_object_nested(object, "pause_info");
	wfi_put_text(object, "identity", wfi_get_text(pause->attributes, "identity"));
	wfi_put_text(object, "reason", wfi_get_text(pause->attributes, "reason"));
	wfi_put_time(object, "paused_time", pause->event_time);
	wfi_object_nested_end(object);
}

static void
put_extended_info(WfiObject *object, WfiRun *run)
{
	const WfiEvent *start = wfi_store_read_event(run->shard, &run->run_id, 1,
												 NULL);

	wfi_object_nested(object, "workflow_extended_info");
	wfi_put_bool(object, "cancel_requested", run->cancel_requested);
	wfi_put_time(object, "execution_expiration_time",
				 run->execution_expiration_time);
	wfi_put_time(object, "run_expiration_time", run->run_expiration_time);
	if (start != NULL)
		wfi_put_time(object, "original_start_time", start->event_time);
	if (run->base_run_id != NULL)
		wfi_put_time(object, "last_reset_time", run->start_time);
	wfi_put_uuid(object, "original_execution_run_id",
				 &run->original_execution_run_id);
	wfi_put_uuid(object, "reset_run_id", run->reset_run_id);
	wfi_put_uuid(object, "base_run_id", run->base_run_id);
	wfi_put_id(object, "last_copied_event_id", run->last_copied_event_id);
	wfi_put_text(object, "reset_request_id", run->reset_request_id);
	wfi_put_text(object, "reset_identity", run->reset_identity);
	if (run->was_reset)
		wfi_put_bool(object, "workflow_was_reset", true);
	put_pause(object, run);
	wfi_object_nested_end(object);
}

static void
put_pending_task(WfiObject *object, const WfiRun *run)
{
	if (run->task_scheduled_event_id == 0)
		return;
	wfi_object_nested(object, "pending_workflow_task");
	wfi_put_text(object, "state",
				 run->task_started_event_id ? "Started" : "Scheduled");
	wfi_put_int(object, "attempt", run->task_attempt);
	wfi_put_time(object, "scheduled_time", run->task_scheduled_time);
	wfi_put_time(object, "original_scheduled_time",
				 run->task_original_scheduled_time);
	if (run->task_started_event_id)
	{
		wfi_put_time(object, "started_time", run->task_started_time);
		wfi_put_text(object, "identity", run->task_identity);
	}
	wfi_object_nested_end(object);
}

/* Begin an array under a key. */
static void
begin_array(WfiObject *object, const char *key)
{
	JsonbValue	name;

	name.type = jbvString;
	name.val.string.val = unconstify(char *, key);
	name.val.string.len = strlen(key);
	pushJsonbValue(&object->state, WJB_KEY, &name);
	pushJsonbValue(&object->state, WJB_BEGIN_ARRAY, NULL);
}

static void
end_array(WfiObject *object)
{
	pushJsonbValue(&object->state, WJB_END_ARRAY, NULL);
}

static void
put_pending_timers(WfiObject *object, WfiRun *run)
{
	ListCell   *lc;

	begin_array(object, "pending_timers");
	wfi_timers_load(run);
	foreach(lc, run->timers)
	{
		const WfiTimer *timer = lfirst(lc);

		pushJsonbValue(&object->state, WJB_BEGIN_OBJECT, NULL);
		wfi_put_text(object, "timer_id", timer->timer_id);
		wfi_put_id(object, "started_event_id", timer->started_event_id);
		wfi_put_time(object, "fire_time", timer->fire_time);
		pushJsonbValue(&object->state, WJB_END_OBJECT, NULL);
	}
	end_array(object);
}

static void
put_pending_activity(WfiObject *object, const WfiActivity *activity)
{
	pushJsonbValue(&object->state, WJB_BEGIN_OBJECT, NULL);
	wfi_put_text(object, "activity_id", activity->activity_id);
	wfi_put_text(object, "activity_type", activity->activity_type);
	wfi_put_id(object, "scheduled_event_id", activity->scheduled_event_id);
	wfi_put_text(object, "task_queue", activity->task_queue);
	wfi_put_text(object, "state", wfi_activity_state(activity));
	wfi_put_int(object, "attempt", activity->attempt);
	wfi_put_time(object, "scheduled_time", activity->scheduled_time);
	wfi_put_time(object, "last_started_time", activity->started_time);
	wfi_put_time(object, "last_attempt_complete_time",
				 activity->last_attempt_complete_time);
	wfi_put_time(object, "last_heartbeat_time",
				 activity->last_heartbeat_time);
	wfi_put_json(object, "heartbeat_details", activity->heartbeat_details);
	wfi_put_json(object, "last_failure", activity->last_failure);
	wfi_put_text(object, "last_worker_identity",
				 activity->last_worker_identity);
	wfi_put_bool(object, "cancel_requested",
				 activity->cancel_requested_event_id != 0);
	wfi_put_bool(object, "paused", activity->paused);
	wfi_put_json(object, "pause_info", activity->pause_info);
	pushJsonbValue(&object->state, WJB_END_OBJECT, NULL);
}

static void
put_pending_activities(WfiObject *object, WfiRun *run)
{
	ListCell   *lc;

	begin_array(object, "pending_activities");
	wfi_activities_load(run);
	foreach(lc, run->activities)
		put_pending_activity(object, lfirst(lc));
	end_array(object);
}

/* A value in memory that outlives the work on the store. */
static Jsonb *
result_json(const Jsonb *value)
{
	Jsonb	   *copy = MemoryContextAlloc(wfi_store_caller_context(),
										  VARSIZE(value));

	memcpy(copy, value, VARSIZE(value));
	return copy;
}

/* wf_describe(workflow_id, run_id, namespace) */
Datum
wfi_describe(PG_FUNCTION_ARGS)
{
	char	   *workflow_id;
	WfiRun	   *run;
	WfiObject	object;
	Jsonb	   *result;

	wfi_store_begin("wf_describe()", false);
	workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	run = wfi_run_read_target(wfi_arg_namespace(fcinfo, 2), workflow_id,
							  wfi_arg_uuid(fcinfo, 1));
	wfi_store_read_memo(run);

	wfi_object_begin(&object);
	put_config(&object, run);
	put_info(&object, run);
	put_extended_info(&object, run);
	put_pending_task(&object, run);
	put_pending_activities(&object, run);
	put_pending_timers(&object, run);
	begin_array(&object, "pending_children");
	end_array(&object);
	result = result_json(wfi_object_end(&object));
	wfi_store_end();
	PG_RETURN_JSONB_P(result);
}

/* Any JSON value as string. */
static char *
json_text(Jsonb *value)
{
	return JsonbToCString(NULL, &value->root, VARSIZE(value));
}

/* Raise the error that tells how a run ended without a result. */
static void
raise_close(const WfiRun *run, const WfiEvent *close)
{
	Jsonb	   *value;
	char	   *string;

	switch (run->status)
	{
		case WFI_FAILED:
			value = wfi_get_json(close->attributes, "failure");
			string = value ? wfi_get_text(value, "message") : NULL;
			ereport(ERROR,
					(errcode(WFI_ERRCODE_WORKFLOW_FAILED),
					 errmsg("workflow \"%s\" failed: %s",
							run->workflow_id, string ? string : "no message"),
					 value ? errdetail("%s", json_text(value)) : 0));
			break;
		case WFI_CANCELED:
			value = wfi_get_json(close->attributes, "details");
			ereport(ERROR,
					(errcode(WFI_ERRCODE_CANCELED),
					 errmsg("workflow \"%s\" was canceled", run->workflow_id),
					 value ? errdetail("%s", json_text(value)) : 0));
			break;
		case WFI_TERMINATED:
			string = wfi_get_text(close->attributes, "reason");
			ereport(ERROR,
					(errcode(WFI_ERRCODE_TERMINATED),
					 errmsg("workflow \"%s\" was terminated", run->workflow_id),
					 string ? errdetail("%s", string) : 0));
			break;
		case WFI_TIMED_OUT:
			ereport(ERROR,
					(errcode(WFI_ERRCODE_TIMED_OUT),
					 errmsg("workflow \"%s\" timed out", run->workflow_id)));
			break;
		default:
			elog(ERROR, "unexpected status %s", wfi_status_name(run->status));
	}
}

/* wf_result(workflow_id, run_id, namespace) */
Datum
wfi_result(PG_FUNCTION_ARGS)
{
	char	   *workflow_id;
	WfiRun	   *run;
	Jsonb	   *value = NULL;

	wfi_store_begin("wf_result()", false);
	workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	run = wfi_run_read_target(wfi_arg_namespace(fcinfo, 2), workflow_id,
							  wfi_arg_uuid(fcinfo, 1));
	for (int i = 0; i < MAX_CHAIN && !wfi_run_open(run); i++)
	{
		WfiEvent   *close = wfi_store_read_event(run->shard, &run->run_id,
												 run->next_event_id - 1,
												 NULL);
		char	   *next;
		WfiRun	   *successor = NULL;

		if (close == NULL)
			elog(ERROR, "run \"%s\" has no closing event",
				 wfi_uuid_text(&run->run_id));
		next = wfi_get_text(close->attributes, "new_execution_run_id");
		if (next != NULL)
		{
			Datum		next_id = DirectFunctionCall1(uuid_in,
													  CStringGetDatum(next));

			successor = wfi_store_read_run(run->shard,
										   DatumGetUUIDP(next_id));
		}
		if (successor != NULL)
		{
			run = successor;
			continue;
		}
		if (run->status != WFI_COMPLETED)
			raise_close(run, close);
		value = wfi_get_json(close->attributes, "result");
		if (value != NULL)
			value = result_json(value);
		break;
	}
	wfi_store_end();
	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(value);
}
