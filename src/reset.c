/*
 * reset.c
 *	  wf_reset(): a new run that begins with a copy of an older one's events
 *	  and goes on from there.
 *
 * Base is the run whose first events are copied, current the newest run of
 * the workflow id; often they are one.  The base is locked before the current
 * run, so that resets, starts and signals cannot deadlock.  Everything, with
 * the termination of the current run, is one operation.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "reset.h"

PG_FUNCTION_INFO_V1(wfi_reset);

/* In the order of the bits of WfiReapplyExclude */
static const char *const exclude_names[] = {
	"Signal", "Update", "Nexus", "CancelRequest", NULL
};

/* The set of event kinds in an array of their names. */
static int
parse_exclude(ArrayType *array)
{
	Datum	   *names;
	bool	   *nulls;
	int			n;
	int			exclude = 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls,
					  &n);
	for (int i = 0; i < n; i++)
	{
		const char *name = nulls[i] ? "NULL" : TextDatumGetCString(names[i]);
		int			bit = 0;

		while (exclude_names[bit] != NULL &&
			   strcmp(exclude_names[bit], name) != 0)
			bit++;
		if (exclude_names[bit] == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown reset reapply type: \"%s\"", name),
					 errhint("Valid values are Signal, Update, Nexus, CancelRequest.")));
		exclude |= 1 << bit;
	}
	return exclude;
}

pg_noreturn static void refuse_signal(int n, const char *problem);

static void
refuse_signal(int n, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid element %d of signals", n),
			 errdetail("%s", problem),
			 errhint("Each is an object like {\"signal_name\": \"go\", \"input\": {}, \"request_id\": \"1\"}; the last two can be left out.")));
}

/* One signal of the request. */
static WfiResetSignal *
parse_signal(const Jsonb *object, int n)
{
	WfiResetSignal *signal = palloc0(sizeof(WfiResetSignal));
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key;

	if (!wfi_is_object(object))
		refuse_signal(n, "It is not an object.");
	iterator = JsonbIteratorInit(unconstify(JsonbContainer *, &object->root));
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		if (strcmp(name, "signal_name") != 0 && strcmp(name, "input") != 0 &&
			strcmp(name, "request_id") != 0)
			refuse_signal(n, psprintf("\"%s\" is unknown.", name));
	}
	signal->signal_name = wfi_get_text(object, "signal_name");
	if (signal->signal_name == NULL)
		refuse_signal(n, "\"signal_name\" must be a string.");
	wfi_check_id(signal->signal_name, "signal_name");
	signal->input = wfi_get_json(object, "input");
	if (signal->input != NULL)
		wfi_check_payload_size(VARSIZE(signal->input), "input");
	if (wfi_get(object, "request_id") != NULL)
	{
		signal->request_id = wfi_get_text(object, "request_id");
		if (signal->request_id == NULL)
			refuse_signal(n, "\"request_id\" must be a string.");
		wfi_check_id(signal->request_id, "request_id");
	}
	return signal;
}

/* The signals of the request, an array of objects. */
static List *
parse_signals(Jsonb *array)
{
	List	   *signals = NIL;
	int			n;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("signals must be a JSON array")));
	n = JB_ROOT_COUNT(array);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&array->root, i);

		signals = lappend(signals,
						  parse_signal(JsonbValueToJsonb(element), i + 1));
	}
	return signals;
}

/* The point, an event id. */
int64
wfi_reset_arg_point(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", "event_id")));
	return PG_GETARG_INT64(n);
}

/* Read the arguments exclude and signals, by their numbers. */
void
wfi_reset_args(FunctionCallInfo fcinfo, int exclude, int signals,
			   WfiReset *reset)
{
	if (!PG_ARGISNULL(exclude))
		reset->exclude = parse_exclude(PG_GETARG_ARRAYTYPE_P(exclude));
	if (!PG_ARGISNULL(signals))
		reset->signals = parse_signals(PG_GETARG_JSONB_P(signals));
}

