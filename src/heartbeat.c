/*
 * heartbeat.c
 *	  Heartbeats of running activities in shared memory.
 *
 * A heartbeat says "still alive, this far", very often, and asks "shall I
 * stop?".  As a transaction it would cost a commit record each time.  So an
 * attempt that a worker has started gets a slot in shared memory when the
 * start commits; heartbeats go there and no further.  The driver brings them
 * into wf.activity once a second, and whoever loads the activity takes them
 * from the slot.
 *
 * A slot is an optimization: without one (library not preloaded, no room,
 * details too long), and while no driver runs, a heartbeat is an update of
 * wf.activity.  That makes a slot if there is none, for those to come: after
 * a restart of the server that is so for all attempts.  When an attempt ends,
 * its slot goes.
 *
 * What the worker must learn (cancel requested, paused, reset) is in the slot
 * as soon as it is committed: the very next heartbeat tells.  Changes to
 * slots wait in a list, which follows subtransactions.  Just before the
 * commit the transaction takes the slots it changes; heartbeats of theirs
 * then go to the table, where they wait for the outcome.  After the commit it
 * changes them and gives them back.  By then others may have seen the commit,
 * gone on and taken a slot themselves, which is therefore changed by the last
 * one only: whoever takes it later knows more.  PREPARE TRANSACTION gives the
 * slots up, since nobody runs our code at COMMIT PREPARED.
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

#include "pool.h"
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

/* What is known of an attempt without its heartbeats */
typedef struct Attempt
{
	SlotKey		key;			/* must be first */
	int32		shard;			/* fixed, as are ... */
	int32		attempt;
	pg_uuid_t	run_id;
	int64		scheduled_event_id;
	bool		cancel_requested;
	bool		paused;
	bool		was_reset;
} Attempt;

typedef struct Slot
{
	Attempt		attempt;		/* must be first */
	FullTransactionId taken_by; /* who is about to change it; or invalid */

	slock_t		mutex;			/* guards the attempt's flags and the rest */
	bool		fresh;			/* not yet in the table */
	TimestampTz time;			/* of the last heartbeat, never goes back */
	int32		details_length; /* 0 for none */
	char		details[DETAILS_SIZE];	/* a Jsonb */
	char		identity[IDENTITY_SIZE];	/* empty for the starter's */
} Slot;

typedef enum ChangeKind
{
	PUT_ATTEMPT,				/* make its slot if need be, set its flags */
	MARK_STORED,
	REMOVE_SLOT
} ChangeKind;

/* What to do to a slot when the transaction commits */
typedef struct Change
{
	ChangeKind	kind;
	int			level;			/* nesting level of transactions */
	bool		untouched;		/* it can be given back as it was taken */
	TimestampTz time;			/* of the last heartbeat that is stored */
	Attempt		attempt;		/* as far as the kind needs it */
} Change;

static HTAB *slots = NULL;
static LWLock *heartbeat_lock = NULL;

static List *changes = NIL;		/* in TopTransactionContext */
static int	deepest = 0;		/* no change has a higher level */
static FullTransactionId taker; /* ours, while it has slots taken */

/* Reserve shared memory and the lock. */
void
wfi_heartbeat_shmem_request(void)
{
	RequestAddinShmemSpace(hash_estimate_size(wfi_max_heartbeat_slots,
											  sizeof(Slot)));
	RequestNamedLWLockTranche(TRANCHE, 1);
}

