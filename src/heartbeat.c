/*
 * heartbeat.c
 *	  Heartbeats of running activities in shared memory.
 *
 * A heartbeat says "still alive, this far", very often, and asks "shall I
 * stop?".  As a transaction it would cost a commit record each time.  So an
 * attempt that a worker has started gets a slot in shared memory when the
 * start commits; heartbeats go there and no further.  The driver brings them
 * into wf.activity once a second, and whoever loads the activity takes them
 * from the slot.  What the worker must learn (cancel requested, paused,
 * reset) is put into the slot when the transaction that did it has committed,
 * before its locks are released: the very next heartbeat tells.
 *
 * A slot is an optimization: without one (library not preloaded, no room, a
 * crash since the start, details too long) a heartbeat is an update of
 * wf.activity.  When an attempt ends, its slot goes.
 *
 * Changes to slots wait in a list until the transaction commits, and follow
 * its subtransactions.  PREPARE TRANSACTION gives the slots up, since nobody
 * runs our code at COMMIT PREPARED.
 *
 * Locking: heartbeat_lock guards which slots there are, exclusively for
 * making and removing one; the spinlock of a slot guards what is in it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "workflow_interrupt.h"

#define TRANCHE "workflow_interrupt heartbeats"

/* Longer details and identities go to the table at once */
#define DETAILS_SIZE 1024
#define IDENTITY_SIZE 128

typedef struct SlotKey
{
	pg_uuid_t	token;			/* hash of the secret in the attempt's token */
	Oid			database;
} SlotKey;						/* hashed as bytes: no padding */

typedef struct Slot
{
	SlotKey		key;			/* must be first */
	int32		shard;			/* fixed when the slot is made, as are ... */
	int32		attempt;
	pg_uuid_t	run_id;
	int64		scheduled_event_id;

	slock_t		mutex;			/* guards the rest */
	bool		cancel_requested;
	bool		paused;
	bool		was_reset;
	bool		fresh;			/* not yet in the table */
	TimestampTz time;			/* of the last heartbeat; WFI_NEVER for none */
	int32		details_length; /* 0 for none */
	char		details[DETAILS_SIZE];	/* a Jsonb */
	char		identity[IDENTITY_SIZE];	/* empty for the starter's */
} Slot;

typedef enum ChangeKind
{
	MAKE_SLOT,
	SET_FLAGS,
	MARK_STORED,
	REMOVE_SLOT
} ChangeKind;

/* What to do to a slot when the transaction commits */
typedef struct Change
{
	ChangeKind	kind;
	int			level;			/* nesting level of transactions */
	Slot		slot;			/* as far as the kind needs it */
} Change;

static HTAB *slots = NULL;
static LWLock *heartbeat_lock = NULL;

static List *changes = NIL;		/* in TopTransactionContext */
static int	deepest = 0;		/* no change has a higher level */

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(hash_estimate_size(wfi_max_heartbeat_slots,
											  sizeof(Slot)));
	RequestNamedLWLockTranche(TRANCHE, 1);
}

