/*
 * reset_points.c
 *	  wf_reset_points() and wf_reset_point(): where a run can be reset to.
 *
 * A point is the first event that is not kept.  It must begin a batch, and a
 * workflow task must be pending before it: the reset fails that task.
 */
#include "postgres.h"

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "reset.h"

PG_FUNCTION_INFO_V1(wfi_reset_points);
PG_FUNCTION_INFO_V1(wfi_reset_point);

/* A description, and a name in it, are cut short behind so many bytes */
#define MAX_DESCRIPTION 200

typedef struct Point
{
	int64		event_id;
	TimestampTz event_time;
	WfiEventType type;
	const char *kind;
	int64		signals_before; /* in the whole history before it */
	StringInfo	description;
	bool		cut_short;
} Point;

typedef struct Points
{
	List	   *points;			/* Point, oldest first */
	Point	   *open;			/* events of its batch describe it */
	Point	   *first_done;		/* of those that complete a workflow task ... */
	Point	   *last_done;
	Point	   *first_scheduled;	/* of those right behind a schedule ... */
	Point	   *last_scheduled;
	WfiEventType before;		/* type of the event before */
	int64		signals;		/* in the history, and ... */
	int64		signals_behind; /* ... behind it: buffered, or in later runs */
	bool		walking;		/* count_behind() has seen an event */
} Points;

/* May a run with this state be reset here, at the end of a batch? */
bool
wfi_reset_legal(const WfiRun *run)
{
	return run->status == WFI_RUNNING && run->task_scheduled_event_id != 0;
}

/* Is the event, which follows upon this state, a legal point? */
static bool
is_point(const WfiRun *run, const WfiEvent *event)
{
	return event->event_id > 1 && event->batch_id == event->event_id &&
		wfi_reset_legal(run);
}

/* What stands out in an event's attributes: a type, a name, a cause. */
static char *
subject(WfiEvent *event)
{
	static const char *const keys[] = {
		"activity_type", "timer_id", "signal_name", "marker_name", "cause",
		"workflow_type", "reason", NULL
	};

	wfi_event_read(event);
	for (const char *const *key = keys; *key != NULL; key++)
	{
		char	   *value = wfi_get_text(event->attributes, *key);

		if (value != NULL)
			return value;
	}
	return NULL;
}

/* Add an event to the description of the point whose batch it is in. */
static void
describe(Point *point, WfiEvent *event)
{
	char	   *name;

	if (point->cut_short)
		return;
	if (point->description->len >= MAX_DESCRIPTION)
	{
		appendStringInfoString(point->description, ", ...");
		point->cut_short = true;
		return;
	}
	name = subject(event);
	appendStringInfo(point->description, "%s%s",
					 point->description->len > 0 ? ", " : "",
					 wfi_event_name(event->type));
	if (name != NULL)
	{
		int			length = strlen(name);
		int			kept = pg_mbcliplen(name, length, MAX_DESCRIPTION);

		appendStringInfoChar(point->description, ' ');
		appendBinaryStringInfo(point->description, name, kept);
		if (kept < length)
			appendStringInfoString(point->description, "...");
	}
}

/* Note a point, and describe it by the events that it would do away with. */
static void
collect(WfiRun *run, WfiEvent *event, void *arg)
{
	Points	   *points = arg;

	if (event->batch_id == event->event_id)
		points->open = NULL;
	if (is_point(run, event))
	{
		Point	   *point = palloc(sizeof(Point));

		point->event_id = event->event_id;
		point->event_time = event->event_time;
		point->type = event->type;
		point->kind = NULL;
		point->signals_before = points->signals;
		point->description = makeStringInfo();
		point->cut_short = false;
		points->points = lappend(points->points, point);
		points->open = point;
		if (event->type == WFI_EV_TASK_COMPLETED)
		{
			if (points->first_done == NULL)
				points->first_done = point;
			points->last_done = point;
		}
		if (points->before == WFI_EV_TASK_SCHEDULED)
		{
			if (points->first_scheduled == NULL)
				points->first_scheduled = point;
			points->last_scheduled = point;
		}
	}
	if (points->open != NULL)
		describe(points->open, event);
	if (event->type == WFI_EV_SIGNALED)
		points->signals++;
	points->before = event->type;
}

/* All points of a run. */
static void
find_points(const WfiRun *run, Points *points)
{
	memset(points, 0, sizeof(Points));
	points->before = WFI_EVENT_TYPES;
	wfi_rebuild_visit(run, NULL, run->next_event_id - 1, collect, points);
	if (points->last_done == NULL)
	{
		points->first_done = points->first_scheduled;
		points->last_done = points->last_scheduled;
	}
	if (points->first_done != NULL)
		points->first_done->kind = "FirstWorkflowTask";
	if (points->last_done != NULL)
		points->last_done->kind = "LastWorkflowTask";
}

