/*
 * replay.h
 *	  Inside of workflow code: its history in memory, and its replay.
 *
 * A workflow's function is run from its top at each workflow task.  What it
 * asks for is looked up in the history, task by task: replay knows which of
 * the run's completed workflow tasks the code has come to, and the code sees
 * the events before that task's start and no others, as it did when it ran
 * the first time.  When a wait finds nothing to end it, the code moves on to
 * the next task; at the task that is under way, the wait ends the function.
 */
#ifndef WFI_REPLAY_H
#define WFI_REPLAY_H

#include "lib/ilist.h"

#include "sql_code.h"

/* An event, as far as code can ever ask about it; absent texts are NULL */
typedef struct WfiSeen
{
	WfiEventType type;
	int64		refers_to;		/* an outcome: the event it is the outcome of */
	int64		outcome;		/* event with the outcome, 0 while there is
								 * none */
	const char *id;				/* of the activity, timer; name of the marker */
	const char *name;			/* type of the activity, also of a local one */
	Jsonb	   *payload;		/* result, details, input */
	Jsonb	   *failure;
} WfiSeen;

/* A completed workflow task; or, without completed_event_id, the current one */
typedef struct WfiCodeTask
{
	int64		started_event_id;
	int64		completed_event_id;
	TimestampTz started_time;
} WfiCodeTask;

/* The signals of one name, by event id */
typedef struct WfiSignals
{
	char	   *name;
	int64	   *event_ids;
	int			n;
	int			allocated;
} WfiSignals;

/* From this event on, random numbers are made of that UUID. */
typedef struct WfiSeed
{
	int64		event_id;
	pg_uuid_t	uuid;
} WfiSeed;

/*
 * The history of a run in memory.  Between workflow tasks it stays in the
 * session's cache, and grows by what is new.
 */
typedef struct WfiCodeHistory
{
	pg_uuid_t	run_id;			/* key in the cache */
	dlist_node	node;			/* in the cache, least recently used first */
	MemoryContext context;		/* has all of it but this struct */
	Size		size;
	int			level;			/* of the (sub)transaction that read from it;
								 * 0 when all of it is known to be committed */
	bool		in_use;
	bool		reading;		/* events; or an error has ended that */

	WfiSeen    *events;			/* event n is at n - 1 */
	int64		n_events;
	int64		allocated_events;
	WfiCodeTask *tasks;
	int			n_tasks;
	int			allocated_tasks;
	WfiSignals *signals;
	int			n_signals;
	WfiSeed    *seeds;
	int			n_seeds;
	TimestampTz last_started_time;	/* of the last WorkflowTaskStarted */
	Jsonb	   *input;
	int64		cancel_event_id;
	char	   *cancel_reason;
} WfiCodeHistory;

/* code_history.c */
extern WfiCodeHistory *wfi_history_open(const WfiPolledTask *task);
extern void wfi_history_close(WfiCodeHistory *history, bool run_closed);
extern void wfi_history_extend(WfiCodeHistory *history,
							   const WfiPolledTask *task);
extern WfiSeen *wfi_seen(const WfiCodeHistory *history, int64 event_id);
extern bool wfi_event_of_command(WfiEventType type);

/* What becomes of an awaited activity when the workflow is canceled */
typedef enum WfiCancellation
{
	WFI_TRY_CANCEL,				/* ask it to cancel, do not wait for it */
	WFI_WAIT_CANCEL,			/* ask it, and wait for what comes of it */
	WFI_ABANDON					/* leave it alone */
} WfiCancellation;

/* Something the code has started and can wait for */
typedef struct WfiHandle
{
	WfiEventType type;			/* WFI_EV_ACTIVITY_SCHEDULED, ..TIMER_STARTED */
	const char *id;				/* of the activity or timer */
	const char *name;			/* type of the activity */
	WfiCancellation cancellation;
	bool		disconnected;	/* a cancel of the workflow does not reach it */
	int			command;		/* in the current task, -1 when before that */
	int64		event_id;		/* that its command became, 0 until known */
	bool		cancel_asked;
	bool		interrupted;	/* the workflow's cancel asked */
	int64		canceled_at;	/* the task, by its WorkflowTaskStarted, in
								 * which the code gave it up; or 0 */
} WfiHandle;

