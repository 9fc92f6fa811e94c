/*
 * cancel.c
 *	  wf_cancel(): ask a run's code to cancel itself.
 *
 * The request is recorded once per run and wakes a worker; only the worker's
 * reply can end the run because of it.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_cancel);

/*
 * Request the cancellation of a workflow.  True when this call recorded it;
 * false when the run is closed or was asked before, when there is none
 * (only with missing_ok), or when a limit ended the run instead.
 */
bool
wfi_do_cancel(const char *namespace, const char *workflow_id,
			  const pg_uuid_t *run_id,
			  const pg_uuid_t *first_execution_run_id,
			  const char *reason, const char *request_id,
			  const char *identity, bool missing_ok)
{
	WfiRun	   *run;
	WfiObject	object;

	/* a chain is followed to its current run */
	if (first_execution_run_id != NULL)
		run_id = NULL;
	run = wfi_run_lock_target(namespace, workflow_id, run_id, missing_ok);
	if (run == NULL || !wfi_run_open(run))
		return false;
	if (!wfi_run_check_chain(run, first_execution_run_id, missing_ok))
		return false;
	if (run->cancel_requested)
		return false;

	wfi_object_begin(&object);
	wfi_put_text(&object, "cause", reason);
	wfi_put_text(&object, "identity", identity);
	wfi_run_add(run, WFI_EV_CANCEL_REQUESTED, wfi_object_end(&object));
	run->cancel_request_id = request_id ? pstrdup(request_id) : NULL;
	wfi_task_schedule(run);
	return wfi_run_finish_or_warn(run);
}

/*
 * wf_cancel(workflow_id, reason, run_id, first_execution_run_id, request_id,
 * missing_ok, namespace, identity)
 */
Datum
wfi_cancel(PG_FUNCTION_ARGS)
{
	char	   *workflow_id;
	char	   *reason;
	char	   *request_id;
	bool		recorded;

	wfi_store_begin("wf_cancel()", true);
	workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	reason = wfi_arg_text(fcinfo, 1, "reason");
	request_id = wfi_arg_optional_id(fcinfo, 4, "request_id");
	recorded = wfi_do_cancel(wfi_arg_namespace(fcinfo, 6), workflow_id,
							 wfi_arg_uuid(fcinfo, 2), wfi_arg_uuid(fcinfo, 3),
							 reason, request_id, wfi_arg_identity(fcinfo, 7),
							 wfi_arg_bool(fcinfo, 5));
	wfi_store_end();
	PG_RETURN_BOOL(recorded);
}
