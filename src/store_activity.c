/*
 * store_activity.c
 *	  Rows of pending activities.
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "store.h"

/* A copy of a JSON column, or NULL. */
static Jsonb *
json_column(Datum *values, bool *nulls, int n)
{
	return nulls[n] ? NULL : DatumGetJsonbPCopy(values[n]);
}

/* An activity from the values of ACTIVITY_COLUMNS. */
void *
wfi_store_activity_row(Datum *values, bool *nulls)
{
	WfiActivity *activity = palloc0(sizeof(WfiActivity));
	pg_uuid_t  *token;
	int			n = 0;

	activity->scheduled_event_id = DatumGetInt64(values[n++]);
	activity->activity_id = text_column(values, nulls, n++);
	activity->activity_type = text_column(values, nulls, n++);
	activity->first_scheduled_time = time_column(values, nulls, n++);
	activity->task_queue = text_column(values, nulls, n++);
	activity->schedule_to_close_timeout = usecs_column(values, nulls, n++);
	activity->schedule_to_start_timeout = usecs_column(values, nulls, n++);
	activity->start_to_close_timeout = usecs_column(values, nulls, n++);
	activity->heartbeat_timeout = usecs_column(values, nulls, n++);
	activity->retry_policy = json_column(values, nulls, n++);
	activity->attempt = DatumGetInt32(values[n++]);
	activity->scheduled_time = time_column(values, nulls, n++);
	activity->dispatched = DatumGetBool(values[n++]);
	activity->started_time = time_column(values, nulls, n++);
	token = uuid_column(values, nulls, n++);
	if (token)
		activity->token = *token;
	activity->identity = text_column(values, nulls, n++);
	activity->last_heartbeat_time = time_column(values, nulls, n++);
	activity->heartbeat_details = json_column(values, nulls, n++);
	activity->last_failure = json_column(values, nulls, n++);
	activity->last_worker_identity = text_column(values, nulls, n++);
	activity->cancel_requested_event_id = DatumGetInt64(values[n++]);
	activity->paused = DatumGetBool(values[n++]);
	activity->was_reset = DatumGetBool(values[n++]);
	activity->heartbeat_reset = DatumGetBool(values[n++]);
	activity->last_attempt_complete_time = time_column(values, nulls, n++);
	Assert(n == ACTIVITY_NCOLUMNS);
	activity->stored = true;
	if (wfi_activity_started(activity))
		wfi_heartbeat_overlay(activity);
	return activity;
}

/* The activity that a SELECT finds, or NULL. */
static WfiActivity *
select_activity(Statement statement, Params *params)
{
	List	   *activities = wfi_store_list(statement, params,
											wfi_store_activity_row);

	return activities == NIL ? NULL : linitial(activities);
}

/* All stored pending activities of a run. */
List *
wfi_store_read_activities(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	return wfi_store_list(READ_ACTIVITIES, &params, wfi_store_activity_row);
}

/* A stored pending activity, or NULL. */
WfiActivity *
wfi_store_read_activity(const WfiRun *run, int64 scheduled_event_id)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	put(&params, Int64GetDatum(scheduled_event_id));
	return select_activity(READ_ACTIVITY, &params);
}

/* A stored pending activity by its id, or NULL. */
WfiActivity *
wfi_store_find_activity(const WfiRun *run, const char *activity_id)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	put_text(&params, activity_id);
	return select_activity(FIND_ACTIVITY, &params);
}

/* What insert and update share, see ACTIVITY_TYPES. */
static void
put_activity(Params *params, const WfiActivity *activity)
{
	put_text(params, activity->task_queue);
	put_usecs(params, activity->schedule_to_close_timeout);
	put_usecs(params, activity->schedule_to_start_timeout);
	put_usecs(params, activity->start_to_close_timeout);
	put_usecs(params, activity->heartbeat_timeout);
	put_pointer(params, activity->retry_policy);
	put_text(params, wfi_activity_state(activity));
	put(params, Int32GetDatum(activity->attempt));
	put_time(params, activity->scheduled_time);
	put(params, BoolGetDatum(activity->dispatched));
	put_time(params, activity->started_time);
	put_pointer(params,
				wfi_activity_started(activity) ? &activity->token : NULL);
	put_text(params, activity->identity);
	put_time(params, activity->last_heartbeat_time);
	put_pointer(params, activity->heartbeat_details);
	put_pointer(params, activity->last_failure);
	put_text(params, activity->last_worker_identity);
	put(params, Int64GetDatum(activity->cancel_requested_event_id));
	put(params, BoolGetDatum(activity->cancel_requested_event_id != 0));
	put(params, BoolGetDatum(activity->paused));
	put(params, BoolGetDatum(activity->was_reset));
	put(params, BoolGetDatum(activity->heartbeat_reset));
	put_time(params, activity->last_attempt_complete_time);
}

