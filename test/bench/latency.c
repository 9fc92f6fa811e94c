/*
 * latency.c
 *	  How long it takes from a commit to the wake-up of a listening worker.
 *
 *	  latency listen CHANNEL
 *			listens and reads what comes until standard input is closed, then
 *			prints how many notifications that were
 *	  latency measure CHANNEL ROUNDS BEFORE A B
 *			measures: in each round, once after statement A and once after
 *			statement B, in random order, a transaction that begins with
 *			statement BEFORE is committed.
 *
 * The worker is a process of its own that listens on the channel and sleeps
 * in poll(2), as real ones do.  Every line that "measure" prints is about one
 * commit:
 *
 *	  a|b  (microseconds from the sending of COMMIT to the wake-up)
 *		   (microseconds from the arrival of its result to the wake-up)
 *
 * The second may be negative: the worker may know before the committer does.
 * "$" in BEFORE stands for the number of the commit.  Between two commits is
 * a pause of 8 to 24 ms, so that each meets an idle server and no
 * notification has to wait for the end of a window of the one before.
 *
 * Connections are made with libpq's environment variables.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

/* A notification is given up after so long, in milliseconds */
#define PATIENCE 10000

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "latency: %s: %s\n", what, why);
	exit(1);
}

/* Microseconds of a clock that only goes forward. */
static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static PGconn *
open_connection(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("could not connect", PQerrorMessage(conn));
	return conn;
}

static void
run(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		die(sql, PQerrorMessage(conn));
	PQclear(result);
}

static void
listen_on(PGconn *conn, const char *channel)
{
	char	   *name = PQescapeIdentifier(conn, channel, strlen(channel));
	char		sql[1024];

	snprintf(sql, sizeof(sql), "LISTEN %s", name);
	run(conn, sql);
	PQfreemem(name);
}

/* Take what has come in; how many notifications that is. */
static int
take_notifications(PGconn *conn)
{
	int			n = 0;
	PGnotify   *notification;

	if (!PQconsumeInput(conn))
		die("could not read", PQerrorMessage(conn));
	while ((notification = PQnotifies(conn)) != NULL)
	{
		PQfreemem(notification);
		n++;
	}
	return n;
}

/*
 * Be a worker: listen, say so, and tell the time of each wake-up through a
 * pipe (when there is one) until nobody is there any more.
 */
static void
be_worker(const char *channel, int alive, int report)
{
	PGconn	   *conn = open_connection();
	struct pollfd fds[2] = {{0}};
	double		ready = 0;
	long		heard = 0;

	listen_on(conn, channel);
	if (report >= 0 && write(report, &ready, sizeof(ready)) < 0)
		exit(1);
	fds[0].fd = PQsocket(conn);
	fds[0].events = POLLIN;
	fds[1].fd = alive;
	fds[1].events = POLLIN;
	for (;;)
	{
		double		time;
		int			n;

		if (poll(fds, 2, -1) < 0)
			die("poll", "failed");
		time = now();
		if (fds[1].revents != 0)
		{
			if (report < 0)
				printf("%ld\n", heard);
			exit(0);
		}
		n = take_notifications(conn);
		heard += n;
		if (n > 0 && report >= 0 && write(report, &time, sizeof(time)) < 0)
			exit(1);
	}
}

/* The time of the next wake-up; 0 when there is none within the patience. */
static double
next_wakeup(int from, int patience)
{
	struct pollfd fd = {0};
	double		time;

	fd.fd = from;
	fd.events = POLLIN;
	if (poll(&fd, 1, patience) <= 0)
		return 0;
	if (read(from, &time, sizeof(time)) != (ssize_t) sizeof(time))
		die("worker", "has gone");
	return time;
}

/* The statement with the number for "$". */
static const char *
numbered(const char *sql, long number)
{
	static char buffer[4096];
	const char *mark = strchr(sql, '$');

	if (mark == NULL)
		return sql;
	snprintf(buffer, sizeof(buffer), "%.*s%ld%s", (int) (mark - sql), sql,
			 number, mark + 1);
	return buffer;
}

static void
measure_one(PGconn *conn, int wakeups, char label, const char *mode,
			const char *before)
{
	double		sent;
	double		returned;
	double		woken;

	run(conn, mode);
	usleep(8000 + rand() % 16000);
	run(conn, "BEGIN");
	run(conn, before);
	while (next_wakeup(wakeups, 0) != 0)
		;						/* not ours */

	sent = now();
	run(conn, "COMMIT");
	returned = now();
	woken = next_wakeup(wakeups, PATIENCE);
	if (woken == 0)
		die(mode, "no notification came");
	printf("%c %.1f %.1f\n", label, woken - sent, woken - returned);
}

static void
measure(const char *channel, int rounds, const char *before, const char *a,
		const char *b)
{
	PGconn	   *conn = open_connection();
	int			alive[2];
	int			wakeups[2];
	long		number = 0;

	if (pipe(alive) < 0 || pipe(wakeups) < 0)
		die("pipe", "failed");
	switch (fork())
	{
		case -1:
			die("fork", "failed");
			break;
		case 0:
			close(alive[1]);
			close(wakeups[0]);
			be_worker(channel, alive[0], wakeups[1]);
			break;
		default:
			close(alive[0]);
			close(wakeups[1]);
	}
	(void) next_wakeup(wakeups[0], PATIENCE);

	/* the first rounds warm up */
	for (int i = -10; i < rounds; i++)
	{
		int			first = rand() % 2;

		for (int j = 0; j < 2; j++)
		{
			char		label = (first + j) % 2 ? 'b' : 'a';

			measure_one(conn, wakeups[0], i < 0 ? '-' : label,
						label == 'a' ? a : b, numbered(before, ++number));
		}
	}
	PQfinish(conn);
}

int
main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "listen") == 0)
		be_worker(argv[2], STDIN_FILENO, -1);
	else if (argc == 7 && strcmp(argv[1], "measure") == 0)
		measure(argv[2], atoi(argv[3]), argv[4], argv[5], argv[6]);
	else
		die("wrong arguments", "see its source");
	return 0;
}
