/*
 * loop.c
 *	  What to do next: poll, start commands, send replies, stop.
 *
 * There is one statement under way at a time.  Replies go before polls, since
 * others wait for them.  A poll asks for as many tasks as there are free
 * slots; it is due at once after a notification, after a finished task, and
 * as long as polls find something, else after the poll interval.
 *
 * A first signal to stop ends polling: what runs may finish and is replied.
 * A second one ends the commands.
 */
#include "wf_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* the poll set: signals, the connection, then the slots' pipes */
#define FD_SIGNALS			0
#define FD_CONNECTION		1
#define FD_PROCESSES		2

typedef struct Worker
{
	const WfiOptions *options;
	WfiConnection connection;
	WfiTask    *tasks;			/* max_concurrent slots */
	WfiTask    *replying;		/* whose reply is under way; NULL: a poll */
	struct pollfd *fds;
	bool		poll_now;
	WfiTime		next_poll;		/* at the latest */
	bool		stopping;		/* no more polls */
	bool		ending;			/* no more replies, commands have to end */
	int			exit_code;
} Worker;

/* written by signal handlers */
static volatile sig_atomic_t stop_signals = 0;
static int	signal_pipe[2];

/*
 * Handles SIGTERM, SIGINT and SIGCHLD: wakes the loop.
 */
static void
handle_signal(int signo)
{
	int			save_errno = errno;

	if (signo != SIGCHLD)
		stop_signals++;
	/* a full pipe wakes the loop as well */
	if (write(signal_pipe[1], "", 1) < 0)
		errno = save_errno;
	errno = save_errno;
}

/*
 * Makes the pipe and installs the handlers.
 */
static bool
set_up_signals(void)
{
	struct sigaction action;

	if (pipe(signal_pipe) != 0)
		return false;
	for (int i = 0; i < 2; i++)
	{
		if (fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK) != 0 ||
			fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC) != 0)
			return false;
	}

	memset(&action, 0, sizeof(action));
	sigemptyset(&action.sa_mask);
	action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
	action.sa_handler = handle_signal;
	if (sigaction(SIGTERM, &action, NULL) != 0 ||
		sigaction(SIGINT, &action, NULL) != 0 ||
		sigaction(SIGCHLD, &action, NULL) != 0)
		return false;

	/* commands that do not read their input, and broken connections */
	action.sa_handler = SIG_IGN;
	return sigaction(SIGPIPE, &action, NULL) == 0;
}

/*
 * Number of slots in a state.
 */
static int
count_tasks(const Worker *worker, WfiTaskState state)
{
	int			count = 0;

	for (int i = 0; i < worker->options->max_concurrent; i++)
	{
		if (worker->tasks[i].state == state)
			count++;
	}
	return count;
}

/*
 * A free slot, NULL if all are taken.
 */
static WfiTask *
find_free_slot(const Worker *worker)
{
	for (int i = 0; i < worker->options->max_concurrent; i++)
	{
		if (worker->tasks[i].state == WFI_TASK_FREE)
			return &worker->tasks[i];
	}
	return NULL;
}

/*
 * The task that has waited longest for its reply to be sent, or NULL.
 */
static WfiTask *
find_finished_task(const Worker *worker)
{
	WfiTask    *oldest = NULL;

	for (int i = 0; i < worker->options->max_concurrent; i++)
	{
		WfiTask    *task = &worker->tasks[i];

		if (task->state == WFI_TASK_FINISHED &&
			(oldest == NULL || task->finish_number < oldest->finish_number))
			oldest = task;
	}
	return oldest;
}

/*
 * Gives a task's slot back, which is a reason to poll.
 */
static void
release_task(Worker *worker, WfiTask *task)
{
	wfi_task_free(task);
	worker->poll_now = true;
}

/*
 * Stops as after a signal, but the program will have failed.
 */
static void
give_up(Worker *worker)
{
	worker->stopping = true;
	worker->exit_code = EXIT_FAILURE;
}

/*
 * Makes all commands end; nothing is replied any more.
 */
static void
end_commands(Worker *worker)
{
	worker->stopping = true;
	worker->ending = true;
	worker->exit_code = EXIT_FAILURE;
	for (int i = 0; i < worker->options->max_concurrent; i++)
	{
		if (worker->tasks[i].state == WFI_TASK_RUNNING)
			wfi_process_ask_to_end(&worker->tasks[i].process);
	}
}

/*
 * Puts the fallback poll at the poll interval from now, a quarter more or
 * less, so that workers started together do not stay together.
 */
static void
plan_next_poll(Worker *worker)
{
	double		factor = 0.75 + 0.5 * ((double) random() / 2147483647.0);

	worker->next_poll = wfi_now() +
		(WfiTime) ((double) worker->options->poll_interval * factor) + 1;
}

/*
 * Handles an error of a statement that the statement itself did not cause.
 * Unless this makes us stop, the caller's state is such that the statement
 * will be sent again, later.
 */