/* What the code asked for in the current task */
typedef struct WfiCommand
{
	WfiEventType type;			/* of the event it becomes */
	const char *id;				/* as in WfiSeen */
	const char *name;
	int64		refers_to;
	Jsonb	   *command;		/* to be sent; NULL while replaying */
	bool		dropped;		/* taken back by the code */
	int			handle;			/* that waits for it, or -1 */
} WfiCommand;

/* A local activity: the code wants it, or it was run in this task */
typedef struct WfiLocalActivity
{
	char	   *name;
	char	   *task_queue;
	Jsonb	   *input;
	Jsonb	   *result;
	Jsonb	   *failure;
	Jsonb	   *command;		/* that records it, once it is known */
} WfiLocalActivity;

/* One run of the code, from its top */
typedef struct WfiReplay
{
	const WfiPolledTask *task;
	WfiEager   *eager;			/* who goes on with what follows, or NULL */
	WfiCodeHistory *history;
	MemoryContext task_context; /* lives as long as the task */
	MemoryContext context;		/* of this run; emptied before the next */

	/* where the code is */
	WfiCodeTask current;		/* the task under way */
	int			position;		/* in history->tasks; n_tasks: at current */
	int			seed;			/* in history->seeds */
	int64		random_count;
	int64		marker_event_id;	/* looked at last for local activities */
	int		   *signals_taken;	/* by index in history->signals */
	int			n_signals;		/* how many that are */
	bool		cancel_delivered;

	WfiHandle  *handles;		/* handle n is at n - 1 */
	int			n_handles;
	int			allocated_handles;
	WfiCommand *commands;		/* of the current task */
	int			n_commands;
	int			allocated_commands;

	/* local activities done in the task under way, kept from run to run */
	List	   *locals;			/* WfiLocalActivity */
	int			locals_used;
	WfiLocalActivity *wanted;	/* the code waits for it to be run */

	/* why the code cannot go on */
	bool		blocked;
	char	   *mismatch;		/* with the history */

	/* the last error that a call of ours raised in the code */
	int			raised_code;	/* 0 for none */
	char	   *raised_message;
	Jsonb	   *failure;		/* the last failure, for WF011 */
} WfiReplay;

/* replay.c */
extern WfiReplay *wfi_replay;	/* of the code that runs now, or NULL */

extern void wfi_replay_begin(WfiReplay *replay);
extern WfiReplay *wfi_replay_here(const char *function);
extern const WfiCodeTask *wfi_replay_task(const WfiReplay *replay);
extern bool wfi_replay_live(const WfiReplay *replay);
pg_noreturn extern void wfi_replay_block(WfiReplay *replay);
extern void wfi_replay_continue(WfiReplay *replay);
extern void wfi_replay_go_on(WfiReplay *replay);
extern void wfi_replay_check_end(WfiReplay *replay, const char *what);
extern bool wfi_replay_cancel_visible(const WfiReplay *replay);
extern bool wfi_replay_cancel_due(const WfiReplay *replay);
extern void wfi_replay_check_cancel(WfiReplay *replay);
extern int64 wfi_replay_new_handle(WfiReplay *replay, WfiEventType type,
								   const char *id, const char *name);
extern WfiHandle *wfi_replay_handle(const WfiReplay *replay, int64 handle);
extern WfiCommand *wfi_replay_command(WfiReplay *replay, WfiEventType type,
									  const char *id, const char *name);
extern bool wfi_replay_cancel(WfiReplay *replay, WfiHandle *handle);
extern int64 wfi_replay_done(const WfiReplay *replay, const WfiHandle *handle);
extern int	wfi_replay_await(WfiReplay *replay, const int64 *handles, int n);
extern Jsonb *wfi_replay_result(WfiReplay *replay, const WfiHandle *handle);
extern int64 wfi_replay_next_signal(WfiReplay *replay, const char *name);
extern Jsonb *wfi_replay_local(WfiReplay *replay,
							   const WfiLocalActivity *wanted);
extern void wfi_replay_random(WfiReplay *replay, pg_uuid_t *bits);

/* workflow_code.c */
extern Jsonb *wfi_reply_commands(const WfiReplay *replay,
								 const Jsonb *closing);
extern Jsonb *wfi_workflow_code_answer(const WfiFunction *function,
									   const WfiPolledTask *task);

/* keeper.c */
extern bool wfi_in_keeper(void);
extern bool wfi_keeper_wait(WfiReplay *replay);
extern bool wfi_keeper_ask(const WfiFunction *function,
						   const WfiPolledTask *polled, Jsonb **commands,
						   bool *closes);

#endif							/* WFI_REPLAY_H */
