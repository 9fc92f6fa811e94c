/*
 * workflow_interrupt.h
 *	  The engine's one header: what a run is in memory, and what each file
 *	  offers the others.
 *
 * Every operation on a run takes the same steps, in the caller's transaction:
 * lock the run's row, load what is needed, decide (an error leaves nothing
 * behind), append events (the reducer turns each into state), and store
 * events, state and tasks together.
 */
#ifndef WORKFLOW_INTERRUPT_H
#define WORKFLOW_INTERRUPT_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "background.h"
#include "compat.h"
#include "errors.h"
#include "settings.h"

/* An unset time: nothing is due, nothing has happened. */
#define WFI_NEVER				DT_NOEND

/* Identities under which the engine itself acts */
#define WFI_IDENTITY_ENGINE		"history-service"
#define WFI_IDENTITY_FRONTEND	"frontend-service"
#define WFI_IDENTITY_RESETTER	"history-resetter"

#define WFI_SHARDS				1024

/* A time-out may be so long, in microseconds (100 years) */
#define WFI_MAX_TIMEOUT			(INT64CONST(36525) * USECS_PER_DAY)

/* An id has no more bytes, whatever its characters: it must fit an index */
#define WFI_MAX_ID_BYTES		2000

/* Nor have a namespace and a workflow id together: they share an entry */
#define WFI_MAX_KEY_BYTES		2600

#define WFI_TASK_WORKFLOW		'w'
#define WFI_TASK_ACTIVITY		'a'

/* In the order of the labels of wf.status */
typedef enum WfiStatus
{
	WFI_RUNNING,
	WFI_COMPLETED,
	WFI_FAILED,
	WFI_CANCELED,
	WFI_TERMINATED,
	WFI_CONTINUED_AS_NEW,
	WFI_TIMED_OUT,
	WFI_PAUSED,
	WFI_STATUSES				/* how many there are */
} WfiStatus;

/* In the order of the labels of wf.event_type */
typedef enum WfiEventType
{
	WFI_EV_STARTED,
	WFI_EV_COMPLETED,
	WFI_EV_FAILED,
	WFI_EV_TIMED_OUT,
	WFI_EV_CANCELED,
	WFI_EV_TERMINATED,
	WFI_EV_CONTINUED_AS_NEW,
	WFI_EV_CANCEL_REQUESTED,
	WFI_EV_SIGNALED,
	WFI_EV_OPTIONS_UPDATED,
	WFI_EV_PAUSED,
	WFI_EV_UNPAUSED,
	WFI_EV_UPDATE_ADMITTED,
	WFI_EV_UPDATE_ACCEPTED,
	WFI_EV_UPDATE_COMPLETED,
	WFI_EV_TASK_SCHEDULED,
	WFI_EV_TASK_STARTED,
	WFI_EV_TASK_COMPLETED,
	WFI_EV_TASK_TIMED_OUT,
	WFI_EV_TASK_FAILED,
	WFI_EV_ACTIVITY_SCHEDULED,
	WFI_EV_ACTIVITY_STARTED,
	WFI_EV_ACTIVITY_COMPLETED,
	WFI_EV_ACTIVITY_FAILED,
	WFI_EV_ACTIVITY_TIMED_OUT,
	WFI_EV_ACTIVITY_CANCEL_REQUESTED,
	WFI_EV_ACTIVITY_CANCELED,
	WFI_EV_TIMER_STARTED,
	WFI_EV_TIMER_FIRED,
	WFI_EV_TIMER_CANCELED,
	WFI_EV_MARKER_RECORDED,
	WFI_EV_SEARCH_ATTRIBUTES_UPSERTED,
	WFI_EV_PROPERTIES_MODIFIED,
	WFI_EV_CHILD_INITIATED,
	WFI_EV_CHILD_START_FAILED,
	WFI_EV_CHILD_STARTED,
	WFI_EV_CHILD_COMPLETED,
	WFI_EV_CHILD_FAILED,
	WFI_EV_CHILD_CANCELED,
	WFI_EV_CHILD_TIMED_OUT,
	WFI_EV_CHILD_TERMINATED,
	WFI_EV_EXTERNAL_CANCEL_INITIATED,
	WFI_EV_EXTERNAL_CANCEL_FAILED,
	WFI_EV_EXTERNAL_CANCEL_REQUESTED,
	WFI_EV_EXTERNAL_SIGNAL_INITIATED,
	WFI_EV_EXTERNAL_SIGNAL_FAILED,
	WFI_EV_EXTERNAL_SIGNALED,
	WFI_EVENT_TYPES				/* how many there are */
} WfiEventType;

