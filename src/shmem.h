/*
 * shmem.h
 *	  Shared state of the background parts: which databases have a driver,
 *	  and what those drivers have been asked to announce.
 *
 * Only the background parts include this; the engine knows background.h
 * alone.
 */
#ifndef WFI_SHMEM_H
#define WFI_SHMEM_H

#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "pool.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define WFI_LIBRARY_NAME	"workflow_interrupt"
#define WFI_WORKER_NAME		"workflow_interrupt worker"

/* Databases known at a time; those beyond are not served. */
#define WFI_MAX_DATABASES	1024

/* Notices of all databases that wait to be sent. */
#define WFI_MAX_NOTICES		1024

/* Bytes of a notice's content with its terminator; longer ones are not shared. */
#define WFI_NOTICE_SIZE		320

/*
 * A notice is one NOTIFY to be: for a queue ("there is work"), at once or a
 * while after the commit, or for one worker (a payload).  Equal keys coalesce.
 */
#define WFI_TAG_QUEUE		0
#define WFI_TAG_QUEUE_LATER	1
#define WFI_TAG_MIN_PAYLOAD	2

typedef struct WfiNoticeKey
{
	uint64		tag;			/* one of these, or hash of the payload */
	Oid			dboid;
	char		channel[NAMEDATALEN];	/* padded with zeros */
} WfiNoticeKey;					/* zero it first: hashed as bytes */

#define WFI_SHARD_SEVERAL	(-1)

typedef struct WfiNotice
{
	WfiNoticeKey key;			/* must be first */
	int32		shard;			/* of a queue's work, or WFI_SHARD_SEVERAL */
	const char *content;		/* task queue, or the worker's payload */
	struct WfiNotice *next;
} WfiNotice;

/* What a committed transaction has to tell. */
typedef struct WfiNews
{
	WfiPoolNews pool;			/* for the pool's workers */
	WfiNotice  *notices;		/* linked by next */
	TimestampTz due;			/* earliest wake-up; DT_NOEND: none */
	bool		created;		/* the extension was created here */
	bool		dropped;		/* the extension may have been dropped */
	bool		databases;		/* databases were created, dropped, altered */
} WfiNews;

/*
 * Life of a driver, seen from its database
 *
 *		 launcher registers it		  extension found
 *	IDLE ---------------------> STARTING -----------> RUNNING
 *	 ^ ^							|					 |
 *	 | +-- error (after a pause), --+--------------------+
 *	 |	   held, disabled			|					 |
 *	 |								v no extension		 v extension dropped
 *	 +------------------------- ABSENT <-----------------+
 *			wf._created()
 */
typedef enum WfiDriverState
{
	WFI_DRIVER_IDLE,			/* none; the launcher is to start one */
	WFI_DRIVER_STARTING,		/* registered, perhaps already a process */
	WFI_DRIVER_RUNNING,			/* serves the database */
	WFI_DRIVER_ABSENT			/* none, and the extension is not there */
} WfiDriverState;

/* All fields are guarded by wfi_shared->lock. */
typedef struct WfiDatabase
{
	Oid			dboid;			/* InvalidOid: this entry is free */
	WfiDriverState state;
	int			pid;			/* the driver; 0 when there is no process */
	Latch	   *latch;			/* of the driver; NULL when no process */
	int			holds;			/* commands that want no driver here */
	bool		unwanted;		/* not connectable, or a template */
	bool		check;			/* see whether the extension still exists */
	bool		lost;			/* notices were lost: announce all queues */
	uint32		creations;		/* counts wf._created() */
	TimestampTz planned;		/* when the driver looks for due wake-ups */
	TimestampTz retry_time;		/* no new driver before */
	dlist_head	notices;		/* what to send; none without a driver */
	dlist_head	later;			/* the same, in order of time */
} WfiDatabase;

typedef struct WfiShared
{
	LWLock	   *lock;
	pg_atomic_uint64 last_notify;	/* last NOTIFY; PG_UINT64_MAX: under way */
	Latch	   *launcher_latch; /* NULL when there is no launcher */
	WfiDatabase databases[WFI_MAX_DATABASES];
} WfiShared;

#define WFI_DRIVER_NAME "workflow_interrupt driver"

/* NULL when the library is not in shared_preload_libraries. */
extern WfiShared *wfi_shared;

/* For everybody */
extern WfiDatabase *wfi_find_database(Oid dboid, bool create);
extern void wfi_shmem_publish(const WfiNews *news);

/* In shmem_notices.c, for shmem.c */
extern Size wfi_notices_shmem_size(void);
extern void wfi_notices_shmem_startup(void);
extern bool wfi_notices_known(const WfiNotice *notices);
extern bool wfi_notices_add(WfiDatabase *database, const WfiNotice *notices);
extern void wfi_notices_forget(WfiDatabase *database);

/* For launcher.c */
extern void wfi_launcher_attach(void);

/* In launcher.c, for processes that work in a database */
struct BackgroundWorker;
struct BackgroundWorkerHandle;
extern void wfi_serve_signals(void);
extern bool wfi_register_process(struct BackgroundWorker *worker,
								 const char *type, const char *function,
								 struct BackgroundWorkerHandle **handle);
extern void wfi_apply_settings(const char *name);

/* For database_hook.c: keeping drivers away */
extern void wfi_hold_database(Oid dboid);
extern void wfi_release_database(Oid dboid);
extern void wfi_await_driver_exit(Oid dboid);

/* For driver.c, about the database it has attached to */
extern WfiDatabase *wfi_driven;
extern bool wfi_driver_attach(Oid dboid);
extern uint32 wfi_driver_creations(void);
extern void wfi_driver_set_running(void);
extern bool wfi_driver_set_absent(uint32 creations);
extern bool wfi_driver_must_leave(void);
extern bool wfi_driver_must_check(void);
extern bool wfi_driver_has_notices(void);
extern TimestampTz wfi_driver_next_notice(void);
extern int	wfi_driver_take_notices(WfiNotice *notices, int max);
extern bool wfi_driver_has_lost(void);
extern bool wfi_driver_take_lost(void);
extern void wfi_driver_set_lost(void);
extern TimestampTz wfi_driver_planned(void);
extern void wfi_driver_begin_look(void);
extern void wfi_driver_plan(TimestampTz due);

extern void wfi_poke_driver(Oid dboid);
extern void wfi_poke_drivers(void);

/* In driver.c, for what it does in other files */
typedef void (*WfiDriverStep) (void *arg);

extern bool wfi_driver_step(WfiDriverStep step, void *arg);
extern bool wfi_lock_extension(void);

/* In notify.c */
extern void wfi_send_notice(const WfiNotice *notice);
extern void wfi_notify_directly(bool on);
extern void wfi_note_databases_changed(void);
extern void wfi_note_extension_dropped(void);

#endif							/* WFI_SHMEM_H */
