/*
 * activity.c
 *	  Attempts of activities: input in, result out, heartbeats while they run.
 *
 * The server alone knows whether an attempt is still ours and whether it is
 * to be cancelled; it tells in the answers to heartbeats.  A notification is
 * merely a reason to ask at once: anybody can send one.
 *
 *	  canceled					SIGTERM, once; how the command ends decides
 *	  attempt or run is over	SIGKILL; nothing is replied
 *	  lease ran out				the same: the attempt has a heartbeat
 *								time-out, and the server has answered no
 *								heartbeat for so long
 */
#include "wf_worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* the longest time between two heartbeats, and the shortest for details */
#define MAX_HEARTBEAT_INTERVAL	30000
#define MIN_HEARTBEAT_INTERVAL	100

/* an environment variable of more than 128 KiB would prevent exec on Linux */
#define MAX_DETAILS_VARIABLE	(64 * 1024)

/* of a command that a signal ended, as shells report it */
#define STATUS_OF_SIGTERM		(128 + SIGTERM)

/* columns of the poll */
enum
{
	COL_TOKEN,
	COL_WORKFLOW_ID,
	COL_RUN_ID,
	COL_WORKFLOW_TYPE,
	COL_ACTIVITY_ID,
	COL_ACTIVITY_TYPE,
	COL_ATTEMPT,
	COL_INPUT,
	COL_DETAILS,
	COL_JSON_ID,
	COL_HEARTBEAT_TIMEOUT
};

/*
 * Each is formatted with the extension's schema.  A payload is one parameter
 * or another, depending on whether it is JSON or text.
 */
static const char poll_sql[] =
"SELECT t.task_token, t.workflow_id, t.run_id, t.workflow_type,"
" t.activity_id, t.activity_type, t.attempt, t.input, t.heartbeat_details,"
" to_json(t.activity_id),"
" ceil(1000 * extract(epoch FROM t.heartbeat_timeout))::bigint"
" FROM %s.wf_poll_activity_task(task_queue => $1::text, max_tasks => $2::int,"
" namespace => $3::text, identity => $4::text) t";

static const char heartbeat_sql[] =
"SELECT h.cancel_requested"
" FROM %s.wf_heartbeat(task_token => $1::text, identity => $2::text,"
" details => coalesce($3::text::jsonb, to_jsonb($4::text))) h";

static const char completed_sql[] =
"SELECT %s.wf_respond_activity_task_completed(task_token => $1::text,"
" identity => $2::text,"
" result => coalesce($3::text::jsonb, to_jsonb($4::text)))";

static const char canceled_sql[] =
"SELECT %s.wf_respond_activity_task_canceled(task_token => $1::text,"
" identity => $2::text,"
" details => coalesce($3::text::jsonb, to_jsonb($4::text)))";

static const char failed_sql[] =
"SELECT %s.wf_respond_activity_task_failed(task_token => $1::text,"
" identity => $2::text, failure => jsonb_strip_nulls(jsonb_build_object("
"'message', $5::text, 'type', $6::text, 'source', 'wf_worker',"
" 'non_retryable', $7::boolean, 'stack_trace', $8::text)),"
" last_heartbeat_details => coalesce($3::text::jsonb, to_jsonb($4::text)))";

/*
 * The statement that polls, malloc'd.
 */
char *
wfi_activity_poll_sql(const char *schema)
{
	return wfi_format(poll_sql, schema);
}

/*
 * How long to wait between two heartbeats that bring no news.
 */
static WfiTime
heartbeat_interval(const WfiActivity *activity)
{
	WfiTime		interval = activity->heartbeat_timeout / 3;

	if (activity->heartbeat_timeout == 0 || interval > MAX_HEARTBEAT_INTERVAL)
		return MAX_HEARTBEAT_INTERVAL;
	return interval > 0 ? interval : 1;
}

/*
 * Until when the attempt is ours at least if the server has heard of it at
 * that time.
 */
static WfiTime
lease_from(const WfiActivity *activity, WfiTime heard)
{
	return activity->heartbeat_timeout == 0 ? WFI_NEVER :
		heard + activity->heartbeat_timeout;
}

/*
 * The value of a column, or NULL.
 */
static const char *
get_value(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? NULL :
		PQgetvalue(result, row, column);
}

/*
 * Details of the attempts before, NULL when there are none, or too many for
 * an environment variable.
 */
static const char *
get_small_details(const PGresult *result, int row)
{
	const char *details = get_value(result, row, COL_DETAILS);

	return details != NULL && strlen(details) > MAX_DETAILS_VARIABLE ? NULL :
		details;
}

/*
 * The attempt failed for another reason than the way its command ended.
 */
