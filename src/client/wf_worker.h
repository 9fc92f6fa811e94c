/*
 * wf_worker.h
 *	  Declarations shared by the files of wf_worker, the program that runs
 *	  workflow tasks and activities as operating-system processes.
 *
 * The program is one process with one thread: a loop around poll(2) serves
 * the database connection, the pipes of the running commands and a pipe that
 * signal handlers write to.  Beside it there is only the guard, a child that
 * kills the commands when the worker cannot (guard.c).
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

/* how long a workflow's command that was asked to end may take to do so */
#define WFI_KILL_DELAY_MS		5000

/* the most a command may write to its output, or in one line of details */
#define WFI_MAX_OUTPUT			(16 * 1024 * 1024)

/* notifications about running activities that are kept apart */
#define WFI_MAX_PUSHES			1000

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
 * payload.c
 */

/* a JSON value, or text that stands for a JSON string */
typedef struct WfiPayload
{
	char	   *bytes;			/* NULL: there is none */
	size_t		length;
	bool		json;			/* else text */
	bool		clean;			/* text that any server accepts */
} WfiPayload;

extern bool wfi_is_blank(const char *bytes, size_t length);
extern bool wfi_is_json(const char *bytes, size_t length);
extern void wfi_payload_set(WfiPayload *payload, const char *bytes,
							size_t length);
extern void wfi_payload_make_text(WfiPayload *payload);
extern void wfi_payload_clean(WfiPayload *payload, bool ascii_only);
extern void wfi_payload_free(WfiPayload *payload);

/*
 * options.c
 */
typedef enum WfiKind
{
	WFI_WORKFLOW,				/* a workflow task: history in, commands out */
	WFI_ACTIVITY				/* an attempt of an activity: input, result */
} WfiKind;

#define WFI_KINDS				2

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
	WfiTime		task_timeout;	/* of workflow tasks; 0 for none */
	WfiTime		grace_period;	/* of activities, after SIGTERM */
	int			slots[WFI_KINDS];	/* 0 without a handler of the kind */
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
	WFI_ERROR_LOCKED,			/* somebody else is at the same run */
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
	PGresult   *result;			/* of the running statement, so far */

	/* notifications; the reader takes and resets them */
	char	   *channels[WFI_KINDS];	/* of the task queue; NULL: none */
	char	   *worker_channel;
	bool		notified[WFI_KINDS];
	char	   *pushes[WFI_MAX_PUSHES]; /* payloads from worker_channel */
	int			npushes;
	bool		pushes_lost;	/* there were more */

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
extern void wfi_clear_pushes(WfiConnection *connection);
extern void wfi_disconnect(WfiConnection *connection);
extern void wfi_connection_free(WfiConnection *connection);
extern void wfi_back_off(WfiConnection *connection);
extern void wfi_reset_back_off(WfiConnection *connection);
extern short wfi_connection_events(const WfiConnection *connection);
extern WfiErrorClass wfi_classify_error(const PGresult *result);
extern const char *wfi_error_message(const PGresult *result);

/*
 * guard.c
 */
extern bool wfi_guard_start(void);
extern void wfi_guard_watch(pid_t group, WfiTime until);
extern void wfi_guard_forget(pid_t group);

/*
 * process.c
 */

/* a variable of a command's environment; without a value it is removed */
typedef struct WfiVariable
{
	const char *name;
	const char *value;
} WfiVariable;

/* what to run */
typedef struct WfiCommand
{
	const char *command;
	const WfiVariable *variables;	/* the list ends with a NULL name */
	char	   *input;			/* malloc'd, taken over */
	bool		takes_details;	/* give it a descriptor for details */
	WfiTime		timeout;		/* when to ask it to end, 0 for never */
	WfiTime		grace;			/* how long it may take then */
	WfiTime		lease;			/* when to kill it, see WfiProcess */
} WfiCommand;

