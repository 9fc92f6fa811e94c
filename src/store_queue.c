/*
 * store_queue.c
 *	  Rows that lead to runs: tasks that wait for workers, and wake-ups.
 *
 * Who takes such a row locks its run first, passing over runs that somebody
 * else has locked, and removes the row then.  So there is no race for a row,
 * and that of a busy run stays where it is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

#include "store.h"

/*
 * A task says where the rows are that it is about, if that is known: who takes
 * it need not search for them.
 */
static void
insert_task(int64 queue_id, int32 shard, const pg_uuid_t *run_id,
			int64 scheduled_event_id, int32 attempt, TimestampTz now,
			char kind, const char *namespace, const char *task_queue,
			const char *type, const ItemPointerData *run_tid,
			const ItemPointerData *activity_tid,
			const ItemPointerData *event_tid)
{
	Params		params = {0};

	put(&params, Int64GetDatum(queue_id));
	put(&params, Int32GetDatum(shard));
	put(&params, UUIDPGetDatum(run_id));
	put(&params, Int64GetDatum(scheduled_event_id));
	put(&params, Int32GetDatum(attempt));
	put(&params, TimestampTzGetDatum(now));
	put(&params, CharGetDatum(kind));
	put_text(&params, namespace);
	put_text(&params, task_queue);
	put_text(&params, type);
	put_tid(&params, run_tid);
	put_tid(&params, activity_tid);
	put_tid(&params, event_tid);
	wfi_store_execute_one(INSERT_TASK, &params, SPI_OK_INSERT);
}

/* Put the run's pending workflow task into its queue. */
void
wfi_store_insert_task(const WfiRun *run)
{
	insert_task(wfi_queue_id(WFI_TASK_WORKFLOW, run->namespace,
							 run->task_queue),
				run->shard, &run->run_id, run->task_scheduled_event_id,
				run->task_attempt, run->now, WFI_TASK_WORKFLOW,
				run->namespace, run->task_queue, run->workflow_type,
				&run->entry, NULL, NULL);
}

/* Where an event is, if this operation stored it. */
static const ItemPointerData *
event_position(const WfiRun *run, int64 event_id)
{
	int64		n = run->events == NIL ? -1 :
	event_id - ((const WfiEvent *) linitial(run->events))->event_id;

	return n >= 0 && n < list_length(run->events) ?
		&((const WfiEvent *) list_nth(run->events, (int) n))->position : NULL;
}

/* Put an activity that is dispatched into its queue. */
void
wfi_store_insert_activity_task(const WfiRun *run, const WfiActivity *activity)
{
	insert_task(wfi_queue_id(WFI_TASK_ACTIVITY, run->namespace,
							 activity->task_queue),
				run->shard, &run->run_id, activity->scheduled_event_id,
				activity->attempt, run->now, WFI_TASK_ACTIVITY,
				run->namespace, activity->task_queue,
				activity->activity_type, &run->entry, &activity->position,
				event_position(run, activity->scheduled_event_id));
}

/*
 * Where this session has got to in a queue.  Rows that were taken leave dead
 * entries at the head of the index, which an old snapshot elsewhere can keep
 * from being cleaned up; so a session begins behind what it looked at last.
 * What comes up in front of that (commits out of order, transactions rolled
 * back, runs that were busy) is found when there is nothing behind, or at the
 * next look from the start, soon.
 */
typedef struct Position
{
	int64		queue_id;
	int64		at;
	TimestampTz expires;		/* at the start from then on */
} Position;

#define QUEUE_POSITIONS 64
#define POSITION_LIFETIME USECS_PER_SEC
#define START PG_INT64_MIN

static Position queue_positions[QUEUE_POSITIONS];
static Position wakeup_position;

/* The position in a queue, its start when nothing better is known. */
static Position *
look_up(Position *position, int64 queue_id)
{
	TimestampTz now = GetCurrentTimestamp();

	if (position->queue_id != queue_id || now >= position->expires ||
		position->expires > now + POSITION_LIFETIME)
	{
		position->queue_id = queue_id;
		position->at = START;
		position->expires = now + POSITION_LIFETIME;
	}
	return position;
}

static Position *
queue_position(int64 queue_id)
{
	return look_up(&queue_positions[(uint64) queue_id % QUEUE_POSITIONS],
				   queue_id);
}