static void
fail(WfiTask *task, const char *type, bool non_retryable, char *message)
{
	WfiActivity *activity = &task->activity;

	activity->outcome = WFI_FAILED;
	free(activity->failure_type);
	activity->failure_type = wfi_strdup(type);
	activity->non_retryable = non_retryable;
	wfi_payload_free(&activity->payload);
	wfi_task_finish(task, message);
}

/*
 * Starts the command of a task that has just begun.
 */
static void
start_command(WfiTask *task, const WfiOptions *options,
			  const WfiConnection *connection, const PGresult *result,
			  int row, const WfiHandler *handler, WfiTime lease)
{
	const char *input = get_value(result, row, COL_INPUT);
	const char *details = get_small_details(result, row);
	const WfiVariable variables[] = {
		{"WF_NAMESPACE", connection->namespace_name},
		{"WF_TASK_QUEUE", options->task_queue},
		{"WF_WORKFLOW_ID", PQgetvalue(result, row, COL_WORKFLOW_ID)},
		{"WF_RUN_ID", PQgetvalue(result, row, COL_RUN_ID)},
		{"WF_WORKFLOW_TYPE", PQgetvalue(result, row, COL_WORKFLOW_TYPE)},
		{"WF_ACTIVITY_ID", PQgetvalue(result, row, COL_ACTIVITY_ID)},
		{"WF_ACTIVITY_TYPE", PQgetvalue(result, row, COL_ACTIVITY_TYPE)},
		{"WF_ATTEMPT", PQgetvalue(result, row, COL_ATTEMPT)},
		{"WF_HEARTBEAT_FD", "3"},
		{"WF_HEARTBEAT_DETAILS", details},
		{NULL, NULL}
	};
	WfiCommand	command;

	memset(&command, 0, sizeof(command));
	command.command = handler->command;
	command.variables = variables;
	command.input = input != NULL ? wfi_format("%s\n", input) : wfi_strdup("");
	command.takes_details = true;
	command.grace = options->grace_period;
	command.lease = lease;
	if (!wfi_process_start(&task->process, &command))
		fail(task, "CommandNotStarted", false,
			 wfi_format("could not start command: %s", strerror(errno)));
}

/*
 * Takes a slot for a row of the poll that was sent at that time, and starts
 * the command.
 */
void
wfi_activity_start(WfiTask *task, const WfiOptions *options,
				   const WfiConnection *connection, const PGresult *result,
				   int row, WfiTime polled)
{
	WfiActivity *activity = &task->activity;
	const char *run_id = PQgetvalue(result, row, COL_RUN_ID);
	const char *attempt = PQgetvalue(result, row, COL_ATTEMPT);
	const char *details = get_value(result, row, COL_DETAILS);
	const char *timeout = get_value(result, row, COL_HEARTBEAT_TIMEOUT);
	const WfiHandler *handler;

	wfi_task_begin(task, PQgetvalue(result, row, COL_TOKEN), run_id, attempt,
				   wfi_format("activity \"%s\" of workflow \"%s\", run %s, attempt %s",
							  PQgetvalue(result, row, COL_ACTIVITY_ID),
							  PQgetvalue(result, row, COL_WORKFLOW_ID),
							  run_id, attempt));
	activity->json_id = wfi_strdup(PQgetvalue(result, row, COL_JSON_ID));
	activity->heartbeat_timeout = timeout != NULL ?
		(WfiTime) strtoll(timeout, NULL, 10) : 0;
	activity->last_heartbeat = polled;
	activity->next_heartbeat = polled + heartbeat_interval(activity);

	/* a heartbeat without details would make the server forget these */
	if (details != NULL)
		wfi_payload_set(&activity->details, details, strlen(details));

	handler = wfi_task_handler(task, options,
							   PQgetvalue(result, row, COL_ACTIVITY_TYPE));
	if (handler != NULL)
		start_command(task, options, connection, result, row, handler,
					  lease_from(activity, polled));
	else
	{
		activity->outcome = WFI_FAILED;
		activity->failure_type = wfi_strdup("UnknownActivityType");
	}
}

/*
 * Takes the details that the command may have written: the next heartbeat
 * has them, and will be soon.
 */
void
wfi_activity_take_details(WfiTask *task, const WfiConnection *connection)
{
	WfiActivity *activity = &task->activity;
	WfiProcess *process = &task->process;
	WfiTime		soon = activity->last_heartbeat + MIN_HEARTBEAT_INTERVAL;

	if (process->details == NULL)
		return;
	wfi_payload_set(&activity->details, process->details,
					process->details_length);
	if (!activity->details.json)
		wfi_payload_clean(&activity->details, !connection->utf8);
	activity->own_details = true;
	free(process->details);
	process->details = NULL;
	if (activity->next_heartbeat > soon)
		activity->next_heartbeat = soon;
}

