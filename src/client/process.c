/*
 * process.c
 *	  Commands as child processes.
 *
 * A command is a shell in a process group of its own, with three pipes that
 * we use without ever waiting.  It has ended when the shell has: what a
 * process that it left in the background writes later is not read.
 */
#include "wf_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define READ_SIZE			65536

/* what may be left in a pipe when its writer has ended */
#define MAX_PIPE_SIZE		(1024 * 1024)

/*
 * Closes a descriptor that is open.
 */
static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/*
 * Makes a pipe that programs we execute do not inherit.
 */
static bool
make_pipe(int fds[2])
{
	if (pipe(fds) != 0)
	{
		fds[0] = fds[1] = -1;
		return false;
	}
	return fcntl(fds[0], F_SETFD, FD_CLOEXEC) == 0 &&
		fcntl(fds[1], F_SETFD, FD_CLOEXEC) == 0;
}

/*
 * A process that is none: nothing runs, no descriptor is open.
 */
void
wfi_process_init(WfiProcess *process)
{
	memset(process, 0, sizeof(*process));
	process->in_fd = -1;
	process->out_fd = -1;
	process->err_fd = -1;
}

/*
 * The child's part of wfi_process_start(): becomes the command.
 */
static void WFI_NORETURN
run_command(const char *command, const WfiVariable *variables,
			const int fds[3], const sigset_t *signals, pid_t parent)
{
	static const char complaint[] = "could not execute /bin/sh\n";

	setpgid(0, 0);
#ifdef PR_SET_PDEATHSIG
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
#else
	(void) parent;
#endif

	/* handlers end with exec anyway, but signals come through before */
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, signals, NULL);

	for (int i = 0; i < 3; i++)
	{
		if (dup2(fds[i], i) < 0)
			_exit(126);
	}
	for (; variables->name != NULL; variables++)
		setenv(variables->name, variables->value, 1);
	execl("/bin/sh", "sh", "-c", command, (char *) NULL);
	if (write(STDERR_FILENO, complaint, sizeof(complaint) - 1) < 0)
		_exit(126);
	_exit(127);
}

/*
 * Forks with all signals blocked, so that none reaches our handlers in the
 * child.  Returns as fork() does, in the parent only.
 */
static pid_t
fork_command(const char *command, const WfiVariable *variables,
			 const int fds[3])
{
	pid_t		parent = getpid();
	pid_t		pid;
	sigset_t	all;
	sigset_t	before;
	int			save_errno;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		run_command(command, variables, fds, &before, parent);
	save_errno = errno;
	if (pid > 0)
		setpgid(pid, pid);		/* whoever comes first */
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = save_errno;
	return pid;
}

/*
 * Starts a command, in an unused process, with the given variables (the list
 * ends with a NULL name) in its environment.  Input, malloc'd, is taken over.
 * After timeout milliseconds, 0 for never, it will be asked to end.
 *
 * False, with errno set, when that is not possible.
 */
bool
wfi_process_start(WfiProcess *process, const char *command,
				  const WfiVariable *variables, char *input, WfiTime timeout)
{
	int			in[2] = {-1, -1};
	int			out[2] = {-1, -1};
	int			err[2] = {-1, -1};
	pid_t		pid = -1;
	int			save_errno;

	wfi_process_init(process);
	process->input = input;
	process->input_length = strlen(input);
	process->tail = wfi_malloc(2 * WFI_TAIL_SIZE);

	if (make_pipe(in) && make_pipe(out) && make_pipe(err) &&
		fcntl(in[1], F_SETFL, O_NONBLOCK) == 0 &&
		fcntl(out[0], F_SETFL, O_NONBLOCK) == 0 &&
		fcntl(err[0], F_SETFL, O_NONBLOCK) == 0)
	{
		const int	fds[3] = {in[0], out[1], err[1]};

		pid = fork_command(command, variables, fds);
	}
	save_errno = errno;
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&err[1]);
	process->in_fd = in[1];
	process->out_fd = out[0];
	process->err_fd = err[0];
	if (pid < 0)
	{
		wfi_process_free(process);
		errno = save_errno;
		return false;
	}
	process->pid = pid;
	process->deadline = timeout > 0 ? wfi_now() + timeout : WFI_NEVER;
	return true;
}

/*
 * Releases what a process that does not run holds.
 */
void
wfi_process_free(WfiProcess *process)
{
	close_fd(&process->in_fd);
	close_fd(&process->out_fd);
	close_fd(&process->err_fd);
	free(process->input);
	free(process->output);
	free(process->tail);
	wfi_process_init(process);
}

/*
 * Stores what to wait for, always WFI_PROCESS_FDS entries: poll(2) ignores
 * those of closed descriptors.
 */
void
wfi_process_poll_set(const WfiProcess *process, struct pollfd *fds)
{
	fds[0].fd = process->in_fd;
	fds[0].events = POLLOUT;
	fds[1].fd = process->out_fd;
	fds[1].events = POLLIN;
	fds[2].fd = process->err_fd;
	fds[2].events = POLLIN;
}