/* Create the shared state, or find it (EXEC_BACKEND). */
void
wfi_heartbeat_shmem_startup(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(SlotKey);
	control.entrysize = sizeof(Slot);
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots = ShmemInitHash(TRANCHE, wfi_max_heartbeat_slots,
						  wfi_max_heartbeat_slots, &control,
						  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	heartbeat_lock = &(GetNamedLWLockTranche(TRANCHE))->lock;
	LWLockRelease(AddinShmemInitLock);
}

/* Find the slot of a change. */
static Slot *
slot_of(const Change *change)
{
	return hash_search(slots, &change->attempt.key, HASH_FIND, NULL);
}

/* The same, if it is still ours to change. */
static Slot *
taken_slot_of(const Change *change)
{
	Slot	   *slot = slot_of(change);

	return slot != NULL && FullTransactionIdEquals(slot->taken_by, taker) ?
		slot : NULL;
}

/* The transaction is about to commit: take the slots it changes. */
static void
take_slots(void)
{
	ListCell   *lc;

	if (changes == NIL)
		return;
	taker = GetTopFullTransactionId();
	LWLockAcquire(heartbeat_lock, LW_EXCLUSIVE);
	foreach(lc, changes)
	{
		Change	   *change = lfirst(lc);
		Slot	   *slot = slot_of(change);

		if (change->kind == MARK_STORED)
			continue;
		change->untouched = slot != NULL &&
			!FullTransactionIdIsValid(slot->taken_by);
		if (slot == NULL && change->kind == PUT_ATTEMPT)
		{
			slot = hash_search(slots, &change->attempt.key, HASH_ENTER_NULL,
							   NULL);
			if (slot != NULL)
			{
				slot->attempt = change->attempt;
				slot->fresh = false;
				slot->time = change->time;
				slot->details_length = 0;
				slot->identity[0] = '\0';
				SpinLockInit(&slot->mutex);
			}
		}
		if (slot != NULL)
			slot->taken_by = taker;
	}
	LWLockRelease(heartbeat_lock);
}

/* Carry a change out. */
static void
apply(const Change *change)
{
	Slot	   *slot;

	if (change->kind == PUT_ATTEMPT && change->attempt.cancel_requested)
		wfi_pool_cancel(&change->attempt.key.token);
	else if (change->kind == REMOVE_SLOT)
		wfi_pool_end(&change->attempt.key.token);

	switch (change->kind)
	{
		case PUT_ATTEMPT:
			slot = taken_slot_of(change);
			if (slot == NULL)
				return;			/* no room, or somebody knows more */
			SpinLockAcquire(&slot->mutex);
			slot->attempt.cancel_requested = change->attempt.cancel_requested;
			slot->attempt.paused = change->attempt.paused;
			slot->attempt.was_reset = change->attempt.was_reset;
			SpinLockRelease(&slot->mutex);
			break;
		case MARK_STORED:
			slot = slot_of(change);
			if (slot == NULL)
				return;
			SpinLockAcquire(&slot->mutex);
			if (slot->time <= change->time)
				slot->fresh = false;	/* no other one since */
			SpinLockRelease(&slot->mutex);
			break;
		case REMOVE_SLOT:
			(void) hash_search(slots, &change->attempt.key, HASH_REMOVE,
							   NULL);
			break;
	}
}

/* The transaction has committed: change its slots and give them back. */
static void
apply_changes(void)
{
	ListCell   *lc;

	if (changes == NIL)
		return;
	LWLockAcquire(heartbeat_lock, LW_EXCLUSIVE);
	foreach(lc, changes)
		apply(lfirst(lc));
	foreach(lc, changes)
	{
		Slot	   *slot = taken_slot_of(lfirst(lc));

		if (slot != NULL)
			slot->taken_by = InvalidFullTransactionId;
	}
	LWLockRelease(heartbeat_lock);
}

/*
 * The transaction does not commit, or nobody can tell when: give back what is
 * as it was, and give up the rest.
 */
static void
give_up_slots(bool all)
{
	ListCell   *lc;

	if (changes == NIL || !(all || FullTransactionIdIsValid(taker)))
		return;
	LWLockAcquire(heartbeat_lock, LW_EXCLUSIVE);
	foreach(lc, changes)
	{
		const Change *change = lfirst(lc);
		Slot	   *slot = all ? slot_of(change) : taken_slot_of(change);

		if (slot == NULL)
			continue;
		if (change->untouched && !all)
			slot->taken_by = InvalidFullTransactionId;
		else
			(void) hash_search(slots, &change->attempt.key, HASH_REMOVE,
							   NULL);
	}
	LWLockRelease(heartbeat_lock);
}

/* Stages of the end of a transaction; none of this may throw. */
static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			take_slots();
			return;
		case XACT_EVENT_PRE_PREPARE:
			give_up_slots(true);
			return;
		case XACT_EVENT_COMMIT:
			apply_changes();
			break;
		case XACT_EVENT_ABORT:
			give_up_slots(false);
			break;
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	changes = NIL;
	deepest = 0;
	taker = InvalidFullTransactionId;
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

/* Called from _PG_init, when the library is preloaded. */
void
wfi_heartbeat_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}