/*
 * Something may have happened to the attempt: asks as soon as possible.
 */
void
wfi_activity_hint(WfiTask *task)
{
	if (task->kind == WFI_ACTIVITY && task->state == WFI_TASK_RUNNING)
		task->activity.hinted = true;
}

/*
 * Does a notification speak of this task, or, which is a weaker guess, of its
 * run?  Its JSON need not be read for that: a wrong guess does no harm.
 */
bool
wfi_activity_concerned(const WfiTask *task, const char *push, bool whole_run)
{
	return task->kind == WFI_ACTIVITY && task->state == WFI_TASK_RUNNING &&
		strstr(push, task->run_id) != NULL &&
		(whole_run || strstr(push, task->activity.json_id) != NULL);
}

/*
 * When the next heartbeat has to be sent.
 */
WfiTime
wfi_activity_heartbeat_due(const WfiTask *task)
{
	if (task->kind != WFI_ACTIVITY || task->state != WFI_TASK_RUNNING ||
		task->activity.lost)
		return WFI_NEVER;
	return task->activity.hinted ? 0 : task->activity.next_heartbeat;
}

/*
 * Sends a statement, malloc'd and freed here, with the task's token, our
 * identity, a payload and other parameters.  False when the connection broke.
 */
static bool
send_statement(const WfiTask *task, const WfiOptions *options,
			   WfiConnection *connection, char *sql,
			   const WfiPayload *payload, int nothers,
			   const char *const *others)
{
	const char *values[8] = {NULL};
	int			lengths[8] = {0};
	int			formats[8] = {0};
	int			n = payload->json ? 2 : 3;
	bool		ok;

	values[0] = task->token;
	values[1] = options->identity;

	/* binary, so that the server sees (and refuses) NUL bytes */
	values[n] = payload->bytes;
	lengths[n] = (int) payload->length;
	formats[n] = 1;
	for (int i = 0; i < nothers; i++)
		values[4 + i] = others[i];
	ok = wfi_send(connection, sql, 4 + nothers, values, lengths, formats);
	free(sql);
	return ok;
}

/*
 * Sends a heartbeat.  Unless something comes between, the next one follows
 * after the usual time.
 */
bool
wfi_activity_send_heartbeat(WfiTask *task, const WfiOptions *options,
							WfiConnection *connection)
{
	WfiActivity *activity = &task->activity;

	activity->hinted = false;
	activity->last_heartbeat = wfi_now();
	activity->next_heartbeat = activity->last_heartbeat +
		heartbeat_interval(activity);
	return send_statement(task, options, connection,
						  wfi_format(heartbeat_sql, connection->schema),
						  &activity->details, 0, NULL);
}

/*
 * The server has answered a heartbeat: the attempt is ours until the lease
 * that begins with it is over.
 */
void
wfi_activity_alive(WfiTask *task, const PGresult *result)
{
	WfiActivity *activity = &task->activity;

	if (task->state != WFI_TASK_RUNNING)
		return;
	if (activity->heartbeat_timeout != 0)
		wfi_process_extend(&task->process,
						   lease_from(activity, activity->last_heartbeat));
	if (activity->cancel_requested ||
		strcmp(PQgetvalue(result, 0, 0), "t") != 0)
		return;
	activity->cancel_requested = true;
	wfi_log(WFI_LOG_INFO, "%s, is asked to cancel", task->name);
	wfi_process_ask_to_end(&task->process);
}

/*
 * The attempt is not ours any more: its command must not go on.
 */
void
wfi_activity_lost(WfiTask *task, const char *reason)
{
	if (task->activity.lost)
		return;
	task->activity.lost = true;
	wfi_log(WFI_LOG_WARNING, "%s, is killed: %s", task->name, reason);
	wfi_process_kill(&task->process);
}

/*
 * The server does not take a payload of details: it goes as clean text, or
 * then not at all.  False when there is nothing left to change.
 */
static bool
change_payload(WfiPayload *payload, const WfiConnection *connection)
{
	if (payload->bytes == NULL)
		return false;
	if (payload->clean)
		wfi_payload_free(payload);
	else
		wfi_payload_clean(payload, !connection->utf8);
	return true;
}

/*
 * The server does not take the details of a heartbeat.
 */
void
wfi_activity_details_refused(WfiTask *task, const WfiConnection *connection)
{
	WfiActivity *activity = &task->activity;

	if (change_payload(&activity->details, connection))
		activity->next_heartbeat = 0;
}

/*
 * A failure's type: what a retry policy may list as not to be retried.
 */
