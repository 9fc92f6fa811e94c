/*
 * loop.c
 *	  Waiting, and serving what becomes ready: commands, signals, the server.
 *
 * A first signal to stop ends polling: what runs may finish and is replied,
 * and activities go on heartbeating.  A second one ends the commands.
 */
#include "wf_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

/* the poll set: signals, the connection, then the slots' pipes */
#define FD_SIGNALS			0
#define FD_CONNECTION		1
#define FD_PROCESSES		2

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
int
wfi_count_tasks(const WfiWorker *worker, WfiTaskState state)
{
	int			count = 0;

	for (int i = 0; i < worker->ntasks; i++)
	{
		if (worker->tasks[i].state == state)
			count++;
	}
	return count;
}

/*
 * Gives a task's slot back, which is a reason to poll: for another task of
 * its kind, and, unless we wait for work anyway, for any that the reply made.
 */
void
wfi_release_task(WfiWorker *worker, WfiTask *task)
{
	worker->poll_now[task->kind] = true;
	for (int kind = 0; kind < WFI_KINDS; kind++)
		worker->poll_now[kind] |= worker->options->exit_when_empty;
	wfi_task_free(task);
}

/*
 * Makes all commands end; nothing is replied any more.
 */
void
wfi_end_commands(WfiWorker *worker)
{
	worker->stopping = true;
	worker->ending = true;
	worker->exit_code = EXIT_FAILURE;
	for (int i = 0; i < worker->ntasks; i++)
	{
		if (worker->tasks[i].state == WFI_TASK_RUNNING)
			wfi_process_ask_to_end(&worker->tasks[i].process);
	}
}

/*
 * Looks after one running command.
 */
static void
serve_process(WfiWorker *worker, WfiTask *task, const struct pollfd *fds)
{
	bool		ended;

	wfi_process_io(&task->process, fds);
	ended = wfi_process_reap(&task->process);
	if (task->kind == WFI_ACTIVITY)
		wfi_activity_take_details(task, &worker->connection);
	if (!ended)
		wfi_process_enforce(&task->process, wfi_now());
	else if (worker->ending)
		wfi_task_free(task);
	else
	{
		wfi_task_ended(task);
		if (!wfi_task_needs_reply(task))
			wfi_release_task(worker, task);
	}
}

/*
 * Waits for processes that became our children when the command that had
 * started them ended.  That of a command itself is left to serve_process().
 */
static void
reap_orphans(const WfiWorker *worker)
{
	for (;;)
	{
		siginfo_t	info;

		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
			info.si_pid == 0)
			return;
		for (int i = 0; i < worker->ntasks; i++)
		{
			const WfiProcess *process = &worker->tasks[i].process;

			if (process->pid == info.si_pid && !process->exited)
				return;			/* its signal wakes us again */
		}
		waitpid(info.si_pid, NULL, WNOHANG);
	}
}

/*
 * Acts on signals to stop.
 */
static void
serve_signals(WfiWorker *worker)
{
	char		buffer[64];

	while (read(signal_pipe[0], buffer, sizeof(buffer)) > 0)
		;
	if (stop_signals > 0 && !worker->stopping)
	{
		wfi_log(WFI_LOG_INFO, "stopping, commands still running: %d",
				wfi_count_tasks(worker, WFI_TASK_RUNNING));
		worker->stopping = true;
	}
	if (stop_signals > 1 && !worker->ending)
	{
		wfi_log(WFI_LOG_WARNING, "ending %d running commands",
				wfi_count_tasks(worker, WFI_TASK_RUNNING));
		wfi_end_commands(worker);
	}
}

/*
 * Sleeps until something happens, or has to, and does what that asks for.
 */
static void
wait_and_serve(WfiWorker *worker, struct pollfd *fds)
{
	int			nfds = FD_PROCESSES + worker->ntasks * WFI_PROCESS_FDS;
	WfiTime		due = wfi_statement_due(worker);
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
	for (int i = 0; i < worker->ntasks; i++)
	{
		const WfiProcess *process = &worker->tasks[i].process;
		WfiTime		wakeup = wfi_process_wakeup(process);

		wfi_process_poll_set(process,
							 &fds[FD_PROCESSES + i * WFI_PROCESS_FDS]);
		if (wakeup < due)
			due = wakeup;
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
	for (int i = 0; i < worker->ntasks; i++)
	{
		if (worker->tasks[i].state == WFI_TASK_RUNNING)
			serve_process(worker, &worker->tasks[i],
						  &fds[FD_PROCESSES + i * WFI_PROCESS_FDS]);
	}
	reap_orphans(worker);
	if (fds[FD_CONNECTION].revents != 0)
		wfi_serve_connection(worker);
}

/*
 * Has the worker stopped, with nothing left to do?
 */
static bool
is_done(const WfiWorker *worker)
{
	if (worker->ending)
		return wfi_count_tasks(worker, WFI_TASK_RUNNING) == 0;
	return worker->stopping && !worker->connection.busy &&
		wfi_count_tasks(worker, WFI_TASK_FREE) == worker->ntasks;
}

/*
 * Works until told to stop.
 */
static void
loop(WfiWorker *worker)
{
	const int  *slots = worker->options->slots;
	size_t		ntasks = (size_t) (slots[WFI_WORKFLOW] + slots[WFI_ACTIVITY]);
	size_t		nfds = FD_PROCESSES + ntasks * WFI_PROCESS_FDS;
	struct pollfd *fds;

	worker->ntasks = (int) ntasks;
	worker->tasks = wfi_malloc(ntasks * sizeof(WfiTask));
	for (int i = 0; i < worker->ntasks; i++)
		wfi_task_init(&worker->tasks[i],
					  i < slots[WFI_WORKFLOW] ? WFI_WORKFLOW : WFI_ACTIVITY);
	fds = wfi_malloc(nfds * sizeof(struct pollfd));
	memset(fds, 0, nfds * sizeof(struct pollfd));

	while (!is_done(worker))
	{
		wfi_advance_connection(worker);
		if (!is_done(worker))
			wait_and_serve(worker, fds);
	}

	for (int i = 0; i < worker->ntasks; i++)
		wfi_task_free(&worker->tasks[i]);
	free(worker->tasks);
	free(fds);
	wfi_log(WFI_LOG_INFO, "stopped");
}

/*
 * Connects and works; returns the program's exit status.
 */
int
wfi_run(const WfiOptions *options)
{
	WfiWorker	worker;

	memset(&worker, 0, sizeof(worker));
	worker.options = options;
	worker.exit_code = EXIT_FAILURE;
	for (int kind = 0; kind < WFI_KINDS; kind++)
		worker.poll_now[kind] = true;
	srandom((unsigned int) getpid() ^ (unsigned int) time(NULL));

	if (!wfi_guard_start())
	{
		wfi_log(WFI_LOG_ERROR, "could not start guard process: %s",
				strerror(errno));
		return EXIT_FAILURE;
	}

	/*
	 * What commands leave behind becomes ours, not of process 1: that may not
	 * wait for it, and then a group would never seem to end.
	 */
#ifdef PR_SET_CHILD_SUBREAPER
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
#endif

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