typedef struct WfiEvent
{
	int64		event_id;		/* 0 while buffered */
	int64		batch_id;
	TimestampTz event_time;
	WfiEventType type;
	Jsonb	   *attributes;
	Datum		unread;			/* if attributes is NULL: see wfi_event_read() */
	ItemPointerData position;	/* where its row was inserted, if known */
} WfiEvent;

typedef struct WfiTimer
{
	char	   *timer_id;
	int64		started_event_id;
	TimestampTz fire_time;
	bool		stored;			/* there is a row of it in wf.timer */
} WfiTimer;

/*
 * A pending activity.  Time-outs are in microseconds, 0 for none.  That it is
 * started is not in the history until it closes.
 */
typedef struct WfiActivity
{
	/* fixed when it is scheduled, or by an operator */
	int64		scheduled_event_id;
	char	   *activity_id;
	char	   *activity_type;
	char	   *task_queue;
	TimestampTz first_scheduled_time;
	int64		schedule_to_close_timeout;
	int64		schedule_to_start_timeout;
	int64		start_to_close_timeout;
	int64		heartbeat_timeout;
	Jsonb	   *retry_policy;

	/* the current attempt */
	int32		attempt;
	TimestampTz scheduled_time;
	bool		dispatched;		/* its task is or was in a queue */
	TimestampTz started_time;	/* WFI_NEVER: not started */
	pg_uuid_t	token;			/* hash of the secret in the worker's token */
	pg_uuid_t	secret;			/* the secret, when this operation made it */
	char	   *identity;		/* worker that runs it */

	/* over all attempts */
	TimestampTz last_attempt_complete_time;
	TimestampTz last_heartbeat_time;
	Jsonb	   *heartbeat_details;
	bool		heartbeat_replaced; /* not by a later heartbeat */
	bool		heartbeat_reset;	/* the next attempt gets no details */
	Jsonb	   *last_failure;
	char	   *last_worker_identity;
	int64		cancel_requested_event_id;	/* 0: not requested */
	bool		paused;
	Jsonb	   *pause_info;		/* since when, by whom and why; or NULL */
	bool		was_reset;		/* the running attempt will be told */

	bool		stored;			/* there is a row of it in wf.activity */
	ItemPointerData position;	/* ... its index entry points to, if known */
	bool		changed;
	bool		dispatch_now;	/* a task row must be written */
} WfiActivity;

/* What the worker of an attempt, or its heartbeat slot, has to learn */
typedef struct WfiActivityNews
{
	enum
	{
		WFI_ATTEMPT_BEGINS,
		WFI_ATTEMPT_GOES_ON,
		WFI_ATTEMPT_ENDS
	}			kind;
	const char *cause;			/* to be pushed to the worker; or NULL */
	WfiActivity activity;		/* as it was then */
} WfiActivityNews;

/*
 * A run: its row in wf.execution, and what one operation does to it.
 * Time-outs are in microseconds, 0 for none; times may be WFI_NEVER.
 */
