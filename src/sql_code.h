/*
 * sql_code.h
 *	  Workflows and activities written in SQL: what the registry, the workers
 *	  that run them, and the replay of workflow code have in common.
 */
#ifndef WFI_SQL_CODE_H
#define WFI_SQL_CODE_H

#include "eager.h"

/* A registered function: what is run for a type of workflow or activity */
typedef struct WfiFunction
{
	char		kind;			/* WFI_TASK_WORKFLOW or WFI_TASK_ACTIVITY */
	char	   *namespace;
	char	   *name;			/* the type */
	char	   *task_queue;
	Oid			function;		/* InvalidOid when it is gone */
	Oid			role;			/* who registered it */
	Jsonb	   *options;
	char	   *function_schema;
	char	   *function_name;
	Oid			owner;			/* of the function when it was registered */
} WfiFunction;

/* registry.c */
extern WfiFunction *wfi_function_find(char kind, const char *namespace,
									  const char *name,
									  const char *task_queue);
extern List *wfi_functions_of(Oid role);
extern void wfi_function_resolve(WfiFunction *function);
extern char *wfi_function_signature(const WfiFunction *function);
extern void wfi_function_check(const WfiFunction *function);

/*
 * Call a registered function, as the current user; an error when it is gone
 * or the user may not run it.
 */
extern Jsonb *wfi_function_call(const WfiFunction *function,
								const Jsonb *input);

/* store_function.c */
extern bool wfi_store_register(const WfiFunction *function, bool any_role);
extern void wfi_store_unregister(const WfiFunction *function);
extern WfiFunction *wfi_store_find_function(char kind, const char *namespace,
											const char *name,
											const char *task_queue,
											bool lock);
extern List *wfi_store_functions(Oid role);

/* workflow_code.c */

/*
 * Run the code of a workflow task, in the current transaction and as the
 * current user, and reply to the task.  An error of the code never leaves
 * this function.
 */
extern void wfi_workflow_code_run(const WfiFunction *function,
								  const WfiPolledTask *task, WfiEager *eager);

/* After an error outside of the code: reply that the task failed. */
extern void wfi_workflow_code_failed(const WfiPolledTask *task,
									 ErrorData *error);

/* sql_activity.c */

/* Where a call says whether its activity is interruptible: in the header */
#define WFI_HEADER_INTERRUPTIBLE "interruptible"

extern void wfi_activity_run_within(const WfiFunction *function,
									const WfiPolledTask *task);
extern void *wfi_activity_enter(const WfiPolledTask *task,
								const char *local_type);
extern void wfi_activity_leave(void *outer);

/* driver.c: the current transaction's commit need not wait for its WAL */
extern void wfi_commit_asynchronously(void);

/* sql_failure.c: errors of SQL code as failures in the history */
extern Jsonb *wfi_error_failure(const ErrorData *error, const Jsonb *cause);

#endif							/* WFI_SQL_CODE_H */