/* why we ended a command */
typedef enum WfiEnding
{
	WFI_ENDED_BY_ITSELF,
	WFI_ENDED_BY_TIMEOUT,
	WFI_ENDED_BY_OUTPUT,		/* it wrote more than WFI_MAX_OUTPUT */
	WFI_ENDED_BY_DETAILS,		/* in one line */
	WFI_ENDED_BY_LEASE
} WfiEnding;

typedef struct WfiProcess
{
	pid_t		pid;			/* also its process group; 0 once it ended */
	int			in_fd;			/* our ends of its pipes, -1 when closed */
	int			out_fd;
	int			err_fd;
	int			details_fd;
	char	   *input;
	size_t		input_length;
	size_t		input_done;
	char	   *output;			/* NUL-terminated when it ended */
	size_t		output_length;
	size_t		output_size;
	char	   *tail;			/* end of its standard error */
	size_t		tail_length;
	char	   *line;			/* begin of a line of details */
	size_t		line_length;
	size_t		line_size;
	char	   *details;		/* the last whole line; whoever takes it frees
								 * it */
	size_t		details_length;
	WfiTime		grace;			/* between asking and forcing it to end */
	WfiTime		deadline;		/* when to ask it, or force it, to end */
	WfiTime		lease;			/* when nobody may run any more; the guard
								 * enforces it, too */
	bool		asked;			/* we asked already */
	bool		killed;			/* we killed all of its group */
	bool		exited;			/* the shell has ended, the group may not */
	WfiEnding	ending;
	int			status;			/* of waitpid(), once it ended */
} WfiProcess;

#define WFI_PROCESS_FDS			4

extern void wfi_process_init(WfiProcess *process);
extern bool wfi_process_start(WfiProcess *process, const WfiCommand *command);
extern void wfi_process_poll_set(const WfiProcess *process,
								 struct pollfd *fds);
extern void wfi_process_io(WfiProcess *process, const struct pollfd *fds);
extern bool wfi_process_reap(WfiProcess *process);
extern void wfi_process_ask_to_end(WfiProcess *process);
extern void wfi_process_kill(WfiProcess *process);
extern void wfi_process_extend(WfiProcess *process, WfiTime lease);
extern WfiTime wfi_process_wakeup(const WfiProcess *process);
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

/* how an activity ended */
typedef enum WfiOutcome
{
	WFI_COMPLETED,
	WFI_FAILED,
	WFI_CANCELED
} WfiOutcome;

/* what only activities have */
typedef struct WfiActivity
{
	char	   *json_id;		/* the activity's id as it is in JSON */
	WfiTime		heartbeat_timeout;	/* 0 for none */
	WfiTime		last_heartbeat; /* when we sent it */
	WfiTime		next_heartbeat; /* when to send it */
	bool		hinted;			/* something has happened to it: ask at once */
	bool		cancel_requested;	/* and its command knows */
	bool		lost;			/* not ours any more: nothing is replied */
	WfiPayload	details;		/* of its heartbeats */
	bool		own_details;	/* of this attempt's, that is */

	/* once it is finished */
	WfiOutcome	outcome;
	char	   *failure_type;
	bool		non_retryable;
	WfiPayload	payload;		/* result, or details of the cancellation */
} WfiActivity;

typedef struct WfiTask
{
	WfiKind		kind;			/* of the slot, never changes */
	WfiTaskState state;
	char	   *token;
	char	   *run_id;
	char	   *name;			/* for the log */
	int			attempt;
	WfiProcess	process;
	char	   *failure;		/* message; NULL when it did not fail */
	uint64_t	finish_number;	/* replies are sent in this order */
	WfiTime		retry_time;		/* no reply before */
	WfiActivity activity;
} WfiTask;

extern void wfi_task_init(WfiTask *task, WfiKind kind);
extern void wfi_task_begin(WfiTask *task, const char *token,
						   const char *run_id, const char *attempt,
						   char *name);
extern const WfiHandler *wfi_task_handler(WfiTask *task,
										  const WfiOptions *options,
										  const char *type);