typedef struct WfiRun
{
	/* fixed at start */
	int32		shard;
	pg_uuid_t	run_id;
	pg_uuid_t	first_execution_run_id;
	pg_uuid_t	original_execution_run_id;
	char	   *namespace;
	char	   *workflow_id;
	char	   *workflow_type;
	char	   *task_queue;
	char	   *create_request_id;	/* NULL for none */
	TimestampTz start_time;
	TimestampTz execution_time;
	TimestampTz execution_expiration_time;
	TimestampTz run_expiration_time;
	int64		execution_timeout;
	int64		run_timeout;
	int64		task_timeout;
	bool		is_current;

	/* state: changed by the reducer and by the transitions of a task */
	WfiStatus	status;
	int64		next_event_id;
	int64		history_size;
	TimestampTz last_event_time;
	TimestampTz close_time;
	TimestampTz first_task_time;	/* start delay not yet over */
	TimestampTz wakeup_time;	/* no later than anything that falls due */
	bool		cancel_requested;
	bool		close_attempted;
	char	   *cancel_request_id;
	int32		signal_count;
	bool		memo_loaded;	/* and the search attributes */
	Jsonb	   *memo;
	Jsonb	   *search_attributes;
	bool		memo_changed;
	bool		search_attributes_changed;
	int64		state_size;
	int32		pending_timers;
	int32		pending_activities;

	/* the pending workflow task; scheduled_event_id is 0 when there is none */
	int64		task_scheduled_event_id;
	int64		task_started_event_id;	/* 0 while not started */
	int64		previous_started_event_id;
	int32		task_attempt;
	TimestampTz task_scheduled_time;
	TimestampTz task_original_scheduled_time;
	TimestampTz task_started_time;
	pg_uuid_t	task_token;		/* hash of the secret in the worker's token */
	pg_uuid_t	task_secret;	/* the secret, when this operation made it */
	char	   *task_identity;

	/* events that wait for the end of a started workflow task */
	int32		buffered_count; /* rows in wf.buffered_event */
	int64		buffered_size;
	bool		buffer_loaded;
	List	   *buffer;			/* WfiEvent: stored ones first, then new */

	/* lineage */
	pg_uuid_t  *reset_run_id;	/* latest run reset from this one */
	bool		was_reset;		/* a reset terminated it */
	pg_uuid_t  *base_run_id;	/* run that this one was reset from */
	int64		last_copied_event_id;	/* ... with the events up to here */
	char	   *reset_request_id;
	char	   *reset_identity; /* who asked for it */
	pg_uuid_t  *parent_run_id;
	char	   *parent_namespace;
	char	   *parent_workflow_id;
	int64		parent_initiated_event_id;

	/* the operation under way */
	const struct WfiRun *stored;	/* as it was read */
	TimestampTz now;			/* the one clock reading */
	bool		is_new;			/* not yet stored */
	bool		locked;			/* row lock held */
	ItemPointerData position;	/* of the row when it was read */
	ItemPointerData entry;		/* ... and where its index entries point to */
	bool		dispatch;		/* a task row must be written */
	bool		wakeup_moved;	/* a wake-up row must be written */
	int64		batch_id;		/* first event id of the current batch */
	List	   *events;			/* WfiEvent: with ids, to be stored */
	int64		events_size;
	bool		timers_loaded;
	List	   *timers;			/* WfiTimer */
	List	   *removed_timers; /* char *: rows to delete */
	bool		activities_loaded;
	List	   *activities;		/* WfiActivity */
	List	   *removed_activities; /* WfiActivity */
	List	   *activity_news;	/* WfiActivityNews */
	List	   *signal_requests;	/* char *: request ids newly seen */
	struct WfiEager *eager;		/* who takes a task that it makes, or NULL */
} WfiRun;

/* keys.c: shards, run ids, queues, tokens */
typedef struct WfiToken
{
	char		kind;			/* WFI_TASK_WORKFLOW */
	int32		shard;
	pg_uuid_t	run_id;
	int64		scheduled_event_id;
	int64		started_event_id;
	int32		attempt;
	pg_uuid_t	secret;
	pg_uuid_t	hash;			/* of the secret; set when parsed */
} WfiToken;

extern int32 wfi_shard(const char *namespace, const char *workflow_id);
extern int64 wfi_queue_id(char kind, const char *namespace,
						  const char *task_queue);
extern void wfi_new_run_id(pg_uuid_t *uuid, TimestampTz now);
extern void wfi_random_uuid(pg_uuid_t *uuid);
extern void wfi_hash_secret(const pg_uuid_t *secret, pg_uuid_t *hash);
extern char *wfi_uuid_text(const pg_uuid_t *uuid);
extern bool wfi_uuid_equal(const pg_uuid_t *a, const pg_uuid_t *b);
extern char *wfi_token_text(const WfiToken *token);
extern void wfi_token_parse(const char *text, char kind, WfiToken *token);

/* args.c: arguments of SQL functions */
extern char *wfi_arg_id(FunctionCallInfo fcinfo, int n, const char *name);
extern char *wfi_arg_optional_id(FunctionCallInfo fcinfo, int n,
								 const char *name);
extern char *wfi_arg_text(FunctionCallInfo fcinfo, int n, const char *name);
extern Jsonb *wfi_arg_payload(FunctionCallInfo fcinfo, int n,
							  const char *name);
extern Jsonb *wfi_arg_object(FunctionCallInfo fcinfo, int n, const char *name);
extern pg_uuid_t *wfi_arg_uuid(FunctionCallInfo fcinfo, int n);
extern bool wfi_arg_bool(FunctionCallInfo fcinfo, int n);
extern int64 wfi_arg_timeout(FunctionCallInfo fcinfo, int n,
							 const char *name);
extern int32 wfi_arg_count(FunctionCallInfo fcinfo, int n, const char *name,
						   int32 most);
extern char *wfi_arg_namespace(FunctionCallInfo fcinfo, int n);
extern char *wfi_arg_identity(FunctionCallInfo fcinfo, int n);
extern void wfi_check_id(const char *value, const char *name);
extern void wfi_check_payload_size(Size size, const char *name);
extern int64 wfi_interval_to_usecs(const Interval *interval);

