/*
 * exchange.c
 *	  What is said to the server, and what its answers mean.
 *
 * There is one statement under way at a time, in this order:
 *
 * 1. heartbeats of activities that something may have happened to,
 * 2. replies, since others wait for them,
 * 3. heartbeats that are due,
 * 4. polls.
 *
 * The first never come twice in a row while there is a reply to send, so that
 * no flood of notifications holds up the replies.  A poll asks for as many
 * tasks as there are free slots of its kind; it is due at once after a
 * notification, after a finished task, and as long as polls find something,
 * else after the poll interval.
 */
#include "wf_worker.h"

#include <stdlib.h>

/* when to try again what somebody else's lock on a run prevented */
#define LOCKED_DELAY			1000

/*
 * A free slot, NULL if all are taken.
 */
static WfiTask *
find_free_slot(const WfiWorker *worker, WfiKind kind)
{
	for (int i = 0; i < worker->ntasks; i++)
	{
		if (worker->tasks[i].kind == kind &&
			worker->tasks[i].state == WFI_TASK_FREE)
			return &worker->tasks[i];
	}
	return NULL;
}

/*
 * Number of free slots.
 */
static int
count_free_slots(const WfiWorker *worker, WfiKind kind)
{
	int			count = 0;

	for (int i = 0; i < worker->ntasks; i++)
	{
		if (worker->tasks[i].kind == kind &&
			worker->tasks[i].state == WFI_TASK_FREE)
			count++;
	}
	return count;
}

/*
 * The finished task to reply next: of those whose time has come the one that
 * has waited longest, else the one whose time comes first; NULL for none.
 */
static WfiTask *
find_finished_task(const WfiWorker *worker, WfiTime now)
{
	WfiTask    *best = NULL;
	WfiTime		best_time = 0;

	for (int i = 0; i < worker->ntasks; i++)
	{
		WfiTask    *task = &worker->tasks[i];
		WfiTime		time = task->retry_time > now ? task->retry_time : 0;

		if (task->state == WFI_TASK_FINISHED &&
			(best == NULL || time < best_time ||
			 (time == best_time && task->finish_number < best->finish_number)))
		{
			best = task;
			best_time = time;
		}
	}
	return best;
}

/*
 * The activity whose heartbeat is due first, NULL if none runs.
 */
static WfiTask *
find_heartbeat(const WfiWorker *worker)
{
	WfiTask    *first = NULL;
	WfiTime		first_due = WFI_NEVER;

	for (int i = 0; i < worker->ntasks; i++)
	{
		WfiTime		due = wfi_activity_heartbeat_due(&worker->tasks[i]);

		if (due < first_due)
		{
			first = &worker->tasks[i];
			first_due = due;
		}
	}
	return first;
}

/*
 * Stops as after a signal, but the program will have failed.
 */
static void
give_up(WfiWorker *worker)
{
	worker->stopping = true;
	worker->exit_code = EXIT_FAILURE;
}

/*
 * Puts the fallback poll at the poll interval from now, a quarter more or
 * less, so that workers started together do not stay together.
 */
static void
plan_next_poll(WfiWorker *worker, WfiKind kind)
{
	double		factor = 0.75 + 0.5 * ((double) random() / 2147483647.0);

	worker->next_poll[kind] = wfi_now() +
		(WfiTime) ((double) worker->options->poll_interval * factor) + 1;
}

/*
 * Handles an error of a statement that the statement itself did not cause.
 * Unless this makes us stop, the caller's state is such that the statement
 * will be sent again, later.
 */
static void
handle_error(WfiWorker *worker, const char *what, const PGresult *result,
			 WfiErrorClass class)
{
	WfiConnection *connection = &worker->connection;

	wfi_log(class == WFI_ERROR_FATAL ? WFI_LOG_ERROR : WFI_LOG_WARNING,
			"%s failed: %s", what, wfi_error_message(result));
	if (class == WFI_ERROR_FATAL)
		give_up(worker);
	else if (class == WFI_ERROR_RECONNECT)
		wfi_disconnect(connection);
	wfi_back_off(connection);
}

/*
 * Did the last polls of all kinds find nothing, and does nothing run?
 */
static bool
is_idle(const WfiWorker *worker)
{
	for (int kind = 0; kind < WFI_KINDS; kind++)
	{
		if (worker->options->slots[kind] > 0 && worker->poll_now[kind])
			return false;
	}
	return wfi_count_tasks(worker, WFI_TASK_FREE) == worker->ntasks;
}

/*
 * A poll has ended: starts the commands of the tasks it brought.
 */
