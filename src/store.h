/*
 * store.h
 *	  Inside of the store: its statements, and how they are executed.
 *
 * Only statements.c and store*.c include this; the rest of the engine calls
 * the wfi_store_... functions of workflow_interrupt.h.
 */
#ifndef WFI_STORE_H
#define WFI_STORE_H

#include "executor/spi.h"
#include "utils/builtins.h"

#include "workflow_interrupt.h"

/* How many events one statement inserts without arrays */
#define MAX_EVENT_ROWS 4

/* The statements of wf_check() come in one variant for each kind of scope. */
typedef enum CheckVariant
{
	CHECK_ALL,
	CHECK_NAMESPACE,
	CHECK_WORKFLOW,
	CHECK_VARIANTS				/* how many there are */
} CheckVariant;

typedef enum Statement
{
	LOCK_CURRENT,
	LOCK_RUN,
	LOCK_RUN_SKIP,
	READ_CURRENT,
	READ_RUN,
	READ_MEMO,
	RUN_EXISTS,
	RUN_WRITER,
	ANY_RUN,
	FIND_RESET,
	INSERT_RUN,
	INSERT_RESET_RUN,
	UNSET_CURRENT,
	INSERT_EVENTS_1,
	INSERT_EVENTS_2,
	INSERT_EVENTS_3,
	INSERT_EVENTS_4,
	INSERT_EVENTS_ARRAY,
	SCAN_EVENTS,
	COPY_EVENTS,
	READ_EVENT,
	LAST_EVENT,
	READ_BUFFER,
	INSERT_BUFFER,
	CLEAR_BUFFER,
	READ_TIMERS,
	INSERT_TIMER,
	DELETE_TIMER,
	CLEAR_TIMERS,
	READ_ACTIVITIES,
	READ_ACTIVITY,
	FIND_ACTIVITY,
	INSERT_ACTIVITY,
	UPDATE_ACTIVITY,
	DELETE_ACTIVITY,
	CLEAR_ACTIVITIES,
	HEARTBEAT,
	LOCK_ATTEMPT,
	ATTEMPT_EXISTS,
	SEEN_SIGNAL,
	INSERT_SIGNALS,
	INSERT_TASK,
	READ_TASKS,
	DELETE_TASK,
	INSERT_WAKEUP,
	READ_WAKEUPS,
	DELETE_WAKEUP,
	RENOTIFY,
	CHECK_RUNS,
	CHECK_EVENTS = CHECK_RUNS + CHECK_VARIANTS,
	CHECK_BUFFER = CHECK_EVENTS + CHECK_VARIANTS,
	CHECK_TIMERS = CHECK_BUFFER + CHECK_VARIANTS,
	CHECK_ACTIVITIES = CHECK_TIMERS + CHECK_VARIANTS,
	CHECK_SIGNALS = CHECK_ACTIVITIES + CHECK_VARIANTS,
	CHECK_TASKS = CHECK_SIGNALS + CHECK_VARIANTS,
	CHECK_WAKEUPS = CHECK_TASKS + CHECK_VARIANTS,
	CHECK_CURRENT = CHECK_WAKEUPS + CHECK_VARIANTS,
	CURRENT_RUN_OF = CHECK_CURRENT + CHECK_VARIANTS,
	FIND_RUN,
	FIRST_DIFFERENCE,
	NAMESPACE_EXISTS,
	NAMESPACE_IN_USE,
	DESCRIBE_NAMESPACE,
	INSERT_NAMESPACE,
	DELETE_NAMESPACE,
	REGISTER_FUNCTION,
	UNREGISTER_FUNCTION,
	UNREGISTER_FUNCTIONS,
	FIND_FUNCTION,
	LOCK_FUNCTION,
	READ_FUNCTIONS,
	STATEMENTS					/* how many there are */
} Statement;

#define MAX_PARAMS 48

typedef struct StatementDef
{
	const char *sql;
	const char *types;			/* one letter a parameter, see param_type() */
	bool		reads_all;		/* many rows: statistics tell how */
} StatementDef;

extern const StatementDef wfi_statements[STATEMENTS];

/* Parameters of one execution */
typedef struct Params
{
	int			n;
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];
} Params;

static inline void
put(Params *params, Datum value)
{
	params->values[params->n] = value;
	params->nulls[params->n++] = ' ';
}

static inline void
put_null(Params *params)
{
	params->values[params->n] = (Datum) 0;
	params->nulls[params->n++] = 'n';
}

/* NULL for a NULL pointer */
static inline void
put_text(Params *params, const char *value)
{
	if (value)
		put(params, CStringGetTextDatum(value));
	else
		put_null(params);
}

/* NULL for a NULL pointer */
static inline void
put_pointer(Params *params, const void *value)
{
	if (value)
		put(params, PointerGetDatum(value));
	else
		put_null(params);
}

