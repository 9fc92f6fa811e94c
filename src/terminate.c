/*
 * terminate.c
 *	  wf_terminate(): end a run at once; its code gets no say.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_terminate);

#define DEFAULT_REASON "terminated by user via frontend"

/*
 * Terminate a locked, open run: fail its workflow task if a worker has it,
 * flush what waits, and close.  The caller finishes the operation.
 */
void
wfi_terminate_run(WfiRun *run, const char *reason, const Jsonb *details,
				  const char *identity)
{
	WfiObject	object;

	if (run->task_started_event_id != 0)
		wfi_task_fail(run, "ForceCloseCommand", NULL, WFI_IDENTITY_ENGINE);
	wfi_run_flush(run);

	wfi_object_begin(&object);
	wfi_put_text(&object, "reason", reason);
	wfi_put_json(&object, "details", details);
	wfi_put_text(&object, "identity", identity);
	wfi_run_add(run, WFI_EV_TERMINATED, wfi_object_end(&object));
}

/*
 * Terminate a workflow.  True when done; false, only with missing_ok, when it
 * is closed or there is none.
 */
bool
wfi_do_terminate(const char *namespace, const char *workflow_id,
				 const pg_uuid_t *run_id,
				 const pg_uuid_t *first_execution_run_id,
				 const char *reason, const Jsonb *details,
				 const char *identity, bool missing_ok)
{
	WfiRun	   *run;

	/* a chain is followed to its current run */
	if (first_execution_run_id != NULL)
		run_id = NULL;
	run = wfi_run_lock_target(namespace, workflow_id, run_id, missing_ok);
	if (run == NULL)
		return false;
	if (!wfi_run_open(run))
	{
		if (missing_ok)
			return false;
		wfi_error_completed(run);
	}
	if (!wfi_run_check_chain(run, first_execution_run_id, missing_ok))
		return false;

	if (reason == NULL || *reason == '\0')
		reason = DEFAULT_REASON;
	if (*identity == '\0')
		identity = WFI_IDENTITY_FRONTEND;
	wfi_terminate_run(run, reason, details, identity);
	wfi_run_finish(run);
	return true;
}

/*
 * wf_terminate(workflow_id, reason, details, run_id, first_execution_run_id,
 * missing_ok, namespace, identity)
 */
Datum
wfi_terminate(PG_FUNCTION_ARGS)
{
	char	   *workflow_id;
	char	   *reason;
	Jsonb	   *details;
	bool		done;

	wfi_store_begin("wf_terminate()", true);
	workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	reason = wfi_arg_text(fcinfo, 1, "reason");
	details = wfi_arg_payload(fcinfo, 2, "details");
	done = wfi_do_terminate(wfi_arg_namespace(fcinfo, 6), workflow_id,
							wfi_arg_uuid(fcinfo, 3), wfi_arg_uuid(fcinfo, 4),
							reason, details, wfi_arg_identity(fcinfo, 7),
							wfi_arg_bool(fcinfo, 5));
	wfi_store_end();
	PG_RETURN_BOOL(done);
}