/*
 * Writes as much input as the pipe takes.  A command need not read it.
 */
static void
write_input(WfiProcess *process)
{
	while (process->input_done < process->input_length)
	{
		ssize_t		n = write(process->in_fd,
							  process->input + process->input_done,
							  process->input_length - process->input_done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0)
			break;				/* EPIPE: it will read no more */
		process->input_done += (size_t) n;
	}
	close_fd(&process->in_fd);
	free(process->input);
	process->input = NULL;
}

/*
 * Reads what there is of the output.  More than WFI_MAX_OUTPUT ends it.
 */
static void
read_output(WfiProcess *process)
{
	for (;;)
	{
		ssize_t		n;

		/* one byte more than read() may fill stays for the NUL */
		if (process->output_size - process->output_length <= READ_SIZE)
		{
			process->output_size = process->output_size * 2 + 2 * READ_SIZE;
			process->output = wfi_realloc(process->output,
										  process->output_size);
		}
		n = read(process->out_fd, process->output + process->output_length,
				 READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0)
			break;
		process->output_length += (size_t) n;
		if (process->output_length > WFI_MAX_OUTPUT)
		{
			process->ending = WFI_ENDED_BY_OUTPUT;
			wfi_process_ask_to_end(process);
			break;
		}
	}
	close_fd(&process->out_fd);
}

/*
 * Drops all but the last WFI_TAIL_SIZE bytes of standard error.
 */
static void
trim_tail(WfiProcess *process)
{
	if (process->tail_length <= WFI_TAIL_SIZE)
		return;
	memmove(process->tail,
			process->tail + process->tail_length - WFI_TAIL_SIZE,
			WFI_TAIL_SIZE);
	process->tail_length = WFI_TAIL_SIZE;
}

/*
 * Reads what there is on standard error, but no more than limit bytes, and
 * keeps the end of it.
 */
static void
read_error(WfiProcess *process, size_t limit)
{
	for (size_t done = 0; done < limit;)
	{
		ssize_t		n;

		trim_tail(process);
		n = read(process->err_fd, process->tail + process->tail_length,
				 2 * WFI_TAIL_SIZE - process->tail_length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0)
		{
			close_fd(&process->err_fd);
			return;
		}
		process->tail_length += (size_t) n;
		done += (size_t) n;
	}
}

/*
 * Serves the pipes that poll(2) found ready.
 */
void
wfi_process_io(WfiProcess *process, const struct pollfd *fds)
{
	if (fds[0].revents != 0)
		write_input(process);
	if (fds[1].revents != 0)
		read_output(process);
	if (fds[2].revents != 0)
		read_error(process, MAX_PIPE_SIZE);
}

/*
 * True once, when the command has ended: status, output and tail are then
 * complete and the pipes closed.
 */
bool
wfi_process_reap(WfiProcess *process)
{
	pid_t		pid;

	if (process->pid == 0)
		return false;
	do
		pid = waitpid(process->pid, &process->status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid != process->pid)
		return false;

	process->pid = 0;
	if (process->out_fd >= 0)
		read_output(process);
	if (process->err_fd >= 0)
		read_error(process, MAX_PIPE_SIZE);
	trim_tail(process);
	if (process->output == NULL)
		process->output = wfi_malloc(1);
	process->output[process->output_length] = '\0';
	close_fd(&process->in_fd);
	close_fd(&process->out_fd);
	close_fd(&process->err_fd);
	return true;
}

/*
 * Asks a command and all its children to end.  If it does not,
 * wfi_process_enforce() makes it.
 */
void
wfi_process_ask_to_end(WfiProcess *process)
{
	if (process->pid == 0 || process->asked)
		return;
	kill(-process->pid, SIGTERM);
	process->asked = true;
	process->deadline = wfi_now() + WFI_KILL_DELAY_MS;
}

/*
 * Acts on the deadline when it has come.
 */
void
wfi_process_enforce(WfiProcess *process, WfiTime now)
{
	if (process->pid == 0 || now < process->deadline)
		return;
	if (process->asked)
	{
		kill(-process->pid, SIGKILL);
		process->deadline = WFI_NEVER;
	}
	else
	{
		process->ending = WFI_ENDED_BY_TIMEOUT;
		wfi_process_ask_to_end(process);
	}
}

/*
 * Why an ended process counts as failed, malloc'd; NULL if it does not.
 */
char *
wfi_process_failure(const WfiProcess *process)
{
	if (process->ending == WFI_ENDED_BY_TIMEOUT)
		return wfi_strdup("command was ended because it ran too long");
	if (process->ending == WFI_ENDED_BY_OUTPUT)
		return wfi_format("command wrote more than %d MiB to standard output",
						  WFI_MAX_OUTPUT / (1024 * 1024));
	if (WIFSIGNALED(process->status))
		return wfi_format("command was terminated by signal %d: %s",
						  WTERMSIG(process->status),
						  strsignal(WTERMSIG(process->status)));
	if (WEXITSTATUS(process->status) != 0)
		return wfi_format("command failed with exit status %d",
						  WEXITSTATUS(process->status));
	return NULL;
}
