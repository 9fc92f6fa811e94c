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

/* An activity from its columns. */
void *
wfi_store_activity_row(Datum *values, bool *nulls)
{
	WfiActivity *activity = palloc0(sizeof(WfiActivity));

	activity->scheduled_event_id = DatumGetInt64(values[ACT_SCHEDULED_EVENT_ID]);
	activity->activity_id = text_column(values, nulls, ACT_ACTIVITY_ID);
	activity->activity_type = text_column(values, nulls, ACT_ACTIVITY_TYPE);
	activity->first_scheduled_time = time_column(values, nulls, ACT_FIRST_SCHEDULED_TIME);
	activity->task_queue = text_column(values, nulls, ACT_TASK_QUEUE);
	activity->schedule_to_close_timeout = usecs_column(values, nulls, ACT_SCHEDULE_TO_CLOSE_TIMEOUT);
	activity->schedule_to_start_timeout = usecs_column(values, nulls, ACT_SCHEDULE_TO_START_TIMEOUT);
	activity->start_to_close_timeout = usecs_column(values, nulls, ACT_START_TO_CLOSE_TIMEOUT);
	activity->heartbeat_timeout = usecs_column(values, nulls, ACT_HEARTBEAT_TIMEOUT);
	activity->retry_policy = json_column(values, nulls, ACT_RETRY_POLICY);
	activity->attempt = DatumGetInt32(values[ACT_ATTEMPT]);
	activity->scheduled_time = time_column(values, nulls, ACT_SCHEDULED_TIME);
	activity->dispatched = DatumGetBool(values[ACT_DISPATCHED]);
	activity->started_time = time_column(values, nulls, ACT_STARTED_TIME);
	if (!nulls[ACT_TOKEN])
		activity->token = *DatumGetUUIDP(values[ACT_TOKEN]);
	activity->identity = text_column(values, nulls, ACT_IDENTITY);
	activity->last_heartbeat_time = time_column(values, nulls, ACT_LAST_HEARTBEAT_TIME);
	activity->heartbeat_details = json_column(values, nulls, ACT_HEARTBEAT_DETAILS);
	activity->last_failure = json_column(values, nulls, ACT_LAST_FAILURE);
	activity->pause_info = json_column(values, nulls, ACT_PAUSE_INFO);
	activity->last_worker_identity = text_column(values, nulls, ACT_LAST_WORKER_IDENTITY);
	activity->cancel_requested_event_id = DatumGetInt64(values[ACT_CANCEL_REQUESTED_EVENT_ID]);
	activity->paused = DatumGetBool(values[ACT_PAUSED]);
	activity->was_reset = DatumGetBool(values[ACT_WAS_RESET]);
	activity->heartbeat_reset = DatumGetBool(values[ACT_HEARTBEAT_RESET]);
	activity->last_attempt_complete_time = time_column(values, nulls, ACT_LAST_ATTEMPT_COMPLETE_TIME);
	activity->stored = true;
	if (wfi_activity_started(activity))
		wfi_heartbeat_overlay(activity);
	return activity;
}

/* All stored pending activities of a run. */
List *
wfi_store_read_activities(const WfiRun *run)
{
	Params		params;

	put_run(&params, run->shard, &run->run_id);
	return wfi_store_list(READ_ACTIVITIES, &params, wfi_store_activity_row);
}

/* A stored pending activity, or NULL; where its row is can be given. */
WfiActivity *
wfi_store_read_activity(const WfiRun *run, int64 scheduled_event_id,
						const ItemPointerData *at)
{
	Params		params;
	ItemPointerData position = wfi_tid(at);
	WfiActivity *activity;

	put_run(&params, run->shard, &run->run_id);
	put(&params, Int64GetDatum(scheduled_event_id));
	activity = wfi_store_read(READ_ACTIVITY, WFI_DIRECT_ACTIVITY, &params,
							  wfi_store_activity_row, &position);
	if (activity)
		activity->position = position;
	return activity;
}

/* A stored pending activity by its id, or NULL. */
WfiActivity *
wfi_store_find_activity(const WfiRun *run, const char *activity_id)
{
	Params		params;
	List	   *found;

	put_run(&params, run->shard, &run->run_id);
	put_text(&params, activity_id);
	found = wfi_store_list(FIND_ACTIVITY, &params, wfi_store_activity_row);
	return found == NIL ? NULL : linitial(found);
}