/* json.c: building and reading attributes */
typedef struct WfiObject
{
	JsonbParseState *state;
} WfiObject;

extern void wfi_object_begin(WfiObject *object);
extern void wfi_object_nested(WfiObject *object, const char *key);
extern void wfi_object_nested_end(WfiObject *object);
extern Jsonb *wfi_object_end(WfiObject *object);
extern void wfi_put_text(WfiObject *object, const char *key,
						 const char *value);
extern void wfi_put_int(WfiObject *object, const char *key, int64 value);
extern void wfi_put_id(WfiObject *object, const char *key, int64 value);
extern void wfi_put_bool(WfiObject *object, const char *key, bool value);
extern void wfi_put_json(WfiObject *object, const char *key,
						 const Jsonb *value);
extern void wfi_put_uuid(WfiObject *object, const char *key,
						 const pg_uuid_t *value);
extern void wfi_put_time(WfiObject *object, const char *key,
						 TimestampTz value);
extern void wfi_put_duration(WfiObject *object, const char *key,
							 int64 usecs);
extern void wfi_push_value(JsonbParseState **state, int token,
						   const Jsonb *value);
extern JsonbValue *wfi_get(const Jsonb *object, const char *key);
extern char *wfi_get_text(const Jsonb *object, const char *key);
extern int64 wfi_get_int(const Jsonb *object, const char *key);
extern Jsonb *wfi_get_json(const Jsonb *object, const char *key);
extern int64 wfi_get_duration(const Jsonb *object, const char *key);
extern const char *wfi_duration_problem(const Jsonb *object,
										const char *const *keys, int n);
extern Jsonb *wfi_failure(const char *message);
extern char *wfi_time_text(TimestampTz time);
extern bool wfi_is_object(const Jsonb *value);
extern Jsonb *wfi_merge_objects(Jsonb *old, Jsonb *changes);

/* reducer.c: what events are and what they do to a run */
extern const char *wfi_event_name(WfiEventType type);
extern const char *wfi_status_name(WfiStatus status);
extern bool wfi_event_bufferable(WfiEventType type);
extern bool wfi_event_closes_pending(WfiEventType type);
extern bool wfi_reduce_reads(const WfiRun *run, WfiEventType type);
extern void wfi_reduce(WfiRun *run, const WfiEvent *event);

/* rebuild.c: the state of a run from its history */
extern WfiRun *wfi_rebuild_begin(const WfiRun *of);
extern void wfi_rebuild_add(WfiRun *run, WfiEvent *event);
extern void wfi_rebuild_end(WfiRun *run);
typedef void (*WfiRebuildVisitor) (WfiRun *run, WfiEvent *event, void *arg);
extern WfiRun *wfi_rebuild_visit(const WfiRun *of, const pg_uuid_t *run_id,
								 int64 last_event_id, WfiRebuildVisitor visit,
								 void *arg);
extern WfiRun *wfi_rebuild(const WfiRun *of, const pg_uuid_t *run_id,
						   int64 last_event_id);

/* run.c: one operation on one run */
extern bool wfi_run_open(const WfiRun *run);
extern WfiRun *wfi_run_lock_current(const char *namespace,
									const char *workflow_id);
extern WfiRun *wfi_run_lock_target(const char *namespace,
								   const char *workflow_id,
								   const pg_uuid_t *run_id, bool missing_ok);
extern WfiRun *wfi_run_read_target(const char *namespace,
								   const char *workflow_id,
								   const pg_uuid_t *run_id);
extern void wfi_run_touch(WfiRun *run);
extern bool wfi_run_check_chain(const WfiRun *run,
								const pg_uuid_t *first_execution_run_id,
								bool missing_ok);
extern WfiEvent *wfi_run_add(WfiRun *run, WfiEventType type,
							 Jsonb *attributes);
extern Size wfi_event_size(const WfiEvent *event);
extern void wfi_run_place(WfiRun *run, WfiEvent *event);
extern void wfi_run_new_batch(WfiRun *run);
extern void wfi_run_load_buffer(WfiRun *run);
extern bool wfi_run_has_buffered(WfiRun *run);
extern void wfi_run_flush(WfiRun *run);
extern WfiRun *wfi_run_reload(WfiRun *run);
extern const char *wfi_run_finish(WfiRun *run);
extern bool wfi_run_finish_or_warn(WfiRun *run);
extern bool wfi_run_create(WfiRun *run);
extern void wfi_error_not_found(const char *namespace,
								const char *workflow_id,
								const pg_uuid_t *run_id);