/* NULL for WFI_NEVER */
static inline void
put_time(Params *params, TimestampTz value)
{
	if (value != WFI_NEVER)
		put(params, TimestampTzGetDatum(value));
	else
		put_null(params);
}

/* An interval, NULL for 0 */
static inline void
put_usecs(Params *params, int64 usecs)
{
	if (usecs != 0)
	{
		Interval   *interval = palloc0(sizeof(Interval));

		interval->time = usecs;
		put(params, IntervalPGetDatum(interval));
	}
	else
		put_null(params);
}

/* The first two parameters of nearly all statements */
static inline void
put_run(Params *params, int32 shard, const pg_uuid_t *run_id)
{
	params->n = 0;
	put(params, Int32GetDatum(shard));
	put(params, UUIDPGetDatum(run_id));
}

/* A position of a row; invalid for NULL */
static inline ItemPointerData
wfi_tid(const ItemPointerData *at)
{
	ItemPointerData none;

	ItemPointerSetInvalid(&none);
	return at ? *at : none;
}

/* NULL for an invalid one */
static inline void
put_tid(Params *params, const ItemPointerData *tid)
{
	put_pointer(params, ItemPointerIsValid(tid) ? tid : NULL);
}

/* A column of a row; NULL, WFI_NEVER or 0 when it is null. */
static inline char *
text_column(Datum *values, bool *nulls, int n)
{
	return nulls[n] ? NULL : TextDatumGetCString(values[n]);
}

static inline pg_uuid_t *
uuid_column(Datum *values, bool *nulls, int n)
{
	pg_uuid_t  *uuid;

	if (nulls[n])
		return NULL;
	uuid = palloc(sizeof(pg_uuid_t));
	*uuid = *DatumGetUUIDP(values[n]);
	return uuid;
}

static inline TimestampTz
time_column(Datum *values, bool *nulls, int n)
{
	return nulls[n] ? WFI_NEVER : DatumGetTimestampTz(values[n]);
}

static inline int64
usecs_column(Datum *values, bool *nulls, int n)
{
	return nulls[n] ? 0 : wfi_interval_to_usecs(DatumGetIntervalP(values[n]));
}

/* store.c */
extern SPIPlanPtr wfi_store_plan(const char *sql, const char *types);
extern uint64 wfi_store_execute_plan(SPIPlanPtr plan, Params *params,
									 int expected);
extern Datum wfi_store_status(WfiStatus status);
extern WfiStatus wfi_store_read_status(Datum value);
extern WfiEventType wfi_store_read_event_type(Datum value);
extern Oid	wfi_store_event_type_oid(void);

extern Oid	wfi_store_schema(void);
extern void wfi_store_check_storing(const WfiRun *run);
extern bool wfi_store_writes(void);
extern bool wfi_store_exists_now(Statement statement, Params *params);

/*
 * What a callback makes of the columns of a row, in the current memory
 * context; the row's own memory goes.
 */
typedef void *(*WfiReadColumns) (Datum *values, bool *nulls);

/* store_access.c */
extern void wfi_direct_forget(void);

/* store_direct.c */
typedef enum WfiDirectKey
{
	WFI_DIRECT_CURRENT,			/* shard, workflow id, namespace */
	WFI_DIRECT_RUN,				/* shard, run id */
	WFI_DIRECT_EVENT,			/* shard, run id, event id */
	WFI_DIRECT_ACTIVITY,		/* shard, run id, scheduled event id */
	WFI_DIRECT_TASK,			/* queue id, task id, shard */
	WFI_DIRECT_WAKEUP,			/* due time, run id, shard */
	WFI_DIRECT_KEYS				/* how many there are */
} WfiDirectKey;

/* What became of a row since the snapshot that shows it was taken */
typedef enum WfiDirectFate
{
	WFI_ROW_THERE,				/* nothing, as far as we know */
	WFI_ROW_LEAVING,			/* somebody deletes it, and may roll back */
	WFI_ROW_GONE				/* somebody has deleted it */
} WfiDirectFate;

/* The tables about runs begin with shard and run id. */
#define WFI_RUN_COLUMNS 2

typedef void (*WfiChangeColumns) (Datum *values, bool *nulls,
								  const void *arg);
typedef WfiRun *(*WfiReadRow) (TupleDesc desc, Datum *values, bool *nulls);

typedef struct WfiDirectScan WfiDirectScan;
typedef struct WfiDirectInsert WfiDirectInsert;

extern bool wfi_direct_lock(WfiDirectKey key, const Datum *values,
							const ItemPointerData *at, bool skip_locked,
							WfiReadRow read_row, WfiRun **run, bool *found,
							TransactionId *holder);
extern bool wfi_direct_read(WfiDirectKey key, const Datum *values,
							WfiReadColumns read, void **row,
							ItemPointer position);
