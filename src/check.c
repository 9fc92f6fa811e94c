/*
 * check.c
 *	  wf_check(): is all that is stored sound?
 *
 * All tables are walked together, run by run.  Each history is checked event
 * by event against the grammar of histories (check_history.c) and what its
 * events must say (check_events.c), and replayed; then the stored state is
 * compared with that (check_state.c), and the run with others (check_links.c).
 * Nothing is written and nobody has to wait.  Findings tell ids, names and
 * times, but never payloads.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "check.h"

PG_FUNCTION_INFO_V1(wfi_check);

/* So many events share scratch memory */
#define SCRATCH_EVENTS 100

typedef struct WfiCheck
{
	ReturnSetInfo *rsinfo;
	WfiReader  *reader;
	TimestampTz now;
	MemoryContext run_context;
	MemoryContext scratch;
} WfiCheck;

/* The time of the check; what it sees is not younger. */
TimestampTz
wfi_check_time(const WfiChecked *c)
{
	return c->check->now;
}

/* Return a row; whatever is NULL or 0 is null in it. */
static void
put_finding(const WfiCheck *check, const char *namespace,
			const char *workflow_id, const pg_uuid_t *run_id, int64 event_id,
			const char *check_name, const char *expected, const char *found)
{
	Datum		values[7] = {0};
	bool		nulls[7];

	nulls[0] = namespace == NULL;
	nulls[1] = workflow_id == NULL;
	nulls[2] = run_id == NULL;
	nulls[3] = event_id == 0;
	nulls[4] = nulls[5] = nulls[6] = false;
	if (namespace != NULL)
		values[0] = CStringGetTextDatum(namespace);
	if (workflow_id != NULL)
		values[1] = CStringGetTextDatum(workflow_id);
	values[2] = UUIDPGetDatum(run_id);
	values[3] = Int64GetDatum(event_id);
	values[4] = CStringGetTextDatum(check_name);
	values[5] = CStringGetTextDatum(expected);
	values[6] = CStringGetTextDatum(found);
	tuplestore_putvalues(check->rsinfo->setResult, check->rsinfo->setDesc,
						 values, nulls);
}

/* Report a finding about a run, and an event of it unless that is 0. */
void
wfi_finding(const WfiChecked *c, int64 event_id, const char *check_name,
			const char *expected, const char *found)
{
	put_finding(c->check, c->run->namespace, c->run->workflow_id,
				&c->run->run_id, event_id, check_name, expected, found);
}

/* Rows in front of the run, or, with NULL, behind all runs, have none. */
static void
check_orphans(const WfiCheck *check, const WfiRun *run)
{
	static const char *const names[WFI_CHECK_TABLES] = {
		[WFI_CHECK_EVENTS] = "wf.event",
		[WFI_CHECK_BUFFER] = "wf.buffered_event",
		[WFI_CHECK_TIMERS] = "wf.timer",
		[WFI_CHECK_ACTIVITIES] = "wf.activity",
		[WFI_CHECK_SIGNALS] = "wf.signal_request",
		/* of tasks and wake-ups it does no harm */
	};

	for (int i = WFI_CHECK_RUNS + 1; i < WFI_CHECK_TABLES; i++)
	{
		pg_uuid_t	last;
		bool		have_last = false;

		while (wfi_check_look(check->reader, i, run) < 0)
		{
			const pg_uuid_t *run_id = wfi_check_run_id(check->reader, i);

			CHECK_FOR_INTERRUPTS();
			if (names[i] != NULL &&
				(!have_last || !wfi_uuid_equal(run_id, &last)))
				put_finding(check, NULL, NULL, run_id, 0, "orphan",
							"rows only of a run in that shard", names[i]);
			last = *run_id;
			have_last = true;
			(void) wfi_check_take(check->reader, i);
			MemoryContextReset(check->scratch);
		}
	}
}

/* All rows that a table has of the run. */
static List *
take_all(const WfiCheck *check, WfiCheckTable table, const WfiRun *run)
{
	List	   *rows = NIL;

	while (wfi_check_look(check->reader, table, run) == 0)
		rows = lappend(rows, wfi_check_take(check->reader, table));
	return rows;
}

