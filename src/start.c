/*
 * start.c
 *	  wf_start() and wf_signal_with_start(): make a new run.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_start);
PG_FUNCTION_INFO_V1(wfi_signal_with_start);

/* A workflow task may not take longer, in microseconds */
#define MAX_TASK_TIMEOUT (120 * USECS_PER_SEC)

/* How often somebody else's start may get in our way */
#define MAX_ATTEMPTS 10

typedef enum ReusePolicy
{
	ALLOW_DUPLICATE,
	ALLOW_DUPLICATE_FAILED_ONLY,
	REJECT_DUPLICATE,
	TERMINATE_IF_RUNNING
} ReusePolicy;

typedef enum ConflictPolicy
{
	FAIL,
	USE_EXISTING,
	TERMINATE_EXISTING
} ConflictPolicy;

static const char *const reuse_names[] = {
	"AllowDuplicate", "AllowDuplicateFailedOnly", "RejectDuplicate",
	"TerminateIfRunning", NULL
};
static const char *const conflict_names[] = {
	"Fail", "UseExisting", "TerminateExisting", NULL
};

/* Position of a policy among its names; the first when left out. */
static int
parse_policy(const char *value, const char *const *names, const char *what)
{
	if (value == NULL)
		return 0;
	for (int i = 0; names[i] != NULL; i++)
	{
		if (strcmp(value, names[i]) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s \"%s\"", what, value),
			 names[3] != NULL ?
			 errhint("Valid values are %s, %s, %s, %s.",
					 names[0], names[1], names[2], names[3]) :
			 errhint("Valid values are %s, %s, %s.",
					 names[0], names[1], names[2])));
	return 0;					/* keep compiler quiet */
}

static void
refuse_combination(const char *reuse, const char *conflict)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("id_reuse_policy %s cannot be used together with id_conflict_policy %s",
					reuse, conflict)));
}

/* The two policies, and whether they go together. */
static void
parse_policies(const WfiStart *start, ReusePolicy *reuse,
			   ConflictPolicy *conflict)
{
	*reuse = parse_policy(start->id_reuse_policy, reuse_names,
						  "id_reuse_policy");
	*conflict = parse_policy(start->id_conflict_policy, conflict_names,
							 "id_conflict_policy");
	if (start->signal_name != NULL && start->id_conflict_policy == NULL)
		*conflict = USE_EXISTING;

	if (*reuse == REJECT_DUPLICATE && *conflict == TERMINATE_EXISTING)
		refuse_combination(reuse_names[*reuse], conflict_names[*conflict]);
	if (*reuse == TERMINATE_IF_RUNNING)
	{
		/* the old way to say it; the default conflict policy is no answer */
		if (*conflict != (start->signal_name ? USE_EXISTING : FAIL))
			refuse_combination(reuse_names[*reuse], conflict_names[*conflict]);
		*reuse = ALLOW_DUPLICATE;
		*conflict = TERMINATE_EXISTING;
	}
	if (start->signal_name != NULL && *conflict == FAIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("id_conflict_policy Fail is not supported for this operation")));
}

/* Raise the error for a workflow that is there already. */
static void
error_already_started(const WfiRun *run, const char *why)
{
	ereport(ERROR,
			(errcode(WFI_ERRCODE_ALREADY_STARTED),
			 errmsg("workflow execution already started: %s", why),
			 errdetail("Workflow \"%s\" has run \"%s\", first run \"%s\", start request ID \"%s\", status %s.",
					   run->workflow_id, wfi_uuid_text(&run->run_id),
					   wfi_uuid_text(&run->first_execution_run_id),
					   run->create_request_id ? run->create_request_id : "",
					   wfi_status_name(run->status))));
}

/* May a closed run's workflow id be used again?  Else an error. */
static void
check_reuse(const WfiRun *current, ReusePolicy reuse)
{
	if (reuse == REJECT_DUPLICATE)
		error_already_started(current,
							  "it has finished and duplicates are rejected");
	if (reuse == ALLOW_DUPLICATE_FAILED_ONLY &&
		current->status != WFI_FAILED && current->status != WFI_CANCELED &&
		current->status != WFI_TERMINATED && current->status != WFI_TIMED_OUT)
		error_already_started(current,
							  "it finished successfully and only failed ones may be duplicated");
}

