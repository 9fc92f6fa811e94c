/*
 * wf_worker.h
 *	  Declarations shared by the files of wf_worker, the program that runs
 *	  workflow tasks as operating-system processes.
 *
 * The program is one process with one thread: a loop around poll(2) serves
 * the database connection, the pipes of the running commands and a pipe that
 * signal handlers write to.  Nothing is shared with other processes.
 *
 * It is plain C and POSIX above libpq; no server header is needed.
 */
#ifndef WF_WORKER_H
#define WF_WORKER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1			/* before any system header */
#endif

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "libpq-fe.h"

#ifndef WFI_VERSION
#error "WFI_VERSION must be given by the Makefile"
#endif

/* how long a command that was asked to end may take before it is killed */
#define WFI_KILL_DELAY_MS		5000

/* the most a command may write to its standard output */
#define WFI_MAX_OUTPUT			(16 * 1024 * 1024)

/* how much of a command's standard error is kept for a failure */
#define WFI_TAIL_SIZE			4096

/* milliseconds of a clock that never goes back, see wfi_now() */
typedef int64_t WfiTime;

#define WFI_NEVER				INT64_MAX

#if defined(__GNUC__)
#define WFI_PRINTF(f, a)		__attribute__((format(printf, f, a)))
#define WFI_NORETURN			__attribute__((noreturn))
#else
#define WFI_PRINTF(f, a)
#define WFI_NORETURN
#endif

/*
 * util.c
 */
typedef enum WfiLogLevel
{
	WFI_LOG_INFO,				/* only with --verbose */
	WFI_LOG_WARNING,
	WFI_LOG_ERROR,
	WFI_LOG_HINT				/* belongs to the line before it */
} WfiLogLevel;

extern const char *wfi_progname;
extern bool wfi_verbose;

extern void wfi_log(WfiLogLevel level, const char *fmt,...) WFI_PRINTF(2, 3);
extern WfiTime wfi_now(void);
extern void *wfi_malloc(size_t size);
extern void *wfi_realloc(void *pointer, size_t size);
extern char *wfi_strdup(const char *string);
extern char *wfi_format(const char *fmt,...) WFI_PRINTF(1, 2);
extern char *wfi_format_args(const char *fmt, va_list args) WFI_PRINTF(1, 0);
extern char *wfi_clean_text(const char *bytes, size_t length, bool ascii_only);
extern char *wfi_one_line(const char *text);

/*
 * options.c
 */
typedef enum WfiKind
{
	WFI_WORKFLOW				/* a workflow task: history in, commands out */
} WfiKind;

/* what to run for the tasks of one type */
typedef struct WfiHandler
{
	WfiKind		kind;
	char	   *type;
	char	   *command;		/* for /bin/sh -c */
} WfiHandler;

typedef struct WfiOptions
{
	/* connection, NULL where not given */
	const char *dbname;
	const char *host;
	const char *port;
	const char *user;

	const char *task_queue;
	const char *namespace_name; /* NULL: the server's setting */
	char	   *identity;
	WfiTime		poll_interval;
	WfiTime		task_timeout;	/* 0 for none */
	int			max_concurrent;
	bool		exit_when_empty;
	WfiHandler *handlers;
	int			nhandlers;
} WfiOptions;

extern void wfi_parse_options(WfiOptions *options, int argc, char **argv);
extern void wfi_free_options(WfiOptions *options);
extern const WfiHandler *wfi_find_handler(const WfiOptions *options,
										  WfiKind kind, const char *type);

/*
 * connection.c
 */
typedef enum WfiConnectResult
{
	WFI_CONNECT_OK,
	WFI_CONNECT_RETRY,			/* no connection, or not a usable server */
	WFI_CONNECT_FATAL			/* trying again would not help */
} WfiConnectResult;

/* what an SQLSTATE asks for, see wfi_classify_error() */
typedef enum WfiErrorClass
{
	WFI_ERROR_REFUSED,			/* what we sent is at fault */
	WFI_ERROR_STALE,			/* the task is not ours any more */
	WFI_ERROR_RETRY,			/* may go away by itself */
	WFI_ERROR_RECONNECT,		/* a new connection may help */
	WFI_ERROR_FATAL				/* missing function or privilege */
} WfiErrorClass;

