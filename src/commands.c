/*
 * commands.c
 *	  The commands in a worker's reply: what a workflow's code asks for.
 *
 * A command that is malformed JSON-wise is the caller's error.  One that is
 * well formed but cannot be carried out refuses the whole reply, with the
 * cause that WorkflowTaskFailed then records.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "workflow_interrupt.h"

/* What the handlers of one reply share */
typedef struct Reply
{
	WfiRun	   *run;
	int64		completed_event_id;
	const char *identity;
	bool		had_buffered;
	WfiRefusal *refusal;
} Reply;

typedef struct Command
{
	const char *type;
	bool		closes;
	void		(*handle) (Reply *reply, const Jsonb *attributes);
} Command;

static void complete_workflow(Reply *reply, const Jsonb *attributes);
static void fail_workflow(Reply *reply, const Jsonb *attributes);
static void cancel_workflow(Reply *reply, const Jsonb *attributes);
static void record_marker(Reply *reply, const Jsonb *attributes);
static void start_timer(Reply *reply, const Jsonb *attributes);
static void cancel_timer(Reply *reply, const Jsonb *attributes);
static void schedule_activity(Reply *reply, const Jsonb *attributes);
static void request_cancel_activity(Reply *reply, const Jsonb *attributes);
static void upsert_search_attributes(Reply *reply, const Jsonb *attributes);
static void modify_properties(Reply *reply, const Jsonb *attributes);

/* All command types of the API; those without a handler are not offered. */
static const Command commands_known[] = {
	{"CompleteWorkflowExecution", true, complete_workflow},
	{"FailWorkflowExecution", true, fail_workflow},
	{"CancelWorkflowExecution", true, cancel_workflow},
	{"ContinueAsNewWorkflowExecution", true, NULL},
	{"RecordMarker", false, record_marker},
	{"StartTimer", false, start_timer},
	{"CancelTimer", false, cancel_timer},
	{"UpsertWorkflowSearchAttributes", false, upsert_search_attributes},
	{"ModifyWorkflowProperties", false, modify_properties},
	{"ScheduleActivityTask", false, schedule_activity},
	{"RequestCancelActivityTask", false, request_cancel_activity},
	{"StartChildWorkflowExecution", false, NULL},
	{"RequestCancelExternalWorkflowExecution", false, NULL},
	{"SignalExternalWorkflowExecution", false, NULL},
};

/* The command of that type; an error when there is none. */
static const Command *
find_command(const char *type)
{
	for (int i = 0; i < (int) lengthof(commands_known); i++)
	{
		if (strcmp(commands_known[i].type, type) == 0)
			return &commands_known[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown command type \"%s\"", type)));
	return NULL;				/* keep compiler quiet */
}

/* Command n, from 0, of an array of objects. */
static Jsonb *
get_command(const Jsonb *commands, int n)
{
	JsonbValue *value;

	value = getIthJsonbValueFromContainer(unconstify(JsonbContainer *,
													 &commands->root), n);
	return JsonbValueToJsonb(value);
}

/* Refuse commands that are not an array of objects of known types. */
void
wfi_commands_check(const Jsonb *commands)
{
	int			n;

	if (!JB_ROOT_IS_ARRAY(commands) || JB_ROOT_IS_SCALAR(commands))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("commands must be a JSON array")));
	n = JB_ROOT_COUNT(commands);
	for (int i = 0; i < n; i++)
	{
		Jsonb	   *attributes = get_command(commands, i);
		const Command *command;
		char	   *type = NULL;

		if (wfi_is_object(attributes))
			type = wfi_get_text(attributes, "command_type");
		if (type == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("command %d must be a JSON object with a string \"command_type\"",
							i + 1)));
		command = find_command(type);
		if (command->handle == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("command type \"%s\" is not supported yet",
							type)));
	}
}

/*
 * Carry out the commands of a reply in order.  Stops at the first that must
 * be refused; the caller then throws the run's new state away.  Whatever
 * follows a command that closes the run is ignored.
 */