static void
handle_poll_result(WfiWorker *worker, const PGresult *result)
{
	WfiKind		kind = worker->polled;
	int			ntasks = PQntuples(result);

	plan_next_poll(worker, kind);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		handle_error(worker, "poll", result, wfi_classify_error(result));
		worker->poll_now[kind] = true;
		return;
	}
	wfi_reset_back_off(&worker->connection);
	for (int row = 0; row < ntasks; row++)
	{
		WfiTask    *task = find_free_slot(worker, kind);

		if (task == NULL)
			break;				/* cannot happen, we asked for fewer */
		wfi_task_start(task, worker->options, &worker->connection, result,
					   row, worker->sent_time);
		if (task->state == WFI_TASK_FINISHED && !wfi_task_needs_reply(task))
			wfi_release_task(worker, task);
	}
	if (ntasks > 0)
		worker->poll_now[kind] = true;
	else if (worker->options->exit_when_empty && is_idle(worker))
		worker->stopping = true;
}

/*
 * A heartbeat has been answered.  The activity's command may have ended
 * meanwhile: then its reply tells the same.
 */
static void
handle_heartbeat_result(WfiWorker *worker, const PGresult *result)
{
	WfiTask    *task = worker->task;
	WfiErrorClass class;

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
	{
		wfi_reset_back_off(&worker->connection);
		wfi_activity_alive(task, result);
		return;
	}
	if (task->state != WFI_TASK_RUNNING)
		return;

	class = wfi_classify_error(result);
	switch (class)
	{
		case WFI_ERROR_STALE:
			wfi_activity_lost(task, wfi_error_message(result));
			break;
		case WFI_ERROR_LOCKED:
			wfi_log(WFI_LOG_INFO, "heartbeat of %s, is put off: %s",
					task->name, wfi_error_message(result));
			task->activity.next_heartbeat = wfi_now() + LOCKED_DELAY;
			break;
		case WFI_ERROR_REFUSED:
			wfi_log(WFI_LOG_WARNING, "heartbeat of %s, was not accepted: %s",
					task->name, wfi_error_message(result));
			wfi_activity_details_refused(task, &worker->connection);
			break;
		case WFI_ERROR_FATAL:
			task->activity.next_heartbeat = WFI_NEVER;
			handle_error(worker, "heartbeat", result, class);
			break;
		case WFI_ERROR_RETRY:
		case WFI_ERROR_RECONNECT:
			task->activity.next_heartbeat = 0;
			handle_error(worker, "heartbeat", result, class);
			break;
	}
}

/*
 * The reply for a task has been answered.
 */
static void
handle_reply_result(WfiWorker *worker, const PGresult *result)
{
	WfiTask    *task = worker->task;
	WfiErrorClass class;

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
	{
		wfi_reset_back_off(&worker->connection);
		wfi_task_log_reply(task, result);
		wfi_release_task(worker, task);
		return;
	}

	class = wfi_classify_error(result);
	switch (class)
	{
		case WFI_ERROR_STALE:
			wfi_log(WFI_LOG_WARNING, "reply for %s, came too late: %s",
					task->name, wfi_error_message(result));
			wfi_release_task(worker, task);
			break;
		case WFI_ERROR_LOCKED:
			wfi_log(WFI_LOG_INFO, "reply for %s, is put off: %s", task->name,
					wfi_error_message(result));
			task->retry_time = wfi_now() + LOCKED_DELAY;
			break;
		case WFI_ERROR_REFUSED:
			if (!wfi_task_refused(task, &worker->connection, result))
				wfi_release_task(worker, task);
			break;
		case WFI_ERROR_FATAL:
			wfi_release_task(worker, task);
			handle_error(worker, "reply", result, class);
			break;
		case WFI_ERROR_RETRY:
		case WFI_ERROR_RECONNECT:
			handle_error(worker, "reply", result, class);
			break;
	}
}

/*
 * Connects again.  A server that has changed so that we cannot work with it
 * ends everything.  What the notifications told meanwhile is asked for.
 */
static void
reconnect(WfiWorker *worker)
{
	switch (wfi_connect(&worker->connection, worker->options))
	{
		case WFI_CONNECT_OK:
			for (int kind = 0; kind < WFI_KINDS; kind++)
				worker->poll_now[kind] = true;
			for (int i = 0; i < worker->ntasks; i++)
				wfi_activity_hint(&worker->tasks[i]);
			break;
		case WFI_CONNECT_RETRY:
			break;
		case WFI_CONNECT_FATAL:
			wfi_end_commands(worker);
			break;
	}
}

/*
 * Whether to poll for tasks of this kind, and when.
 */
static WfiTime
poll_due(const WfiWorker *worker, WfiKind kind)
{
	if (worker->stopping || find_free_slot(worker, kind) == NULL)
		return WFI_NEVER;
	return worker->poll_now[kind] ? 0 : worker->next_poll[kind];
}