/* Attributes of WorkflowExecutionStarted. */
static Jsonb *
started_attributes(const WfiStart *start, const WfiRun *run)
{
	int64		run_timeout = start->run_timeout;
	int64		task_timeout = start->task_timeout;
	WfiObject	object;

	/* the longer time-outs cap the shorter ones */
	if (start->execution_timeout != 0 &&
		(run_timeout == 0 || run_timeout > start->execution_timeout))
		run_timeout = start->execution_timeout;
	if (task_timeout == 0)
		task_timeout = (int64) wfi_task_timeout * USECS_PER_SEC;
	task_timeout = Min(task_timeout, MAX_TASK_TIMEOUT);
	if (run_timeout != 0)
		task_timeout = Min(task_timeout, run_timeout);

	wfi_object_begin(&object);
	wfi_put_text(&object, "workflow_type", start->workflow_type);
	wfi_put_text(&object, "workflow_id", start->workflow_id);
	wfi_put_text(&object, "task_queue", start->task_queue);
	wfi_put_json(&object, "input", start->input);
	wfi_put_text(&object, "identity", start->identity);
	wfi_put_duration(&object, "workflow_execution_timeout",
					 start->execution_timeout);
	wfi_put_duration(&object, "workflow_run_timeout", run_timeout);
	wfi_put_duration(&object, "workflow_task_timeout", task_timeout);
	if (start->execution_timeout != 0)
		wfi_put_time(&object, "workflow_execution_expiration_time",
					 run->now + start->execution_timeout);
	wfi_put_int(&object, "attempt", 1);
	wfi_put_duration(&object, "first_workflow_task_backoff",
					 start->start_delay);
	wfi_put_json(&object, "memo", start->memo);
	wfi_put_json(&object, "search_attributes", start->search_attributes);
	wfi_put_uuid(&object, "original_execution_run_id", &run->run_id);
	wfi_put_uuid(&object, "first_execution_run_id", &run->run_id);
	return wfi_object_end(&object);
}

/* A new run in memory, with its first events. */
static WfiRun *
new_run(const WfiStart *start, const pg_uuid_t *run_id)
{
	WfiRun	   *run = palloc0(sizeof(WfiRun));

	run->now = GetCurrentTimestamp();
	run->shard = wfi_shard(start->namespace, start->workflow_id);
	run->run_id = *run_id;
	run->first_execution_run_id = run->run_id;
	run->original_execution_run_id = run->run_id;
	run->namespace = start->namespace;
	run->workflow_id = start->workflow_id;
	run->workflow_type = start->workflow_type;
	run->task_queue = start->task_queue;
	run->create_request_id = start->request_id;
	run->is_current = true;
	run->is_new = true;
	run->next_event_id = 1;
	run->last_event_time = run->now;
	run->close_time = WFI_NEVER;
	run->wakeup_time = WFI_NEVER;
	run->task_scheduled_time = WFI_NEVER;
	run->task_original_scheduled_time = WFI_NEVER;
	run->task_started_time = WFI_NEVER;

	wfi_run_add(run, WFI_EV_STARTED, started_attributes(start, run));
	if (start->signal_name != NULL)
		wfi_signal_run(run, start->signal_name, start->signal_input,
					   start->request_id, start->identity);
	if (run->first_task_time == WFI_NEVER)
		wfi_task_schedule(run);
	return run;
}

/* Signal an open run instead of starting one. */
static void
signal_existing(const WfiStart *start, WfiRun *current)
{
	if (start->signal_name == NULL)
		return;
	wfi_signal_run(current, start->signal_name, start->signal_input,
				   start->request_id, start->identity);
	if (current->first_task_time == WFI_NEVER)
		wfi_task_schedule(current);
	(void) wfi_run_finish_or_warn(current);
}

/*
 * What the current run says to a start.  True: use it, no new run is needed.
 * False: it has made way for a new run with that id.
 */
static bool
use_current(const WfiStart *start, WfiRun *current, ReusePolicy reuse,
			ConflictPolicy conflict, const pg_uuid_t *new_run_id)
{
	if (start->request_id != NULL)
	{
		if (current->create_request_id != NULL &&
			strcmp(current->create_request_id, start->request_id) == 0)
			return true;
		if (start->signal_name != NULL &&
			wfi_store_seen_signal(current, start->request_id))
			return true;
	}
	if (wfi_run_open(current))
	{
		if (conflict == FAIL)
			error_already_started(current, "it is running");
		if (conflict == USE_EXISTING)
		{
			signal_existing(start, current);
			return true;
		}
		else
		{
			char	   *string = psprintf("terminated by new runID: %s",
										  wfi_uuid_text(new_run_id));
			JsonbValue	value;

			value.type = jbvString;
			value.val.string.val = string;
			value.val.string.len = strlen(string);
			wfi_terminate_run(current,
							  "TerminateIfRunning WorkflowIdReusePolicy",
							  JsonbValueToJsonb(&value), WFI_IDENTITY_ENGINE);
			wfi_run_finish(current);
		}
	}
	else
		check_reuse(current, reuse);
	wfi_store_unset_current(current);
	return false;
}

/* Namespace and workflow id have to fit one index entry. */
static void
check_key(const WfiStart *start)
{
	Size		bytes = strlen(start->namespace) + strlen(start->workflow_id);

	if (bytes > WFI_MAX_KEY_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workflow_id and namespace exceed the length limit"),
				 errdetail("They have %zu bytes together, the limit is %d.",
						   bytes, WFI_MAX_KEY_BYTES)));
}

