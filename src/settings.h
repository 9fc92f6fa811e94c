/*
 * settings.h
 *	  The settings that README describes, but for those of processes.
 */
#ifndef WFI_SETTINGS_H
#define WFI_SETTINGS_H

extern char *wfi_setting_namespace;
extern int	wfi_history_count_limit;
extern int	wfi_history_count_suggest;
extern int	wfi_history_count_warning;
extern int	wfi_history_size_limit;
extern int	wfi_history_size_suggest;
extern int	wfi_history_size_warning;
extern int	wfi_state_size_limit;
extern int	wfi_transaction_size_limit;
extern int	wfi_payload_size_limit;
extern int	wfi_memo_size_limit;
extern int	wfi_max_buffered_events;
extern int	wfi_max_buffered_size;
extern int	wfi_max_signals;
extern int	wfi_max_pending_activities;
extern int	wfi_failure_size_limit;
extern int	wfi_max_id_length;
extern int	wfi_task_timeout;
extern int	wfi_task_retry_max_interval;
extern int	wfi_task_heartbeat_timeout;
extern bool wfi_direct_access;
extern int	wfi_workflow_cache_size;
extern void wfi_settings_init(void);

#endif							/* WFI_SETTINGS_H */
