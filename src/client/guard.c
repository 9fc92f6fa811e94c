/*
 * guard.c
 *	  The guard: a child of the worker that kills what the worker cannot.
 *
 * When a worker is killed, its commands must not go on: the server gives
 * their tasks to somebody else.  The same holds for an activity whose lease
 * has run out while the worker was stopped, or waits for a connection.  So
 * the worker tells the guard, through a pipe, which process groups there are
 * and how long each may live.  The end of the pipe is the end of the worker,
 * however that came.
 *
 * The worker takes a group back before its number can belong to anybody else,
 * and the guard reads all it was told before it kills.
 */
#include "wf_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* written at once or not at all, as it is shorter than PIPE_BUF */
typedef struct Message
{
	pid_t		group;
	WfiTime		until;			/* FORGET: it is gone */
} Message;

#define FORGET				INT64_MIN

/* the worker's end of the pipe */
static int	guard_fd = -1;

/* in the guard: the groups there are */
static Message *groups = NULL;
static size_t ngroups = 0;
static size_t groups_size = 0;

/*
 * Changes the list of groups.
 */
static void
apply_message(const Message *message)
{
	size_t		i = 0;

	while (i < ngroups && groups[i].group != message->group)
		i++;
	if (message->until == FORGET)
	{
		if (i < ngroups)
			groups[i] = groups[--ngroups];
		return;
	}
	if (i == groups_size)
	{
		groups_size = groups_size * 2 + 16;
		groups = wfi_realloc(groups, groups_size * sizeof(Message));
	}
	groups[i] = *message;
	if (i == ngroups)
		ngroups++;
}

/*
 * Kills the groups whose time is over; returns when the next one's is.
 */
static WfiTime
kill_overdue(WfiTime now)
{
	WfiTime		next = WFI_NEVER;

	for (size_t i = 0; i < ngroups; i++)
	{
		if (groups[i].until <= now)
		{
			kill(-groups[i].group, SIGKILL);
			groups[i].until = WFI_NEVER;
		}
		else if (groups[i].until < next)
			next = groups[i].until;
	}
	return next;
}

/*
 * The guard: reads until the worker has ended, then kills all groups.
 */
static void WFI_NORETURN
run_guard(int fd)
{
	struct pollfd pollfd;
	WfiTime		next = WFI_NEVER;

	pollfd.fd = fd;
	pollfd.events = POLLIN;
	for (;;)
	{
		Message		messages[64];
		WfiTime		left = next == WFI_NEVER ? -1 : next - wfi_now();
		ssize_t		n;

		if (next != WFI_NEVER && left < 0)
			left = 0;
		if (poll(&pollfd, 1, left > INT_MAX ? INT_MAX : (int) left) < 0 &&
			errno != EINTR)
			break;
		while ((n = read(fd, messages, sizeof(messages))) > 0)
		{
			for (size_t i = 0; i < (size_t) n / sizeof(Message); i++)
				apply_message(&messages[i]);
		}
		if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK &&
					   errno != EINTR))
			break;
		next = kill_overdue(wfi_now());
	}
	for (size_t i = 0; i < ngroups; i++)
		kill(-groups[i].group, SIGKILL);
	_exit(0);
}

/*
 * Makes the guard independent of the worker's terminal, output and signals.
 */
static void
detach(void)
{
	int			fd = open("/dev/null", O_RDWR);

	setsid();
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	for (int i = STDIN_FILENO; fd >= 0 && i <= STDERR_FILENO; i++)
		dup2(fd, i);
	if (fd > STDERR_FILENO)
		close(fd);
}

/*
 * Starts the guard, before there is anything that it should not inherit.
 * False, with errno set, when that is not possible.
 */
bool
wfi_guard_start(void)
{
	int			fds[2];
	pid_t		pid;

	if (pipe(fds) != 0)
		return false;
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0 ||
		fcntl(fds[1], F_SETFD, FD_CLOEXEC) != 0)
		return false;
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0)
	{
		close(fds[1]);
		detach();
		run_guard(fds[0]);
	}
	close(fds[0]);
	guard_fd = fds[1];
	return true;
}

/*
 * Tells the guard.  Should it be gone, work goes on without it.
 */
static void
tell_guard(pid_t group, WfiTime until)
{
	Message		message;
	ssize_t		n;

	if (guard_fd < 0)
		return;
	memset(&message, 0, sizeof(message));
	message.group = group;
	message.until = until;
	do
		n = write(guard_fd, &message, sizeof(message));
	while (n < 0 && errno == EINTR);
	if (n < 0)
	{
		wfi_log(WFI_LOG_WARNING,
				"guard process is gone, commands may outlive this worker");
		close(guard_fd);
		guard_fd = -1;
	}
}

/*
 * The guard kills this process group at that time, or when the worker ends.
 */
void
wfi_guard_watch(pid_t group, WfiTime until)
{
	tell_guard(group, until);
}

/*
 * The guard leaves this process group alone.
 */
void
wfi_guard_forget(pid_t group)
{
	tell_guard(group, FORGET);
}