static void
handle_error(Worker *worker, const char *what, const PGresult *result,
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
 * A poll has ended: starts the commands of the tasks it brought.
 */
static void
handle_poll_result(Worker *worker, const PGresult *result)
{
	int			ntasks = PQntuples(result);

	plan_next_poll(worker);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		handle_error(worker, "poll", result, wfi_classify_error(result));
		worker->poll_now = true;
		return;
	}
	wfi_reset_back_off(&worker->connection);
	for (int row = 0; row < ntasks; row++)
	{
		WfiTask    *task = find_free_slot(worker);

		if (task == NULL)
			break;				/* cannot happen, we asked for fewer */
		wfi_task_start(task, worker->options, &worker->connection, result,
					   row);
		if (task->state == WFI_TASK_FINISHED && !wfi_task_needs_reply(task))
			release_task(worker, task);
	}
	if (ntasks > 0)
		worker->poll_now = true;
	else if (worker->options->exit_when_empty && !worker->poll_now &&
			 count_tasks(worker, WFI_TASK_FREE) == worker->options->max_concurrent)
		worker->stopping = true;
}

/*
 * The reply for a task has been answered.
 */
static void
handle_reply_result(Worker *worker, WfiTask *task, const PGresult *result)
{
	WfiErrorClass class;

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
	{
		wfi_reset_back_off(&worker->connection);
		wfi_task_log_reply(task, result);
		release_task(worker, task);
		return;
	}

	class = wfi_classify_error(result);
	switch (class)
	{
		case WFI_ERROR_STALE:
			wfi_log(WFI_LOG_WARNING,
					"reply for workflow \"%s\", run %s, attempt %d, came too late: %s",
					task->workflow_id, task->run_id, task->attempt,
					wfi_error_message(result));
			release_task(worker, task);
			break;
		case WFI_ERROR_REFUSED:
			if (task->failure == NULL)
			{
				wfi_task_refused(task, result);
				if (wfi_task_needs_reply(task))
					break;
			}
			else
				wfi_log(WFI_LOG_WARNING,
						"failure of workflow \"%s\", run %s, attempt %d, was not accepted: %s",
						task->workflow_id, task->run_id, task->attempt,
						wfi_error_message(result));
			release_task(worker, task);
			break;
		case WFI_ERROR_FATAL:
			release_task(worker, task);
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
 * ends everything.
 */
static void
reconnect(Worker *worker)
{
	switch (wfi_connect(&worker->connection, worker->options))
	{
		case WFI_CONNECT_OK:
			worker->poll_now = true;
			break;
		case WFI_CONNECT_RETRY:
			break;
		case WFI_CONNECT_FATAL:
			end_commands(worker);
			break;
	}
}

/*
 * When to send the next statement, or to connect, if nothing else happens.
 */
static WfiTime
statement_due(const Worker *worker)
{
	const WfiConnection *connection = &worker->connection;
	WfiTime		due;

	if (worker->ending || connection->busy)
		return WFI_NEVER;
	if (connection->conn == NULL || find_finished_task(worker) != NULL)
		return connection->retry_time;
	if (worker->stopping || find_free_slot(worker) == NULL)
		return WFI_NEVER;
	due = worker->poll_now ? 0 : worker->next_poll;
	return due > connection->retry_time ? due : connection->retry_time;
}

/*
 * Sends the next statement, or connects, when it is time to.
 */
static void
advance_connection(Worker *worker)
{
	WfiConnection *connection = &worker->connection;
	WfiTask    *task;

	if (statement_due(worker) > wfi_now())
		return;
	if (connection->conn == NULL)
		reconnect(worker);
	if (statement_due(worker) > wfi_now())
		return;

	task = find_finished_task(worker);
	if (task != NULL)
	{
		if (wfi_task_send_reply(task, worker->options, connection))
			worker->replying = task;
	}
	else
	{
		worker->poll_now = false;
		wfi_send_poll(connection, worker->options,
					  count_tasks(worker, WFI_TASK_FREE));
	}
}

/*
 * The connection's socket is ready.
 */
static void
serve_connection(Worker *worker)
{
	WfiConnection *connection = &worker->connection;
	PGresult   *result = wfi_receive(connection);
	WfiTask    *task = worker->replying;

	if (connection->notified)
	{
		connection->notified = false;
		worker->poll_now = true;
	}
	if (!connection->busy)
		worker->replying = NULL;
	if (result == NULL)
		return;
	if (task != NULL)
		handle_reply_result(worker, task, result);
	else
		handle_poll_result(worker, result);
	PQclear(result);
}

/*
 * Looks after one running command.
 */
static void
serve_process(Worker *worker, WfiTask *task, const struct pollfd *fds)
{
	wfi_process_io(&task->process, fds);
	if (!wfi_process_reap(&task->process))
		wfi_process_enforce(&task->process, wfi_now());
	else if (worker->ending)
		wfi_task_free(task);
	else
	{
		wfi_task_ended(task);
		if (!wfi_task_needs_reply(task))
			release_task(worker, task);
	}
}

/*
 * Acts on signals to stop.
 */
static void
serve_signals(Worker *worker)
{
	char		buffer[64];

	while (read(signal_pipe[0], buffer, sizeof(buffer)) > 0)
		;
	if (stop_signals > 0 && !worker->stopping)
	{
		wfi_log(WFI_LOG_INFO, "stopping, commands still running: %d",
				count_tasks(worker, WFI_TASK_RUNNING));
		worker->stopping = true;
	}
	if (stop_signals > 1 && !worker->ending)
	{
		wfi_log(WFI_LOG_WARNING, "ending %d running commands",
				count_tasks(worker, WFI_TASK_RUNNING));
		end_commands(worker);
	}
}

/*
 * Sleeps until something happens, or has to, and does what that asks for.
 */
static void
wait_and_serve(Worker *worker)
{
	int			max_concurrent = worker->options->max_concurrent;
	int			nfds = FD_PROCESSES + max_concurrent * WFI_PROCESS_FDS;
	struct pollfd *fds = worker->fds;
	WfiTime		due = statement_due(worker);
	int			timeout = -1;

	fds[FD_SIGNALS].fd = signal_pipe[0];
	fds[FD_SIGNALS].events = POLLIN;
	fds[FD_CONNECTION].fd = -1;
	if (worker->connection.conn != NULL && !worker->ending)
	{
		fds[FD_CONNECTION].fd = PQsocket(worker->connection.conn);
		fds[FD_CONNECTION].events =
			wfi_connection_events(&worker->connection);
	}
	for (int i = 0; i < max_concurrent; i++)
	{
		WfiProcess *process = &worker->tasks[i].process;

		wfi_process_poll_set(process,
							 &fds[FD_PROCESSES + i * WFI_PROCESS_FDS]);
		if (worker->tasks[i].state == WFI_TASK_RUNNING &&
			process->deadline < due)
			due = process->deadline;
	}
	if (due != WFI_NEVER)
	{
		WfiTime		left = due - wfi_now();

		timeout = left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int) left;
	}
	if (poll(fds, (nfds_t) nfds, timeout) < 0)
	{
		if (errno != EINTR)
		{
			wfi_log(WFI_LOG_ERROR, "could not wait: %s", strerror(errno));
			exit(EXIT_FAILURE);
		}
		for (int i = 0; i < nfds; i++)
			fds[i].revents = 0;
	}

	serve_signals(worker);
	for (int i = 0; i < max_concurrent; i++)
	{
		if (worker->tasks[i].state == WFI_TASK_RUNNING)
			serve_process(worker, &worker->tasks[i],
						  &fds[FD_PROCESSES + i * WFI_PROCESS_FDS]);
	}
	if (fds[FD_CONNECTION].revents != 0)
		serve_connection(worker);
}

/*
 * Has the worker stopped, with nothing left to do?
 */
static bool
is_done(const Worker *worker)
{
	if (worker->ending)
		return count_tasks(worker, WFI_TASK_RUNNING) == 0;
	return worker->stopping && !worker->connection.busy &&
		count_tasks(worker, WFI_TASK_FREE) == worker->options->max_concurrent;
}

/*
 * Works until told to stop.
 */
static void
loop(Worker *worker)
{
	size_t		slots = (size_t) worker->options->max_concurrent;
	size_t		nfds = FD_PROCESSES + slots * WFI_PROCESS_FDS;

	worker->tasks = wfi_malloc(slots * sizeof(WfiTask));
	for (size_t i = 0; i < slots; i++)
		wfi_task_init(&worker->tasks[i]);
	worker->fds = wfi_malloc(nfds * sizeof(struct pollfd));
	memset(worker->fds, 0, nfds * sizeof(struct pollfd));

	while (!is_done(worker))
	{
		advance_connection(worker);
		if (!is_done(worker))
			wait_and_serve(worker);
	}

	for (size_t i = 0; i < slots; i++)
		wfi_task_free(&worker->tasks[i]);
	free(worker->tasks);
	free(worker->fds);
	wfi_log(WFI_LOG_INFO, "stopped");
}

/*
 * Connects and works; returns the program's exit status.
 */
int
wfi_run(const WfiOptions *options)
{
	Worker		worker;

	memset(&worker, 0, sizeof(worker));
	worker.options = options;
	worker.exit_code = EXIT_FAILURE;
	worker.poll_now = true;
	srandom((unsigned int) getpid() ^ (unsigned int) time(NULL));

	/* nothing runs yet: signals may just end us while we connect */
	if (wfi_connect(&worker.connection, options) == WFI_CONNECT_OK)
	{
		if (set_up_signals())
		{
			worker.exit_code = EXIT_SUCCESS;
			loop(&worker);
		}
		else
			wfi_log(WFI_LOG_ERROR, "could not set up signal handling: %s",
					strerror(errno));
	}
	wfi_connection_free(&worker.connection);
	return worker.exit_code;
}
