/*
 * process.c
 *	  Commands as child processes.
 *
 * A command is a shell in a process group of its own, with pipes that we use
 * without ever waiting.  It has ended when the shell has: what is left of the
 * group is killed.  But after we asked the group to end, the shell's end is
 * not enough: a shell dies of SIGTERM at once while the program that it runs
 * may still clean up.  Then the command has ended when the group has.
 *
 * A group is signalled only while its number is its own: as long as the shell
 * was not waited for, or members are left.
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

/* how often to look for the end of a group whose shell has ended */
#define GROUP_CHECK_MS		20

/* where a command may write details, told as WF_HEARTBEAT_FD */
#define DETAILS_FD			3

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
	process->details_fd = -1;
	process->deadline = WFI_NEVER;
	process->lease = WFI_NEVER;
}

/*
 * The child's part of wfi_process_start(): becomes the command.
 */
static void WFI_NORETURN
run_command(const WfiCommand *command, const int fds[4],
			const sigset_t *signals, pid_t parent)
{
	const WfiVariable *variable;

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
	/* it may be that very descriptor, which would then be closed by exec */
	if (command->takes_details &&
		(dup2(fds[3], DETAILS_FD) < 0 || fcntl(DETAILS_FD, F_SETFD, 0) != 0))
		_exit(126);
	for (variable = command->variables; variable->name != NULL; variable++)
	{
		if (variable->value != NULL)
			setenv(variable->name, variable->value, 1);
		else
			unsetenv(variable->name);
	}
	execl("/bin/sh", "sh", "-c", command->command, (char *) NULL);
	if (write(STDERR_FILENO, complaint, sizeof(complaint) - 1) < 0)
		_exit(126);
	_exit(127);
}

/*
 * Forks with all signals blocked, so that none reaches our handlers in the
 * child.  Returns as fork() does, in the parent only; the guard knows then.
 */
static pid_t
fork_command(const WfiCommand *command, const int fds[4])
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
		run_command(command, fds, &before, parent);
	save_errno = errno;
	if (pid > 0)
	{
		setpgid(pid, pid);		/* whoever comes first */
		wfi_guard_watch(pid, command->lease);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = save_errno;
	return pid;
}

/*
 * Makes the pipes that a command gets; ours are those that do not block.
 */
static bool
make_pipes(int in[2], int out[2], int err[2], int details[2],
		   bool takes_details)
{
	return make_pipe(in) && make_pipe(out) && make_pipe(err) &&
		fcntl(in[1], F_SETFL, O_NONBLOCK) == 0 &&
		fcntl(out[0], F_SETFL, O_NONBLOCK) == 0 &&
		fcntl(err[0], F_SETFL, O_NONBLOCK) == 0 &&
		(!takes_details ||
		 (make_pipe(details) &&
		  fcntl(details[0], F_SETFL, O_NONBLOCK) == 0));
}

/*
 * Starts a command in an unused process.
 *
 * False, with errno set, when that is not possible.
 */
bool
wfi_process_start(WfiProcess *process, const WfiCommand *command)
{
	int			in[2] = {-1, -1};
	int			out[2] = {-1, -1};
	int			err[2] = {-1, -1};
	int			details[2] = {-1, -1};
	pid_t		pid = -1;
	int			save_errno;

	wfi_process_init(process);
	process->input = command->input;
	process->input_length = strlen(command->input);
	process->tail = wfi_malloc(2 * WFI_TAIL_SIZE);
	process->grace = command->grace;
	process->lease = command->lease;

	if (make_pipes(in, out, err, details, command->takes_details))
	{
		const int	fds[4] = {in[0], out[1], err[1], details[1]};

		pid = fork_command(command, fds);
	}
	save_errno = errno;
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&err[1]);
	close_fd(&details[1]);
	process->in_fd = in[1];
	process->out_fd = out[0];
	process->err_fd = err[0];
	process->details_fd = details[0];
	if (pid < 0)
	{
		wfi_process_free(process);
		errno = save_errno;
		return false;
	}
	process->pid = pid;
	if (command->timeout > 0)
		process->deadline = wfi_now() + command->timeout;
	return true;
}

/*
 * Closes our ends of all pipes.
 */
static void
close_pipes(WfiProcess *process)
{
	close_fd(&process->in_fd);
	close_fd(&process->out_fd);
	close_fd(&process->err_fd);
	close_fd(&process->details_fd);
}

/*
 * Releases what a process that does not run holds.
 */
