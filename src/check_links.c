/*
 * check_links.c
 *	  How runs stand to each other: the current one of a workflow, and a reset
 *	  run to its base.
 */
#include "postgres.h"

#include "check.h"

/* A run that is closed, or another one that is open, is not to be current. */
static void
check_not_current(const WfiChecked *c)
{
	pg_uuid_t	current;
	TimestampTz close_time;

	if (c->run->is_current ||
		!wfi_check_current_of(c->run, &current, &close_time))
		return;
	if (wfi_run_open(c->run))
		wfi_finding(c, 0, "current run", "closed, or the current run",
					wfi_status_name(c->run->status));
	else if (close_time <= c->run->start_time)
		wfi_finding(c, 0, "current run",
					"the newest run of its workflow to be the current one",
					psprintf("run %s is, which closed before this one started",
							 wfi_uuid_text(&current)));
}

/* Its names and ids are in order. */
static void
check_identity(const WfiChecked *c)
{
	const WfiRun *run = c->run;
	int32		shard = wfi_shard(run->namespace, run->workflow_id);

	if (run->shard != shard)
		wfi_finding(c, 0, "shard", psprintf("%d", shard),
					psprintf("%d", run->shard));
	if ((run->run_id.data[6] & 0xf0) != 0x70 ||
		(run->run_id.data[8] & 0xc0) != 0x80)
		wfi_finding(c, 0, "run id", "a UUID of version 7",
					wfi_uuid_text(&run->run_id));
}

static bool
same_uuid(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return a == NULL || b == NULL ? a == b : wfi_uuid_equal(a, b);
}

static const char *
uuid_text(const pg_uuid_t *uuid)
{
	return uuid == NULL ? "nothing" : wfi_uuid_text(uuid);
}

static void
expect_uuid(const WfiChecked *c, const char *name, const pg_uuid_t *expected,
			const pg_uuid_t *found)
{
	if (!same_uuid(expected, found))
		wfi_finding(c, 0, "reset link",
					psprintf("%s %s", name, uuid_text(expected)),
					uuid_text(found));
}

/*
 * The events that were copied from the base.  Between them and the reset's
 * WorkflowTaskFailed are at most two of its own making: the schedule of a
 * workflow task without events, and the start of one that was not started.
 */
static void
check_prefix(const WfiChecked *c)
{
	const WfiRun *run = c->run;
	int64		copied = run->last_copied_event_id;
	int64		id;

	if (copied >= c->reset_at || copied < c->reset_at - 3)
		wfi_finding(c, c->reset_at, "reset link",
					psprintf("last_copied_event_id " INT64_FORMAT " to " INT64_FORMAT,
							 c->reset_at - 3, c->reset_at - 1),
					psprintf(INT64_FORMAT, copied));
	id = wfi_check_first_difference(run, run->base_run_id,
									Min(copied + 1, c->reset_at));
	if (id != 0)
		wfi_finding(c, id, "reset link",
					psprintf("%s: as in base run %s",
							 wfi_event_name(c->types[id]),
							 uuid_text(run->base_run_id)), "another event");
}

/* The base knows of this reset, or of a later one. */
static void
check_base_link(const WfiChecked *c, const WfiRun *base)
{
	const WfiRun *latest;

	if (same_uuid(base->reset_run_id, &c->run->run_id))
		return;
	if (base->reset_run_id != NULL)
	{
		latest = wfi_store_read_run(base->shard, base->reset_run_id);
		if (latest == NULL || latest->start_time >= c->run->start_time)
			return;
	}
	expect_uuid(c, "reset_run_id of the base run", &c->run->run_id,
				base->reset_run_id);
}

/* What a reset run has from its base, as far as that is still there. */
static void
check_base(const WfiChecked *c)
{
	const WfiRun *run = c->run;
	const WfiRun *base;

	if (run->base_run_id == NULL)
	{
		expect_uuid(c, "original_execution_run_id", &run->run_id,
					&run->original_execution_run_id);
		return;
	}
	base = wfi_store_read_run(run->shard, run->base_run_id);
	if (base == NULL)
		return;
	if (strcmp(base->namespace, run->namespace) != 0 ||
		strcmp(base->workflow_id, run->workflow_id) != 0)
	{
		wfi_finding(c, 0, "reset link", "a base run of the same workflow",
					psprintf("one of workflow \"%s\"", base->workflow_id));
		return;
	}
	expect_uuid(c, "first_execution_run_id", &base->first_execution_run_id,
				&run->first_execution_run_id);
	expect_uuid(c, "original_execution_run_id",
				&base->original_execution_run_id,
				&run->original_execution_run_id);
	check_base_link(c, base);
	if (c->reset_at != 0 && !c->broken)
		check_prefix(c);
}

/* By its history, the run was made by the reset that its row tells of. */
static void
check_reset(const WfiChecked *c)
{
	const WfiRun *run = c->run;
	const char *base = run->base_run_id ? uuid_text(run->base_run_id) : NULL;

	if (c->broken)
		return;
	if (run->was_reset && !c->ended_by_reset)
		wfi_finding(c, 0, "reset link", "workflow_was_reset false", "true");
	if (c->reset_base == NULL && base != NULL)
		wfi_finding(c, 0, "reset link",
					psprintf("WorkflowTaskFailed by a reset of run %s", base),
					"none");
	else if (c->reset_base != NULL &&
			 (base == NULL || strcmp(base, c->reset_base) != 0))
		wfi_finding(c, c->reset_at, "reset link",
					psprintf("base_run_id %s", c->reset_base),
					base == NULL ? "nothing" : base);
}

/* The latest reset run that was made from this one, unless it is deleted. */
static void
check_reset_run(const WfiChecked *c)
{
	const WfiRun *reset;

	if (c->run->reset_run_id == NULL)
		return;
	reset = wfi_store_read_run(c->run->shard, c->run->reset_run_id);
	if (reset != NULL)
		expect_uuid(c, "base_run_id of the run in reset_run_id",
					&c->run->run_id, reset->base_run_id);
}

/* How the run stands to others. */
void
wfi_check_links(WfiChecked *c)
{
	check_identity(c);
	check_not_current(c);
	check_reset(c);
	check_base(c);
	check_reset_run(c);
}
