/*
 * check.h
 *	  Inside of wf_check(): what is read, and what is known of the run that is
 *	  being checked.
 *
 * Only check*.c and store_check.c include this.
 */
#ifndef WFI_CHECK_H
#define WFI_CHECK_H

#include "workflow_interrupt.h"

/* What to check: everything, a namespace, a workflow's runs, one of them */
typedef struct WfiScope
{
	const char *namespace;		/* NULL: everything */
	const char *workflow_id;	/* NULL: all of the namespace */
	const pg_uuid_t *run_id;	/* NULL: all of the workflow */
} WfiScope;

/* The tables that are read alongside, in the order of their runs */
typedef enum WfiCheckTable
{
	WFI_CHECK_RUNS,				/* WfiCheckedRun */
	WFI_CHECK_EVENTS,			/* WfiEvent, unread, valid until the next look */
	WFI_CHECK_BUFFER,			/* WfiCheckedEvent */
	WFI_CHECK_TIMERS,			/* WfiTimer */
	WFI_CHECK_ACTIVITIES,		/* WfiCheckedActivity */
	WFI_CHECK_SIGNALS,			/* char: request id */
	WFI_CHECK_TASKS,			/* WfiTask */
	WFI_CHECK_WAKEUPS,			/* TimestampTz: when it is due */
	WFI_CHECK_TABLES			/* how many there are */
} WfiCheckTable;

typedef struct WfiCheckedRun
{
	WfiRun	   *run;
	bool		has_namespace;
} WfiCheckedRun;

typedef struct WfiCheckedEvent
{
	WfiEvent	event;
	int32		position;
} WfiCheckedEvent;

typedef struct WfiCheckedActivity
{
	WfiActivity activity;
	char	   *state;
	bool		cancel_requested;
} WfiCheckedActivity;

typedef struct WfiReader WfiReader;

/* store_check.c */
extern WfiReader *wfi_check_open(const WfiScope *scope);
extern int	wfi_check_look(WfiReader *reader, WfiCheckTable table,
						   const WfiRun *run);
extern void *wfi_check_take(WfiReader *reader, WfiCheckTable table);
extern const pg_uuid_t *wfi_check_run_id(WfiReader *reader,
										 WfiCheckTable table);
extern void wfi_check_close(WfiReader *reader);
typedef void (*WfiCurrentCallback) (const char *namespace,
									const char *workflow_id, int64 current,
									int64 runs, void *arg);
extern void wfi_check_current(const WfiScope *scope,
							  WfiCurrentCallback callback, void *arg);
extern bool wfi_check_current_of(const WfiRun *run, pg_uuid_t *current,
								 TimestampTz *close_time);
extern bool wfi_check_find_run(const pg_uuid_t *run_id, WfiScope *scope);
extern int64 wfi_check_first_difference(const WfiRun *run,
										const pg_uuid_t *base_run_id,
										int64 before);

/* Where a batch has got to, see check_history.c */
typedef enum WfiPhase
{
	WFI_PHASE_BEGIN,			/* nothing is in it yet */
	WFI_PHASE_COMMANDS,			/* behind WorkflowTaskCompleted: commands */
	WFI_PHASE_OPEN,				/* whatever came from outside */
	WFI_PHASE_CLOSING,			/* ... and closed something pending */
	WFI_PHASE_SCHEDULED,		/* a workflow task is scheduled */
	WFI_PHASE_STARTED,			/* ... and started, which ends the batch */
	WFI_PHASE_CLOSED			/* the run is over */
} WfiPhase;

/* ActivityTaskStarted of this batch, to be followed by the activity's end */
typedef struct WfiOpenStart
{
	int64		scheduled_event_id;
	int64		event_id;
} WfiOpenStart;

/* One run under check: what is stored, and what its history says */
typedef struct WfiChecked
{
	struct WfiCheck *check;		/* where findings go, see check.c */
	MemoryContext context;		/* of what is known of the run */
	const WfiRun *run;
	WfiRun	   *replay;
	bool		broken;			/* nothing further can be concluded */

	/* the history so far */
	uint8	   *types;			/* WfiEventType of each event, by its id */
	int64		types_size;
	WfiEventType last_type;
	WfiPhase	phase;
	int64		batch_id;
	int64		other_batch_id; /* the one before, if that was unexpected */
	TimestampTz batch_time;
	bool		same_time;		/* all of the batch has that time */
	List	   *open_starts;	/* WfiOpenStart */
	List	   *reused;			/* int64 *: events that use a pending id again */
	int64		completed_at;	/* last WorkflowTaskCompleted */
	int64		scheduled_at;	/* pending workflow task; 0: none in history */
	int64		started_at;
	bool		was_transient;	/* there was a task without events since */
	int64		told_at;		/* last event that a task must tell of */
	int64		reset_at;		/* WorkflowTaskFailed by which the run began */
	char	   *reset_base;		/* ... and from which run */
	bool		ended_by_reset; /* a reset terminated it */

	/* other tables */
	List	   *buffer;			/* WfiCheckedEvent */
	List	   *timers;			/* WfiTimer */
	List	   *activities;		/* WfiCheckedActivity */
	List	   *signals;		/* char * */
	List	   *tasks;			/* WfiTask */
	TimestampTz wakeup;			/* the earliest; WFI_NEVER: none */
} WfiChecked;

/* check.c */
extern TimestampTz wfi_check_time(const WfiChecked *c);
extern void wfi_finding(const WfiChecked *c, int64 event_id,
						const char *check_name, const char *expected,
						const char *found);

/* check_events.c */
extern bool wfi_check_attributes(WfiChecked *c, const WfiEvent *event,
								 bool buffered);

/* check_history.c */
extern void wfi_check_event(WfiChecked *c, WfiEvent *event);
extern void wfi_check_history_end(WfiChecked *c);
extern void wfi_check_buffer(WfiChecked *c);

/* check_state.c */
extern void wfi_check_state(WfiChecked *c);

/* check_links.c */
extern void wfi_check_links(WfiChecked *c);

#endif							/* WFI_CHECK_H */