/*
 * A walk along one of the tables, in the order of its primary key: one leg
 * from the session's position to the end, and one from the start up to it.
 * By direct access, or in SQL, page by page, the pages growing; parameters
 * say where the next one begins (from the column of the key that positions
 * are about), and the last of them is its size.
 */
struct WfiWalk
{
	WfiDirectKey key;
	Statement	statement;
	int			column;			/* that positions are about */
	Params		params;
	const WfiPoll *poll;		/* of a queue: what is wanted */
	Datum	   *types;
	int			n_types;

	int64		begin;			/* of this leg */
	int64		end;			/* ... which includes that one */
	int64		seen;			/* the last one looked at */
	int64		furthest;		/* the same at the end of the first leg */
	int64		beyond;			/* the first one not looked at then */
	bool		first_leg;
	bool		exhausted;
	TimestampTz passed_over;	/* youngest row that others are taking */

	WfiDirectScan *direct;		/* or, when that is NULL: */
	int			page_size;
	SPITupleTable *page;
	int			rows;			/* in the page */
	int			row;			/* to be looked at next */
	Datum		values[11];
};

#define MAX_PAGE 256

static void
begin_leg(WfiWalk *walk, int64 begin, int64 end)
{
	wfi_store_look_afresh();
	walk->begin = walk->seen = begin;
	walk->end = end;
	walk->params.values[walk->column] = Int64GetDatum(begin);
	walk->direct = wfi_direct_scan_begin(walk->key, walk->params.values,
										 walk->column + 1);
	walk->page_size = 1;
	walk->page = NULL;
	walk->rows = walk->row = 1;
}

static void
end_leg(WfiWalk *walk)
{
	if (walk->direct)
		wfi_direct_scan_end(walk->direct);
	if (walk->page)
		SPI_freetuptable(walk->page);
	walk->direct = NULL;
	walk->page = NULL;
}

/* Read the next page of this leg; false when there is none. */
static bool
next_page(WfiWalk *walk)
{
	SPITupleTable *old = walk->page;
	int			size = walk->params.n - 1;

	if (walk->rows < walk->page_size)
		return false;
	if (old)
	{
		/* behind the row that was the last */
		for (int i = walk->column; i < size; i++)
			walk->params.values[i] = walk->values[i];
	}
	walk->page_size = Min(2 * walk->page_size, MAX_PAGE);
	walk->params.values[size] = Int64GetDatum(walk->page_size);
	walk->rows = wfi_store_execute(walk->statement, &walk->params,
								   SPI_OK_SELECT);
	walk->page = SPI_tuptable;
	walk->row = 0;
	if (old)
		SPI_freetuptable(old);
	return walk->rows > 0;
}

/* The columns of the next row of this leg, or NULL. */
static const Datum *
next_row(WfiWalk *walk)
{
	bool		nulls[lengthof(walk->values)];

	CHECK_FOR_INTERRUPTS();
	if (walk->direct)
		return wfi_direct_scan_next(walk->direct);
	if (walk->row == walk->rows && !next_page(walk))
		return NULL;
	heap_deform_tuple(walk->page->vals[walk->row++], walk->page->tupdesc,
					  walk->values, nulls);
	return walk->values;
}

/* The columns of the next row, or NULL when all have been looked at. */
static const Datum *
next_of_walk(WfiWalk *walk)
{
	for (;;)
	{
		const Datum *values = next_row(walk);
		int64		at = values ? DatumGetInt64(values[walk->column]) :
		PG_INT64_MAX;

		if (values && at <= walk->end)
		{
			walk->seen = at;
			return values;
		}
		end_leg(walk);
		if (walk->first_leg)
		{
			walk->furthest = walk->seen;
			walk->beyond = at;
			walk->first_leg = false;
		}
		walk->exhausted = walk->begin == START;
		if (walk->exhausted)
			return NULL;
		begin_leg(walk, START, walk->begin);
	}
}

/*
 * End a walk.  The next one begins behind what was seen, but at the start
 * when something was left there.
 */
static void
end_walk(WfiWalk *walk, bool left, Position *position)
{
	end_leg(walk);
	if (!walk->exhausted)
		position->at = walk->seen;
	else
		position->at = left ? START : walk->furthest;
	pfree(walk);
}

