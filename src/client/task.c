/*
 * task.c
 *	  One task: from the poll's row through its command to the reply.
 *
 *	  FREE --wfi_task_start--> RUNNING --wfi_task_ended--> FINISHED
 *	    ^                         ^ no: the command cannot be started |
 *	    +------------------------- wfi_task_free ---------------------+
 *
 * The server makes all JSON and reads all JSON: the poll asks for the text
 * that the command gets, the reply hands over what the command wrote.
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
 * An unused slot.
 */
void
wfi_task_init(WfiTask *task)
{
	memset(task, 0, sizeof(*task));
	task->state = WFI_TASK_FREE;
	wfi_process_init(&task->process);
}

/*
 * Sends a poll for up to max_tasks tasks, a transaction of its own.
 */
bool
wfi_send_poll(WfiConnection *connection, const WfiOptions *options,
			  int max_tasks)
{
	char		count[16];
	const char *values[4];
	char	   *sql = wfi_format(poll_sql, connection->schema);
	bool		ok;

	snprintf(count, sizeof(count), "%d", max_tasks);
	values[0] = options->task_queue;
	values[1] = count;
	values[2] = connection->namespace_name;
	values[3] = options->identity;
	ok = wfi_send(connection, sql, 4, values, NULL, NULL);
	free(sql);
	return ok;
}

/*
 * The task's work is over: what is left is the reply.  A failure's message,
 * malloc'd, is taken over and logged.
 */
static void
finish(WfiTask *task, char *failure)
{
	static uint64_t finish_number = 0;

	task->state = WFI_TASK_FINISHED;
	task->finish_number = ++finish_number;
	task->failure = failure;
	if (failure != NULL)
		wfi_log(WFI_LOG_WARNING,
				"task of workflow \"%s\", run %s, attempt %d, failed: %s",
				task->workflow_id, task->run_id, task->attempt, failure);
}

/*
 * The message for a type that nobody told us a command for.
 */
static char *
unknown_type_message(const WfiOptions *options, const char *type)
{
	char	   *message;

	message = wfi_format("this worker has no command for workflow type \"%s\", only for ",
						 type);
	for (int i = 0; i < options->nhandlers; i++)
	{
		char	   *longer = wfi_format("%s%s\"%s\"", message,
										i > 0 ? ", " : "",
										options->handlers[i].type);

		free(message);
		message = longer;
	}
	return message;
}

/*
 * Takes a free slot for a row of the poll and starts the command of its type.
 * When that is not possible, the task is finished at once, as failed.
 */
void
wfi_task_start(WfiTask *task, const WfiOptions *options,
			   const WfiConnection *connection, const PGresult *result,
			   int row)
{
	const WfiVariable variables[] = {
		{"WF_NAMESPACE", connection->namespace_name},
		{"WF_TASK_QUEUE", options->task_queue},
		{"WF_WORKFLOW_ID", PQgetvalue(result, row, COL_WORKFLOW_ID)},
		{"WF_RUN_ID", PQgetvalue(result, row, COL_RUN_ID)},
		{"WF_WORKFLOW_TYPE", PQgetvalue(result, row, COL_TYPE)},
		{"WF_ATTEMPT", PQgetvalue(result, row, COL_ATTEMPT)},
		{NULL, NULL}
	};
	const WfiHandler *handler;

	task->state = WFI_TASK_RUNNING;
	task->token = wfi_strdup(PQgetvalue(result, row, COL_TOKEN));
	task->workflow_id = wfi_strdup(PQgetvalue(result, row, COL_WORKFLOW_ID));
	task->run_id = wfi_strdup(PQgetvalue(result, row, COL_RUN_ID));
	task->attempt = atoi(PQgetvalue(result, row, COL_ATTEMPT));
	wfi_log(WFI_LOG_INFO, "task of workflow \"%s\", run %s, attempt %d, of type \"%s\" begins",
			task->workflow_id, task->run_id, task->attempt,
			PQgetvalue(result, row, COL_TYPE));

	handler = wfi_find_handler(options, WFI_WORKFLOW,
							   PQgetvalue(result, row, COL_TYPE));
	if (handler == NULL)
		finish(task, unknown_type_message(options,
										  PQgetvalue(result, row, COL_TYPE)));
	else if (!wfi_process_start(&task->process, handler->command, variables,
								wfi_format("%s\n", PQgetvalue(result, row,
															  COL_TASK)),
								options->task_timeout))
		finish(task, wfi_format("could not start command: %s",
								strerror(errno)));
}

/*
 * The task's command has ended.
 */
void
wfi_task_ended(WfiTask *task)
{
	finish(task, wfi_process_failure(&task->process));
}

/*
 * Has the server to be told about this finished task?
 *
 * Not when it failed again: such a reply would not be recorded, but give a
 * new attempt at once, which fails as quickly.  Left alone, the task times
 * out, and the time-outs become longer with every attempt.
 */
bool
wfi_task_needs_reply(const WfiTask *task)
{
	return task->failure == NULL || task->attempt <= 1;
}

/*
 * Does the command's output consist of white space?  It stands for no
 * commands then.
 */
static bool
output_is_empty(const WfiProcess *process)
{
	return process->output_length ==
		strspn(process->output, " \t\r\n");
}

/*
 * Sends the reply of a finished task.  False when the connection broke.
 */
bool
wfi_task_send_reply(WfiTask *task, const WfiOptions *options,
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
		sql = wfi_format(completed_sql, connection->schema);

		/* binary, so that the server sees (and refuses) NUL bytes */
		formats[2] = 1;
		values[2] = output_is_empty(process) ? "[]" : process->output;
		lengths[2] = output_is_empty(process) ? 2 :
			(int) process->output_length;
		ok = wfi_send(connection, sql, 3, values, lengths, formats);
	}
	else
	{
		sql = wfi_format(failed_sql, connection->schema);
		if (process->tail_length > 0)
			tail = wfi_clean_text(process->tail, process->tail_length,
								  !connection->utf8);
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
 * the output.
 */
void
wfi_task_refused(WfiTask *task, const PGresult *result)
{
	const char *primary = wfi_error_message(result);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	finish(task, wfi_format("output of command was not accepted: %s",
							primary));
	if (detail != NULL)
	{
		char	   *longer = wfi_format("%s: %s", task->failure, detail);

		free(task->failure);
		task->failure = longer;
	}
}

/*
 * Logs what the server answered to the reply.
 */
void
wfi_task_log_reply(const WfiTask *task, const PGresult *result)
{
	if (task->failure != NULL)
		wfi_log(WFI_LOG_INFO,
				"task of workflow \"%s\", run %s, attempt %d, is reported as failed",
				task->workflow_id, task->run_id, task->attempt);
	else if (strcmp(PQgetvalue(result, 0, 0), "t") == 0)
		wfi_log(WFI_LOG_INFO,
				"task of workflow \"%s\", run %s, attempt %d, is completed",
				task->workflow_id, task->run_id, task->attempt);
	else
		wfi_log(WFI_LOG_WARNING,
				"commands of workflow \"%s\", run %s, attempt %d, were not accepted: %s: %s",
				task->workflow_id, task->run_id, task->attempt,
				PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2));
}

/*
 * Gives the slot of a finished task back.
 */
void
wfi_task_free(WfiTask *task)
{
	wfi_process_free(&task->process);
	free(task->token);
	free(task->workflow_id);
	free(task->run_id);
	free(task->failure);
	wfi_task_init(task);
}