static char *
failure_type(const WfiProcess *process)
{
	switch (process->ending)
	{
		case WFI_ENDED_BY_OUTPUT:
		case WFI_ENDED_BY_DETAILS:
			return wfi_strdup("OutputTooLarge");
		case WFI_ENDED_BY_TIMEOUT:
			return wfi_strdup("TooSlow");
		case WFI_ENDED_BY_ITSELF:
		case WFI_ENDED_BY_LEASE:
			break;
	}
	if (WIFSIGNALED(process->status))
		return wfi_format("Signal%d", WTERMSIG(process->status));
	return wfi_format("ExitStatus%d", WEXITSTATUS(process->status));
}

/*
 * Did the command follow our request to cancel, or was killed for it?
 */
static bool
was_canceled(const WfiTask *task)
{
	const WfiProcess *process = &task->process;

	if (!task->activity.cancel_requested ||
		process->ending != WFI_ENDED_BY_ITSELF)
		return false;
	if (WIFSIGNALED(process->status))
		return WTERMSIG(process->status) == SIGTERM || process->killed;
	return WEXITSTATUS(process->status) == STATUS_OF_SIGTERM;
}

/*
 * What a canceled command has to say: its output, else the last details it
 * wrote; or that it was killed.
 */
static void
set_canceled(WfiTask *task)
{
	WfiActivity *activity = &task->activity;
	const WfiProcess *process = &task->process;

	activity->outcome = WFI_CANCELED;
	if (process->killed)
	{
		char	   *details;

		details = wfi_format("{\"killed\": true, \"message\": \"command was killed because it did not end within %g s after SIGTERM\"}",
							 (double) process->grace / 1000);
		wfi_payload_set(&activity->payload, details, strlen(details));
		free(details);
		return;
	}
	wfi_payload_set(&activity->payload, process->output,
					process->output_length);
	if (activity->payload.bytes == NULL && activity->own_details)
	{
		activity->payload = activity->details;
		memset(&activity->details, 0, sizeof(activity->details));
	}
}

/*
 * The activity's command has ended.
 */
void
wfi_activity_ended(WfiTask *task)
{
	WfiActivity *activity = &task->activity;
	const WfiProcess *process = &task->process;
	char	   *failure = NULL;

	if (process->ending == WFI_ENDED_BY_LEASE)
		wfi_activity_lost(task, "no heartbeat was answered within the heartbeat time-out");
	if (!activity->lost && was_canceled(task))
		set_canceled(task);
	else if (!activity->lost)
	{
		failure = wfi_process_failure(process);
		if (failure != NULL)
		{
			activity->outcome = WFI_FAILED;
			activity->failure_type = failure_type(process);
			activity->non_retryable =
				process->ending == WFI_ENDED_BY_OUTPUT ||
				process->ending == WFI_ENDED_BY_DETAILS;
		}
		else
			wfi_payload_set(&activity->payload, process->output,
							process->output_length);
	}
	wfi_task_finish(task, failure);
}

/*
 * Sends the reply of a finished attempt.  False when the connection broke.
 */
bool
wfi_activity_send_reply(WfiTask *task, const WfiOptions *options,
						WfiConnection *connection)
{
	const WfiActivity *activity = &task->activity;
	const char *others[4];
	char	   *tail;
	bool		ok;

	if (activity->outcome != WFI_FAILED)
		return send_statement(task, options, connection,
							  wfi_format(activity->outcome == WFI_COMPLETED ?
										 completed_sql : canceled_sql,
										 connection->schema),
							  &activity->payload, 0, NULL);
	tail = wfi_task_tail(task, connection);
	others[0] = task->failure;
	others[1] = activity->failure_type;
	others[2] = activity->non_retryable ? "true" : NULL;
	others[3] = tail;
	ok = send_statement(task, options, connection,
						wfi_format(failed_sql, connection->schema),
						&activity->details, 4, others);
	free(tail);
	return ok;
}

/*
 * The server refused the reply.  What is JSON, but not for the server, goes
 * as text.  A result that cannot even be text makes the attempt fail; details
 * are changed until they fit, or left out.  False when there is nothing left
 * to try.
 */
bool
wfi_activity_refused(WfiTask *task, const WfiConnection *connection,
					 const PGresult *result)
{
	WfiActivity *activity = &task->activity;

	if (activity->outcome == WFI_CANCELED)
		return change_payload(&activity->payload, connection);
	if (activity->outcome == WFI_FAILED)
		return change_payload(&activity->details, connection);
	if (activity->payload.json)
		wfi_payload_make_text(&activity->payload);
	else
		fail(task, "OutputNotAccepted", true,
			 wfi_format("output of command was not accepted: %s",
						wfi_error_message(result)));
	return true;
}
