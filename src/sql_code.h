/*
 * sql_code.h
 *	  Workflows and activities written in SQL: what the registry, the workers
 *	  that run them, and the replay of workflow code have in common.
 */
#ifndef WFI_SQL_CODE_H
#define WFI_SQL_CODE_H

#include "workflow_interrupt.h"

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
} WfiFunction;

/* registry.c */
extern WfiFunction *wfi_function_find(char kind, const char *namespace,
									  const char *name,
									  const char *task_queue);

/* workflow_code.c */

/*
 * Run the code of a workflow task, in the current transaction and as the
 * current user, and reply to the task.  An error of the code never leaves
 * this function.
 */
extern void wfi_workflow_code_run(const WfiFunction *function,
								  const WfiPolledTask *task);

/* sql_failure.c: errors of SQL code as failures in the history */
extern Jsonb *wfi_error_failure(const ErrorData *error, const Jsonb *cause);

#endif							/* WFI_SQL_CODE_H */