extern void wfi_error_completed(const WfiRun *run);

/* workflow_task.c: life of a workflow task */
extern bool wfi_task_transient(const WfiRun *run);
extern int64 wfi_task_time_limit(const WfiRun *run);
extern void wfi_task_schedule(WfiRun *run);
extern void wfi_task_schedule_heartbeat(WfiRun *run, TimestampTz original);
extern void wfi_task_start(WfiRun *run, const char *identity);
extern WfiEvent *wfi_task_complete(WfiRun *run, const char *identity);
extern void wfi_task_fail(WfiRun *run, const char *cause,
						  const Jsonb *failure, const char *identity);
extern void wfi_task_time_out(WfiRun *run);
extern void wfi_task_reset(WfiRun *run, const pg_uuid_t *base_run_id,
						   const char *reason);
extern Jsonb *wfi_task_scheduled_attributes(const WfiRun *run);
extern Jsonb *wfi_task_started_attributes(const WfiRun *run);

/* commands.c: what a workflow's code asks for */
typedef struct WfiRefusal
{
	const char *cause;			/* NULL: nothing was refused */
	const char *message;
	bool		terminate;		/* the run cannot go on */
} WfiRefusal;

extern void wfi_commands_check(const Jsonb *commands);
extern void wfi_commands_apply(WfiRun *run, const Jsonb *commands,
							   int64 completed_event_id, const char *identity,
							   bool had_buffered, WfiRefusal *refusal);

/* timers.c: user timers */
extern void wfi_timers_load(WfiRun *run);
extern WfiTimer *wfi_timer_find(WfiRun *run, const char *timer_id);
extern void wfi_timer_add(WfiRun *run, const char *timer_id,
						  int64 started_event_id, TimestampTz fire_time);
extern void wfi_timer_remove(WfiRun *run, const char *timer_id);
extern TimestampTz wfi_timers_next(WfiRun *run);
extern void wfi_timers_fire(WfiRun *run);

/* activities.c: life of an activity */
extern void wfi_activities_load(WfiRun *run);
extern WfiActivity *wfi_activity_get(WfiRun *run, int64 scheduled_event_id);
extern WfiActivity *wfi_activity_get_at(WfiRun *run, int64 scheduled_event_id,
										const ItemPointerData *at);
extern WfiActivity *wfi_activity_find(WfiRun *run, const char *activity_id);
extern void wfi_activity_add(WfiRun *run, const WfiEvent *event);
extern void wfi_activity_remove(WfiRun *run, int64 scheduled_event_id);
extern void wfi_activity_cancel_requested(WfiRun *run,
										  int64 scheduled_event_id,
										  int64 event_id);
extern void wfi_activities_rescheduled(WfiRun *run, TimestampTz time);
extern bool wfi_activity_started(const WfiActivity *activity);
extern void wfi_activity_set_options(WfiActivity *activity,
									 const Jsonb *attributes);
extern void wfi_activity_reset(WfiRun *run, WfiActivity *activity);
extern void wfi_activity_reset_heartbeat(WfiActivity *activity);
extern void wfi_activity_drop_details(WfiActivity *activity);
extern void wfi_activity_dispatch(WfiActivity *activity);
extern void wfi_activity_start(WfiRun *run, WfiActivity *activity,
							   const char *identity);
extern void wfi_activity_complete(WfiRun *run, WfiActivity *activity,
								  const Jsonb *result, const char *identity);
extern void wfi_activity_fail(WfiRun *run, WfiActivity *activity,
							  const Jsonb *failure, const char *identity);
extern void wfi_activity_cancel(WfiRun *run, WfiActivity *activity,
								const Jsonb *details, const char *identity);
extern TimestampTz wfi_activities_next(WfiRun *run);
extern void wfi_activities_fire(WfiRun *run);
extern void wfi_activities_unpause(WfiRun *run);
extern void wfi_activities_close(WfiRun *run);
extern void wfi_activity_tell(WfiRun *run, const WfiActivity *activity,
							  const char *cause);
extern void wfi_activities_announce(const WfiRun *run);
extern const char *wfi_activity_state(const WfiActivity *activity);

/* poll.c: claiming tasks of either kind */
typedef struct WfiTask
{
	int64		queue_id;
	int64		task_id;
	int32		shard;
	pg_uuid_t	run_id;
	int64		scheduled_event_id;
	int32		attempt;
	TimestampTz created_time;
	ItemPointerData position;	/* where its row was seen, if known */
	ItemPointerData run_tid;	/* where others may be, if known */
	ItemPointerData activity_tid;
	ItemPointerData event_tid;
} WfiTask;

