/*
 * reset.h
 *	  What a reset is made of: shared by the act, the plan before it, and the
 *	  list of points.
 */
#ifndef WFI_RESET_H
#define WFI_RESET_H

#include "utils/hsearch.h"

#include "workflow_interrupt.h"

/* Kinds of events that are not to be re-applied, as a set of bits */
typedef enum WfiReapplyExclude
{
	WFI_EXCLUDE_SIGNAL = 1,
	WFI_EXCLUDE_UPDATE = 2,
	WFI_EXCLUDE_NEXUS = 4,
	WFI_EXCLUDE_CANCEL_REQUEST = 8, /* never are: it says what holds anyway */
	WFI_EXCLUDE_ALL = 15
} WfiReapplyExclude;

typedef struct WfiReset
{
	/* what was asked for */
	char	   *namespace;
	char	   *workflow_id;
	pg_uuid_t  *run_id;			/* NULL: the current run */
	int64		event_id;		/* events before it are kept */
	int			exclude;		/* WfiReapplyExclude */
	List	   *signals;		/* WfiResetSignal, to be delivered at the end */
	char	   *identity;		/* who asks */

	/* what was found */
	WfiRun	   *base;
	WfiRun	   *current;		/* may be base, or NULL when it was deleted */
	WfiRun	   *run;			/* the new one */
} WfiReset;

typedef struct WfiResetSignal
{
	char	   *signal_name;
	Jsonb	   *input;
	char	   *request_id;		/* NULL for none */
} WfiResetSignal;

/* What a reset does to an event behind its point */
typedef enum WfiReapply
{
	WFI_REAPPLY_NOT,			/* left behind; or the code does it again */
	WFI_REAPPLY,
	WFI_REAPPLY_EXCLUDED		/* left behind because that was asked for */
} WfiReapply;

/* reset.c */
extern int64 wfi_reset_arg_point(FunctionCallInfo fcinfo, int n);
extern void wfi_reset_args(FunctionCallInfo fcinfo, int exclude, int signals,
						   WfiReset *reset);
extern void wfi_reset_read_runs(WfiReset *reset);
extern void wfi_reset_check(const WfiReset *reset);
extern void wfi_reset_rebuild(WfiReset *reset, const pg_uuid_t *new_run_id);

/* reapply.c */
typedef void (*WfiReapplyCallback) (const pg_uuid_t *run_id, WfiEvent *event,
									WfiReapply verdict, void *arg);
extern void wfi_reapply_walk(const WfiReset *reset,
							 WfiReapplyCallback callback, void *arg);
extern HTAB *wfi_reapply_seen(const WfiRun *run);
extern bool wfi_reapply_known(HTAB *seen, const WfiResetSignal *signal);
extern void wfi_reapply(WfiReset *reset);

/* reset_points.c */
extern bool wfi_reset_legal(const WfiRun *run);
extern void wfi_reset_neighbours(const WfiRun *base, int64 event_id,
								 int64 *before, int64 *after);

#endif							/* WFI_RESET_H */