void
wfi_commands_apply(WfiRun *run, const Jsonb *commands,
				   int64 completed_event_id, const char *identity,
				   bool had_buffered, WfiRefusal *refusal)
{
	Reply		reply;
	int			n = JB_ROOT_COUNT(commands);

	reply.run = run;
	reply.completed_event_id = completed_event_id;
	reply.identity = identity;
	reply.had_buffered = had_buffered;
	reply.refusal = refusal;
	for (int i = 0; i < n && wfi_run_open(run) && refusal->cause == NULL; i++)
	{
		Jsonb	   *attributes = get_command(commands, i);
		const Command *command;

		command = find_command(wfi_get_text(attributes, "command_type"));
		if (command->closes && reply.had_buffered)
		{
			/* the code decided without knowing what has come in since */
			refusal->cause = "UnhandledCommand";
			refusal->message = "UnhandledCommand";
		}
		else
			command->handle(&reply, attributes);
	}
}

/* Refuse the reply; the message gets the cause in front. */
static void
refuse(Reply *reply, const char *cause, const char *message)
{
	reply->refusal->cause = cause;
	reply->refusal->message = psprintf("%s: %s", cause, message);
}

/* Is the command's id there and not too long?  Else refuse. */
static bool
check_id(Reply *reply, const char *cause, const char *id, const char *name,
		 const char *command)
{
	if (id == NULL || *id == '\0')
		refuse(reply, cause,
			   psprintf("%s is not set on %s.", name, command));
	else if (pg_mbstrlen(id) > wfi_max_id_length)
		refuse(reply, cause,
			   psprintf("%s on %s exceeds length limit. Length=%d Limit=%d",
						name, command, pg_mbstrlen(id), wfi_max_id_length));
	else if (strlen(id) > WFI_MAX_ID_BYTES)
		refuse(reply, cause,
			   psprintf("%s on %s exceeds length limit. Length=%zu bytes Limit=%d bytes",
						name, command, strlen(id), WFI_MAX_ID_BYTES));
	else
		return true;
	return false;
}

/* Is a payload within the limit?  Else the run has to be terminated. */
static bool
check_size(Reply *reply, const char *cause, const Jsonb *payload,
		   const char *what)
{
	if (payload == NULL || VARSIZE(payload) <= (Size) wfi_payload_size_limit)
		return true;
	refuse(reply, cause, psprintf("%s exceeds size limit.", what));
	reply->refusal->terminate = true;
	return false;
}

/* Add a command's event, with the task it came from. */
static WfiEvent *
add_event(Reply *reply, WfiEventType type, WfiObject *object)
{
	wfi_put_id(object, "workflow_task_completed_event_id",
			   reply->completed_event_id);
	return wfi_run_add(reply->run, type, wfi_object_end(object));
}

static void
complete_workflow(Reply *reply, const Jsonb *attributes)
{
	Jsonb	   *result = wfi_get_json(attributes, "result");
	WfiObject	object;

	if (!check_size(reply, "BadCompleteWorkflowExecutionAttributes", result,
					"CompleteWorkflowExecutionCommandAttributes.Result"))
		return;
	wfi_object_begin(&object);
	wfi_put_json(&object, "result", result);
	add_event(reply, WFI_EV_COMPLETED, &object);
}

static void
fail_workflow(Reply *reply, const Jsonb *attributes)
{
	static const char *const cause = "BadFailWorkflowExecutionAttributes";
	Jsonb	   *failure = wfi_get_json(attributes, "failure");
	WfiObject	object;

	if (failure == NULL || !wfi_is_object(failure))
	{
		refuse(reply, cause,
			   "Failure is not set on FailWorkflowExecutionCommand.");
		return;
	}
	if (!check_size(reply, cause, failure,
					"FailWorkflowExecutionCommandAttributes.Failure"))
		return;
	wfi_object_begin(&object);
	wfi_put_json(&object, "failure", failure);
	wfi_put_text(&object, "retry_state", "RetryPolicyNotSet");
	add_event(reply, WFI_EV_FAILED, &object);
}

