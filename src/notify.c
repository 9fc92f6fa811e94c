/*
 * notify.c
 *	  What a transaction has to tell the world when it commits: work on task
 *	  queues, news for workers, wake-ups for the driver.
 *
 * In deferred mode calls only leave marks in backend-local memory.  When the
 * transaction has committed and its effects are visible, the marks become
 * news in shared memory (shmem.c), and the driver sends them.  A NOTIFY
 * inside every transaction would serialize all commits of the cluster.  Only
 * the first in a while, when no other is under way, is sent by the
 * transaction itself: a worker that waits is woken without a detour.
 *
 * Marks follow subtransactions: each level that made some has a MarkLevel;
 * the end of a subtransaction either hands its level's marks to the parent,
 * in constant time, or forgets them.  As every mark that exists belongs to
 * the current level or one that encloses it, a queue that is marked at all
 * needs no second mark.
 *
 * PREPARE TRANSACTION drops the marks, as there is no telling when somebody
 * will commit.  The driver looks for due wake-ups and unclaimed tasks every
 * workflow_interrupt.renotify_interval, which covers that, too.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "background.h"
#include "commands/async.h"
#include "common/hashfn.h"
#include "common/md5.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Length limit of queue names and identities, in characters */
#define MAX_NAME_LENGTH		1000

/* As in async.c, which does not export it: payloads must be shorter. */
#define PAYLOAD_LIMIT		(BLCKSZ - NAMEDATALEN - 128)

/* A transaction with more notices leaves them to the driver */
#define MAX_AT_ONCE			4

/* From this many notices on, look them up in a hash table. */
#define MIN_HASHABLE		16

/* Marks of one (sub)transaction */
typedef struct MarkLevel
{
	int			nesting_level;
	struct MarkLevel *upper;	/* nearest enclosing level with marks */
	WfiNotice  *last;			/* tail of news.notices */
	WfiNews		news;
} MarkLevel;

typedef struct NoticeEntry
{
	WfiNoticeKey key;			/* must be first */
	WfiNotice  *notice;
} NoticeEntry;

static const char *const channel_kinds[] = {
	[WFI_CHANNEL_WORKFLOW] = "workflow",
	[WFI_CHANNEL_ACTIVITY] = "activity",
	[WFI_CHANNEL_WORKER] = "worker",
};

/* All of these live in TopTransactionContext. */
static MarkLevel *marks = NULL; /* innermost level with marks */
static int	nnotices = 0;		/* in all levels */
static HTAB *notice_table = NULL;	/* NULL while there are few */

static bool notify_directly = false;
static bool notifying = false;	/* in the current transaction, at once */

PG_FUNCTION_INFO_V1(wfi_channel);
PG_FUNCTION_INFO_V1(wfi_created);

/*
 * Can this name be part of a channel as it is?  Names that begin with an
 * underscore cannot: that tells hashed names apart.
 */
static bool
is_plain_name(const char *name, size_t room)
{
	size_t		len = strlen(name);

	return len > 0 && len <= room && name[0] != '_' &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/*
 * The channel of a queue or worker: shorter than NAMEDATALEN, always the same
 * for the same name, and different for different names.  What it looks like
 * is known to clients; never change it.  The result is palloc'd.
 */
char *
wfi_channel_name(WfiChannelKind kind, const char *name)
{
	char		prefix[NAMEDATALEN];
	char		md5[33];
	const char *errstr = NULL;
	int			prefix_len;

	prefix_len = snprintf(prefix, sizeof(prefix), "wf_%s_",
						  channel_kinds[kind]);

	if (is_plain_name(name, NAMEDATALEN - 1 - prefix_len))
		return psprintf("%s%s", prefix, name);

	if (!pg_md5_hash(name, strlen(name), md5, &errstr))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute %s hash: %s", "MD5", errstr)));
	return psprintf("%s_%s", prefix, md5);
}

/*
 * wf_channel(kind text, name text) returns text
 */
Datum
wfi_channel(PG_FUNCTION_ARGS)
{
	char	   *kind_name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			kind;

	for (kind = 0; kind < lengthof(channel_kinds); kind++)
	{
		if (strcmp(kind_name, channel_kinds[kind]) == 0)
			break;
	}
	if (kind == lengthof(channel_kinds))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid channel kind \"%s\"", kind_name),
				 errhint("Valid kinds are \"workflow\", \"activity\" and \"worker\".")));

	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name must not be empty")));
	if (pg_mbstrlen(name) > MAX_NAME_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name is too long"),
				 errdetail("A name has at most %d characters.",
						   MAX_NAME_LENGTH)));

	PG_RETURN_TEXT_P(cstring_to_text(wfi_channel_name(kind, name)));
}

