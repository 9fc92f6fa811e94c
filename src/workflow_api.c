/*
 * workflow_api.c
 *	  The SQL functions that workflow code calls.
 *
 * What they return comes from the history or from the replay's own state, so
 * that code which is run again gets the same.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "replay.h"

PG_FUNCTION_INFO_V1(wfi_code_activity);
PG_FUNCTION_INFO_V1(wfi_code_activity_start);
PG_FUNCTION_INFO_V1(wfi_code_local_activity);
PG_FUNCTION_INFO_V1(wfi_code_await);
PG_FUNCTION_INFO_V1(wfi_code_await_any);
PG_FUNCTION_INFO_V1(wfi_code_activity_cancel);
PG_FUNCTION_INFO_V1(wfi_code_timer_cancel);
PG_FUNCTION_INFO_V1(wfi_code_sleep);
PG_FUNCTION_INFO_V1(wfi_code_timer_start);
PG_FUNCTION_INFO_V1(wfi_code_signal_receive);
PG_FUNCTION_INFO_V1(wfi_code_cancel_requested);
PG_FUNCTION_INFO_V1(wfi_code_cancellation_reason);
PG_FUNCTION_INFO_V1(wfi_code_now);
PG_FUNCTION_INFO_V1(wfi_code_random);
PG_FUNCTION_INFO_V1(wfi_code_uuid);

/* How long an attempt may take when the code sets no limit */
#define DEFAULT_START_TO_CLOSE (10 * USECS_PER_MINUTE)

/* The arguments of wf_activity() and wf_activity_start() */
enum
{
	ARG_TYPE,
	ARG_INPUT,
	ARG_ID,
	ARG_TASK_QUEUE,
	ARG_START_TO_CLOSE,
	ARG_SCHEDULE_TO_CLOSE,
	ARG_SCHEDULE_TO_START,
	ARG_HEARTBEAT,
	ARG_RETRY_POLICY,
	ARG_CANCELLATION_TYPE,
	ARG_DISCONNECTED,
	ARG_INTERRUPTIBLE
};

static WfiCancellation
arg_cancellation(FunctionCallInfo fcinfo, int n)
{
	static const struct
	{
		const char *name;
		WfiCancellation value;
	}			types[] = {
		{"TryCancel", WFI_TRY_CANCEL},
		{"WaitCancellationCompleted", WFI_WAIT_CANCEL},
		{"Abandon", WFI_ABANDON},
	};
	text	   *value;

	if (PG_ARGISNULL(n))
		return WFI_TRY_CANCEL;
	value = PG_GETARG_TEXT_PP(n);
	for (int i = 0; i < (int) lengthof(types); i++)
	{
		Size		length = strlen(types[i].name);

		if (VARSIZE_ANY_EXHDR(value) == length &&
			memcmp(VARDATA_ANY(value), types[i].name, length) == 0)
			return types[i].value;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown cancellation type \"%s\"",
					text_to_cstring(value)),
			 errhint("There are TryCancel, WaitCancellationCompleted and Abandon.")));
}

/* What the arguments say about an activity */
typedef struct ActivityOptions
{
	char	   *type;
	char	   *id;
	char	   *task_queue;
	Jsonb	   *input;
	int64		start_to_close_timeout;
	int64		schedule_to_close_timeout;
	int64		schedule_to_start_timeout;
	int64		heartbeat_timeout;
	Jsonb	   *retry_policy;
	WfiCancellation cancellation;
} ActivityOptions;

/* Read the arguments; an error must be the same whenever the code is run. */
static void
read_options(FunctionCallInfo fcinfo, ActivityOptions *options)
{
	options->type = wfi_arg_id(fcinfo, ARG_TYPE, "activity_type");
	options->id = wfi_arg_optional_id(fcinfo, ARG_ID, "activity_id");
	options->task_queue = wfi_arg_optional_id(fcinfo, ARG_TASK_QUEUE,
											  "task_queue");
	options->input = wfi_arg_payload(fcinfo, ARG_INPUT, "input");
	options->start_to_close_timeout =
		wfi_arg_timeout(fcinfo, ARG_START_TO_CLOSE, "start_to_close_timeout");
	options->schedule_to_close_timeout =
		wfi_arg_timeout(fcinfo, ARG_SCHEDULE_TO_CLOSE,
						"schedule_to_close_timeout");
	options->schedule_to_start_timeout =
		wfi_arg_timeout(fcinfo, ARG_SCHEDULE_TO_START,
						"schedule_to_start_timeout");
	options->heartbeat_timeout = wfi_arg_timeout(fcinfo, ARG_HEARTBEAT,
												 "heartbeat_timeout");
	options->retry_policy = wfi_arg_retry_policy(fcinfo, ARG_RETRY_POLICY);
	options->cancellation = arg_cancellation(fcinfo, ARG_CANCELLATION_TYPE);
	if (options->start_to_close_timeout == 0 &&
		options->schedule_to_close_timeout == 0)
		options->start_to_close_timeout = DEFAULT_START_TO_CLOSE;
}