/* A signal that is re-applied with all of a run's own. */
static void
count_behind(const pg_uuid_t *run_id, WfiEvent *event, WfiReapply verdict,
			 void *arg)
{
	Points	   *points = arg;

	/* the walk begins with the last event, which was collected */
	if (points->walking && event->type == WFI_EV_SIGNALED)
		points->signals_behind++;
	points->walking = true;
}

/* Count what is re-applied at every point, as it is not in the history. */
static void
find_signals_behind(WfiReset *reset, Points *points)
{
	reset->event_id = reset->base->next_event_id - 1;
	wfi_reapply_walk(reset, count_behind, points);
}

/* The legal points next to an event id, 0 for none. */
typedef struct Neighbours
{
	int64		event_id;
	int64		before;
	int64		after;
} Neighbours;

static void
look_around(WfiRun *run, WfiEvent *event, void *arg)
{
	Neighbours *neighbours = arg;

	if (!is_point(run, event))
		return;
	if (event->event_id < neighbours->event_id)
		neighbours->before = event->event_id;
	else if (neighbours->after == 0)
		neighbours->after = event->event_id;
}

void
wfi_reset_neighbours(const WfiRun *base, int64 event_id, int64 *before,
					 int64 *after)
{
	Neighbours	neighbours = {event_id, 0, 0};

	wfi_rebuild_visit(base, NULL, base->next_event_id - 1, look_around,
					  &neighbours);
	*before = neighbours.before;
	*after = neighbours.after;
}

/* Return a point as a row. */
static void
put_point(ReturnSetInfo *rsinfo, const WfiRun *run, const Points *points,
		  const Point *point)
{
	Datum		values[8];
	bool		nulls[8] = {0};
	int64		signals = points->signals - point->signals_before +
	points->signals_behind;

	values[0] = UUIDPGetDatum(&run->run_id);
	values[1] = Int64GetDatum(point->event_id);
	values[2] = TimestampTzGetDatum(point->event_time);
	values[3] = wfi_store_event_type(point->type);
	nulls[4] = point->kind == NULL;
	if (point->kind != NULL)
		values[4] = CStringGetTextDatum(point->kind);
	values[5] = Int32GetDatum(0);
	values[6] = Int32GetDatum((int32) signals);
	values[7] = CStringGetTextDatum(point->description->data);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* wf_reset_points(workflow_id, run_id, namespace) */
Datum
wfi_reset_points(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	WfiReset	reset = {0};
	Points		points;

	InitMaterializedSRF(fcinfo, 0);
	wfi_store_begin("wf_reset_points()", false);
	reset.workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	reset.run_id = wfi_arg_uuid(fcinfo, 1);
	reset.namespace = wfi_arg_namespace(fcinfo, 2);
	wfi_reset_read_runs(&reset);
	find_points(reset.base, &points);
	find_signals_behind(&reset, &points);
	for (int i = list_length(points.points) - 1; i >= 0; i--)
		put_point(rsinfo, reset.base, &points, list_nth(points.points, i));
	wfi_store_end();
	return (Datum) 0;
}

/* wf_reset_point(workflow_id, kind, run_id, namespace) */
Datum
wfi_reset_point(PG_FUNCTION_ARGS)
{
	char	   *workflow_id;
	char	   *kind;
	WfiRun	   *run;
	Points		points;
	Point	   *point;
	int64		event_id;

	wfi_store_begin("wf_reset_point()", false);
	workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	kind = wfi_arg_id(fcinfo, 1, "kind");
	run = wfi_run_read_target(wfi_arg_namespace(fcinfo, 3), workflow_id,
							  wfi_arg_uuid(fcinfo, 2));
	find_points(run, &points);
	if (strcmp(kind, "FirstWorkflowTask") == 0)
		point = points.first_done;
	else if (strcmp(kind, "LastWorkflowTask") == 0)
		point = points.last_done;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid kind of reset point \"%s\"", kind),
				 errhint("Valid values are FirstWorkflowTask, LastWorkflowTask.")));
	if (point == NULL)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_BAD_RESET_POINT),
				 errmsg("workflow \"%s\" has no reset point of kind %s",
						workflow_id, kind),
				 errdetail("In run \"%s\" no workflow task was started.",
						   wfi_uuid_text(&run->run_id))));
	event_id = point->event_id;
	wfi_store_end();
	PG_RETURN_INT64(event_id);
}