static void
shmem_startup(void)
{
	HASHCTL		control = {0};

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	control.keysize = sizeof(SlotKey);
	control.entrysize = sizeof(Slot);
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots = ShmemInitHash(TRANCHE, wfi_max_heartbeat_slots,
						  wfi_max_heartbeat_slots, &control,
						  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	heartbeat_lock = &(GetNamedLWLockTranche(TRANCHE))->lock;
	LWLockRelease(AddinShmemInitLock);
}

/* Carry a change out; must not throw. */
static void
apply(const Change *change)
{
	const SlotKey *key = &change->slot.key;
	Slot	   *slot;
	bool		found;

	switch (change->kind)
	{
		case MAKE_SLOT:
			slot = hash_search(slots, key, HASH_ENTER_NULL, &found);
			if (slot == NULL)
				return;			/* no room: this one uses the table */
			*slot = change->slot;
			SpinLockInit(&slot->mutex);
			break;
		case SET_FLAGS:
			slot = hash_search(slots, key, HASH_FIND, NULL);
			if (slot == NULL)
				return;
			SpinLockAcquire(&slot->mutex);
			slot->cancel_requested = change->slot.cancel_requested;
			slot->paused = change->slot.paused;
			slot->was_reset = change->slot.was_reset;
			SpinLockRelease(&slot->mutex);
			break;
		case MARK_STORED:
			slot = hash_search(slots, key, HASH_FIND, NULL);
			if (slot == NULL)
				return;
			SpinLockAcquire(&slot->mutex);
			if (slot->time <= change->slot.time)
				slot->fresh = false;	/* no other one since */
			SpinLockRelease(&slot->mutex);
			break;
		case REMOVE_SLOT:
			hash_search(slots, key, HASH_REMOVE, NULL);
			break;
	}
}

/* The transaction has committed: carry its changes out. */
static void
apply_changes(bool prepared)
{
	ListCell   *lc;

	if (changes == NIL)
		return;
	LWLockAcquire(heartbeat_lock, LW_EXCLUSIVE);
	foreach(lc, changes)
	{
		Change	   *change = lfirst(lc);

		if (prepared)
			change->kind = REMOVE_SLOT;
		apply(change);
	}
	LWLockRelease(heartbeat_lock);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		apply_changes(false);
	else if (event == XACT_EVENT_PREPARE)
		apply_changes(true);
	else if (event != XACT_EVENT_ABORT)
		return;
	changes = NIL;
	deepest = 0;
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine,
					 SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	ListCell   *lc;

	if (deepest < level ||
		(event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB))
		return;
	foreach(lc, changes)
	{
		Change	   *change = lfirst(lc);

		if (change->level < level)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			change->level = level - 1;
		else
			changes = foreach_delete_current(changes, lc);
	}
	deepest = level - 1;
}

/* Arrange for the slots; from _PG_init, when the library is preloaded. */
void
wfi_heartbeat_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}

/* Remember a change, for when the transaction commits. */
static Change *
remember(ChangeKind kind)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Change	   *change = palloc0(sizeof(Change));

	change->kind = kind;
	change->level = GetCurrentTransactionNestLevel();
	change->slot.key.database = MyDatabaseId;
	changes = lappend(changes, change);
	deepest = change->level;
	MemoryContextSwitchTo(old);
	return change;
}

/* Remember a change to the slot of an attempt. */
static void
remember_attempt(ChangeKind kind, const WfiRun *run,
				 const WfiActivity *activity)
{
	Slot	   *slot;

	if (slots == NULL)
		return;
	slot = &remember(kind)->slot;
	slot->key.token = activity->token;
	slot->shard = run->shard;
	slot->attempt = activity->attempt;
	slot->run_id = run->run_id;
	slot->scheduled_event_id = activity->scheduled_event_id;
	slot->cancel_requested = activity->cancel_requested_event_id != 0;
	slot->paused = activity->paused;
	slot->was_reset = activity->was_reset;
	slot->time = WFI_NEVER;
}

/* An attempt has started: it may have a slot. */
void
wfi_heartbeat_begin(const WfiRun *run, const WfiActivity *activity)
{
	remember_attempt(MAKE_SLOT, run, activity);
	wfi_wakeup_at(run->now + USECS_PER_SEC);	/* for the driver to flush */
}

/* There is news for the worker that runs the attempt. */
void
wfi_heartbeat_tell(const WfiRun *run, const WfiActivity *activity)
{
	remember_attempt(SET_FLAGS, run, activity);
}

/* The attempt is over: its worker gets its answer from the table. */
void
wfi_heartbeat_end(const WfiRun *run, const WfiActivity *activity)
{
	remember_attempt(REMOVE_SLOT, run, activity);
}

/* The slot of a token, or NULL; the caller holds heartbeat_lock. */
static Slot *
find_slot(const pg_uuid_t *token)
{
	SlotKey		key;

	key.token = *token;
	key.database = MyDatabaseId;
	return hash_search(slots, &key, HASH_FIND, NULL);
}

/*
 * Record a heartbeat in the slot of its attempt.  False when that cannot be
 * done there.  No details means that there are none any more; identity NULL
 * means who started the attempt.
 */
