/*
 * store_access.h
 *	  Ways to rows of plain tables, for direct access to them.
 *
 * Only store_access.c and store_direct.c include this.
 */
#ifndef WFI_STORE_ACCESS_H
#define WFI_STORE_ACCESS_H

#include "access/genam.h"

#include "store.h"

/* What one access works with, which sees all that was done before it */
typedef struct WfiAccess
{
	Relation	relation;
	Snapshot	snapshot;
	TupleTableSlot *slot;		/* the row */
	ItemPointerData position;	/* where its index entry points to */
} WfiAccess;

extern Relation wfi_direct_open(WfiDirectKey key, LOCKMODE mode);
extern bool wfi_access_begin(WfiAccess *access, WfiDirectKey key,
							 LOCKMODE mode);
extern void wfi_access_end(WfiAccess *access);
extern bool wfi_access_find(WfiAccess *access, WfiDirectKey key,
							const Datum *values,
							const ItemPointerData *position);
extern IndexScanDesc wfi_access_scan(const WfiAccess *access, WfiDirectKey key,
									 const Datum *values, int columns);
extern void wfi_access_end_scan(IndexScanDesc scan);

#endif							/* WFI_STORE_ACCESS_H */
