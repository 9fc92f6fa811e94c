/*
 * eager.h
 *	  Tasks that are started without a queue, see eager.c.
 */
#ifndef WFI_EAGER_H
#define WFI_EAGER_H

#include "workflow_interrupt.h"

/* A worker that takes one task that follows from its reply at once */
typedef struct WfiEager
{
	const char *identity;		/* the worker's */
	MemoryContext context;		/* of the task, and of the reply, with it */
	bool		(*wants) (char kind, const char *namespace,
						  const char *task_queue, const char *type);
	WfiReceiveTask receive;		/* it is started, in the reply's transaction;
								 * NULL: it is not, after all */
	void	   *arg;
} WfiEager;

extern void wfi_eager_take(WfiRun *run);

/* poll.c, activity_api.c: what a worker has to know of a task that is started */
extern void wfi_run_polled(WfiRun *run, char kind, const char *identity,
						   WfiPolledTask *polled);
extern void wfi_task_polled(WfiRun *run, const char *identity,
							WfiPolledTask *polled);
extern void wfi_activity_polled(WfiRun *run, const WfiActivity *activity,
								const WfiEvent *event, const char *identity,
								WfiPolledTask *polled);

#endif							/* WFI_EAGER_H */