void
wfi_process_free(WfiProcess *process)
{
	close_pipes(process);
	free(process->input);
	free(process->output);
	free(process->tail);
	free(process->line);
	free(process->details);
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
	fds[3].fd = process->details_fd;
	fds[3].events = POLLIN;
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
 * Moves the last whole line that is not blank to where it can be taken, and
 * drops all whole lines.  What no line break follows is no line yet.
 */
static void
take_last_line(WfiProcess *process)
{
	size_t		whole = process->line_length;
	size_t		begin;
	size_t		end;

	while (whole > 0 && process->line[whole - 1] != '\n')
		whole--;
	for (end = whole; end > 0; end = begin)
	{
		begin = end - 1;
		while (begin > 0 && process->line[begin - 1] != '\n')
			begin--;
		if (!wfi_is_blank(process->line + begin, end - begin))
			break;
	}
	if (end > 0)
	{
		free(process->details);
		process->details_length = end - 1 - begin;
		process->details = wfi_malloc(process->details_length + 1);
		memcpy(process->details, process->line + begin,
			   process->details_length);
		process->details[process->details_length] = '\0';
	}
	process->line_length -= whole;
	memmove(process->line, process->line + whole, process->line_length);
}

/*
 * Reads what there is of the details, but not much more than limit bytes.  A
 * line of more than WFI_MAX_OUTPUT ends the command.
 */
static void
read_details(WfiProcess *process, size_t limit)
{
	for (size_t done = 0; done < limit;)
	{
		ssize_t		n;

		if (process->line_size - process->line_length < READ_SIZE)
		{
			process->line_size = process->line_size * 2 + READ_SIZE;
			process->line = wfi_realloc(process->line, process->line_size);
		}
		n = read(process->details_fd, process->line + process->line_length,
				 READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0)
			break;
		process->line_length += (size_t) n;
		done += (size_t) n;
		take_last_line(process);
		if (process->line_length > WFI_MAX_OUTPUT)
		{
			process->ending = WFI_ENDED_BY_DETAILS;
			wfi_process_ask_to_end(process);
			break;
		}
		if (done >= limit)
			return;
	}
	close_fd(&process->details_fd);
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
	if (fds[3].revents != 0)
		read_details(process, MAX_PIPE_SIZE);
}

/*
 * Has the group members, whose shell was waited for already?  Those that have
 * ended and are our children now do not count.
 */
static bool
group_is_alive(const WfiProcess *process)
{
	while (waitpid(-process->pid, NULL, WNOHANG) > 0)
		;
	return kill(-process->pid, 0) == 0 || errno != ESRCH;
}

/*
 * Waits for the shell, if it has ended.  Unless the group was asked to end
 * and may still do so, what is left of it is killed.
 */
static void
reap_shell(WfiProcess *process)
{
	siginfo_t	info;
	pid_t		pid;

	/* see whether it has ended, without giving its number away */
	info.si_pid = 0;
	if (waitid(P_PID, (id_t) process->pid, &info,
			   WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
		return;

	if (!process->asked || process->killed)
	{
		wfi_guard_forget(process->pid);
		kill(-process->pid, SIGKILL);
	}
	do
		pid = waitpid(process->pid, &process->status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	process->exited = true;
	if (WIFSIGNALED(process->status) && !process->killed &&
		WTERMSIG(process->status) == SIGKILL && wfi_now() >= process->lease)
		process->ending = WFI_ENDED_BY_LEASE;	/* by the guard */
}

/*
 * True once, when the command has ended: status, output, tail and details are
 * then complete and the pipes closed.
 */
bool
wfi_process_reap(WfiProcess *process)
{
	if (process->pid == 0)
		return false;
	if (!process->exited)
		reap_shell(process);
	if (!process->exited)
		return false;
	if (process->asked && !process->killed && group_is_alive(process))
		return false;

	wfi_guard_forget(process->pid);
	process->pid = 0;
	if (process->out_fd >= 0)
		read_output(process);
	if (process->err_fd >= 0)
		read_error(process, MAX_PIPE_SIZE);
	if (process->details_fd >= 0)
		read_details(process, MAX_PIPE_SIZE);
	trim_tail(process);
	if (process->output == NULL)
		process->output = wfi_malloc(1);
	process->output[process->output_length] = '\0';
	close_pipes(process);
	return true;
}

/*
 * Asks a command and all its children to end.  If it does not within its
 * grace period, wfi_process_enforce() makes it.
 */
void
wfi_process_ask_to_end(WfiProcess *process)
{
	if (process->pid == 0 || process->asked)
		return;
	process->asked = true;
	process->deadline = wfi_now() + process->grace;
	kill(-process->pid, SIGTERM);
	kill(-process->pid, SIGCONT);	/* else one that is stopped never ends */
}

/*
 * Kills a command and all its children.
 */
void
wfi_process_kill(WfiProcess *process)
{
	if (process->pid == 0 || process->killed)
		return;
	kill(-process->pid, SIGKILL);
	process->killed = true;
	process->deadline = WFI_NEVER;
	process->lease = WFI_NEVER;
}

/*
 * The command may go on, but no longer than the new lease says.
 */
void
wfi_process_extend(WfiProcess *process, WfiTime lease)
{
	if (process->pid == 0 || process->killed)
		return;
	process->lease = lease;
	wfi_guard_watch(process->pid, lease);
}

/*
 * When to call wfi_process_reap() and wfi_process_enforce() at the latest.
 */
WfiTime
wfi_process_wakeup(const WfiProcess *process)
{
	WfiTime		wakeup = process->deadline;

	if (process->pid == 0)
		return WFI_NEVER;
	if (process->lease < wakeup)
		wakeup = process->lease;
	if (process->exited && wakeup > wfi_now() + GROUP_CHECK_MS)
		wakeup = wfi_now() + GROUP_CHECK_MS;
	return wakeup;
}

/*
 * Acts on the deadline and the lease when they have come.
 */
void
wfi_process_enforce(WfiProcess *process, WfiTime now)
{
	if (process->pid == 0)
		return;
	if (now >= process->lease)
	{
		process->ending = WFI_ENDED_BY_LEASE;
		wfi_process_kill(process);
	}
	else if (now < process->deadline)
		return;
	else if (process->asked)
		wfi_process_kill(process);
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
	if (process->ending == WFI_ENDED_BY_DETAILS)
		return wfi_format("command wrote a line of more than %d MiB to descriptor %d",
						  WFI_MAX_OUTPUT / (1024 * 1024), DETAILS_FD);
	if (WIFSIGNALED(process->status))
		return wfi_format("command was terminated by signal %d: %s",
						  WTERMSIG(process->status),
						  strsignal(WTERMSIG(process->status)));
	if (WEXITSTATUS(process->status) != 0)
		return wfi_format("command failed with exit status %d",
						  WEXITSTATUS(process->status));
	return NULL;
}
