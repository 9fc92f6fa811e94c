/*
 * task.c
 *	  One task: from the poll's row through its command to the reply.
 *
 *	  FREE --wfi_task_start--> RUNNING --wfi_task_ended--> FINISHED
 *	    ^                         ^ no: the command cannot be started |
 *	    +------------------------- wfi_task_free ---------------------+
 *
 * What the kinds have in common is here; workflow.c and activity.c know what
 * their commands get, and what their ends mean.
 *
 * The server makes all JSON and reads all JSON: the poll asks for the text
 * that the command gets, the reply hands over what the command wrote.
 */
#include "wf_worker.h"

#include <stdlib.h>
#include <string.h>

/*
 * An unused slot.
 */
void
wfi_task_init(WfiTask *task, WfiKind kind)
{
	memset(task, 0, sizeof(*task));
	task->kind = kind;
	task->state = WFI_TASK_FREE;
	wfi_process_init(&task->process);
}

/*
 * Sends a poll for up to max_tasks tasks, a transaction of its own.
 */
bool
wfi_send_poll(WfiConnection *connection, const WfiOptions *options,
			  WfiKind kind, int max_tasks)
{
	char		count[16];
	const char *values[4];
	char	   *sql;
	bool		ok;

	sql = kind == WFI_WORKFLOW ? wfi_workflow_poll_sql(connection->schema) :
		wfi_activity_poll_sql(connection->schema);
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
 * Takes a slot for a task.  The name, malloc'd, is taken over.
 */
void
wfi_task_begin(WfiTask *task, const char *token, const char *run_id,
			   const char *attempt, char *name)
{
	task->state = WFI_TASK_RUNNING;
	task->token = wfi_strdup(token);
	task->run_id = wfi_strdup(run_id);
	task->attempt = atoi(attempt);
	task->name = name;
}

/*
 * The message for a type that nobody told us a command for.
 */
static char *
unknown_type_message(const WfiOptions *options, WfiKind kind,
					 const char *type)
{
	char	   *message;
	bool		first = true;

	message = wfi_format("this worker has no command for %s type \"%s\", only for ",
						 kind == WFI_WORKFLOW ? "workflow" : "activity", type);
	for (int i = 0; i < options->nhandlers; i++)
	{
		char	   *longer;

		if (options->handlers[i].kind != kind)
			continue;
		longer = wfi_format("%s%s\"%s\"", message, first ? "" : ", ",
							options->handlers[i].type);
		free(message);
		message = longer;
		first = false;
	}
	return message;
}

/*
 * The handler for a task that has just begun.  When there is none, the task
 * is finished, as failed.
 */
const WfiHandler *
wfi_task_handler(WfiTask *task, const WfiOptions *options, const char *type)
{
	const WfiHandler *handler = wfi_find_handler(options, task->kind, type);

	wfi_log(WFI_LOG_INFO, "task of %s, of type \"%s\" begins", task->name,
			type);
	if (handler == NULL)
		wfi_task_finish(task, unknown_type_message(options, task->kind, type));
	return handler;
}

/*
 * The task's work is over: what is left is the reply.  A failure's message,
 * malloc'd, is taken over and logged.
 */
void
wfi_task_finish(WfiTask *task, char *failure)
{
	static uint64_t finish_number = 0;

	task->state = WFI_TASK_FINISHED;
	task->finish_number = ++finish_number;
	free(task->failure);
	task->failure = failure;
	if (failure != NULL)
		wfi_log(WFI_LOG_WARNING, "task of %s, failed: %s", task->name,
				failure);
}

/*
 * The end of what the command wrote to standard error, malloc'd, or NULL.
 */
char *
wfi_task_tail(const WfiTask *task, const WfiConnection *connection)
{
	const WfiProcess *process = &task->process;

	if (process->tail_length == 0)
		return NULL;
	return wfi_clean_text(process->tail, process->tail_length,
						  !connection->utf8);
}

/*
 * Takes a free slot for a row of the poll, which was sent at that time, and
 * starts the command of its type.  When that is not possible, the task is
 * finished at once, as failed.
 */
void
wfi_task_start(WfiTask *task, const WfiOptions *options,
			   const WfiConnection *connection, const PGresult *result,
			   int row, WfiTime polled)
{
	if (task->kind == WFI_WORKFLOW)
		wfi_workflow_start(task, options, connection, result, row);
	else
		wfi_activity_start(task, options, connection, result, row, polled);
}

/*
 * The task's command has ended.
 */
void
wfi_task_ended(WfiTask *task)
{
	if (task->kind == WFI_WORKFLOW)
		wfi_task_finish(task, wfi_process_failure(&task->process));
	else
		wfi_activity_ended(task);
}

/*
 * Has the server to be told about this finished task?
 *
 * Not about an activity that is not ours any more.  And not when a workflow
 * task failed again: such a reply would not be recorded, but give a new
 * attempt at once, which fails as quickly.  Left alone, the task times out,
 * and the time-outs become longer with every attempt.
 */
bool
wfi_task_needs_reply(const WfiTask *task)
{
	if (task->kind == WFI_ACTIVITY)
		return !task->activity.lost;
	return task->failure == NULL || task->attempt <= 1;
}

/*
 * Sends the reply of a finished task.  False when the connection broke.
 */
bool
wfi_task_send_reply(WfiTask *task, const WfiOptions *options,
					WfiConnection *connection)
{
	if (task->kind == WFI_WORKFLOW)
		return wfi_workflow_send_reply(task, options, connection);
	return wfi_activity_send_reply(task, options, connection);
}

/*
 * The server refused the reply with an error.  True when there is another
 * one to send; the log tells when not.
 */
bool
wfi_task_refused(WfiTask *task, const WfiConnection *connection,
				 const PGresult *result)
{
	if (task->kind == WFI_WORKFLOW ? wfi_workflow_refused(task, result) :
		wfi_activity_refused(task, connection, result))
		return wfi_task_needs_reply(task);
	wfi_log(WFI_LOG_WARNING, "failure of %s, was not accepted: %s",
			task->name, wfi_error_message(result));
	return false;
}

/*
 * Logs what the server answered to the reply.
 */
void
wfi_task_log_reply(const WfiTask *task, const PGresult *result)
{
	if (task->kind == WFI_WORKFLOW && task->failure == NULL &&
		strcmp(PQgetvalue(result, 0, 0), "t") != 0)
		wfi_log(WFI_LOG_WARNING, "commands of %s, were not accepted: %s: %s",
				task->name, PQgetvalue(result, 0, 1),
				PQgetvalue(result, 0, 2));
	else
		wfi_log(WFI_LOG_INFO, "task of %s, is %s", task->name,
				task->failure != NULL ? "reported as failed" :
				task->activity.outcome == WFI_CANCELED ? "canceled" :
				"completed");
}

/*
 * Gives the slot of a finished task back.
 */
void
wfi_task_free(WfiTask *task)
{
	wfi_process_free(&task->process);
	free(task->token);
	free(task->run_id);
	free(task->name);
	free(task->failure);
	free(task->activity.json_id);
	free(task->activity.failure_type);
	wfi_payload_free(&task->activity.details);
	wfi_payload_free(&task->activity.payload);
	wfi_task_init(task, task->kind);
}
