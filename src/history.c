/*
 * history.c
 *	  Histories as users and workers read them.
 *
 * The events of a transient workflow task are not stored; reads make them up
 * behind the last event.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_history);

/* The events that stand for a transient task which nothing has overtaken. */
List *
wfi_transient_events(const WfiRun *run)
{
	List	   *events = NIL;
	WfiEvent   *event;

	if (!wfi_run_open(run) || run->task_scheduled_event_id == 0 ||
		run->task_scheduled_event_id != run->next_event_id)
		return NIL;
	event = palloc0(sizeof(WfiEvent));
	event->event_id = run->task_scheduled_event_id;
	event->event_time = run->task_scheduled_time;
	event->type = WFI_EV_TASK_SCHEDULED;
	event->attributes = wfi_task_scheduled_attributes(run);
	events = lappend(events, event);
	if (run->task_started_event_id != 0)
	{
		event = palloc0(sizeof(WfiEvent));
		event->event_id = run->task_started_event_id;
		event->event_time = run->task_started_time;
		event->type = WFI_EV_TASK_STARTED;
		event->attributes = wfi_task_started_attributes(run);
		events = lappend(events, event);
	}
	return events;
}

/* The last event of that type, be it stored or buffered; or NULL. */
WfiEvent *
wfi_last_event(WfiRun *run, WfiEventType type)
{
	WfiEvent   *last = NULL;
	ListCell   *lc;

	wfi_run_load_buffer(run);
	foreach(lc, run->buffer)
	{
		if (((WfiEvent *) lfirst(lc))->type == type)
			last = lfirst(lc);
	}
	return last ? last : wfi_store_last_event(run, type);
}

/* Call back for every event, with those of a transient task. */
static void
read_history(const WfiRun *run, WfiEventCallback callback, void *arg)
{
	ListCell   *lc;

	wfi_store_scan_events(run->shard, &run->run_id, 1, PG_INT64_MAX, callback,
						  arg);
	foreach(lc, wfi_transient_events(run))
		callback(lfirst(lc), arg);
}

/* Push an event as an object onto an array. */
static void
push_event(WfiEvent *event, void *arg)
{
	WfiObject  *array = arg;
	Jsonb	   *attributes = event->attributes;

	/* values are referenced until the whole is built, rows are gone then */
	if (attributes == NULL)
		attributes = DatumGetJsonbPCopy(event->unread);
	pushJsonbValue(&array->state, WJB_BEGIN_OBJECT, NULL);
	wfi_put_int(array, "event_id", event->event_id);
	wfi_put_time(array, "event_time", event->event_time);
	wfi_put_text(array, "event_type", wfi_event_name(event->type));
	wfi_put_json(array, "attributes", attributes);
	pushJsonbValue(&array->state, WJB_END_OBJECT, NULL);
}

/* A run's history as an array of objects. */
Jsonb *
wfi_history_json(WfiRun *run)
{
	WfiObject	array = {NULL};

	pushJsonbValue(&array.state, WJB_BEGIN_ARRAY, NULL);
	read_history(run, push_event, &array);
	return JsonbValueToJsonb(pushJsonbValue(&array.state, WJB_END_ARRAY,
											NULL));
}

/* Return an event as a row of wf_history() and its like. */
void
wfi_put_event_row(ReturnSetInfo *rsinfo, const pg_uuid_t *run_id,
				  const WfiEvent *event)
{
	Datum		values[5];
	bool		nulls[5] = {0};

	values[0] = UUIDPGetDatum(run_id);
	values[1] = Int64GetDatum(event->event_id);
	values[2] = TimestampTzGetDatum(event->event_time);
	values[3] = wfi_store_event_type(event->type);
	values[4] = event->attributes ? JsonbPGetDatum(event->attributes) :
		event->unread;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Where rows go */
typedef struct RowTarget
{
	ReturnSetInfo *rsinfo;
	const WfiRun *run;
} RowTarget;

static void
put_row(WfiEvent *event, void *arg)
{
	RowTarget  *target = arg;

	wfi_put_event_row(target->rsinfo, &target->run->run_id, event);
}

/* wf_history(workflow_id, run_id, namespace) */
Datum
wfi_history(PG_FUNCTION_ARGS)
{
	char	   *workflow_id;
	pg_uuid_t  *run_id;
	RowTarget	target;

	InitMaterializedSRF(fcinfo, 0);
	wfi_store_begin("wf_history()", false);
	workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	run_id = wfi_arg_uuid(fcinfo, 1);
	target.run = wfi_run_read_target(wfi_arg_namespace(fcinfo, 2),
									 workflow_id, run_id);
	target.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	read_history(target.run, put_row, &target);
	wfi_store_end();
	return (Datum) 0;
}