/* Read and check the run's history. */
static void
check_events(const WfiCheck *check, WfiChecked *c)
{
	int			n = 0;

	while (wfi_check_look(check->reader, WFI_CHECK_EVENTS, c->run) == 0)
	{
		MemoryContext old = MemoryContextSwitchTo(check->scratch);

		wfi_check_event(c, wfi_check_take(check->reader, WFI_CHECK_EVENTS));
		MemoryContextSwitchTo(old);
		if (++n % SCRATCH_EVENTS == 0)
		{
			MemoryContextReset(check->scratch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	MemoryContextReset(check->scratch);
	wfi_check_history_end(c);
}

/* Check a run, with all that the other tables have of it. */
static void
check_run(WfiCheck *check, const WfiCheckedRun *checked)
{
	WfiChecked	c = {0};
	const WfiRun *run = checked->run;

	c.check = check;
	c.context = check->run_context;
	c.run = run;
	c.replay = wfi_rebuild_begin(run);
	if (!checked->has_namespace)
		wfi_finding(&c, 0, "namespace", "a row in wf.namespace", "none");

	check_events(check, &c);
	c.buffer = take_all(check, WFI_CHECK_BUFFER, run);
	c.timers = take_all(check, WFI_CHECK_TIMERS, run);
	c.activities = take_all(check, WFI_CHECK_ACTIVITIES, run);
	c.signals = take_all(check, WFI_CHECK_SIGNALS, run);
	c.tasks = take_all(check, WFI_CHECK_TASKS, run);
	c.wakeup = WFI_NEVER;
	while (wfi_check_look(check->reader, WFI_CHECK_WAKEUPS, run) == 0)
	{
		TimestampTz *due = wfi_check_take(check->reader, WFI_CHECK_WAKEUPS);

		c.wakeup = Min(c.wakeup, *due);
	}
	wfi_check_buffer(&c);
	wfi_check_state(&c);
	wfi_check_links(&c);
}

/* A workflow has not exactly one current run. */
static void
report_current(const char *namespace, const char *workflow_id, int64 current,
			   int64 runs, void *arg)
{
	put_finding(arg, namespace, workflow_id, NULL, 0, "current run",
				"one current run",
				psprintf(INT64_FORMAT " of " INT64_FORMAT " runs", current,
						 runs));
}

/* Check what is in a scope. */
static void
check_scope(WfiCheck *check, const WfiScope *scope)
{
	MemoryContext old;
	int64		runs = 0;

	check->now = GetCurrentTimestamp();
	check->run_context = AllocSetContextCreate(CurrentMemoryContext,
											   "checked run",
											   ALLOCSET_DEFAULT_SIZES);
	check->scratch = AllocSetContextCreate(CurrentMemoryContext,
										   "checked events",
										   ALLOCSET_DEFAULT_SIZES);
	check->reader = wfi_check_open(scope);
	old = MemoryContextSwitchTo(check->run_context);
	while (wfi_check_look(check->reader, WFI_CHECK_RUNS, NULL) < 0)
	{
		const WfiCheckedRun *checked = wfi_check_take(check->reader,
													  WFI_CHECK_RUNS);

		check_orphans(check, checked->run);
		check_run(check, checked);
		MemoryContextReset(check->run_context);
		runs++;
		CHECK_FOR_INTERRUPTS();
	}
	if (runs == 0 && scope->workflow_id != NULL)
		wfi_error_not_found(scope->namespace, scope->workflow_id,
							scope->run_id);
	check_orphans(check, NULL);
	MemoryContextSwitchTo(old);
	wfi_check_close(check->reader);
	wfi_check_current(scope, report_current, check);
}

/* What the arguments ask for; an error when it does not exist. */
static void
read_scope(FunctionCallInfo fcinfo, WfiScope *scope)
{
	scope->namespace = NULL;
	scope->workflow_id = PG_ARGISNULL(0) ? NULL :
		wfi_arg_id(fcinfo, 0, "workflow_id");
	scope->run_id = wfi_arg_uuid(fcinfo, 1);
	if (scope->workflow_id != NULL || !PG_ARGISNULL(2))
		scope->namespace = wfi_arg_namespace(fcinfo, 2);

	if (scope->workflow_id != NULL)
		return;					/* it will be seen whether there is one */
	if (scope->run_id != NULL)
	{
		const char *namespace = scope->namespace;

		if (!wfi_check_find_run(scope->run_id, scope) ||
			(namespace != NULL && strcmp(namespace, scope->namespace) != 0))
			ereport(ERROR,
					(errcode(WFI_ERRCODE_NOT_FOUND),
					 errmsg("workflow execution not found for run ID \"%s\"",
							wfi_uuid_text(scope->run_id))));
	}
	else if (scope->namespace != NULL)
		wfi_check_namespace(scope->namespace);
}

/* wf_check(workflow_id, run_id, namespace) */
Datum
wfi_check(PG_FUNCTION_ARGS)
{
	WfiCheck	check = {0};
	WfiScope	scope;

	InitMaterializedSRF(fcinfo, 0);
	check.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	wfi_store_begin("wf_check()", false);
	read_scope(fcinfo, &scope);
	check_scope(&check, &scope);
	wfi_store_end();
	return (Datum) 0;
}
