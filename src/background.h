/*
 * background.h
 *	  Interface between the engine and the background parts: deferred
 *	  notification, the launcher and the per-database driver.
 */
#ifndef WFI_BACKGROUND_H
#define WFI_BACKGROUND_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

typedef enum WfiChannelKind
{
	WFI_CHANNEL_WORKFLOW,		/* work on a task queue of workflow tasks */
	WFI_CHANNEL_ACTIVITY,		/* work on a task queue of activity tasks */
	WFI_CHANNEL_WORKER			/* news for one worker, by its identity */
} WfiChannelKind;

/* Values of workflow_interrupt.notify */
typedef enum WfiNotifyMode
{
	WFI_NOTIFY_DEFERRED,		/* the driver notifies after the commit */
	WFI_NOTIFY_TRANSACTIONAL,	/* NOTIFY inside the transaction */
	WFI_NOTIFY_OFF				/* no notifications at all */
} WfiNotifyMode;

/*
 * Settings, defined in settings.c
 */
extern int	wfi_notify_mode;	/* workflow_interrupt.notify */
extern int	wfi_notify_interval;	/* ms between two rounds of NOTIFY */
extern int	wfi_renotify_interval;	/* ms a due task may wait unclaimed */
extern bool wfi_enabled;		/* workflow_interrupt.enabled */

/*
 * Provided by notify.c and shmem.c, called by the engine
 */

/* The channel to LISTEN on; palloc'd, shorter than NAMEDATALEN. */
extern char *wfi_channel_name(WfiChannelKind kind, const char *name);

/*
 * Announce, when the current (sub)transaction has committed, that work is
 * available on a queue.  Cheap, and repeated calls for one queue coalesce;
 * when they are for several shards the payload's shard is null.
 */
extern void wfi_notify_queue(WfiChannelKind kind, const char *task_queue,
							 int32 shard);

/*
 * The same, for any shard, but a while after the commit: there is work that
 * could not be had now.  Only with a driver, and without a promise.
 */
extern void wfi_notify_queue_later(WfiChannelKind kind,
								   const char *task_queue);

/*
 * Send this payload to one worker's channel when the current
 * (sub)transaction has committed.  Different payloads do not coalesce.
 */
extern void wfi_notify_worker(const char *identity, const char *payload);

/*
 * Make sure, when the current (sub)transaction has committed, that the
 * driver looks for due wake-ups no later than at that time.
 */
extern void wfi_wakeup_at(TimestampTz due);

/* The same for changes to the registrations of functions. */
extern void wfi_note_registrations_changed(void);

/* Does a driver serve this database now?  (Else polls fire what is due.) */
extern bool wfi_driver_running(void);

/* Called from _PG_init. */
extern void wfi_shmem_init(void);	/* hooks; only when preloading */
extern void wfi_launcher_register(void);	/* only when preloading */
extern void wfi_notify_init(void);	/* transaction callbacks */
extern void wfi_utility_hook_init(void);	/* DROP DATABASE and friends */

/*
 * Provided by the engine (wakeup.c), called by the driver inside a
 * transaction with an active snapshot
 */

typedef enum WfiFireResult
{
	WFI_FIRE_NOTHING,			/* no wake-up is due (or all are locked) */
	WFI_FIRE_STALE,				/* removed a wake-up that had nothing to do */
	WFI_FIRE_DONE				/* did something for one run */
} WfiFireResult;

/* Which wake-up an attempt was about, filled in before anything can fail. */
typedef struct WfiWakeup
{
	int32		shard;
	pg_uuid_t	run_id;
	TimestampTz due_time;
} WfiWakeup;

/* Claim the earliest due wake-up nobody else holds and do what is due. */
extern WfiFireResult wfi_fire_next(TimestampTz now, bool safely,
								   WfiWakeup *wakeup, TimestampTz *next);

/* After an error, in a new transaction: try this wake-up again later. */
extern void wfi_defer_wakeup(const WfiWakeup *wakeup, TimestampTz until);

/* wfi_notify_queue() for queues whose oldest task was created before. */
extern int	wfi_renotify(TimestampTz created_before);

/* Bring heartbeats into the table; for how many activities. */
extern int	wfi_heartbeat_flush(void);

/* Forget those of a database that is gone, or has lost the extension. */
extern void wfi_heartbeat_forget(Oid database);

/* Are there heartbeats in shared memory that may have to be brought there? */
extern bool wfi_heartbeat_active(void);

/* Is the extension (schema wf with our tables) installed here? */
extern bool wfi_extension_exists(void);

#endif							/* WFI_BACKGROUND_H */