static void
cancel_workflow(Reply *reply, const Jsonb *attributes)
{
	Jsonb	   *details = wfi_get_json(attributes, "details");
	WfiObject	object;

	if (!check_size(reply, "BadCancelWorkflowExecutionAttributes", details,
					"CancelWorkflowExecutionCommandAttributes.Details"))
		return;
	wfi_object_begin(&object);
	wfi_put_json(&object, "details", details);
	add_event(reply, WFI_EV_CANCELED, &object);
}

static void
record_marker(Reply *reply, const Jsonb *attributes)
{
	static const char *const cause = "BadRecordMarkerAttributes";
	char	   *name = wfi_get_text(attributes, "marker_name");
	Jsonb	   *details = wfi_get_json(attributes, "details");
	Jsonb	   *failure = wfi_get_json(attributes, "failure");
	Jsonb	   *header = wfi_get_json(attributes, "header");
	WfiObject	object;

	if (!check_id(reply, cause, name, "MarkerName", "RecordMarkerCommand") ||
		!check_size(reply, cause, details,
					"RecordMarkerCommandAttributes.Details") ||
		!check_size(reply, cause, failure,
					"RecordMarkerCommandAttributes.Failure") ||
		!check_size(reply, cause, header,
					"RecordMarkerCommandAttributes.Header"))
		return;
	wfi_object_begin(&object);
	wfi_put_text(&object, "marker_name", name);
	wfi_put_json(&object, "details", details);
	wfi_put_json(&object, "header", header);
	wfi_put_json(&object, "failure", failure);
	add_event(reply, WFI_EV_MARKER_RECORDED, &object);
}

static void
start_timer(Reply *reply, const Jsonb *attributes)
{
	static const char *const cause = "BadStartTimerAttributes";
	static const char *const timeouts[] = {"start_to_fire_timeout"};
	char	   *timer_id = wfi_get_text(attributes, "timer_id");
	const char *problem = wfi_duration_problem(attributes, timeouts, 1);
	int64		timeout;
	WfiObject	object;

	if (!check_id(reply, cause, timer_id, "TimerId", "StartTimerCommand"))
		return;
	if (problem != NULL)
	{
		refuse(reply, cause, problem);
		return;
	}
	timeout = wfi_get_duration(attributes, timeouts[0]);
	if (timeout < 0)
	{
		refuse(reply, cause,
			   psprintf("An invalid StartToFireTimeout is set on StartTimerCommand: negative duration. TimerId=%s",
						timer_id));
		return;
	}
	if (wfi_timer_find(reply->run, timer_id) != NULL)
	{
		refuse(reply, "StartTimerDuplicateId",
			   psprintf("invalid history builder state for action: add-timer-started-event, TimerID: %s",
						timer_id));
		return;
	}
	wfi_object_begin(&object);
	wfi_put_text(&object, "timer_id", timer_id);
	wfi_put_duration(&object, "start_to_fire_timeout",
					 Min(timeout, WFI_MAX_TIMEOUT));
	add_event(reply, WFI_EV_TIMER_STARTED, &object);
}

/*
 * When a timer has fired since the task began, take its TimerFired out of the
 * buffer; the id of its TimerStarted, or 0 when there is none such.
 */
static int64
take_back_fired(WfiRun *run, const char *timer_id)
{
	ListCell   *lc;

	wfi_run_load_buffer(run);
	foreach(lc, run->buffer)
	{
		WfiEvent   *event = lfirst(lc);

		if (event->type == WFI_EV_TIMER_FIRED &&
			strcmp(wfi_get_text(event->attributes, "timer_id"), timer_id) == 0)
		{
			run->buffer = foreach_delete_current(run->buffer, lc);
			return wfi_get_int(event->attributes, "started_event_id");
		}
	}
	return 0;
}