/* Remember a change, for when the transaction commits. */
static Change *
remember(ChangeKind kind, const pg_uuid_t *token)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Change	   *change = palloc0(sizeof(Change));

	change->kind = kind;
	change->level = GetCurrentTransactionNestLevel();
	change->attempt.key.token = *token;
	change->attempt.key.database = MyDatabaseId;
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
	Change	   *change;
	Attempt    *attempt;

	if (slots == NULL)
		return;
	change = remember(kind, &activity->token);
	change->time = activity->last_heartbeat_time == WFI_NEVER ?
		DT_NOBEGIN : activity->last_heartbeat_time;
	attempt = &change->attempt;
	attempt->shard = run->shard;
	attempt->attempt = activity->attempt;
	attempt->run_id = run->run_id;
	attempt->scheduled_event_id = activity->scheduled_event_id;
	attempt->cancel_requested = activity->cancel_requested_event_id != 0;
	attempt->paused = activity->paused;
	attempt->was_reset = activity->was_reset;
}

/* Have the driver look after the slots from now on. */
static void
wake_driver(TimestampTz now)
{
	wfi_wakeup_at(now + USECS_PER_SEC);
}

/* An attempt has started: it may have a slot. */
void
wfi_heartbeat_begin(const WfiRun *run, const WfiActivity *activity)
{
	remember_attempt(PUT_ATTEMPT, run, activity);
	wake_driver(run->now);
}

/* There is news for the worker that runs the attempt. */
void
wfi_heartbeat_tell(const WfiRun *run, const WfiActivity *activity)
{
	remember_attempt(PUT_ATTEMPT, run, activity);
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

/* Is it the slot of the attempt that a token is for? */
static bool
fits_token(const Attempt *attempt, const WfiToken *token)
{
	return attempt->attempt == token->attempt &&
		attempt->shard == token->shard &&
		token->started_event_id == 0 &&
		attempt->scheduled_event_id == token->scheduled_event_id &&
		wfi_uuid_equal(&attempt->run_id, &token->run_id);
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
		(identity != NULL && strlen(identity) >= IDENTITY_SIZE) ||
		!wfi_driver_running())
		return false;
	LWLockAcquire(heartbeat_lock, LW_SHARED);
	slot = find_slot(&token->hash);
	if (slot != NULL && (FullTransactionIdIsValid(slot->taken_by) ||
						 !fits_token(&slot->attempt, token)))
		slot = NULL;
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		slot->time = Max(now, slot->time);
		slot->details_length = (int32) length;
		if (length > 0)
			memcpy(slot->details, details, length);
		if (identity != NULL)
			strlcpy(slot->identity, identity, IDENTITY_SIZE);
		slot->fresh = true;
		*cancel_requested = slot->attempt.cancel_requested;
		*paused = slot->attempt.paused;
		*was_reset = slot->attempt.was_reset;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(heartbeat_lock);
	return slot != NULL;
}

/*
 * The same from the activity's own transaction, which nobody else sees yet, so
 * that there is no other way.  Details that are too long are left to the
 * reply, as is everything when there is no slot.  *cancel_requested becomes
 * true when the activity is to cancel, and else is left alone.
 */
