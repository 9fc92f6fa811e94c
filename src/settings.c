/*
 * settings.c
 *	  The workflow_interrupt.* settings.
 *
 * The limits are those of Temporal, with its defaults.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "pool.h"
#include "workflow_interrupt.h"

char	   *wfi_setting_namespace;
int			wfi_history_count_limit;
int			wfi_history_count_suggest;
int			wfi_history_count_warning;
int			wfi_history_size_limit;
int			wfi_history_size_suggest;
int			wfi_history_size_warning;
int			wfi_state_size_limit;
int			wfi_transaction_size_limit;
int			wfi_payload_size_limit;
int			wfi_memo_size_limit;
int			wfi_max_buffered_events;
int			wfi_max_buffered_size;
int			wfi_max_signals;
int			wfi_max_pending_activities;
int			wfi_failure_size_limit;
int			wfi_max_id_length;
int			wfi_task_timeout;
int			wfi_task_retry_max_interval;
int			wfi_task_heartbeat_timeout;
int			wfi_notify_mode;
int			wfi_notify_interval;
int			wfi_renotify_interval;
bool		wfi_enabled;
bool		wfi_direct_access;
int			wfi_workflow_cache_size;
int			wfi_max_heartbeat_slots = 4096;
int			wfi_max_workers;
int			wfi_max_workers_per_role;
int			wfi_worker_idle_timeout;

static const struct config_enum_entry notify_modes[] = {
	{"deferred", WFI_NOTIFY_DEFERRED, false},
	{"transactional", WFI_NOTIFY_TRANSACTIONAL, false},
	{"off", WFI_NOTIFY_OFF, false},
	{NULL, 0, false}
};

/* A numeric setting that a superuser may change at any time */
typedef struct Limit
{
	const char *name;
	const char *description;
	int		   *variable;
	int			default_value;
	int			minimum;
	int			flags;
} Limit;

static const Limit limits[] = {
	{"workflow_interrupt.history_count_limit",
		"Terminates a run whose history has more events than this.",
	&wfi_history_count_limit, 51200, 2, 0},
	{"workflow_interrupt.history_count_suggest",
		"Suggests to continue as new from this number of events on.",
	&wfi_history_count_suggest, 4096, 1, 0},
	{"workflow_interrupt.history_count_warning",
		"Logs that a history is getting large at this number of events.",
	&wfi_history_count_warning, 10240, 1, 0},
	{"workflow_interrupt.history_size_limit",
		"Terminates a run whose history is larger than this.",
	&wfi_history_size_limit, 50 * 1024 * 1024, 1024, GUC_UNIT_BYTE},
	{"workflow_interrupt.history_size_suggest",
		"Suggests to continue as new from this size of the history on.",
	&wfi_history_size_suggest, 4 * 1024 * 1024, 1, GUC_UNIT_BYTE},
	{"workflow_interrupt.history_size_warning",
		"Logs that a history is getting large at this size.",
	&wfi_history_size_warning, 10 * 1024 * 1024, 1, GUC_UNIT_BYTE},
	{"workflow_interrupt.state_size_limit",
		"Terminates a run whose pending things and buffered events are larger than this.",
	&wfi_state_size_limit, 8 * 1024 * 1024, 1024, GUC_UNIT_BYTE},
	{"workflow_interrupt.transaction_size_limit",
		"Terminates a run when one operation adds more events than this.",
	&wfi_transaction_size_limit, 4 * 1024 * 1024, 1024, GUC_UNIT_BYTE},
	{"workflow_interrupt.payload_size_limit",
		"Sets the largest size of one payload.",
	&wfi_payload_size_limit, 2 * 1024 * 1024, 128, GUC_UNIT_BYTE},
	{"workflow_interrupt.memo_size_limit",
		"Sets the largest size of a memo.",
	&wfi_memo_size_limit, 2 * 1024 * 1024, 128, GUC_UNIT_BYTE},
	{"workflow_interrupt.max_buffered_events",
		"Fails a workflow task while which more events than this have come in.",
	&wfi_max_buffered_events, 100, 1, 0},
	{"workflow_interrupt.max_buffered_size",
		"Fails a workflow task while which larger events than this have come in.",
	&wfi_max_buffered_size, 2 * 1024 * 1024, 128, GUC_UNIT_BYTE},
	{"workflow_interrupt.max_signals",
		"Sets how many signals a run may receive; 0 means no limit.",
	&wfi_max_signals, 10000, 0, 0},
	{"workflow_interrupt.max_pending_activities",
		"Sets how many activities of a run may be pending; 0 means no limit.",
	&wfi_max_pending_activities, 2000, 0, 0},
	{"workflow_interrupt.failure_size_limit",
		"Sets how much of an attempt's failure is kept until the next.",
	&wfi_failure_size_limit, 4096, 128, GUC_UNIT_BYTE},
	{"workflow_interrupt.max_id_length",
		"Sets how many characters an id or name may have.",
	&wfi_max_id_length, 1000, 100, 0},
	{"workflow_interrupt.task_timeout",
		"Sets the time-out of workflow tasks that are started without one.",
	&wfi_task_timeout, 10, 1, GUC_UNIT_S},
	{"workflow_interrupt.task_retry_max_interval",
		"Sets how much longer the time-out of a failing workflow task may grow.",
	&wfi_task_retry_max_interval, 600, 1, GUC_UNIT_S},
	{"workflow_interrupt.task_heartbeat_timeout",
		"Sets for how long workflow tasks may only heartbeat.",
	&wfi_task_heartbeat_timeout, 1800, 0, GUC_UNIT_S},
};