/* Read the base and the current run, without locks, for a look at them. */
void
wfi_reset_read_runs(WfiReset *reset)
{
	reset->base = wfi_run_read_target(reset->namespace, reset->workflow_id,
									  reset->run_id);
	reset->current = reset->base->is_current ? reset->base :
		wfi_store_read_current(reset->base->shard, reset->namespace,
							   reset->workflow_id);
}

/* Can the point be one at all? */
void
wfi_reset_check(const WfiReset *reset)
{
	int64		last = reset->base->next_event_id - 1;

	if (reset->event_id <= 1 || reset->event_id > last)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_BAD_RESET_POINT),
				 errmsg("workflow task finish ID must be > 1 && <= workflow last event ID"),
				 errdetail("The event ID is " INT64_FORMAT ", and run \"%s\" has events 1 to " INT64_FORMAT ".",
						   reset->event_id,
						   wfi_uuid_text(&reset->base->run_id), last),
				 errhint("wf_reset_points() lists the points of a run.")));
}

/* Which points are legal near one that is not. */
static const char *
neighbours(const WfiReset *reset)
{
	int64		before;
	int64		after;

	wfi_reset_neighbours(reset->base, reset->event_id, &before, &after);
	if (before == 0 && after == 0)
		return "This run has no point that it can be reset to: no workflow task was pending at the end of any batch.";
	if (before == 0)
		return psprintf("The first legal event ID is " INT64_FORMAT ".", after);
	if (after == 0)
		return psprintf("The last legal event ID is " INT64_FORMAT ".", before);
	return psprintf("The nearest legal event IDs are " INT64_FORMAT " and " INT64_FORMAT ".",
					before, after);
}

/*
 * The state of the new run at the cut: what the kept events make of it.  The
 * point must be at the beginning of a batch, and a workflow task pending.
 */
void
wfi_reset_rebuild(WfiReset *reset, const pg_uuid_t *new_run_id)
{
	const WfiRun *base = reset->base;
	const WfiEvent *event = wfi_store_read_event(base->shard, &base->run_id,
												 reset->event_id, NULL);

	if (event == NULL)
		elog(ERROR, "run \"%s\" lacks event " INT64_FORMAT,
			 wfi_uuid_text(&base->run_id), reset->event_id);
	if (event->batch_id != event->event_id)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_BAD_RESET_POINT),
				 errmsg("unable to rebuild the workflow's state to event ID " INT64_FORMAT ", this event must be at the boundary",
						reset->event_id - 1),
				 errdetail("Events " INT64_FORMAT " and " INT64_FORMAT " were written together.",
						   reset->event_id - 1, reset->event_id),
				 errhint("%s", neighbours(reset))));
	reset->run = wfi_rebuild(base, new_run_id, reset->event_id - 1);
	if (!wfi_reset_legal(reset->run))
		ereport(ERROR,
				(errcode(WFI_ERRCODE_BAD_RESET_POINT),
				 errmsg("can only reset workflow to event ID in range [WorkflowTaskScheduled + 1, WorkflowTaskStarted + 1]: " INT64_FORMAT,
						reset->event_id),
				 errdetail("No workflow task was pending after event " INT64_FORMAT ".",
						   reset->event_id - 1),
				 errhint("%s", neighbours(reset))));
}

/* Lock the base and the current run, in this order. */
static void
lock_runs(WfiReset *reset)
{
	reset->base = wfi_run_lock_target(reset->namespace, reset->workflow_id,
									  reset->run_id, false);
	reset->current = reset->base;
	if (reset->run_id == NULL)
		return;
	reset->current = wfi_run_lock_current(reset->namespace,
										  reset->workflow_id);
	if (reset->current != NULL &&
		wfi_uuid_equal(&reset->current->run_id, &reset->base->run_id))
		reset->current = reset->base;
}

/*
 * The current run makes way, and the base learns what came of it.  An open
 * one is terminated; its parent is not told, for it goes on in the new run.
 */