/* A whole row; insert and update share these parameters. */
static void
put_activity(Params *params, const WfiRun *run, const WfiActivity *activity)
{
	put_run(params, run->shard, &run->run_id);
	put(params, Int64GetDatum(activity->scheduled_event_id));
	put(params, Int32GetDatum(activity->attempt));
	put_time(params, activity->first_scheduled_time);
	put_time(params, activity->scheduled_time);
	put_time(params, activity->started_time);
	put_time(params, activity->last_heartbeat_time);
	put_time(params, activity->last_attempt_complete_time);
	put(params, Int64GetDatum(activity->cancel_requested_event_id));
	put_pointer(params,
				wfi_activity_started(activity) ? &activity->token : NULL);
	put(params, BoolGetDatum(activity->dispatched));
	put(params, BoolGetDatum(activity->cancel_requested_event_id != 0));
	put(params, BoolGetDatum(activity->paused));
	put(params, BoolGetDatum(activity->was_reset));
	put(params, BoolGetDatum(activity->heartbeat_reset));
	put_usecs(params, activity->schedule_to_close_timeout);
	put_usecs(params, activity->schedule_to_start_timeout);
	put_usecs(params, activity->start_to_close_timeout);
	put_usecs(params, activity->heartbeat_timeout);
	put_text(params, wfi_activity_state(activity));
	put_text(params, activity->activity_id);
	put_text(params, activity->activity_type);
	put_text(params, activity->task_queue);
	put_text(params, activity->identity);
	put_text(params, activity->last_worker_identity);
	put_pointer(params, activity->retry_policy);
	put_pointer(params, activity->heartbeat_details);
	put_pointer(params, activity->last_failure);
	put_pointer(params, activity->pause_info);
	Assert(params->n == WFI_RUN_COLUMNS + ACTIVITY_COLUMNS);
}

/*
 * Do what UPDATE_ACTIVITY does: heartbeats do not wait for the run's lock, so
 * a later one stays, unless it is to be replaced.
 */
static void
change_activity(Datum *values, bool *nulls, const void *arg)
{
	const Params *params = arg;
	const Datum *new_values = params->values + WFI_RUN_COLUMNS;
	const char *new_nulls = params->nulls + WFI_RUN_COLUMNS;
	TimestampTz stored = time_column(values, nulls, ACT_LAST_HEARTBEAT_TIME);
	bool		stays = !DatumGetBool(new_values[ACTIVITY_COLUMNS]) &&
	stored != WFI_NEVER &&
	(new_nulls[ACT_LAST_HEARTBEAT_TIME] == 'n' ||
	 stored > DatumGetTimestampTz(new_values[ACT_LAST_HEARTBEAT_TIME]));

	for (int i = 0; i < ACTIVITY_COLUMNS; i++)
	{
		if (stays && (i == ACT_LAST_HEARTBEAT_TIME ||
					  i == ACT_HEARTBEAT_DETAILS ||
					  i == ACT_LAST_WORKER_IDENTITY))
			continue;
		values[i] = new_values[i];
		nulls[i] = new_nulls[i] == 'n';
	}
}

static void
update_activity(const WfiRun *run, const WfiActivity *activity)
{
	Params		params;
	bool		found;

	put_activity(&params, run, activity);
	put(&params, BoolGetDatum(activity->heartbeat_replaced));
	if (!wfi_direct_change(WFI_DIRECT_ACTIVITY, params.values,
						   &activity->position, change_activity, &params,
						   &found))
		wfi_store_execute_one(UPDATE_ACTIVITY, &params, SPI_OK_UPDATE);
	else if (!found)
		elog(ERROR, "activity \"%s\" has vanished", activity->activity_id);
}

static void
delete_activity(const WfiRun *run, const WfiActivity *activity)
{
	Params		params;
	bool		deleted;

	put_run(&params, run->shard, &run->run_id);
	put(&params, Int64GetDatum(activity->scheduled_event_id));
	if (!wfi_direct_delete(WFI_DIRECT_ACTIVITY, params.values,
						   &activity->position, false, &deleted))
		wfi_store_execute_one(DELETE_ACTIVITY, &params, SPI_OK_DELETE);
	else if (!deleted)
		elog(ERROR, "activity \"%s\" has vanished", activity->activity_id);
}

/* Insert those that are new; their positions are known then, without SQL. */
static void
insert_activities(const WfiRun *run)
{
	WfiDirectInsert *insert = NULL;
	bool		directly = true;
	ListCell   *lc;

	foreach(lc, run->activities)
	{
		WfiActivity *activity = lfirst(lc);
		Params		params;
		bool		nulls[MAX_PARAMS];

		if (activity->stored)
			continue;
		if (insert == NULL && directly)
		{
			insert = wfi_direct_insert_begin(WFI_DIRECT_ACTIVITY,
											 WFI_RUN_COLUMNS + ACTIVITY_COLUMNS);
			directly = insert != NULL;
		}
		put_activity(&params, run, activity);
		for (int i = 0; i < params.n; i++)
			nulls[i] = params.nulls[i] == 'n';
		if (directly)
			wfi_direct_insert(insert, params.values, nulls,
							  &activity->position);
		else
			wfi_store_execute_one(INSERT_ACTIVITY, &params, SPI_OK_INSERT);
		activity->stored = true;
		activity->changed = false;
	}
	if (insert)
		wfi_direct_insert_end(insert);
}

/* Store what the operation did to the run's activities. */
void
wfi_store_activities(const WfiRun *run)
{
	ListCell   *lc;

	foreach(lc, run->removed_activities)
	{
		const WfiActivity *activity = lfirst(lc);

		if (activity->stored)
			delete_activity(run, activity);
	}
	insert_activities(run);
	foreach(lc, run->activities)
	{
		WfiActivity *activity = lfirst(lc);

		if (activity->stored && activity->changed)
			update_activity(run, activity);
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