/* Define the settings; called from _PG_init. */
void
wfi_settings_init(void)
{
	DefineCustomStringVariable("workflow_interrupt.namespace",
							   "Sets the namespace of calls that name none.",
							   NULL,
							   &wfi_setting_namespace,
							   "default",
							   PGC_USERSET, 0,
							   NULL, NULL, NULL);
	for (int i = 0; i < (int) lengthof(limits); i++)
		DefineCustomIntVariable(limits[i].name, limits[i].description, NULL,
								limits[i].variable, limits[i].default_value,
								limits[i].minimum, INT_MAX,
								PGC_SUSET, limits[i].flags,
								NULL, NULL, NULL);
	DefineCustomEnumVariable("workflow_interrupt.notify",
							 "Sets how workers are notified.",
							 "Deferred needs the library in shared_preload_libraries; without it, notification is transactional.",
							 &wfi_notify_mode,
							 WFI_NOTIFY_DEFERRED, notify_modes,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("workflow_interrupt.notify_interval",
							"Sets the time between two rounds of deferred notification.",
							NULL,
							&wfi_notify_interval,
							5, 0, 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("workflow_interrupt.renotify_interval",
							"Sets after which time a queue with unclaimed tasks is notified again.",
							NULL,
							&wfi_renotify_interval,
							5000, 100, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("workflow_interrupt.enabled",
							 "Runs timers and time-outs in the background.",
							 "Turn it off in a copy of a database that must not act.",
							 &wfi_enabled,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("workflow_interrupt.max_workers",
							"Sets how many background workers may run SQL workflows and activities.",
							"They count in max_worker_processes; 0 turns them off.",
							&wfi_max_workers,
							8, 0, WFI_POOL_SIZE,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("workflow_interrupt.max_workers_per_role",
							"Sets how many of them may run functions of one role in one database.",
							"From 2 on, the last one takes no function that another one is running. While all run activities, there may be one more for workflow tasks.",
							&wfi_max_workers_per_role,
							4, 1, WFI_POOL_SIZE,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("workflow_interrupt.worker_idle_timeout",
							"Sets after which time without a task such a worker ends.",
							NULL,
							&wfi_worker_idle_timeout,
							60000, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("workflow_interrupt.max_heartbeat_slots",
								"Sets how many running activities can heartbeat in shared memory.",
								"The heartbeats of others update a table.",
								&wfi_max_heartbeat_slots,
								4096, 0, 1000000,
								PGC_POSTMASTER, 0,
								NULL, NULL, NULL);
	DefineCustomBoolVariable("workflow_interrupt.direct_access",
							 "Locks and updates rows of runs without SQL where the table allows it.",
							 NULL,
							 &wfi_direct_access,
							 true,
							 PGC_SUSET, GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("workflow_interrupt.workflow_cache_size",
							"Sets how much memory a session keeps histories of workflows in whose code it runs.",
							"Without it, histories are read anew for each workflow task.",
							&wfi_workflow_cache_size,
							16 * 1024, 0, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("workflow_interrupt");
}