typedef struct WfiConnection
{
	PGconn	   *conn;			/* NULL while there is no connection */
	char	   *schema;			/* of the extension, as a quoted identifier */
	char	   *namespace_name;
	bool		utf8;			/* can the server store all of Unicode? */
	bool		busy;			/* a statement is running */
	bool		want_write;		/* libpq could not send everything yet */
	bool		notified;		/* a notification came, reset by the reader */
	PGresult   *result;			/* of the running statement, so far */

	/* back-off, for reconnecting and for repeating statements */
	WfiTime		retry_time;		/* do nothing before */
	WfiTime		retry_delay;	/* the next delay */
	bool		restoring;		/* there was a connection, or there is one */
	char	   *last_error;		/* of connecting, to log it only once */
} WfiConnection;

extern WfiConnectResult wfi_connect(WfiConnection *connection,
									const WfiOptions *options);
extern bool wfi_send(WfiConnection *connection, const char *sql, int nparams,
					 const char *const *values, const int *lengths,
					 const int *formats);
extern PGresult *wfi_receive(WfiConnection *connection);
extern void wfi_disconnect(WfiConnection *connection);
extern void wfi_connection_free(WfiConnection *connection);
extern void wfi_back_off(WfiConnection *connection);
extern void wfi_reset_back_off(WfiConnection *connection);
extern short wfi_connection_events(const WfiConnection *connection);
extern WfiErrorClass wfi_classify_error(const PGresult *result);
extern const char *wfi_error_message(const PGresult *result);

/*
 * process.c
 */
typedef struct WfiVariable
{
	const char *name;
	const char *value;
} WfiVariable;

/* why we ended a command */
typedef enum WfiEnding
{
	WFI_ENDED_BY_ITSELF,
	WFI_ENDED_BY_TIMEOUT,
	WFI_ENDED_BY_OUTPUT			/* it wrote more than WFI_MAX_OUTPUT */
} WfiEnding;

typedef struct WfiProcess
{
	pid_t		pid;			/* also its process group; 0 once it ended */
	int			in_fd;			/* our ends of its pipes, -1 when closed */
	int			out_fd;
	int			err_fd;
	char	   *input;
	size_t		input_length;
	size_t		input_done;
	char	   *output;			/* NUL-terminated when it ended */
	size_t		output_length;
	size_t		output_size;
	char	   *tail;			/* end of its standard error */
	size_t		tail_length;
	WfiTime		deadline;		/* when to ask it, or force it, to end */
	bool		asked;			/* we asked already */
	WfiEnding	ending;
	int			status;			/* of waitpid(), once it ended */
} WfiProcess;

#define WFI_PROCESS_FDS			3

extern void wfi_process_init(WfiProcess *process);
extern bool wfi_process_start(WfiProcess *process, const char *command,
							  const WfiVariable *variables, char *input,
							  WfiTime timeout);
extern void wfi_process_poll_set(const WfiProcess *process,
								 struct pollfd *fds);
extern void wfi_process_io(WfiProcess *process, const struct pollfd *fds);
extern bool wfi_process_reap(WfiProcess *process);
extern void wfi_process_ask_to_end(WfiProcess *process);
extern void wfi_process_enforce(WfiProcess *process, WfiTime now);
extern char *wfi_process_failure(const WfiProcess *process);
extern void wfi_process_free(WfiProcess *process);

/*
 * task.c
 */
typedef enum WfiTaskState
{
	WFI_TASK_FREE,				/* nobody uses this slot */
	WFI_TASK_RUNNING,			/* its command runs */
	WFI_TASK_FINISHED			/* the reply has to be sent, or is under way */
} WfiTaskState;

typedef struct WfiTask
{
	WfiTaskState state;
	char	   *token;
	char	   *workflow_id;
	char	   *run_id;
	int			attempt;
	WfiProcess	process;
	char	   *failure;		/* message; NULL when it succeeded */
	uint64_t	finish_number;	/* replies are sent in this order */
} WfiTask;

extern void wfi_task_init(WfiTask *task);
extern bool wfi_send_poll(WfiConnection *connection,
						  const WfiOptions *options, int max_tasks);
extern void wfi_task_start(WfiTask *task, const WfiOptions *options,
						   const WfiConnection *connection,
						   const PGresult *result, int row);
extern void wfi_task_ended(WfiTask *task);
extern bool wfi_task_send_reply(WfiTask *task, const WfiOptions *options,
								WfiConnection *connection);
extern void wfi_task_refused(WfiTask *task, const PGresult *result);
extern bool wfi_task_needs_reply(const WfiTask *task);
extern void wfi_task_log_reply(const WfiTask *task, const PGresult *result);
extern void wfi_task_free(WfiTask *task);

/*
 * loop.c
 */
extern int	wfi_run(const WfiOptions *options);

#endif							/* WF_WORKER_H */