typedef enum WfiClaim
{
	WFI_CLAIM_STARTED,
	WFI_CLAIM_STALE,			/* the row outlived its task */
	WFI_CLAIM_BUSY				/* somebody else holds the run: left alone */
} WfiClaim;

/* What to claim, and for whom */
typedef struct WfiPoll
{
	char		kind;			/* WFI_TASK_WORKFLOW or WFI_TASK_ACTIVITY */
	const char *namespace;
	const char *task_queue;
	struct ArrayType *types;	/* text[]: of these types only; NULL: of any */
	int32		most;			/* how many tasks */
	const char *identity;
	MemoryContext context;		/* where to leave the tasks; NULL: they go
								 * when their receiver is done with them */
} WfiPoll;

/* A task that a poll has started: what its worker needs, but for the history */
typedef struct WfiPolledTask
{
	WfiToken	token;			/* with the hash of its secret */
	char	   *namespace;
	char	   *workflow_id;
	char	   *workflow_type;
	char	   *task_queue;
	TimestampTz started_time;
	int64		time_limit;		/* for this attempt; 0 for none */
	char	   *identity;		/* of the worker */
	WfiRun	   *run;			/* as the start has left it */
	const WfiActivity *activity;	/* the same; NULL for a workflow task */
	Jsonb	   *input;			/* of the activity */
	Jsonb	   *header;			/* of the activity */
} WfiPolledTask;

typedef void (*WfiReceiveTask) (WfiPolledTask *task, void *arg);

extern int	wfi_poll_tasks(const WfiPoll *poll, WfiReceiveTask receive,
						   void *arg, TimestampTz *left);
extern void wfi_poll(FunctionCallInfo fcinfo, char kind,
					 WfiReceiveTask receive);
extern void wfi_task_reply(const WfiToken *token, const Jsonb *commands,
						   bool force_new, const char *identity,
						   bool warn, struct WfiEager *eager,
						   WfiRefusal *refusal);
extern void wfi_task_reply_failed(const WfiToken *token, const char *cause,
								  const Jsonb *failure, const char *identity);

/* activity_api.c: the same for activities */
extern WfiClaim wfi_activity_claim(const WfiTask *task, const char *identity,
								   WfiPolledTask *polled);
extern void wfi_activity_reply(const WfiToken *token, const Jsonb *result,
							   const char *identity,
							   struct WfiEager *eager);
extern void wfi_activity_reply_failed(const WfiToken *token, Jsonb *failure,
									  Jsonb *last_heartbeat_details,
									  const char *identity);
extern void wfi_activity_reply_canceled(const WfiToken *token,
										Jsonb *details,
										const char *identity);

/* heartbeat.c: heartbeats in shared memory */
extern int	wfi_max_heartbeat_slots;
extern void wfi_heartbeat_init(void);
extern void wfi_heartbeat_shmem_request(void);
extern void wfi_heartbeat_shmem_startup(void);
extern void wfi_heartbeat_begin(const WfiRun *run,
								const WfiActivity *activity);
extern void wfi_heartbeat_tell(const WfiRun *run, const WfiActivity *activity);
extern void wfi_heartbeat_end(const WfiRun *run, const WfiActivity *activity);
extern bool wfi_heartbeat_record(const WfiToken *token, TimestampTz now,
								 const Jsonb *details, const char *identity,
								 bool *cancel_requested, bool *paused,
								 bool *was_reset);
extern void wfi_heartbeat_resume(const WfiToken *token, TimestampTz time,
								 bool cancel_requested, bool paused,
								 bool was_reset);
extern void wfi_heartbeat_report(const WfiToken *token, TimestampTz now,
								 const Jsonb *details,
								 bool *cancel_requested);
extern void wfi_heartbeat_overlay(WfiActivity *activity);
extern void wfi_heartbeat_stored(const pg_uuid_t *token, TimestampTz time);

/* activity_policy.c: time-outs and retries */
extern Jsonb *wfi_arg_retry_policy(FunctionCallInfo fcinfo, int n);
extern const char *wfi_activity_policy(const Jsonb *attributes,
									   int64 run_timeout, WfiObject *event);
extern int64 wfi_retry_interval(const WfiActivity *activity, int32 attempts);
extern const char *wfi_retry_state(const WfiActivity *activity,
								   const Jsonb *failure,
								   const char *timeout_type, TimestampTz now,
								   int64 *backoff);