/*
 * Decides what to send next, and returns when.
 */
static WfiTime
choose_statement(const WfiWorker *worker, WfiStatement *statement,
				 WfiKind *kind, WfiTask **task)
{
	WfiTime		now = wfi_now();
	WfiTask    *finished = find_finished_task(worker, now);
	WfiTask    *heartbeat = find_heartbeat(worker);
	WfiTime		due = WFI_NEVER;

	*task = NULL;
	for (int i = 0; i < WFI_KINDS; i++)
	{
		WfiTime		time = poll_due(worker, (WfiKind) i);

		if (time < due)
		{
			*statement = WFI_POLL;
			*kind = (WfiKind) i;
			due = time;
		}
	}
	if (heartbeat != NULL)
	{
		WfiTime		time = wfi_activity_heartbeat_due(heartbeat);

		if (time <= now || time < due)
		{
			*statement = WFI_HEARTBEAT;
			*task = heartbeat;
			due = time;
		}
	}
	if (finished != NULL && (finished->retry_time <= now ||
							 finished->retry_time < due) &&
		!(*task != NULL && heartbeat->activity.hinted &&
		  worker->statement != WFI_HEARTBEAT))
	{
		*statement = WFI_REPLY;
		*task = finished;
		due = finished->retry_time;
	}
	return due;
}

/*
 * When to send the next statement, or to connect, if nothing else happens.
 */
WfiTime
wfi_statement_due(const WfiWorker *worker)
{
	const WfiConnection *connection = &worker->connection;
	WfiStatement statement;
	WfiKind		kind;
	WfiTask    *task;
	WfiTime		due = 0;

	if (worker->ending || connection->busy)
		return WFI_NEVER;
	if (connection->conn != NULL)
		due = choose_statement(worker, &statement, &kind, &task);
	return due > connection->retry_time ? due : connection->retry_time;
}

/*
 * Sends the next statement, or connects, when it is time to.
 */
void
wfi_advance_connection(WfiWorker *worker)
{
	WfiConnection *connection = &worker->connection;
	WfiStatement statement = WFI_POLL;
	WfiKind		kind = WFI_WORKFLOW;
	WfiTask    *task;

	if (wfi_statement_due(worker) > wfi_now())
		return;
	if (connection->conn == NULL)
		reconnect(worker);
	if (connection->conn == NULL || wfi_statement_due(worker) > wfi_now())
		return;

	choose_statement(worker, &statement, &kind, &task);
	worker->statement = statement;
	worker->task = task;
	worker->sent_time = wfi_now();
	switch (statement)
	{
		case WFI_POLL:
			worker->polled = kind;
			worker->poll_now[kind] = false;
			wfi_send_poll(connection, worker->options, kind,
						  count_free_slots(worker, kind));
			break;
		case WFI_HEARTBEAT:
			wfi_activity_send_heartbeat(task, worker->options, connection);
			break;
		case WFI_REPLY:
			wfi_task_send_reply(task, worker->options, connection);
			break;
	}
}

/*
 * Passes on what the notifications told.  One about an activity makes us ask
 * the server about the one that it names.
 */
static void
handle_notifications(WfiWorker *worker)
{
	WfiConnection *connection = &worker->connection;

	for (int kind = 0; kind < WFI_KINDS; kind++)
	{
		worker->poll_now[kind] |= connection->notified[kind];
		connection->notified[kind] = false;
	}
	for (int i = 0; i < connection->npushes; i++)
	{
		const char *push = connection->pushes[i];
		bool		found = false;

		for (int whole_run = 0; whole_run <= 1 && !found; whole_run++)
		{
			for (int j = 0; j < worker->ntasks; j++)
			{
				if (!wfi_activity_concerned(&worker->tasks[j], push,
											whole_run != 0))
					continue;
				wfi_activity_hint(&worker->tasks[j]);
				found = true;
			}
		}
	}
	for (int i = 0; i < worker->ntasks && connection->pushes_lost; i++)
		wfi_activity_hint(&worker->tasks[i]);
	wfi_clear_pushes(connection);
}

/*
 * The connection's socket is ready.  A notification may be about a task that
 * the same answer brings, so the answer comes first.
 */
void
wfi_serve_connection(WfiWorker *worker)
{
	PGresult   *result = wfi_receive(&worker->connection);

	if (result != NULL)
	{
		switch (worker->statement)
		{
			case WFI_POLL:
				handle_poll_result(worker, result);
				break;
			case WFI_HEARTBEAT:
				handle_heartbeat_result(worker, result);
				break;
			case WFI_REPLY:
				handle_reply_result(worker, result);
				break;
		}
		PQclear(result);
	}
	handle_notifications(worker);
}