extern bool wfi_direct_update(ItemPointerData position, Datum *values,
							  bool *nulls, bool *replace);
extern bool wfi_direct_change(WfiDirectKey key, const Datum *values,
							  const ItemPointerData *position,
							  WfiChangeColumns change, const void *arg,
							  bool *found);
extern bool wfi_direct_delete(WfiDirectKey key, const Datum *values,
							  const ItemPointerData *position,
							  bool skip_locked, bool *deleted);
extern WfiDirectScan *wfi_direct_scan_begin(WfiDirectKey key,
											const Datum *values, int columns);
extern const Datum *wfi_direct_scan_next(WfiDirectScan *scan);
extern ItemPointerData wfi_direct_scan_tid(const WfiDirectScan *scan,
										   int column);
extern ItemPointerData wfi_direct_scan_position(const WfiDirectScan *scan);
extern bool wfi_direct_scan_held(const WfiDirectScan *scan);
extern WfiDirectFate wfi_direct_scan_fate(const WfiDirectScan *scan);
extern void wfi_direct_scan_end(WfiDirectScan *scan);
extern WfiDirectInsert *wfi_direct_insert_begin(WfiDirectKey key,
												int columns);
extern void wfi_direct_insert(WfiDirectInsert *insert, const Datum *values,
							  const bool *nulls, ItemPointer position);
extern void wfi_direct_insert_end(WfiDirectInsert *insert);

/* store_busy.c */
extern void wfi_store_look_afresh(void);
extern bool wfi_store_known_busy(const pg_uuid_t *run_id);
extern void wfi_store_remember_busy(const pg_uuid_t *run_id,
									TransactionId holder);

/* store_run.c */
extern void wfi_store_forget_runs(void);
extern WfiRun *wfi_store_composite_run(Datum row);

/* store_parts.c */
/* The columns of wf.event: WFI_RUN_COLUMNS and EVENT_COLUMNS, in this order */
#define EVENT_NCOLUMNS (WFI_RUN_COLUMNS + 5)

extern void *wfi_store_buffered_row(Datum *values, bool *nulls);
extern void *wfi_store_timer_row(Datum *values, bool *nulls);

/* store_activity.c */
/* The columns of wf.activity behind WFI_RUN_COLUMNS, in this order */
typedef enum ActivityColumn
{
	ACT_SCHEDULED_EVENT_ID,
	ACT_ATTEMPT,
	ACT_FIRST_SCHEDULED_TIME,
	ACT_SCHEDULED_TIME,
	ACT_STARTED_TIME,
	ACT_LAST_HEARTBEAT_TIME,
	ACT_LAST_ATTEMPT_COMPLETE_TIME,
	ACT_CANCEL_REQUESTED_EVENT_ID,
	ACT_TOKEN,
	ACT_DISPATCHED,
	ACT_CANCEL_REQUESTED,
	ACT_PAUSED,
	ACT_WAS_RESET,
	ACT_HEARTBEAT_RESET,
	ACT_SCHEDULE_TO_CLOSE_TIMEOUT,
	ACT_SCHEDULE_TO_START_TIMEOUT,
	ACT_START_TO_CLOSE_TIMEOUT,
	ACT_HEARTBEAT_TIMEOUT,
	ACT_STATE,
	ACT_ACTIVITY_ID,
	ACT_ACTIVITY_TYPE,
	ACT_TASK_QUEUE,
	ACT_IDENTITY,
	ACT_LAST_WORKER_IDENTITY,
	ACT_RETRY_POLICY,
	ACT_HEARTBEAT_DETAILS,
	ACT_LAST_FAILURE,
	ACT_PAUSE_INFO,
	ACTIVITY_COLUMNS			/* how many there are */
} ActivityColumn;

extern void *wfi_store_activity_row(Datum *values, bool *nulls);

/* Execute a statement whose rows go to the receiver one by one. */
extern uint64 wfi_store_stream(Statement statement, Params *params,
							   DestReceiver *receiver, int expected);

/* Open a cursor for a SELECT of many rows. */
extern Portal wfi_store_cursor(Statement statement, Params *params);

#define MAX_LIST_COLUMNS 32

/* Execute a SELECT; what the callback makes of each row. */
extern List *wfi_store_list(Statement statement, Params *params,
							WfiReadColumns read_columns);

/* Read a row of a table about runs by its key, or NULL. */
extern void *wfi_store_read(Statement statement, WfiDirectKey key,
							Params *params, WfiReadColumns read_columns,
							ItemPointer position);

/* Execute a statement; the number of rows it returned or changed. */
extern uint64 wfi_store_execute(Statement statement, Params *params,
								int expected);

/* As wfi_store_execute(), for statements that must hit exactly one row. */
extern void wfi_store_execute_one(Statement statement, Params *params,
								  int expected);

#endif							/* WFI_STORE_H */