/* Begin to look at the tasks of a queue, roughly oldest first. */
WfiWalk *
wfi_store_open_queue(const WfiPoll *poll)
{
	WfiWalk    *walk = palloc0(sizeof(WfiWalk));
	int64		queue_id = wfi_queue_id(poll->kind, poll->namespace,
										poll->task_queue);

	walk->key = WFI_DIRECT_TASK;
	walk->statement = READ_TASKS;
	walk->column = 1;
	walk->poll = poll;
	walk->passed_over = DT_NOBEGIN;
	if (poll->types != NULL)
		deconstruct_array(poll->types, TEXTOID, -1, false, TYPALIGN_INT,
						  &walk->types, NULL, &walk->n_types);
	put(&walk->params, Int64GetDatum(queue_id));
	put(&walk->params, (Datum) 0);
	put(&walk->params, (Datum) 0);
	walk->first_leg = true;
	begin_leg(walk, queue_position(queue_id)->at, PG_INT64_MAX);
	return walk;
}

static bool
text_is(Datum value, const char *string)
{
	text	   *t = DatumGetTextPP(value);

	return VARSIZE_ANY_EXHDR(t) == strlen(string) &&
		memcmp(VARDATA_ANY(t), string, strlen(string)) == 0;
}

/* Is it for this poll? */
static bool
wanted(const WfiWalk *walk, const Datum *values)
{
	/* not another queue's, should two ever have one hash */
	if (!text_is(values[8], walk->poll->namespace) ||
		!text_is(values[9], walk->poll->task_queue))
		return false;
	for (int i = 0; i < walk->n_types; i++)
	{
		if (datum_image_eq(walk->types[i], values[10], false, -1))
			return true;
	}
	return walk->poll->types == NULL;
}

/*
 * Has another poll taken it since this walk began, or is at it?  Its run is
 * locked until that poll's transaction ends, so it is passed over, without a
 * look at the run.
 */
static bool
taken(WfiWalk *walk, TimestampTz created_time)
{
	WfiDirectFate fate = walk->direct ? wfi_direct_scan_fate(walk->direct) :
	WFI_ROW_THERE;

	if (fate == WFI_ROW_LEAVING)
		walk->passed_over = Max(walk->passed_over, created_time);
	return fate != WFI_ROW_THERE;
}

/*
 * The next task of a queue; false when all have been looked at.  Others may
 * have taken it meanwhile: the lock of its run will tell.
 */
bool
wfi_store_next_task(WfiWalk *walk, WfiTask *task)
{
	const Datum *values;

	do
	{
		values = next_of_walk(walk);
		if (values == NULL)
			return false;
	} while (!wanted(walk, values) ||
			 taken(walk, DatumGetTimestampTz(values[6])));
	task->queue_id = DatumGetInt64(values[0]);
	task->task_id = DatumGetInt64(values[1]);
	task->shard = DatumGetInt32(values[2]);
	task->run_id = *DatumGetUUIDP(values[3]);
	task->scheduled_event_id = DatumGetInt64(values[4]);
	task->attempt = DatumGetInt32(values[5]);
	task->created_time = DatumGetTimestampTz(values[6]);
	ItemPointerSetInvalid(&task->position);
	ItemPointerSetInvalid(&task->run_tid);
	ItemPointerSetInvalid(&task->activity_tid);
	ItemPointerSetInvalid(&task->event_tid);
	if (walk->direct)
	{
		task->position = wfi_direct_scan_position(walk->direct);
		task->run_tid = wfi_direct_scan_tid(walk->direct, 11);
		task->activity_tid = wfi_direct_scan_tid(walk->direct, 12);
		task->event_tid = wfi_direct_scan_tid(walk->direct, 13);
	}
	return true;
}

/*
 * Stop looking at a queue; when was the youngest task made that was left
 * there, DT_NOBEGIN for none?  The caller knows of those of busy runs; those
 * that others are taking count, too: they may yet fail to.
 */
TimestampTz
wfi_store_close_queue(WfiWalk *walk, TimestampTz left)
{
	left = Max(left, walk->passed_over);
	end_walk(walk, left != DT_NOBEGIN,
			 queue_position(DatumGetInt64(walk->params.values[0])));
	return left;
}

