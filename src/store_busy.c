/*
 * store_busy.c
 *	  Runs that this session had better leave alone for a while: those it has
 *	  met locked, as long as that transaction goes on, and those whose tasks
 *	  could not be started for an error.
 *
 * Nothing is remembered for long, so ids of transactions cannot come to mean
 * others, and what was mended is tried again.
 */
#include "postgres.h"

#include "storage/procarray.h"
#include "utils/hsearch.h"

#include "store.h"

typedef struct BusyRun
{
	pg_uuid_t	run_id;			/* must be first */
	TransactionId holder;		/* who has locked it, if anybody has */
	bool		failing;		/* its tasks raise errors */
} BusyRun;

#define MAX_BUSY_RUNS 20000
#define BUSY_LIFETIME (60 * USECS_PER_SEC)

static HTAB *busy_runs = NULL;
static TimestampTz busy_since;	/* no entry is older */
static TransactionId busy_holder = InvalidTransactionId;
static uint64 failures = 0;		/* times a run was found failing */

static void
forget_busy(void)
{
	if (busy_runs != NULL)
		hash_destroy(busy_runs);
	busy_runs = NULL;
}

/* A new walk along a queue begins: what goes on must be asked again. */
void
wfi_store_look_afresh(void)
{
	busy_holder = InvalidTransactionId;
	if (busy_runs != NULL)
	{
		TimestampTz now = GetCurrentTimestamp();

		if (now < busy_since || now >= busy_since + BUSY_LIFETIME)
			forget_busy();
	}
}

static BusyRun *
find_busy(const pg_uuid_t *run_id)
{
	if (busy_runs == NULL)
		return NULL;
	return hash_search(busy_runs, run_id, HASH_FIND, NULL);
}

/* Is the run known to be locked still? */
bool
wfi_store_known_busy(const pg_uuid_t *run_id)
{
	BusyRun    *entry = find_busy(run_id);

	if (entry == NULL || !TransactionIdIsValid(entry->holder))
		return false;
	if (entry->holder != busy_holder &&
		!TransactionIdIsInProgress(entry->holder))
	{
		entry->holder = InvalidTransactionId;
		return false;
	}
	busy_holder = entry->holder;
	return true;
}

/* Have the run's tasks raised an error lately? */
bool
wfi_store_known_failing(const pg_uuid_t *run_id)
{
	BusyRun    *entry = find_busy(run_id);

	return entry != NULL && entry->failing;
}

static BusyRun *
remember(const pg_uuid_t *run_id)
{
	BusyRun    *entry;
	bool		found;

	if (busy_runs != NULL &&
		hash_get_num_entries(busy_runs) >= MAX_BUSY_RUNS)
		forget_busy();
	if (busy_runs == NULL)
	{
		HASHCTL		control = {0};

		busy_since = GetCurrentTimestamp();
		control.keysize = sizeof(pg_uuid_t);
		control.entrysize = sizeof(BusyRun);
		busy_runs = hash_create("workflow_interrupt busy runs", 256, &control,
								HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(busy_runs, run_id, HASH_ENTER, &found);
	if (!found)
	{
		entry->holder = InvalidTransactionId;
		entry->failing = false;
	}
	return entry;
}

/* The run is locked by that transaction. */
void
wfi_store_remember_busy(const pg_uuid_t *run_id, TransactionId holder)
{
	remember(run_id)->holder = holder;
}

/* A task of the run has raised an error. */
void
wfi_store_remember_failing(const pg_uuid_t *run_id)
{
	remember(run_id)->failing = true;
	failures++;
}

/* How often that was: a poll that has made it grow will get further. */
uint64
wfi_store_failures(void)
{
	return failures;
}