/* pause.c */
extern bool wfi_pause_repeated(const Jsonb *pause, const char *request_id);

/* terminate.c, start.c, signal.c, cancel.c: shared with triggers and others */
extern void wfi_terminate_run(WfiRun *run, const char *reason,
							  const Jsonb *details, const char *identity);

typedef struct WfiStart
{
	char	   *namespace;
	char	   *workflow_id;
	char	   *workflow_type;
	char	   *task_queue;
	char	   *id_reuse_policy;
	char	   *id_conflict_policy;
	char	   *request_id;
	char	   *identity;
	Jsonb	   *input;
	Jsonb	   *memo;
	Jsonb	   *search_attributes;
	int64		execution_timeout;
	int64		run_timeout;
	int64		task_timeout;
	int64		start_delay;
	/* signal-with-start */
	char	   *signal_name;	/* NULL: a plain start */
	Jsonb	   *signal_input;
} WfiStart;

extern void wfi_do_start(const WfiStart *start, pg_uuid_t *run_id);
extern bool wfi_do_signal(const char *namespace, const char *workflow_id,
						  const pg_uuid_t *run_id, const char *signal_name,
						  const Jsonb *input, const char *request_id,
						  const char *identity, bool missing_ok);
extern void wfi_signal_check_count(const WfiRun *run);
extern void wfi_signal_run(WfiRun *run, const char *signal_name,
						   const Jsonb *input, const char *request_id,
						   const char *identity);
extern bool wfi_do_cancel(const char *namespace, const char *workflow_id,
						  const pg_uuid_t *run_id,
						  const pg_uuid_t *first_execution_run_id,
						  const char *reason, const char *request_id,
						  const char *identity, bool missing_ok);
extern bool wfi_do_terminate(const char *namespace, const char *workflow_id,
							 const pg_uuid_t *run_id,
							 const pg_uuid_t *first_execution_run_id,
							 const char *reason, const Jsonb *details,
							 const char *identity, bool missing_ok);

/* wakeup.c: what falls due */
extern TimestampTz wfi_run_next_due(WfiRun *run);
extern int	wfi_fire_due(int max_items);

/* history.c */
extern List *wfi_transient_events(const WfiRun *run);
extern Jsonb *wfi_history_json(WfiRun *run);
struct ReturnSetInfo;
extern void wfi_put_event_row(struct ReturnSetInfo *rsinfo,
							  const pg_uuid_t *run_id, const WfiEvent *event);
extern WfiEvent *wfi_last_event(WfiRun *run, WfiEventType type);

/* code_history.c: what a session knows of runs whose code it ran */
extern void wfi_history_forget_all(void);

/* subtransaction.c */
typedef struct WfiSubtransaction
{
	MemoryContext context;		/* NULL: none was begun */
	struct ResourceOwnerData *owner;
} WfiSubtransaction;

extern void wfi_subtransaction_begin(WfiSubtransaction *outer);
extern void wfi_subtransaction_end(const WfiSubtransaction *outer, bool keep);

/* store.c: every SQL statement of the engine */
typedef struct WfiWalk WfiWalk;

/* Why a run that a row leads to could not be locked */
typedef enum WfiMissing
{
	WFI_MISSING_BUSY,			/* somebody else has locked it */
	WFI_MISSING_GONE,			/* there is no such run */
	WFI_MISSING_ALL				/* there are no runs, yet: in a restore */
} WfiMissing;

/* What came of storing a heartbeat that was recorded before */
typedef enum WfiFlush
{
	WFI_FLUSH_DONE,
	WFI_FLUSH_LOCKED,			/* somebody is changing the attempt */
	WFI_FLUSH_GONE				/* there is no such attempt any more */
} WfiFlush;

typedef void (*WfiEventCallback) (WfiEvent *event, void *arg);

extern Datum wfi_store_event_type(WfiEventType type);
extern void wfi_store_init(void);
extern void wfi_store_begin(const char *function, bool writes);
extern MemoryContext wfi_store_caller_context(void);
extern void wfi_store_storing(const WfiRun *run);
extern void wfi_store_end(void);

extern WfiRun *wfi_store_lock_current(int32 shard, const char *namespace,
									  const char *workflow_id);
extern WfiRun *wfi_store_lock_run(int32 shard, const pg_uuid_t *run_id);
extern bool wfi_store_has_written_run(const WfiRun *run);
extern WfiRun *wfi_store_try_run(int32 shard, const pg_uuid_t *run_id,
								 const ItemPointerData *at, WfiMissing *why);