/*
 * The payload that announces work on a queue, shorter than PAYLOAD_LIMIT.  A
 * name that would make it too long is left out.
 */
static char *
queue_payload(const char *task_queue, int32 shard)
{
	StringInfoData buf;
	char		shard_text[16] = "null";

	if (shard != WFI_SHARD_SEVERAL)
		snprintf(shard_text, sizeof(shard_text), "%d", shard);

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"task_queue\":");
	escape_json(&buf, task_queue);
	appendStringInfo(&buf, ",\"shard\":%s}", shard_text);
	if (buf.len < PAYLOAD_LIMIT)
		return buf.data;

	resetStringInfo(&buf);
	appendStringInfo(&buf, "{\"shard\":%s}", shard_text);
	return buf.data;
}

/*
 * Queues the NOTIFY for a notice in the current transaction.
 */
void
wfi_send_notice(const WfiNotice *notice)
{
	Async_Notify(notice->key.channel,
				 notice->key.tag >= WFI_TAG_MIN_PAYLOAD ? notice->content :
				 queue_payload(notice->content, notice->shard));
}

/*
 * For the driver: send at once what is announced from now on, in its
 * transaction.
 */
void
wfi_notify_directly(bool on)
{
	notify_directly = on;
}

/*
 * How are notifications sent from here?  Deferring them takes a driver, so
 * it needs the library to be preloaded and enabled.
 */
static WfiNotifyMode
effective_mode(void)
{
	if (wfi_notify_mode == WFI_NOTIFY_OFF)
		return WFI_NOTIFY_OFF;

	/* A backend that Citus made for itself: the driver will notice. */
	if (application_name != NULL &&
		strncmp(application_name, "citus_internal gpid=", 20) == 0)
		return WFI_NOTIFY_OFF;

	if (wfi_notify_mode == WFI_NOTIFY_TRANSACTIONAL || notify_directly ||
		wfi_shared == NULL || !wfi_enabled)
		return WFI_NOTIFY_TRANSACTIONAL;
	return WFI_NOTIFY_DEFERRED;
}

/*
 * The marks of the current (sub)transaction, made if necessary.
 */
static MarkLevel *
current_level(void)
{
	int			nesting_level = GetCurrentTransactionNestLevel();

	if (marks == NULL || marks->nesting_level < nesting_level)
	{
		MarkLevel  *level;

		level = MemoryContextAllocZero(TopTransactionContext,
									   sizeof(MarkLevel));
		level->nesting_level = nesting_level;
		level->upper = marks;
		level->news.due = DT_NOEND;
		marks = level;
	}
	return marks;
}

/*
 * Finds a notice this transaction has marked.
 */
static WfiNotice *
find_notice(const WfiNoticeKey *key)
{
	MarkLevel  *level;
	WfiNotice  *notice;

	if (notice_table != NULL)
	{
		NoticeEntry *entry = hash_search(notice_table, key, HASH_FIND, NULL);

		return entry ? entry->notice : NULL;
	}

	for (level = marks; level != NULL; level = level->upper)
	{
		for (notice = level->news.notices; notice; notice = notice->next)
		{
			if (memcmp(&notice->key, key, sizeof(WfiNoticeKey)) == 0)
				return notice;
		}
	}
	return NULL;
}

/*
 * Enters a notice into the hash table; makes the table with the notices there
 * are when it becomes worth while.
 */
