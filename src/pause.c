/*
 * pause.c
 *	  wf_pause() and wf_unpause(): hold a run back and let it go on.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_pause);
PG_FUNCTION_INFO_V1(wfi_unpause);

/* The arguments that both have. */
typedef struct PauseArgs
{
	WfiRun	   *run;
	char	   *request_id;
	Jsonb	   *attributes;
} PauseArgs;

/* Read the arguments, lock the run, which must be open. */
static void
read_args(FunctionCallInfo fcinfo, PauseArgs *args)
{
	char	   *workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	char	   *reason = wfi_arg_optional_id(fcinfo, 1, "reason");
	pg_uuid_t  *run_id = wfi_arg_uuid(fcinfo, 2);
	char	   *namespace;
	char	   *identity;
	WfiObject	object;

	args->request_id = wfi_arg_optional_id(fcinfo, 3, "request_id");
	namespace = wfi_arg_namespace(fcinfo, 4);
	identity = wfi_arg_identity(fcinfo, 5);

	args->run = wfi_run_lock_target(namespace, workflow_id, run_id, false);
	if (!wfi_run_open(args->run))
		wfi_error_completed(args->run);

	wfi_object_begin(&object);
	wfi_put_text(&object, "identity", identity);
	wfi_put_text(&object, "reason", reason);
	wfi_put_text(&object, "request_id", args->request_id);
	args->attributes = wfi_object_end(&object);
}

/* Was the pause that stands asked for with this request id? */
bool
wfi_pause_repeated(const Jsonb *pause, const char *request_id)
{
	char	   *other = wfi_get_text(pause, "request_id");

	return request_id != NULL && other != NULL &&
		strcmp(request_id, other) == 0;
}

/* The same of the run's pause. */
static bool
same_request(WfiRun *run, const char *request_id)
{
	const WfiEvent *pause = wfi_last_event(run, WFI_EV_PAUSED);

	return pause != NULL && wfi_pause_repeated(pause->attributes, request_id);
}

/* wf_pause(workflow_id, reason, run_id, request_id, namespace, identity) */
Datum
wfi_pause(PG_FUNCTION_ARGS)
{
	PauseArgs	args;
	bool		done = false;

	wfi_store_begin("wf_pause()", true);
	read_args(fcinfo, &args);
	if (args.run->status != WFI_PAUSED)
	{
		wfi_run_add(args.run, WFI_EV_PAUSED, args.attributes);

		/* a task that no worker has yet must not be given out any more */
		if (args.run->task_scheduled_event_id != 0 &&
			args.run->task_started_event_id == 0)
			wfi_task_fail(args.run, "WorkflowPauseRequestedBeforeTaskStarted",
						  NULL, WFI_IDENTITY_ENGINE);
		done = wfi_run_finish_or_warn(args.run);
	}
	else if (!same_request(args.run, args.request_id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("workflow is already paused")));
	wfi_store_end();
	PG_RETURN_BOOL(done);
}

/* wf_unpause(workflow_id, reason, run_id, request_id, namespace, identity) */
Datum
wfi_unpause(PG_FUNCTION_ARGS)
{
	PauseArgs	args;
	bool		done;

	wfi_store_begin("wf_unpause()", true);
	read_args(fcinfo, &args);
	if (args.run->status != WFI_PAUSED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("workflow is not paused")));
	wfi_run_add(args.run, WFI_EV_UNPAUSED, args.attributes);
	wfi_activities_unpause(args.run);
	if (args.run->first_task_time == WFI_NEVER)
		wfi_task_schedule(args.run);
	done = wfi_run_finish_or_warn(args.run);
	wfi_store_end();
	PG_RETURN_BOOL(done);
}
