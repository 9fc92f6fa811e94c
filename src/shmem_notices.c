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

typedef struct SharedNotice
{
	WfiNoticeKey key;			/* must be first */
	int32		shard;
	dlist_node	node;			/* in its database's notices */
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
 * room, work on a queue becomes a reason to announce all queues, whereas news
 * for a worker is lost: it learns by its next heartbeat.
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
		if (notice->key.tag == 0)
			database->lost = true;
	}
	else if (!found)
	{
		shared->shard = notice->shard;
		strlcpy(shared->content, notice->content, WFI_NOTICE_SIZE);
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
	return idle;
}

/*
 * Forgets what waits to be sent: the database's driver ends.  The caller holds
 * the lock.
 */
void
wfi_notices_forget(WfiDatabase *database)
{
	while (!dlist_is_empty(&database->notices))
	{
		SharedNotice *notice = dlist_container(SharedNotice, node,
											   dlist_pop_head_node(&database->notices));

		(void) hash_search(shared_notices, &notice->key, HASH_REMOVE, NULL);
	}
	database->lost = false;
}

/*
 * Is there anything to send?
 */
bool
wfi_driver_has_notices(void)
{
	bool		result;

	LWLockAcquire(wfi_shared->lock, LW_SHARED);
	result = !dlist_is_empty(&wfi_driven->notices);
	LWLockRelease(wfi_shared->lock);
	return result;
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