/* Store what the operation did to the run's activities. */
void
wfi_store_activities(const WfiRun *run)
{
	ListCell   *lc;

	foreach(lc, run->removed_activities)
	{
		const WfiActivity *activity = lfirst(lc);
		Params		params;

		if (!activity->stored)
			continue;
		put_run(&params, run->shard, &run->run_id);
		put(&params, Int64GetDatum(activity->scheduled_event_id));
		wfi_store_execute_one(DELETE_ACTIVITY, &params, SPI_OK_DELETE);
	}
	foreach(lc, run->activities)
	{
		WfiActivity *activity = lfirst(lc);
		Params		params;

		if (activity->stored && !activity->changed)
			continue;
		put_run(&params, run->shard, &run->run_id);
		put(&params, Int64GetDatum(activity->scheduled_event_id));
		if (activity->stored)
		{
			put_activity(&params, activity);
			put(&params, BoolGetDatum(activity->heartbeat_replaced));
			wfi_store_execute_one(UPDATE_ACTIVITY, &params, SPI_OK_UPDATE);
		}
		else
		{
			put_text(&params, activity->activity_id);
			put_text(&params, activity->activity_type);
			put_time(&params, activity->first_scheduled_time);
			put_activity(&params, activity);
			wfi_store_execute_one(INSERT_ACTIVITY, &params, SPI_OK_INSERT);
			activity->stored = true;
		}
		activity->changed = false;
		if (activity->dispatch_now)
		{
			wfi_store_insert_activity_task(run, activity);
			wfi_notify_queue(WFI_CHANNEL_ACTIVITY, activity->task_queue,
							 run->shard);
			activity->dispatch_now = false;
		}
	}
}

/* Parameters of all statements about the attempt that a token is for */
static void
put_attempt(Params *params, const WfiToken *token)
{
	put_run(params, token->shard, &token->run_id);
	put(params, Int64GetDatum(token->scheduled_event_id));
	put(params, Int32GetDatum(token->attempt));
	put(params, UUIDPGetDatum(&token->hash));
}

/*
 * Record a heartbeat of the attempt that a token is for; false when there is
 * no such attempt.
 */
bool
wfi_store_heartbeat(const WfiToken *token, TimestampTz now,
					const Jsonb *details, const char *identity,
					bool *cancel_requested, bool *paused, bool *was_reset)
{
	Params		params;
	Datum		values[3];
	bool		nulls[3];

	put_attempt(&params, token);
	put(&params, TimestampTzGetDatum(now));
	put_pointer(&params, details);
	put_text(&params, identity);
	if (wfi_store_execute(HEARTBEAT, &params, SPI_OK_UPDATE_RETURNING) == 0)
		return false;
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values,
					  nulls);
	*cancel_requested = DatumGetBool(values[0]);
	*paused = DatumGetBool(values[1]);
	*was_reset = DatumGetBool(values[2]);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/*
 * Store a heartbeat that was recorded before, unless a later one is stored,
 * without waiting for anybody.
 */
WfiFlush
wfi_store_flush_heartbeat(const WfiToken *token, TimestampTz time,
						  const Jsonb *details, const char *identity)
{
	Params		params;
	Datum		stored;
	bool		isnull;
	bool		ignored;

	put_attempt(&params, token);
	if (wfi_store_execute(LOCK_ATTEMPT, &params, SPI_OK_SELECT) == 0)
		return wfi_store_exists_now(ATTEMPT_EXISTS, &params) ?
			WFI_FLUSH_LOCKED : WFI_FLUSH_GONE;
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, &stored,
					  &isnull);
	SPI_freetuptable(SPI_tuptable);
	if (isnull || DatumGetTimestampTz(stored) <= time)
		wfi_store_heartbeat(token, time, details, identity, &ignored, &ignored,
							&ignored);
	return WFI_FLUSH_DONE;
}