/* The command that schedules an activity. */
static Jsonb *
schedule_command(FunctionCallInfo fcinfo, const ActivityOptions *options,
				 const char *id)
{
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_text(&object, "command_type", "ScheduleActivityTask");
	wfi_put_text(&object, "activity_id", id);
	wfi_put_text(&object, "activity_type", options->type);
	wfi_put_text(&object, "task_queue", options->task_queue);
	wfi_put_json(&object, "input", options->input);
	wfi_put_duration(&object, "start_to_close_timeout",
					 options->start_to_close_timeout);
	wfi_put_duration(&object, "schedule_to_close_timeout",
					 options->schedule_to_close_timeout);
	wfi_put_duration(&object, "schedule_to_start_timeout",
					 options->schedule_to_start_timeout);
	wfi_put_duration(&object, "heartbeat_timeout", options->heartbeat_timeout);
	wfi_put_json(&object, "retry_policy", options->retry_policy);
	if (!PG_ARGISNULL(ARG_INTERRUPTIBLE))
	{
		wfi_object_nested(&object, "header");
		wfi_put_bool(&object, WFI_HEADER_INTERRUPTIBLE,
					 PG_GETARG_BOOL(ARG_INTERRUPTIBLE));
		wfi_object_nested_end(&object);
	}
	return wfi_object_end(&object);
}

/* Start an activity as the arguments say; its handle. */
static int64
start_activity(WfiReplay *replay, FunctionCallInfo fcinfo)
{
	MemoryContext old = MemoryContextSwitchTo(replay->context);
	ActivityOptions options;
	int64		n;
	WfiHandle  *handle;

	read_options(fcinfo, &options);
	n = wfi_replay_new_handle(replay, WFI_EV_ACTIVITY_SCHEDULED, options.id,
							  options.type);
	handle = wfi_replay_handle(replay, n);
	handle->cancellation = options.cancellation;
	handle->disconnected = wfi_arg_bool(fcinfo, ARG_DISCONNECTED);
	if (wfi_replay_live(replay))
		replay->commands[handle->command].command =
			schedule_command(fcinfo, &options, handle->id);
	MemoryContextSwitchTo(old);
	return n;
}

/* Start a timer; its handle. */
static int64
start_timer(WfiReplay *replay, int64 usecs)
{
	int64		n = wfi_replay_new_handle(replay, WFI_EV_TIMER_STARTED, NULL,
										  NULL);
	WfiHandle  *handle = wfi_replay_handle(replay, n);

	if (wfi_replay_live(replay))
	{
		MemoryContext old = MemoryContextSwitchTo(replay->context);
		WfiObject	object;

		wfi_object_begin(&object);
		wfi_put_text(&object, "command_type", "StartTimer");
		wfi_put_text(&object, "timer_id", handle->id);
		wfi_put_duration(&object, "start_to_fire_timeout", usecs);
		replay->commands[handle->command].command = wfi_object_end(&object);
		MemoryContextSwitchTo(old);
	}
	return n;
}

/* Wait for a handle, and return its result or raise its error. */
static Datum
await(FunctionCallInfo fcinfo, WfiReplay *replay, int64 handle)
{
	Jsonb	   *result;

	(void) wfi_replay_await(replay, &handle, 1);
	result = wfi_replay_result(replay, wfi_replay_handle(replay, handle));
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}

/* wf_activity(activity_type, input, ...) */
Datum
wfi_code_activity(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_activity()");

	if (!wfi_arg_bool(fcinfo, ARG_DISCONNECTED))
		wfi_replay_check_cancel(replay);
	return await(fcinfo, replay, start_activity(replay, fcinfo));
}

/* wf_activity_start(activity_type, input, ...) */
Datum
wfi_code_activity_start(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_activity_start()");

	PG_RETURN_INT64(start_activity(replay, fcinfo));
}

/* wf_local_activity(activity_type, input, task_queue, disconnected) */
Datum
wfi_code_local_activity(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_local_activity()");
	WfiLocalActivity wanted = {0};
	MemoryContext old;
	Jsonb	   *result;

	if (!wfi_arg_bool(fcinfo, 3))
		wfi_replay_check_cancel(replay);
	old = MemoryContextSwitchTo(replay->context);
	wanted.name = wfi_arg_id(fcinfo, 0, "activity_type");
	wanted.input = wfi_arg_payload(fcinfo, 1, "input");
	wanted.task_queue = wfi_arg_optional_id(fcinfo, 2, "task_queue");
	MemoryContextSwitchTo(old);
	result = wfi_replay_local(replay, &wanted);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}

static int64
arg_handle(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", "handle")));
	return PG_GETARG_INT64(n);
}

/* wf_await(handle) */
Datum
wfi_code_await(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_await()");

	return await(fcinfo, replay, arg_handle(fcinfo, 0));
}

/* wf_await_any(handles) */
Datum
wfi_code_await_any(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_await_any()");
	ArrayType  *array;
	int64	   *handles;
	int			n;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", "handles")));
	array = PG_GETARG_ARRAYTYPE_P(0);
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", "handles")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain nulls", "handles")));
	handles = (int64 *) ARR_DATA_PTR(array);
	PG_RETURN_INT64(handles[wfi_replay_await(replay, handles, n)]);
}