extern WfiRun *wfi_store_read_current(int32 shard, const char *namespace,
									  const char *workflow_id);
extern WfiRun *wfi_store_read_run(int32 shard, const pg_uuid_t *run_id);
extern void wfi_store_read_memo(WfiRun *run);
extern bool wfi_store_insert_run(const WfiRun *run);
extern WfiRun *wfi_store_find_reset(int32 shard, const char *namespace,
									const char *workflow_id,
									const char *reset_request_id);
extern void wfi_store_update_run(const WfiRun *run);
extern void wfi_store_unset_current(const WfiRun *run);
extern void wfi_store_events(const WfiRun *run);
extern void wfi_store_scan_events(int32 shard, const pg_uuid_t *run_id,
								  int64 first, int64 last,
								  WfiEventCallback callback, void *arg);
extern void wfi_store_copy_events(int32 shard, const pg_uuid_t *from,
								  const pg_uuid_t *to, int64 last,
								  WfiEventCallback callback, void *arg);
extern void wfi_event_read(WfiEvent *event);
extern WfiEvent *wfi_store_read_event(int32 shard, const pg_uuid_t *run_id,
									  int64 event_id,
									  const ItemPointerData *at);
extern WfiEvent *wfi_store_last_event(const WfiRun *run, WfiEventType type);
extern List *wfi_store_read_buffer(const WfiRun *run);
extern void wfi_store_append_buffer(const WfiRun *run);
extern List *wfi_store_read_timers(const WfiRun *run);
extern void wfi_store_timers(const WfiRun *run);
extern List *wfi_store_read_activities(const WfiRun *run);
extern WfiActivity *wfi_store_read_activity(const WfiRun *run,
											int64 scheduled_event_id,
											const ItemPointerData *at);
extern WfiActivity *wfi_store_find_activity(const WfiRun *run,
											const char *activity_id);
extern void wfi_store_activities(const WfiRun *run);

typedef enum WfiPart
{
	WFI_PART_BUFFER,
	WFI_PART_TIMERS,
	WFI_PART_ACTIVITIES,
} WfiPart;

extern void wfi_store_clear(const WfiRun *run, WfiPart part);
extern bool wfi_store_heartbeat(const WfiToken *token, TimestampTz now,
								const Jsonb *details, const char *identity,
								bool *cancel_requested, bool *paused,
								bool *was_reset);
extern WfiFlush wfi_store_flush_heartbeat(const WfiToken *token,
										  TimestampTz time,
										  const Jsonb *details,
										  const char *identity);
extern bool wfi_store_seen_signal(const WfiRun *run, const char *request_id);
extern void wfi_store_signal_requests(const WfiRun *run);
extern void wfi_store_insert_task(const WfiRun *run);
extern void wfi_store_insert_activity_task(const WfiRun *run,
										   const WfiActivity *activity);
extern WfiWalk *wfi_store_open_queue(const WfiPoll *poll);
extern bool wfi_store_next_task(WfiWalk *walk, WfiTask *task);
extern TimestampTz wfi_store_close_queue(WfiWalk *walk, TimestampTz left);
extern void wfi_store_delete_task(const WfiTask *task);
extern bool wfi_store_known_failing(const pg_uuid_t *run_id);
extern uint64 wfi_store_failures(void);
extern void wfi_store_remember_failing(const pg_uuid_t *run_id);
extern void wfi_store_insert_wakeup(int32 shard, const pg_uuid_t *run_id,
									TimestampTz due_time);
extern WfiWalk *wfi_store_open_wakeups(TimestampTz now);
extern bool wfi_store_next_wakeup(WfiWalk *walk, WfiWakeup *wakeup,
								  TimestampTz *next);
extern bool wfi_store_close_wakeups(WfiWalk *walk, bool left);
extern bool wfi_store_delete_wakeup(int32 shard, const pg_uuid_t *run_id,
									TimestampTz due_time);
extern int	wfi_store_renotify(TimestampTz created_before);
extern bool wfi_store_namespace_exists(const char *name, bool hold);
extern bool wfi_store_namespace_in_use(const char *name);
extern Jsonb *wfi_store_describe_namespace(const char *name);
extern bool wfi_store_create_namespace(const char *name,
									   const Interval *retention,
									   const char *description);
extern bool wfi_store_drop_namespace(const char *name);
extern void wfi_store_unregister_all(const char *namespace);
extern void wfi_check_namespace(const char *name);
extern void wfi_hold_namespace(const char *name);

#endif							/* WORKFLOW_INTERRUPT_H */
