/*
 * signal.c
 *	  wf_signal(): tell a run something.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_signal);

/* Refuse a signal to a run that has had too many. */
void
wfi_signal_check_count(const WfiRun *run)
{
	if (wfi_max_signals > 0 && run->signal_count >= wfi_max_signals)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_LIMIT_EXCEEDED),
				 errmsg("exceeded workflow execution limit for signal events"),
				 errdetail("Workflow \"%s\" has received %d signals.",
						   run->workflow_id, run->signal_count)));
}

/*
 * Add a signal to a locked, open run; the caller has seen to duplicates, and
 * schedules a task and finishes the operation.
 */
void
wfi_signal_run(WfiRun *run, const char *signal_name, const Jsonb *input,
			   const char *request_id, const char *identity)
{
	WfiObject	object;

	wfi_signal_check_count(run);
	if (run->close_attempted && run->task_started_event_id != 0)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_BUSY_CLOSING),
				 errmsg("workflow operation can not be applied because workflow is closing"),
				 errhint("Try again when its workflow task has ended.")));

	wfi_object_begin(&object);
	wfi_put_text(&object, "signal_name", signal_name);
	wfi_put_json(&object, "input", input);
	wfi_put_text(&object, "identity", identity);
	wfi_put_text(&object, "request_id", request_id);
	wfi_run_add(run, WFI_EV_SIGNALED, wfi_object_end(&object));
}

/*
 * Signal a workflow.  True when recorded, now or before under the same
 * request id; false when a limit ended the run instead or, only with
 * missing_ok, when it is closed or there is none.
 */
bool
wfi_do_signal(const char *namespace, const char *workflow_id,
			  const pg_uuid_t *run_id, const char *signal_name,
			  const Jsonb *input, const char *request_id,
			  const char *identity, bool missing_ok)
{
	WfiRun	   *run;

	run = wfi_run_lock_target(namespace, workflow_id, run_id, missing_ok);
	if (run == NULL)
		return false;
	if (request_id != NULL && wfi_store_seen_signal(run, request_id))
		return true;
	if (!wfi_run_open(run))
	{
		if (missing_ok)
			return false;
		wfi_error_completed(run);
	}
	wfi_signal_run(run, signal_name, input, request_id, identity);
	/* a start delay is not cut short by a signal */
	if (run->first_task_time == WFI_NEVER)
		wfi_task_schedule(run);
	return wfi_run_finish_or_warn(run);
}

/*
 * wf_signal(workflow_id, signal_name, input, run_id, request_id, namespace,
 * identity)
 */
Datum
wfi_signal(PG_FUNCTION_ARGS)
{
	char	   *workflow_id;
	char	   *signal_name;
	Jsonb	   *input;
	char	   *request_id;
	bool		recorded;

	wfi_store_begin("wf_signal()", true);
	workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	signal_name = wfi_arg_id(fcinfo, 1, "signal_name");
	input = wfi_arg_payload(fcinfo, 2, "input");
	request_id = wfi_arg_optional_id(fcinfo, 4, "request_id");
	recorded = wfi_do_signal(wfi_arg_namespace(fcinfo, 5), workflow_id,
							 wfi_arg_uuid(fcinfo, 3), signal_name, input,
							 request_id, wfi_arg_identity(fcinfo, 6), false);
	wfi_store_end();
	PG_RETURN_BOOL(recorded);
}