static void
end_current(WfiReset *reset, const char *reason)
{
	WfiRun	   *base = reset->base;
	WfiRun	   *current = reset->current;

	base->reset_run_id = &reset->run->run_id;
	if (current != NULL && wfi_run_open(current))
	{
		current->now = reset->run->now;
		current->was_reset = true;
		wfi_terminate_run(current, reason, NULL, WFI_IDENTITY_RESETTER);
		wfi_run_finish(current);
		if (current != base)
			wfi_store_update_run(base);
	}
	else
		wfi_store_update_run(base);
	if (current != NULL)
		wfi_store_unset_current(current);
}

/* What the new run has from its base and from this operation. */
static void
set_lineage(const WfiReset *reset, const char *request_id)
{
	WfiRun	   *run = reset->run;
	const WfiRun *base = reset->base;

	run->is_current = true;
	run->base_run_id = &reset->base->run_id;
	run->last_copied_event_id = reset->event_id - 1;
	run->reset_request_id = request_id ? pstrdup(request_id) : NULL;
	run->reset_identity = reset->identity;
	run->now = Max(GetCurrentTimestamp(), base->last_event_time);
	if (reset->current != NULL)
		run->now = Max(run->now, reset->current->last_event_time);
}

/* Where the new run's rows go */
typedef struct RowTarget
{
	ReturnSetInfo *rsinfo;
	pg_uuid_t	run_id;
} RowTarget;

static void
put_row(WfiEvent *event, void *arg)
{
	RowTarget  *target = arg;

	wfi_put_event_row(target->rsinfo, &target->run_id, event);
}

/* Do it; the new run's events go to the target. */
static void
do_reset(WfiReset *reset, const char *reason, const char *request_id,
		 RowTarget *target)
{
	WfiRun	   *run;
	ListCell   *lc;

	wfi_reset_check(reset);
	wfi_new_run_id(&target->run_id, GetCurrentTimestamp());
	wfi_reset_rebuild(reset, &target->run_id);
	run = reset->run;
	set_lineage(reset, request_id);
	end_current(reset, reason);
	wfi_store_copy_events(run->shard, &reset->base->run_id, &run->run_id,
						  run->last_copied_event_id, put_row, target);

	wfi_task_reset(run, run->base_run_id, reason);
	foreach(lc, run->activities)
		wfi_activity_dispatch(lfirst(lc));
	wfi_reapply(reset);
	wfi_task_schedule(run);
	if (!wfi_run_create(run))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not reset workflow \"%s\" because of a concurrent start",
						reset->workflow_id),
				 errhint("Retry the transaction.")));
	foreach(lc, run->events)
		put_row(lfirst(lc), target);
}

/*
 * wf_reset(workflow_id, event_id, reason, run_id, reapply_exclude, signals,
 * request_id, namespace, identity)
 */
Datum
wfi_reset(PG_FUNCTION_ARGS)
{
	WfiReset	reset = {0};
	RowTarget	target;
	char	   *reason;
	char	   *request_id;
	WfiRun	   *done = NULL;

	InitMaterializedSRF(fcinfo, 0);
	target.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	wfi_store_begin("wf_reset()", true);
	reset.workflow_id = wfi_arg_id(fcinfo, 0, "workflow_id");
	reset.event_id = wfi_reset_arg_point(fcinfo, 1);
	reason = wfi_arg_text(fcinfo, 2, "reason");
	reset.run_id = wfi_arg_uuid(fcinfo, 3);
	wfi_reset_args(fcinfo, 4, 5, &reset);
	request_id = wfi_arg_optional_id(fcinfo, 6, "request_id");
	reset.namespace = wfi_arg_namespace(fcinfo, 7);
	reset.identity = wfi_arg_identity(fcinfo, 8);

	lock_runs(&reset);
	if (request_id != NULL)
		done = wfi_store_find_reset(reset.base->shard, reset.namespace,
									reset.workflow_id, request_id);
	if (done != NULL)
	{
		/* whatever became of it since */
		target.run_id = done->run_id;
		wfi_store_scan_events(done->shard, &done->run_id, 1, PG_INT64_MAX,
							  put_row, &target);
	}
	else
		do_reset(&reset, reason, request_id, &target);
	wfi_store_end();
	return (Datum) 0;
}
