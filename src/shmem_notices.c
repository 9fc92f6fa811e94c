/*
 * shmem_notices.c
 *	  Notices in shared memory, that wait to be sent.
 *
 * They are entries of one hash table of fixed size, and linked from their
 * database, whose driver takes them.  wfi_shared->lock guards them, too.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "shmem.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

/* How long after the commit a notice for later is sent */
#define LATER_MS	500

typedef struct SharedNotice
{
	WfiNoticeKey key;			/* must be first */
	int32		shard;
	TimestampTz time;			/* when to send one for later */
	dlist_node	node;			/* in its database's notices, or later */
	char		content[WFI_NOTICE_SIZE];
} SharedNotice;

static HTAB *shared_notices = NULL;

/*
 * How much shared memory it takes.
 */
Size
wfi_notices_shmem_size(void)
{
	return hash_estimate_size(WFI_MAX_NOTICES, sizeof(SharedNotice));
}

/*
 * Creates the table, or finds it (EXEC_BACKEND).
 */
void
wfi_notices_shmem_startup(void)
{
	HASHCTL		info;

	memset(&info, 0, sizeof(info));
	info.keysize = sizeof(WfiNoticeKey);
	info.entrysize = sizeof(SharedNotice);
	shared_notices = ShmemInitHash("workflow_interrupt notices",
								   WFI_MAX_NOTICES, WFI_MAX_NOTICES, &info,
								   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

/*
 * Would adding these change nothing?  The caller holds the lock.
 */
bool
wfi_notices_known(const WfiNotice *notices)
{
	const WfiNotice *notice;

	for (notice = notices; notice != NULL; notice = notice->next)
	{
		SharedNotice *shared = hash_search(shared_notices, &notice->key,
										   HASH_FIND, NULL);

		if (shared == NULL ||
			(shared->shard != notice->shard &&
			 shared->shard != WFI_SHARD_SEVERAL))
			return false;
	}
	return true;
}

/*
 * Adds a notice to what the database's driver has to send.  When there is no
 * room, work on a queue becomes a reason to announce all queues.  One for later
 * is lost, as tasks that wait too long are announced anyway, and so is news for
 * a worker: it learns by its next heartbeat.
 */
static void
add_notice(WfiDatabase *database, const WfiNotice *notice)
{
	SharedNotice *shared;
	bool		found;

	shared = hash_search(shared_notices, &notice->key, HASH_ENTER_NULL,
						 &found);
	if (shared == NULL)
	{
		if (notice->key.tag == WFI_TAG_QUEUE)
			database->lost = true;
	}
	else if (!found)
	{
		shared->shard = notice->shard;
		strlcpy(shared->content, notice->content, WFI_NOTICE_SIZE);
		if (notice->key.tag == WFI_TAG_QUEUE_LATER)
		{
			shared->time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   LATER_MS);
			dlist_push_tail(&database->later, &shared->node);
		}
		else
			dlist_push_tail(&database->notices, &shared->node);
	}
	else if (shared->shard != notice->shard)
		shared->shard = WFI_SHARD_SEVERAL;
}

/*
 * Adds a transaction's notices; true when there is something to do that there
 * was not before.  Without a driver it is enough to know that there were any,
 * because a driver begins with announcing all queues.  The caller holds the
 * lock.
 */
bool
wfi_notices_add(WfiDatabase *database, const WfiNotice *notices)
{
	bool		idle = dlist_is_empty(&database->notices) && !database->lost;
	bool		none_later = dlist_is_empty(&database->later);
	const WfiNotice *notice;

	if (notices == NULL)
		return false;
	if (database->pid == 0)
		database->lost = true;
	else
	{
		for (notice = notices; notice != NULL; notice = notice->next)
			add_notice(database, notice);
	}
	return (idle &&
			(!dlist_is_empty(&database->notices) || database->lost)) ||
		(none_later && !dlist_is_empty(&database->later));
}

static void
forget_list(dlist_head *list)
{
	while (!dlist_is_empty(list))
	{
		SharedNotice *notice = dlist_container(SharedNotice, node,
											   dlist_pop_head_node(list));

		(void) hash_search(shared_notices, &notice->key, HASH_REMOVE, NULL);
	}
}

/*
 * Forgets what waits to be sent: the database's driver ends.  The caller holds
 * the lock.
 */
void
wfi_notices_forget(WfiDatabase *database)
{
	forget_list(&database->notices);
	forget_list(&database->later);
	database->lost = false;
}

/*
 * Is there anything to send now?
 */
bool
wfi_driver_has_notices(void)
{
	return wfi_driver_next_notice() <= GetCurrentTimestamp();
}

/*
 * When there will be something to send, as far as is known.
 */
TimestampTz
wfi_driver_next_notice(void)
{
	TimestampTz next = DT_NOEND;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	if (!dlist_is_empty(&wfi_driven->notices))
		next = DT_NOBEGIN;
	else if (!dlist_is_empty(&wfi_driven->later))
		next = dlist_head_element(SharedNotice, node, &wfi_driven->later)->time;
	LWLockRelease(wfi_shared->lock);

	/* the clock may have been set back */
	if (next != DT_NOEND &&
		next > TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LATER_MS))
		next = DT_NOBEGIN;
	return next;
}

/*
 * Puts those for later whose time has come behind the others.
 */
static void
queue_due(void)
{
	TimestampTz now = GetCurrentTimestamp();

	while (!dlist_is_empty(&wfi_driven->later))
	{
		SharedNotice *shared = dlist_head_element(SharedNotice, node,
												  &wfi_driven->later);

		if (shared->time > now &&
			shared->time <= TimestampTzPlusMilliseconds(now, LATER_MS))
			break;
		dlist_delete(&shared->node);
		dlist_push_tail(&wfi_driven->notices, &shared->node);
	}
}

/*
 * Takes up to max notices, the oldest first, and returns their number.  Their
 * content is copied to the current memory context.
 */
int
wfi_driver_take_notices(WfiNotice *notices, int max)
{
	char	   *contents = palloc((Size) max * WFI_NOTICE_SIZE);
	int			n = 0;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	queue_due();
	while (n < max && !dlist_is_empty(&wfi_driven->notices))
	{
		SharedNotice *shared = dlist_container(SharedNotice, node,
											   dlist_pop_head_node(&wfi_driven->notices));
		char	   *copy = contents + (Size) n * WFI_NOTICE_SIZE;

		notices[n].key = shared->key;
		notices[n].shard = shared->shard;
		memcpy(copy, shared->content, WFI_NOTICE_SIZE);
		notices[n].content = copy;
		notices[n].next = NULL;
		n++;
		(void) hash_search(shared_notices, &shared->key, HASH_REMOVE, NULL);
	}
	LWLockRelease(wfi_shared->lock);
	return n;
}

/*
 * Were notices of queues lost?
 */
bool
wfi_driver_has_lost(void)
{
	bool		result;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	result = wfi_driven->lost;
	LWLockRelease(wfi_shared->lock);
	return result;
}

/*
 * Were notices of queues lost since this was asked last?
 */
bool
wfi_driver_take_lost(void)
{
	bool		result;

	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	result = wfi_driven->lost;
	wfi_driven->lost = false;
	LWLockRelease(wfi_shared->lock);
	return result;
}

/*
 * Says that notices of queues were lost.
 */
void
wfi_driver_set_lost(void)
{
	LWLockAcquire(wfi_shared->lock, LW_EXCLUSIVE);
	wfi_driven->lost = true;
	LWLockRelease(wfi_shared->lock);
}
