/*
 * workflow.c
 *	  Workflow tasks: history in, commands out.
 */
#include "wf_worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* columns of the poll */
enum
{
	COL_TOKEN,
	COL_WORKFLOW_ID,
	COL_RUN_ID,
	COL_TYPE,
	COL_ATTEMPT,
	COL_TASK
};

/* each is formatted with the extension's schema */
static const char poll_sql[] =
"SELECT t.task_token, t.workflow_id, t.run_id, t.workflow_type, t.attempt,"
" json_build_object('workflow_id', t.workflow_id, 'run_id', t.run_id,"
" 'workflow_type', t.workflow_type, 'attempt', t.attempt,"
" 'previous_started_event_id', t.previous_started_event_id,"
" 'started_event_id', t.started_event_id, 'history', t.history)"
" FROM %s.wf_poll_workflow_task(task_queue => $1::text, max_tasks => $2::int,"
" namespace => $3::text, identity => $4::text) t";

static const char completed_sql[] =
"SELECT r.accepted, r.cause, r.message"
" FROM %s.wf_respond_workflow_task_completed(task_token => $1::text,"
" identity => $2::text, commands => $3::text::jsonb) r";

static const char failed_sql[] =
"SELECT %s.wf_respond_workflow_task_failed(task_token => $1::text,"
" identity => $2::text, cause => 'WorkflowWorkerUnhandledFailure',"
" failure => jsonb_strip_nulls(jsonb_build_object('message', $3::text,"
" 'source', 'wf_worker', 'stack_trace', $4::text)))";

/*
 * The statement that polls, malloc'd.
 */
char *
wfi_workflow_poll_sql(const char *schema)
{
	return wfi_format(poll_sql, schema);
}

/*
 * Takes a slot for a row of the poll and starts the command.
 */
void
wfi_workflow_start(WfiTask *task, const WfiOptions *options,
				   const WfiConnection *connection, const PGresult *result,
				   int row)
{
	const char *workflow_id = PQgetvalue(result, row, COL_WORKFLOW_ID);
	const char *run_id = PQgetvalue(result, row, COL_RUN_ID);
	const char *type = PQgetvalue(result, row, COL_TYPE);
	const char *attempt = PQgetvalue(result, row, COL_ATTEMPT);
	const WfiVariable variables[] = {
		{"WF_NAMESPACE", connection->namespace_name},
		{"WF_TASK_QUEUE", options->task_queue},
		{"WF_WORKFLOW_ID", workflow_id},
		{"WF_RUN_ID", run_id},
		{"WF_WORKFLOW_TYPE", type},
		{"WF_ATTEMPT", attempt},
		{NULL, NULL}
	};
	const WfiHandler *handler;
	WfiCommand	command;

	wfi_task_begin(task, PQgetvalue(result, row, COL_TOKEN), run_id, attempt,
				   wfi_format("workflow \"%s\", run %s, attempt %s",
							  workflow_id, run_id, attempt));
	handler = wfi_task_handler(task, options, type);
	if (handler == NULL)
		return;

	memset(&command, 0, sizeof(command));
	command.command = handler->command;
	command.variables = variables;
	command.input = wfi_format("%s\n", PQgetvalue(result, row, COL_TASK));
	command.timeout = options->task_timeout;
	command.grace = WFI_KILL_DELAY_MS;
	command.lease = WFI_NEVER;
	if (!wfi_process_start(&task->process, &command))
		wfi_task_finish(task, wfi_format("could not start command: %s",
										 strerror(errno)));
}

/*
 * Sends the reply of a finished task.  No output stands for no commands.
 */
bool
wfi_workflow_send_reply(WfiTask *task, const WfiOptions *options,
						WfiConnection *connection)
{
	const WfiProcess *process = &task->process;
	const char *values[4];
	int			lengths[4] = {0};
	int			formats[4] = {0};
	char	   *tail = NULL;
	char	   *sql;
	bool		ok;

	values[0] = task->token;
	values[1] = options->identity;
	if (task->failure == NULL)
	{
		bool		blank = wfi_is_blank(process->output,
										 process->output_length);

		sql = wfi_format(completed_sql, connection->schema);

		/* binary, so that the server sees (and refuses) NUL bytes */
		formats[2] = 1;
		values[2] = blank ? "[]" : process->output;
		lengths[2] = blank ? 2 : (int) process->output_length;
		ok = wfi_send(connection, sql, 3, values, lengths, formats);
	}
	else
	{
		sql = wfi_format(failed_sql, connection->schema);
		tail = wfi_task_tail(task, connection);
		values[2] = task->failure;
		values[3] = tail;
		ok = wfi_send(connection, sql, 4, values, NULL, NULL);
	}
	free(tail);
	free(sql);
	return ok;
}

/*
 * The server refused what the command wrote, with an error: the task counts
 * as failed.  The log does not repeat the error's detail, which may quote
 * the output.  False when it was the failure that the server refused.
 */
bool
wfi_workflow_refused(WfiTask *task, const PGresult *result)
{
	const char *primary = wfi_error_message(result);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	if (task->failure != NULL)
		return false;
	wfi_task_finish(task,
					wfi_format("output of command was not accepted: %s",
							   primary));
	if (detail != NULL)
	{
		char	   *longer = wfi_format("%s: %s", task->failure, detail);

		free(task->failure);
		task->failure = longer;
	}
	return true;
}
