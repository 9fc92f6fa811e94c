/*
 * subtransaction.c
 *	  Subtransactions around what may fail without failing the transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "workflow_interrupt.h"

/* Begin one; the memory context stays. */
void
wfi_subtransaction_begin(WfiSubtransaction *outer)
{
	outer->context = CurrentMemoryContext;
	outer->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(outer->context);
}

/*
 * End it, with all that it did kept or undone, and go on as before.  After an
 * error the caller has copied that and flushed the error state.
 */
void
wfi_subtransaction_end(const WfiSubtransaction *outer, bool keep)
{
	if (keep)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(outer->context);
	CurrentResourceOwner = outer->owner;
}
