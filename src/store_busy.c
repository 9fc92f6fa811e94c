/*
 * store_busy.c
 *	  Runs that this session has met locked, and by whom: as long as that
 *	  transaction goes on there is no use in trying again.
 *
 * Nothing is remembered for long, so ids of transactions cannot come to mean
 * others.
 */
#include "postgres.h"

#include "storage/procarray.h"
#include "utils/hsearch.h"

#include "store.h"

typedef struct BusyRun
{
	pg_uuid_t	run_id;			/* must be first */
	TransactionId holder;
} BusyRun;

#define MAX_BUSY_RUNS 20000
#define BUSY_LIFETIME (60 * USECS_PER_SEC)

static HTAB *busy_runs = NULL;
static TimestampTz busy_since;	/* no entry is older */
static TransactionId busy_holder = InvalidTransactionId;

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

/* Is the run known to be locked still? */
bool
wfi_store_known_busy(const pg_uuid_t *run_id)
{
	BusyRun    *entry;

	if (busy_runs == NULL || hash_get_num_entries(busy_runs) == 0)
		return false;
	entry = hash_search(busy_runs, run_id, HASH_FIND, NULL);
	if (entry == NULL)
		return false;
	if (entry->holder != busy_holder &&
		!TransactionIdIsInProgress(entry->holder))
	{
		(void) hash_search(busy_runs, run_id, HASH_REMOVE, NULL);
		return false;
	}
	busy_holder = entry->holder;
	return true;
}

/* The run is locked by that transaction. */
void
wfi_store_remember_busy(const pg_uuid_t *run_id, TransactionId holder)
{
	BusyRun    *entry;

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
	entry = hash_search(busy_runs, run_id, HASH_ENTER, NULL);
	entry->holder = holder;
}