static void
cancel_timer(Reply *reply, const Jsonb *attributes)
{
	static const char *const cause = "BadCancelTimerAttributes";
	char	   *timer_id = wfi_get_text(attributes, "timer_id");
	WfiTimer   *timer;
	int64		started_event_id;
	WfiObject	object;

	if (!check_id(reply, cause, timer_id, "TimerId", "CancelTimerCommand"))
		return;
	timer = wfi_timer_find(reply->run, timer_id);
	if (timer != NULL)
		started_event_id = timer->started_event_id;
	else
	{
		started_event_id = take_back_fired(reply->run, timer_id);
		if (started_event_id == 0)
		{
			refuse(reply, cause,
				   psprintf("invalid history builder state for action: add-timer-canceled-event, TimerID: %s",
							timer_id));
			return;
		}
		/* if that was all that waited, the reply may close the run */
		reply->had_buffered = wfi_run_has_buffered(reply->run);
	}
	wfi_object_begin(&object);
	wfi_put_text(&object, "timer_id", timer_id);
	wfi_put_id(&object, "started_event_id", started_event_id);
	wfi_put_text(&object, "identity", reply->identity);
	add_event(reply, WFI_EV_TIMER_CANCELED, &object);
}

/* A command that merges an object into one of the run's. */
static void
merge_object(Reply *reply, const Jsonb *attributes, const char *key,
			 const char *cause, const char *what, WfiEventType type)
{
	Jsonb	   *value = wfi_get_json(attributes, key);
	WfiObject	object;

	if (value == NULL || !wfi_is_object(value) || JB_ROOT_COUNT(value) == 0)
	{
		refuse(reply, cause, psprintf("%s is not set on command.", what));
		return;
	}
	if (!check_size(reply, cause, value, what))
		return;
	wfi_store_read_memo(reply->run);
	if (type == WFI_EV_PROPERTIES_MODIFIED &&
		VARSIZE(wfi_merge_objects(reply->run->memo, value)) >
		(Size) wfi_memo_size_limit)
	{
		refuse(reply, cause,
			   "ModifyWorkflowPropertiesCommandAttributes. Memo exceeds size limit.");
		reply->refusal->terminate = true;
		return;
	}
	wfi_object_begin(&object);
	wfi_put_json(&object, key, value);
	add_event(reply, type, &object);
}

static void
upsert_search_attributes(Reply *reply, const Jsonb *attributes)
{
	merge_object(reply, attributes, "search_attributes",
				 "BadSearchAttributes",
				 "UpsertWorkflowSearchAttributesCommandAttributes.SearchAttributes",
				 WFI_EV_SEARCH_ATTRIBUTES_UPSERTED);
}

static void
modify_properties(Reply *reply, const Jsonb *attributes)
{
	merge_object(reply, attributes, "upserted_memo",
				 "BadModifyWorkflowPropertiesAttributes",
				 "ModifyWorkflowPropertiesCommandAttributes.UpsertedMemo",
				 WFI_EV_PROPERTIES_MODIFIED);
}