extern void wfi_task_finish(WfiTask *task, char *failure);
extern char *wfi_task_tail(const WfiTask *task,
						   const WfiConnection *connection);
extern bool wfi_send_poll(WfiConnection *connection,
						  const WfiOptions *options, WfiKind kind,
						  int max_tasks);
extern void wfi_task_start(WfiTask *task, const WfiOptions *options,
						   const WfiConnection *connection,
						   const PGresult *result, int row, WfiTime polled);
extern void wfi_task_ended(WfiTask *task);
extern bool wfi_task_send_reply(WfiTask *task, const WfiOptions *options,
								WfiConnection *connection);
extern bool wfi_task_refused(WfiTask *task, const WfiConnection *connection,
							 const PGresult *result);
extern bool wfi_task_needs_reply(const WfiTask *task);
extern void wfi_task_log_reply(const WfiTask *task, const PGresult *result);
extern void wfi_task_free(WfiTask *task);

/*
 * workflow.c
 */
extern char *wfi_workflow_poll_sql(const char *schema);
extern void wfi_workflow_start(WfiTask *task, const WfiOptions *options,
							   const WfiConnection *connection,
							   const PGresult *result, int row);
extern bool wfi_workflow_send_reply(WfiTask *task, const WfiOptions *options,
									WfiConnection *connection);
extern bool wfi_workflow_refused(WfiTask *task, const PGresult *result);

/*
 * activity.c
 */
extern char *wfi_activity_poll_sql(const char *schema);
extern void wfi_activity_start(WfiTask *task, const WfiOptions *options,
							   const WfiConnection *connection,
							   const PGresult *result, int row,
							   WfiTime polled);
extern void wfi_activity_take_details(WfiTask *task,
									  const WfiConnection *connection);
extern void wfi_activity_hint(WfiTask *task);
extern bool wfi_activity_concerned(const WfiTask *task, const char *push,
								   bool whole_run);
extern WfiTime wfi_activity_heartbeat_due(const WfiTask *task);
extern bool wfi_activity_send_heartbeat(WfiTask *task,
										const WfiOptions *options,
										WfiConnection *connection);
extern void wfi_activity_alive(WfiTask *task, const PGresult *result);
extern void wfi_activity_lost(WfiTask *task, const char *reason);
extern void wfi_activity_details_refused(WfiTask *task,
										 const WfiConnection *connection);
extern void wfi_activity_ended(WfiTask *task);
extern bool wfi_activity_send_reply(WfiTask *task, const WfiOptions *options,
									WfiConnection *connection);
extern bool wfi_activity_refused(WfiTask *task,
								 const WfiConnection *connection,
								 const PGresult *result);

/*
 * exchange.c, loop.c
 */

/* what the statement under way is */
typedef enum WfiStatement
{
	WFI_POLL,
	WFI_HEARTBEAT,
	WFI_REPLY
} WfiStatement;

typedef struct WfiWorker
{
	const WfiOptions *options;
	WfiConnection connection;
	WfiTask    *tasks;			/* all slots */
	int			ntasks;

	/* the statement under way, or the last one */
	WfiStatement statement;
	WfiKind		polled;			/* of a poll */
	WfiTask    *task;			/* of a heartbeat or reply */
	WfiTime		sent_time;

	bool		poll_now[WFI_KINDS];
	WfiTime		next_poll[WFI_KINDS];	/* at the latest */
	bool		stopping;		/* no more polls */
	bool		ending;			/* no more replies, commands have to end */
	int			exit_code;
} WfiWorker;

extern int	wfi_count_tasks(const WfiWorker *worker, WfiTaskState state);
extern void wfi_release_task(WfiWorker *worker, WfiTask *task);
extern void wfi_end_commands(WfiWorker *worker);
extern WfiTime wfi_statement_due(const WfiWorker *worker);
extern void wfi_advance_connection(WfiWorker *worker);
extern void wfi_serve_connection(WfiWorker *worker);
extern int	wfi_run(const WfiOptions *options);

#endif							/* WF_WORKER_H */