/* Remove a task from its queue, if it is there and nobody else is at it. */
void
wfi_store_delete_task(const WfiTask *task)
{
	Params		params = {0};
	bool		deleted;

	put(&params, Int64GetDatum(task->queue_id));
	put(&params, Int64GetDatum(task->task_id));
	put(&params, Int32GetDatum(task->shard));
	if (!wfi_direct_delete(WFI_DIRECT_TASK, params.values, &task->position,
						   true, &deleted))
		wfi_store_execute(DELETE_TASK, &params, SPI_OK_DELETE);
}

/* The driver must look at this run no later than then. */
void
wfi_store_insert_wakeup(int32 shard, const pg_uuid_t *run_id,
						TimestampTz due_time)
{
	Params		params;

	put_run(&params, shard, run_id);
	put(&params, TimestampTzGetDatum(due_time));
	wfi_store_execute(INSERT_WAKEUP, &params, SPI_OK_INSERT);
}

/* Begin to look at the wake-ups that are due, first ones first. */
WfiWalk *
wfi_store_open_wakeups(TimestampTz now)
{
	static pg_uuid_t first_run_id;
	WfiWalk    *walk = palloc0(sizeof(WfiWalk));

	walk->key = WFI_DIRECT_WAKEUP;
	walk->statement = READ_WAKEUPS;
	walk->passed_over = DT_NOBEGIN;
	put(&walk->params, (Datum) 0);
	put(&walk->params, UUIDPGetDatum(&first_run_id));
	put(&walk->params, Int32GetDatum(-1));
	put(&walk->params, (Datum) 0);
	walk->first_leg = true;
	begin_leg(walk, Min(look_up(&wakeup_position, 0)->at, now), now);
	return walk;
}

/* Is somebody else at the wake-up?  Then its run is better left alone. */
static bool
held(WfiWalk *walk)
{
	if (walk->direct == NULL || !wfi_direct_scan_held(walk->direct))
		return false;
	walk->passed_over = walk->seen;
	return true;
}

/*
 * The next wake-up that is due; false when all have been looked at, and *next
 * is then the first time that another one is due, WFI_NEVER for none.
 */
bool
wfi_store_next_wakeup(WfiWalk *walk, WfiWakeup *wakeup, TimestampTz *next)
{
	const Datum *values;

	do
	{
		values = next_of_walk(walk);
		if (values == NULL)
		{
			*next = walk->beyond;
			return false;
		}
	} while (held(walk));
	wakeup->due_time = DatumGetTimestampTz(values[0]);
	wakeup->run_id = *DatumGetUUIDP(values[1]);
	wakeup->shard = DatumGetInt32(values[2]);
	return true;
}

/*
 * Stop looking at wake-ups; were some left there?  The caller knows of those
 * of busy runs.
 */
bool
wfi_store_close_wakeups(WfiWalk *walk, bool left)
{
	left |= walk->passed_over != DT_NOBEGIN;
	end_walk(walk, left, look_up(&wakeup_position, 0));
	return left;
}

/*
 * Remove a wake-up, if it is there and nobody else is at it; true if that was
 * so.
 */
bool
wfi_store_delete_wakeup(int32 shard, const pg_uuid_t *run_id,
						TimestampTz due_time)
{
	Params		params = {0};
	bool		deleted;

	put(&params, TimestampTzGetDatum(due_time));
	put(&params, UUIDPGetDatum(run_id));
	put(&params, Int32GetDatum(shard));
	if (!wfi_direct_delete(WFI_DIRECT_WAKEUP, params.values, NULL, true,
						   &deleted))
		deleted = wfi_store_execute(DELETE_WAKEUP, &params,
									SPI_OK_DELETE) > 0;
	return deleted;
}

/* Notify queues whose oldest task was created before; how many. */
int
wfi_store_renotify(TimestampTz created_before)
{
	Params		params = {0};
	SPITupleTable *table;
	uint64		rows;

	put(&params, TimestampTzGetDatum(created_before));
	rows = wfi_store_execute(RENOTIFY, &params, SPI_OK_SELECT);
	table = SPI_tuptable;
	for (uint64 i = 0; i < rows; i++)
	{
		Datum		values[3];
		bool		nulls[3];

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		wfi_notify_queue(DatumGetChar(values[0]) == WFI_TASK_WORKFLOW ?
						 WFI_CHANNEL_WORKFLOW : WFI_CHANNEL_ACTIVITY,
						 TextDatumGetCString(values[1]),
						 DatumGetInt32(values[2]));
	}
	SPI_freetuptable(table);
	return (int) rows;
}