static void
schedule_activity(Reply *reply, const Jsonb *attributes)
{
	static const char *const cause = "BadScheduleActivityAttributes";
	static const char *const command = "ScheduleActivityTaskCommand";
	WfiRun	   *run = reply->run;
	char	   *activity_id = wfi_get_text(attributes, "activity_id");
	char	   *activity_type = wfi_get_text(attributes, "activity_type");
	char	   *task_queue = wfi_get_text(attributes, "task_queue");
	Jsonb	   *input = wfi_get_json(attributes, "input");
	Jsonb	   *header = wfi_get_json(attributes, "header");
	const char *problem;
	WfiEvent   *event;
	WfiObject	object;

	if (wfi_get(attributes, "task_queue") == NULL ||
		(task_queue != NULL && *task_queue == '\0'))
		task_queue = run->task_queue;
	if (!check_id(reply, cause, activity_id, "ActivityId", command) ||
		!check_id(reply, cause, activity_type, "ActivityType", command) ||
		!check_id(reply, cause, task_queue, "TaskQueue", command))
		return;
	if (wfi_activity_find(run, activity_id) != NULL)
	{
		refuse(reply, "ScheduleActivityDuplicateId",
			   psprintf("invalid history builder state for action: add-activitytask-scheduled-event, ActivityID: %s",
						activity_id));
		return;
	}
	if (wfi_max_pending_activities > 0 &&
		run->pending_activities >= wfi_max_pending_activities)
	{
		refuse(reply, "PendingActivitiesLimitExceeded",
			   psprintf("the number of pending activities, %d, has reached the per-workflow limit of %d",
						run->pending_activities, wfi_max_pending_activities));
		return;
	}
	if (!check_size(reply, cause, input,
					"ScheduleActivityTaskCommandAttributes.Input"))
		return;

	wfi_object_begin(&object);
	wfi_put_text(&object, "activity_id", activity_id);
	wfi_put_text(&object, "activity_type", activity_type);
	wfi_put_text(&object, "task_queue", task_queue);
	wfi_put_json(&object, "header", header);
	wfi_put_json(&object, "input", input);
	problem = wfi_activity_policy(attributes, run->run_timeout, &object);
	if (problem != NULL)
	{
		refuse(reply, cause, problem);
		return;
	}
	event = add_event(reply, WFI_EV_ACTIVITY_SCHEDULED, &object);
	if (run->status == WFI_RUNNING)
		wfi_activity_dispatch(wfi_activity_get(run, event->event_id));
}

/* Is the activity's closing event waiting in the buffer? */
static bool
closed_while_running(WfiRun *run, int64 scheduled_event_id)
{
	ListCell   *lc;

	wfi_run_load_buffer(run);
	foreach(lc, run->buffer)
	{
		const WfiEvent *event = lfirst(lc);

		if (wfi_event_closes_pending(event->type) &&
			wfi_get_int(event->attributes, "scheduled_event_id") ==
			scheduled_event_id)
			return true;
	}
	return false;
}

/* Has this very reply asked to cancel the activity before? */
static bool
cancel_asked(const WfiRun *run, int64 scheduled_event_id)
{
	ListCell   *lc;

	foreach(lc, run->events)
	{
		const WfiEvent *event = lfirst(lc);

		if (event->type == WFI_EV_ACTIVITY_CANCEL_REQUESTED &&
			wfi_get_int(event->attributes, "scheduled_event_id") ==
			scheduled_event_id)
			return true;
	}
	return false;
}

static void
request_cancel_activity(Reply *reply, const Jsonb *attributes)
{
	static const char *const cause = "BadRequestCancelActivityAttributes";
	WfiRun	   *run = reply->run;
	int64		scheduled_event_id = wfi_get_int(attributes,
												 "scheduled_event_id");
	WfiActivity *activity;
	WfiObject	object;

	if (scheduled_event_id <= 0)
	{
		refuse(reply, cause,
			   "ScheduledEventId is not set on RequestCancelActivityTaskCommand.");
		return;
	}
	activity = wfi_activity_get(run, scheduled_event_id);
	if (activity != NULL ? activity->cancel_requested_event_id != 0 :
		(cancel_asked(run, scheduled_event_id) ||
		 !closed_while_running(run, scheduled_event_id)))
	{
		refuse(reply, cause,
			   psprintf("invalid history builder state for action: add-activitytask-cancel-requested-event, ScheduledEventID: " INT64_FORMAT,
						scheduled_event_id));
		return;
	}

	wfi_object_begin(&object);
	wfi_put_id(&object, "scheduled_event_id", scheduled_event_id);
	add_event(reply, WFI_EV_ACTIVITY_CANCEL_REQUESTED, &object);
	if (activity == NULL)
		return;					/* it has finished meanwhile */
	if (wfi_activity_started(activity))
		wfi_activity_tell(run, activity, "CancelRequested");
	else
	{
		static const char *const not_started = "ACTIVITY_ID_NOT_STARTED";
		JsonbValue	details;

		details.type = jbvString;
		details.val.string.val = unconstify(char *, not_started);
		details.val.string.len = strlen(not_started);
		wfi_activity_cancel(run, activity, JsonbValueToJsonb(&details),
							reply->identity);
	}
}