bool
wfi_heartbeat_record(const WfiToken *token, TimestampTz now,
					 const Jsonb *details, const char *identity,
					 bool *cancel_requested, bool *paused, bool *was_reset)
{
	Size		length = details ? VARSIZE(details) : 0;
	Slot	   *slot;

	/* what this transaction has changed itself is in the table only */
	if (slots == NULL || changes != NIL || length > DETAILS_SIZE ||
		(identity != NULL && strlen(identity) >= IDENTITY_SIZE))
		return false;
	LWLockAcquire(heartbeat_lock, LW_SHARED);
	slot = find_slot(&token->hash);
	if (slot != NULL &&
		(slot->attempt != token->attempt || slot->shard != token->shard ||
		 token->started_event_id != 0 ||
		 slot->scheduled_event_id != token->scheduled_event_id ||
		 !wfi_uuid_equal(&slot->run_id, &token->run_id)))
		slot = NULL;
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		slot->time = now;
		slot->details_length = (int32) length;
		if (length > 0)
			memcpy(slot->details, details, length);
		if (identity != NULL)
			strlcpy(slot->identity, identity, IDENTITY_SIZE);
		slot->fresh = true;
		*cancel_requested = slot->cancel_requested;
		*paused = slot->paused;
		*was_reset = slot->was_reset;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(heartbeat_lock);
	return slot != NULL;
}

/*
 * Bring an activity that was loaded up to date with the heartbeats that are
 * not in the table yet.
 */
void
wfi_heartbeat_overlay(WfiActivity *activity)
{
	char		details[DETAILS_SIZE];
	char		identity[IDENTITY_SIZE];
	int32		length = 0;
	TimestampTz time = WFI_NEVER;
	Slot	   *slot;

	if (slots == NULL)
		return;
	LWLockAcquire(heartbeat_lock, LW_SHARED);
	slot = find_slot(&activity->token);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		if (slot->fresh)
		{
			time = slot->time;
			length = slot->details_length;
			memcpy(details, slot->details, length);
			strlcpy(identity, slot->identity, IDENTITY_SIZE);
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(heartbeat_lock);
	if (time == WFI_NEVER)
		return;

	activity->last_heartbeat_time = time;
	activity->heartbeat_details = NULL;
	if (length > 0)
	{
		activity->heartbeat_details = palloc(length);
		memcpy(activity->heartbeat_details, details, length);
	}
	if (identity[0] != '\0')
		activity->last_worker_identity = pstrdup(identity);
	activity->changed = true;
}

/*
 * Copy up to most slots of this database that are not in the table; how many
 * there are, which can be more.
 */
static int
copy_fresh_slots(Slot *copies, int most)
{
	HASH_SEQ_STATUS status;
	Slot	   *slot;
	int			n = 0;

	LWLockAcquire(heartbeat_lock, LW_SHARED);
	hash_seq_init(&status, slots);
	while ((slot = hash_seq_search(&status)) != NULL)
	{
		if (slot->key.database != MyDatabaseId)
			continue;
		SpinLockAcquire(&slot->mutex);
		if (slot->fresh)
		{
			if (n < most)
				copies[n] = *slot;
			n++;
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(heartbeat_lock);
	return n;
}

/* Are there heartbeats that are, or may soon be, not in the table? */
bool
wfi_heartbeat_active(void)
{
	return slots != NULL && hash_get_num_entries(slots) > 0;
}

/* A heartbeat was written to the table; older ones need not be any more. */
void
wfi_heartbeat_stored(const pg_uuid_t *token, TimestampTz time)
{
	Change	   *change;

	if (slots == NULL)
		return;
	change = remember(MARK_STORED);
	change->slot.key.token = *token;
	change->slot.time = time;
}

/*
 * Bring the heartbeats of this database into the table, in a transaction of
 * the driver's that need not wait for the disk; for how many.
 */
int
wfi_heartbeat_flush(void)
{
	Slot	   *copies;
	int			n;

	if (slots == NULL)
		return 0;
	n = copy_fresh_slots(NULL, 0);
	if (n == 0)
		return 0;
	copies = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(Slot));
	n = Min(n, copy_fresh_slots(copies, n));
	wfi_store_begin("wf_heartbeat()", true);
	for (int i = 0; i < n; i++)
	{
		const Slot *slot = &copies[i];
		WfiToken	token;
		bool		ignored;

		token.kind = WFI_TASK_ACTIVITY;
		token.shard = slot->shard;
		token.run_id = slot->run_id;
		token.scheduled_event_id = slot->scheduled_event_id;
		token.started_event_id = 0;
		token.attempt = slot->attempt;
		token.hash = slot->key.token;
		wfi_store_heartbeat(&token, slot->time,
							slot->details_length > 0 ?
							(const Jsonb *) slot->details : NULL,
							slot->identity[0] != '\0' ? slot->identity : NULL,
							&ignored, &ignored, &ignored);
		wfi_heartbeat_stored(&token.hash, slot->time);
	}
	wfi_store_end();
	return n;
}