/* Cancel what a handle of that type stands for. */
static Datum
cancel_handle(FunctionCallInfo fcinfo, WfiReplay *replay, WfiEventType type)
{
	WfiHandle  *handle = wfi_replay_handle(replay, arg_handle(fcinfo, 0));

	if (handle->type != type)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(type == WFI_EV_TIMER_STARTED ?
						"handle " INT64_FORMAT " is not of a timer" :
						"handle " INT64_FORMAT " is not of an activity",
						PG_GETARG_INT64(0))));
	PG_RETURN_BOOL(wfi_replay_cancel(replay, handle));
}

/* wf_activity_cancel(handle) */
Datum
wfi_code_activity_cancel(PG_FUNCTION_ARGS)
{
	return cancel_handle(fcinfo, wfi_replay_here("wf_activity_cancel()"),
						 WFI_EV_ACTIVITY_SCHEDULED);
}

/* wf_timer_cancel(handle) */
Datum
wfi_code_timer_cancel(PG_FUNCTION_ARGS)
{
	return cancel_handle(fcinfo, wfi_replay_here("wf_timer_cancel()"),
						 WFI_EV_TIMER_STARTED);
}

/* A duration that must be given, in microseconds; the longest is 100 years. */
static int64
arg_duration(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	return Min(wfi_interval_to_usecs(PG_GETARG_INTERVAL_P(n)),
			   WFI_MAX_TIMEOUT);
}

/* wf_sleep(duration) */
Datum
wfi_code_sleep(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_sleep()");
	int64		usecs = arg_duration(fcinfo, 0, "duration");

	if (usecs > 0)
	{
		wfi_replay_check_cancel(replay);
		(void) await(fcinfo, replay, start_timer(replay, usecs));
	}
	PG_RETURN_VOID();
}

/* wf_timer_start(duration) */
Datum
wfi_code_timer_start(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_timer_start()");
	int64		usecs = arg_duration(fcinfo, 0, "duration");

	if (usecs < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", "duration")));
	PG_RETURN_INT64(start_timer(replay, usecs));
}

/*
 * Wait for a signal, or a timer if there is one: the event of the signal, or
 * 0 when the time is over.
 */
static int64
await_signal(WfiReplay *replay, const char *name, bool limited, int64 usecs)
{
	int64		timer = 0;
	int64		event_id;

	while ((event_id = wfi_replay_next_signal(replay, name)) == 0)
	{
		WfiHandle  *handle = NULL;

		if (limited && usecs <= 0)
			return 0;
		if (timer != 0)
		{
			handle = wfi_replay_handle(replay, timer);
			if (wfi_replay_done(replay, handle) != 0)
				return 0;
			if (wfi_replay_cancel_due(replay))
				wfi_replay_cancel(replay, handle);
		}
		wfi_replay_check_cancel(replay);
		if (limited && timer == 0)
			timer = start_timer(replay, usecs);
		wfi_replay_go_on(replay);
	}
	if (timer != 0)
		wfi_replay_cancel(replay, wfi_replay_handle(replay, timer));
	return event_id;
}

/* wf_signal_receive(name, timeout) */
Datum
wfi_code_signal_receive(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_signal_receive()");
	char	   *name = wfi_arg_id(fcinfo, 0, "name");
	bool		limited = !PG_ARGISNULL(1);
	int64		event_id;
	Jsonb	   *input;

	event_id = await_signal(replay, name, limited,
							limited ? arg_duration(fcinfo, 1, "timeout") : 0);
	if (event_id == 0)
		PG_RETURN_NULL();
	input = wfi_seen(replay->history, event_id)->payload;
	if (input == NULL)
	{
		/* it came without input, which is not the same as its not coming */
		JsonbValue	null = {.type = jbvNull};

		input = JsonbValueToJsonb(&null);
	}
	PG_RETURN_JSONB_P(input);
}

/* wf_cancel_requested() */
Datum
wfi_code_cancel_requested(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_cancel_requested()");

	PG_RETURN_BOOL(wfi_replay_cancel_visible(replay));
}

/* wf_cancellation_reason() */
Datum
wfi_code_cancellation_reason(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_cancellation_reason()");
	const char *reason = replay->history->cancel_reason;

	if (!wfi_replay_cancel_visible(replay))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason ? reason : ""));
}

/* wf_now() */
Datum
wfi_code_now(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_now()");

	PG_RETURN_TIMESTAMPTZ(wfi_replay_task(replay)->started_time);
}

/* wf_random() */
Datum
wfi_code_random(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_random()");
	pg_uuid_t	bits;
	uint64		value = 0;

	wfi_replay_random(replay, &bits);
	for (int i = 0; i < 8; i++)
		value = value << 8 | bits.data[i];
	PG_RETURN_FLOAT8(ldexp((double) (value >> 11), -53));
}

/* wf_uuid() */
Datum
wfi_code_uuid(PG_FUNCTION_ARGS)
{
	WfiReplay  *replay = wfi_replay_here("wf_uuid()");
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	wfi_replay_random(replay, uuid);
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x40;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
	PG_RETURN_UUID_P(uuid);
}