static void
hash_notice(WfiNotice *new_notice)
{
	HASHCTL		info;
	HTAB	   *table;
	MarkLevel  *level;
	WfiNotice  *notice;
	NoticeEntry *entry;

	if (notice_table != NULL)
	{
		entry = hash_search(notice_table, &new_notice->key, HASH_ENTER, NULL);
		entry->notice = new_notice;
		return;
	}
	if (nnotices < MIN_HASHABLE)
		return;

	memset(&info, 0, sizeof(info));
	info.keysize = sizeof(WfiNoticeKey);
	info.entrysize = sizeof(NoticeEntry);
	info.hcxt = TopTransactionContext;
	table = hash_create("workflow_interrupt marks", 256, &info,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	for (level = marks; level != NULL; level = level->upper)
	{
		for (notice = level->news.notices; notice; notice = notice->next)
		{
			entry = hash_search(table, &notice->key, HASH_ENTER, NULL);
			entry->notice = notice;
		}
	}
	entry = hash_search(table, &new_notice->key, HASH_ENTER, NULL);
	entry->notice = new_notice;
	notice_table = table;
}

/*
 * Marks a notice to be sent when the transaction has committed.  Its content
 * fits into WFI_NOTICE_SIZE.
 */
static void
mark_notice(const WfiNoticeKey *key, int32 shard, const char *content)
{
	WfiNotice  *notice = find_notice(key);
	MarkLevel  *level;

	Assert(strlen(content) < WFI_NOTICE_SIZE);

	if (notice != NULL)
	{
		/* Stays even if this subtransaction aborts; "several" is no lie. */
		if (notice->shard != shard)
			notice->shard = WFI_SHARD_SEVERAL;
		return;
	}

	level = current_level();
	notice = MemoryContextAlloc(TopTransactionContext, sizeof(WfiNotice));
	notice->key = *key;
	notice->shard = shard;
	notice->content = MemoryContextStrdup(TopTransactionContext, content);
	notice->next = NULL;
	hash_notice(notice);

	/* Nothing can fail any more. */
	if (level->last == NULL)
		level->news.notices = notice;
	else
		level->last->next = notice;
	level->last = notice;
	nnotices++;
}

/*
 * Sends a notice now or marks it, according to the mode.
 */
static void
announce(WfiChannelKind kind, const char *name, uint64 tag, int32 shard,
		 const char *content)
{
	WfiNotifyMode mode = effective_mode();
	WfiNotice	notice;
	char	   *channel;

	if (mode == WFI_NOTIFY_OFF)
		return;

	channel = wfi_channel_name(kind, name);
	memset(&notice, 0, sizeof(notice));
	notice.key.tag = tag;
	notice.key.dboid = MyDatabaseId;
	strlcpy(notice.key.channel, channel, NAMEDATALEN);
	notice.shard = shard;
	notice.content = content;
	pfree(channel);

	if (mode == WFI_NOTIFY_DEFERRED && strlen(content) < WFI_NOTICE_SIZE)
		mark_notice(&notice.key, shard, content);
	else
	{
		PreventCommandDuringRecovery("NOTIFY");
		wfi_send_notice(&notice);
	}
}

/*
 * Announces, when the current (sub)transaction has committed, that work is
 * available on a queue.  A name that is too long for shared memory makes it a
 * NOTIFY in the transaction.
 */
void
wfi_notify_queue(WfiChannelKind kind, const char *task_queue, int32 shard)
{
	Assert(kind != WFI_CHANNEL_WORKER);
	Assert(shard >= 0);
	if (wfi_pool_exists())
	{
		WfiPoolNews *news = &current_level()->news.pool;

		wfi_queue_set_add(&news->queues,
						  wfi_queue_bit(kind == WFI_CHANNEL_WORKFLOW ?
										WFI_TASK_WORKFLOW : WFI_TASK_ACTIVITY,
										task_queue));
		news->tasks++;
	}
	announce(kind, task_queue, WFI_TAG_QUEUE, shard, task_queue);
}

/*
 * Announces work on a queue a while after the current (sub)transaction has
 * committed: there is some that could not be had now.  Needs a driver; without
 * one it is found when somebody looks.
 */
void
wfi_notify_queue_later(WfiChannelKind kind, const char *task_queue)
{
	if (effective_mode() == WFI_NOTIFY_DEFERRED &&
		strlen(task_queue) < WFI_NOTICE_SIZE)
		announce(kind, task_queue, WFI_TAG_QUEUE_LATER, WFI_SHARD_SEVERAL,
				 task_queue);
}

/*
 * Sends a payload to one worker when the current (sub)transaction has
 * committed.  Different payloads in one transaction all arrive, unless shared
 * memory is full at the commit.  A payload that is too long for shared memory
 * makes it a NOTIFY in the transaction.
 */
void
wfi_notify_worker(const char *identity, const char *payload)
{
	uint64		tag;

	tag = DatumGetUInt64(hash_any_extended((const unsigned char *) payload,
										   strlen(payload), 0));
	announce(WFI_CHANNEL_WORKER, identity, Max(tag, WFI_TAG_MIN_PAYLOAD), 0,
			 payload);
}

/*
 * Makes sure, when the current (sub)transaction has committed, that the driver
 * looks for due wake-ups no later than at that time.
 */
void
wfi_wakeup_at(TimestampTz due)
{
	MarkLevel  *level;

	if (wfi_shared == NULL)
		return;

	for (level = marks; level != NULL; level = level->upper)
	{
		if (level->news.due <= due)
			return;
	}
	current_level()->news.due = due;
}

/*
 * wf._created() returns void
 *
 * Tells the launcher, at commit, that this database has the extension.
 */
Datum
wfi_created(PG_FUNCTION_ARGS)
{
	if (wfi_shared != NULL)
		current_level()->news.created = true;
	PG_RETURN_VOID();
}

/*
 * Tells the launcher, at commit, to look at the list of databases.
 */
void
wfi_note_databases_changed(void)
{
	current_level()->news.databases = true;
}

/*
 * Tells the driver, at commit, to see whether the extension is still there.
 */
void
wfi_note_extension_dropped(void)
{
	current_level()->news.dropped = true;
}

/*
 * Tells the driver and the workers, at commit, that registrations of functions
 * have changed.
 */
void
wfi_note_registrations_changed(void)
{
	if (wfi_shared != NULL)
		current_level()->news.pool.registrations = true;
}

/*
 * Forgets all marks; their memory goes with the transaction.
 */
static void
forget_marks(void)
{
	marks = NULL;
	nnotices = 0;
	notice_table = NULL;
}

/*
 * Hands the marks of a committed subtransaction to its parent.
 */
static void
merge_level(void)
{
	MarkLevel  *child = marks;
	MarkLevel  *parent = child->upper;

	if (parent == NULL || parent->nesting_level < child->nesting_level - 1)
	{
		child->nesting_level--;
		return;
	}

	if (child->last != NULL)
	{
		if (parent->last == NULL)
			parent->news.notices = child->news.notices;
		else
			parent->last->next = child->news.notices;
		parent->last = child->last;
	}
	parent->news.due = Min(parent->news.due, child->news.due);
	wfi_queue_set_join(&parent->news.pool.queues, &child->news.pool.queues);
	parent->news.pool.tasks += child->news.pool.tasks;
	parent->news.pool.registrations |= child->news.pool.registrations;
	parent->news.created |= child->news.created;
	parent->news.dropped |= child->news.dropped;
	parent->news.databases |= child->news.databases;
	marks = parent;
	pfree(child);
}

/*
 * Forgets the marks of an aborted subtransaction.
 */
static void
drop_level(void)
{
	MarkLevel  *child = marks;
	WfiNotice  *notice = child->news.notices;

	while (notice != NULL)
	{
		WfiNotice  *next = notice->next;

		if (notice_table != NULL)
			(void) hash_search(notice_table, &notice->key, HASH_REMOVE, NULL);
		pfree(unconstify(char *, notice->content));
		pfree(notice);
		nnotices--;
		notice = next;
	}
	marks = child->upper;
	pfree(child);
}

/*
 * When nothing has been sent for a while, the transaction itself sends what it
 * has marked, unless something is for later: a notification then takes no
 * detour.  At most one transaction
 * does so at a time, and the window that follows belongs to the driver, so
 * commits are not serialized.
 */
static void
notify_at_once(void)
{
	uint64		last;
	TimestampTz now;
	WfiNotice  *notice;

	if (wfi_shared == NULL || marks == NULL || marks->news.notices == NULL ||
		nnotices > MAX_AT_ONCE)
		return;
	for (notice = marks->news.notices; notice; notice = notice->next)
	{
		if (notice->key.tag == WFI_TAG_QUEUE_LATER)
			return;
	}
	now = GetCurrentTimestamp();
	last = pg_atomic_read_u64(&wfi_shared->last_notify);
	/* a time in the future means that the clock was set back: never mind it */
	if (last == PG_UINT64_MAX ||
		(now >= (TimestampTz) last &&
		 now < (TimestampTz) last + wfi_notify_interval * INT64CONST(1000)) ||
		!pg_atomic_compare_exchange_u64(&wfi_shared->last_notify, &last,
										PG_UINT64_MAX))
		return;
	notifying = true;
	for (notice = marks->news.notices; notice; notice = notice->next)
		wfi_send_notice(notice);
	marks->news.notices = NULL;
	marks->last = NULL;
}

/*
 * The transaction that notified at once is over: the window begins.
 */
static void
end_notifying(void)
{
	if (notifying)
		pg_atomic_write_u64(&wfi_shared->last_notify, GetCurrentTimestamp());
	notifying = false;
}

/*
 * End of a transaction.  At XACT_EVENT_COMMIT its effects are visible to
 * others, and an error would be too late.
 */
static void
end_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			notify_at_once();
			break;
		case XACT_EVENT_COMMIT:
			end_notifying();
			if (marks != NULL)
			{
				Assert(marks->upper == NULL);
				wfi_shmem_publish(&marks->news);
				wfi_pool_publish(&marks->news.pool);
			}
			forget_marks();
			break;
		case XACT_EVENT_ABORT:
			end_notifying();
			forget_marks();
			break;
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			forget_marks();
			break;
		default:
			break;
	}
}

/*
 * End of a subtransaction.
 */
static void
end_subtransaction(SubXactEvent event, SubTransactionId mySubid,
				   SubTransactionId parentSubid, void *arg)
{
	int			nesting_level;

	if (marks == NULL)
		return;
	nesting_level = GetCurrentTransactionNestLevel();

	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			if (marks->nesting_level >= nesting_level)
				merge_level();
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			while (marks != NULL && marks->nesting_level >= nesting_level)
				drop_level();
			break;
		default:
			break;
	}
}

/*
 * Registers the transaction callbacks.  To be called once per process, from
 * _PG_init.
 */
void
wfi_notify_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}