void
wfi_heartbeat_report(const WfiToken *token, TimestampTz now,
					 const Jsonb *details, bool *cancel_requested)
{
	Size		length = details ? VARSIZE(details) : 0;
	Slot	   *slot;

	if (slots == NULL)
		return;
	LWLockAcquire(heartbeat_lock, LW_SHARED);
	slot = find_slot(&token->hash);
	if (slot != NULL && fits_token(&slot->attempt, token))
	{
		SpinLockAcquire(&slot->mutex);
		slot->time = Max(now, slot->time);
		if (length <= DETAILS_SIZE)
		{
			slot->details_length = (int32) length;
			if (length > 0)
				memcpy(slot->details, details, length);
		}
		slot->fresh = true;
		*cancel_requested |= slot->attempt.cancel_requested;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(heartbeat_lock);
}

/*
 * Bring an activity that was loaded up to date with the heartbeats that are
 * not in the table yet.  They need not be stored with it, unless the attempt
 * ends.
 */
void
wfi_heartbeat_overlay(WfiActivity *activity)
{
	char		details[DETAILS_SIZE];
	char		identity[IDENTITY_SIZE];
	int32		length = 0;
	TimestampTz time = DT_NOBEGIN;
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
	if (time == DT_NOBEGIN ||
		(activity->last_heartbeat_time != WFI_NEVER &&
		 activity->last_heartbeat_time > time))
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
		if (slot->attempt.key.database != MyDatabaseId)
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

/*
 * A heartbeat was written to the table, where it waited for whoever changes
 * the attempt: the next ones can go to a slot.
 */
void
wfi_heartbeat_resume(const WfiToken *token, TimestampTz time,
					 bool cancel_requested, bool paused, bool was_reset)
{
	Attempt    *attempt;
	Change	   *change;
	bool		found;

	wfi_heartbeat_stored(&token->hash, time);
	if (slots == NULL || !wfi_driver_running())
		return;
	LWLockAcquire(heartbeat_lock, LW_SHARED);
	found = find_slot(&token->hash) != NULL;
	LWLockRelease(heartbeat_lock);
	if (found)
		return;
	change = remember(PUT_ATTEMPT, &token->hash);
	change->time = time;
	attempt = &change->attempt;
	attempt->shard = token->shard;
	attempt->attempt = token->attempt;
	attempt->run_id = token->run_id;
	attempt->scheduled_event_id = token->scheduled_event_id;
	attempt->cancel_requested = cancel_requested;
	attempt->paused = paused;
	attempt->was_reset = was_reset;
	wake_driver(time);
}

/* A heartbeat was written to the table; older ones need not be any more. */
void
wfi_heartbeat_stored(const pg_uuid_t *token, TimestampTz time)
{
	Change	   *last = changes == NIL ? NULL : llast(changes);

	if (slots == NULL)
		return;
	if (last == NULL || last->kind != MARK_STORED ||
		last->level != GetCurrentTransactionNestLevel() ||
		!wfi_uuid_equal(&last->attempt.key.token, token))
		last = remember(MARK_STORED, token);
	last->time = time;
}

/* Remove a slot whose attempt is no more. */
static void
remove_slot(const SlotKey *key)
{
	LWLockAcquire(heartbeat_lock, LW_EXCLUSIVE);
	(void) hash_search(slots, key, HASH_REMOVE, NULL);
	LWLockRelease(heartbeat_lock);
}

/* A database is gone, or the extension in it: its slots go. */
void
wfi_heartbeat_forget(Oid database)
{
	HASH_SEQ_STATUS status;
	Slot	   *slot;

	if (slots == NULL)
		return;
	LWLockAcquire(heartbeat_lock, LW_EXCLUSIVE);
	hash_seq_init(&status, slots);
	while ((slot = hash_seq_search(&status)) != NULL)
	{
		if (slot->attempt.key.database == database)
			(void) hash_search(slots, &slot->attempt.key, HASH_REMOVE, NULL);
	}
	LWLockRelease(heartbeat_lock);
}

/* Bring the heartbeat in a copy of a slot into the table. */
static void
store_slot(const Slot *slot)
{
	WfiToken	token;

	token.kind = WFI_TASK_ACTIVITY;
	token.shard = slot->attempt.shard;
	token.run_id = slot->attempt.run_id;
	token.scheduled_event_id = slot->attempt.scheduled_event_id;
	token.started_event_id = 0;
	token.attempt = slot->attempt.attempt;
	token.hash = slot->attempt.key.token;
	switch (wfi_store_flush_heartbeat(&token, slot->time,
									  slot->details_length > 0 ?
									  (const Jsonb *) slot->details : NULL,
									  slot->identity[0] != '\0' ?
									  slot->identity : NULL))
	{
		case WFI_FLUSH_DONE:
			wfi_heartbeat_stored(&token.hash, slot->time);
			break;
		case WFI_FLUSH_LOCKED:
			break;				/* the next time */
		case WFI_FLUSH_GONE:
			remove_slot(&slot->attempt.key);
			break;
	}
}

/*
 * Bring the heartbeats of this database into the table, in a transaction of
 * the driver's that need not wait for the disk; for how many.  None waits for
 * another transaction either: one that changes an attempt cannot keep those
 * of others from being stored.
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
		store_slot(&copies[i]);
	wfi_store_end();
	return n;
}