/* Start a workflow, or find that one is there; the id of the run. */
void
wfi_do_start(const WfiStart *start, pg_uuid_t *run_id)
{
	int32		shard = wfi_shard(start->namespace, start->workflow_id);
	ReusePolicy reuse;
	ConflictPolicy conflict;

	check_key(start);
	parse_policies(start, &reuse, &conflict);
	wfi_new_run_id(run_id, GetCurrentTimestamp());
	for (int i = 0; i < MAX_ATTEMPTS; i++)
	{
		WfiRun	   *current = wfi_store_lock_current(shard, start->namespace,
													 start->workflow_id);

		if (current != NULL)
		{
			wfi_run_touch(current);
			if (use_current(start, current, reuse, conflict, run_id))
			{
				*run_id = current->run_id;
				return;
			}
		}
		else
			wfi_hold_namespace(start->namespace);
		if (wfi_run_create(new_run(start, run_id)))
			return;
		/* somebody else has just started one: look again */
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not start workflow \"%s\" because of concurrent starts",
					start->workflow_id),
			 errhint("Retry the transaction.")));
}

/* Refuse what is not offered rather than ignore it. */
static void
refuse_unsupported(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (!PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s is not supported yet", name)));
}

/* The arguments that both functions have, from task_queue on. */
static void
read_start(FunctionCallInfo fcinfo, int n, WfiStart *start)
{
	start->task_queue = PG_ARGISNULL(n) ? pstrdup("default") :
		wfi_arg_id(fcinfo, n, "task_queue");
	start->id_reuse_policy = wfi_arg_text(fcinfo, n + 1, "id_reuse_policy");
	start->id_conflict_policy = wfi_arg_text(fcinfo, n + 2,
											 "id_conflict_policy");
	start->execution_timeout = wfi_arg_timeout(fcinfo, n + 3,
											   "execution_timeout");
	start->run_timeout = wfi_arg_timeout(fcinfo, n + 4, "run_timeout");
	start->task_timeout = wfi_arg_timeout(fcinfo, n + 5, "task_timeout");
	start->start_delay = wfi_arg_timeout(fcinfo, n + 6, "start_delay");
	refuse_unsupported(fcinfo, n + 7, "retry_policy");
	refuse_unsupported(fcinfo, n + 8, "cron_schedule");
	start->memo = wfi_arg_object(fcinfo, n + 9, "memo");
	start->search_attributes = wfi_arg_object(fcinfo, n + 10,
											  "search_attributes");
	start->request_id = wfi_arg_optional_id(fcinfo, n + 11, "request_id");
	start->namespace = wfi_arg_namespace(fcinfo, n + 12);
	start->identity = wfi_arg_identity(fcinfo, n + 13);
	if (start->memo != NULL &&
		VARSIZE(start->memo) > (Size) wfi_memo_size_limit)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_LIMIT_EXCEEDED),
				 errmsg("memo exceeds the size limit"),
				 errdetail("It has %zu bytes, the limit is %d.",
						   (Size) VARSIZE(start->memo), wfi_memo_size_limit)));
}

/* A UUID in memory that outlives the work on the store. */
static pg_uuid_t *
result_uuid(void)
{
	return MemoryContextAlloc(wfi_store_caller_context(), sizeof(pg_uuid_t));
}

/* wf_start(workflow_id, workflow_type, input, task_queue, ...) */
Datum
wfi_start(PG_FUNCTION_ARGS)
{
	WfiStart	start = {0};
	pg_uuid_t  *run_id;

	wfi_store_begin("wf_start()", true);
	start.workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	start.workflow_type = wfi_arg_id(fcinfo, 1, "workflow_type");
	start.input = wfi_arg_payload(fcinfo, 2, "input");
	read_start(fcinfo, 3, &start);
	run_id = result_uuid();
	wfi_do_start(&start, run_id);
	wfi_store_end();
	PG_RETURN_UUID_P(run_id);
}

/*
 * wf_signal_with_start(workflow_id, workflow_type, signal_name, signal_input,
 * input, task_queue, ...)
 */
Datum
wfi_signal_with_start(PG_FUNCTION_ARGS)
{
	WfiStart	start = {0};
	pg_uuid_t  *run_id;

	wfi_store_begin("wf_signal_with_start()", true);
	start.workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	start.workflow_type = wfi_arg_id(fcinfo, 1, "workflow_type");
	start.signal_name = wfi_arg_id(fcinfo, 2, "signal_name");
	start.signal_input = wfi_arg_payload(fcinfo, 3, "signal_input");
	start.input = wfi_arg_payload(fcinfo, 4, "input");
	read_start(fcinfo, 5, &start);
	run_id = result_uuid();
	wfi_do_start(&start, run_id);
	wfi_store_end();
	PG_RETURN_UUID_P(run_id);
}
