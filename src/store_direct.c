/*
 * store_direct.c
 *	  Direct access to rows of some tables, beside SQL.
 *
 * Every operation locks one row of wf.execution, updates it, and appends to
 * wf.event; every poll takes rows of wf.task, and whatever is done about an
 * activity changes a row of wf.activity.  As statements these cost more than
 * all else together, most of it the executor's start-up.  So, where a table is
 * a plain one, they go through the table and index access methods instead,
 * step by step as the executor would do it: LockRows with EvalPlanQual for the
 * lock, ModifyTable for the rest.  Where anything is special about the table
 * (triggers, policies, another access method, distribution over nodes), and
 * with the setting workflow_interrupt.direct_access off, the statements in
 * statements.c are used; both do the same.  The functions here that may find a
 * table special return false then, and nothing is done.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store_access.h"

static void
error_serialize(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update")));
}

/*
 * Lock the row in the slot, which then holds its latest version.  False when
 * it is gone, or when somebody else has it and skip_locked is given.
 * *traversed says that it was changed since the snapshot was taken.
 */
static bool
lock_row(WfiAccess *access, bool skip_locked, bool *traversed)
{
	ItemPointerData position = access->slot->tts_tid;
	uint8		flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
	TM_FailureData failure = {0};
	TM_Result	result;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	result = table_tuple_lock(access->relation, &position, access->snapshot,
							  access->slot, GetCurrentCommandId(false),
							  LockTupleNoKeyExclusive,
							  skip_locked ? LockWaitSkip : LockWaitBlock,
							  flags, &failure);
	*traversed = failure.traversed;
	switch (result)
	{
		case TM_Ok:
			return true;
		case TM_WouldBlock:
		case TM_SelfModified:
			return false;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				error_serialize();
			return false;
		default:
			elog(ERROR, "unexpected result of locking a row: %d", result);
	}
	return false;				/* keep compiler quiet */
}

/*
 * The transaction that changed or locked the row in the slot, as far as one
 * look at it can tell; invalid when nobody did.  *only_locked says which.
 */
static TransactionId
xmax_of_row(TupleTableSlot *slot, bool *only_locked)
{
	HeapTupleHeader header = ((HeapTupleTableSlot *) slot)->tuple->t_data;
	Buffer		buffer = ((BufferHeapTupleTableSlot *) slot)->buffer;
	uint16		infomask;
	TransactionId xmax;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	infomask = header->t_infomask;
	xmax = HeapTupleHeaderGetRawXmax(header);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	*only_locked = HEAP_XMAX_IS_LOCKED_ONLY(infomask);
	if ((infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) != 0 ||
		HEAP_XMAX_IS_KEYSHR_LOCKED(infomask) ||
		!TransactionIdIsNormal(xmax))
		return InvalidTransactionId;
	return xmax;
}

/*
 * The running transaction of somebody else that has changed or locked the row
 * in the slot, so that we cannot; invalid when there is none, or when only an
 * attempt can tell.  It holds the row until it ends.
 */
static TransactionId
holder_of_row(TupleTableSlot *slot)
{
	bool		only_locked;
	TransactionId xmax = xmax_of_row(slot, &only_locked);

	if (!TransactionIdIsValid(xmax) ||
		TransactionIdIsCurrentTransactionId(xmax) ||
		!TransactionIdIsInProgress(xmax))
		return InvalidTransactionId;
	return xmax;
}

/*
 * SELECT ... FOR NO KEY UPDATE of a run's row: the current run of a workflow
 * id, or a run by its id; at says where it may be, see wfi_access_find().  *run
 * is what the callback makes of the row, or NULL when there is none (or, with
 * skip_locked, it is locked); *found says whether there was one to lock.  With
 * skip_locked, *holder is the transaction that has it, if that is known.
 */
bool
wfi_direct_lock(WfiDirectKey key, const Datum *values,
				const ItemPointerData *at, bool skip_locked,
				WfiReadRow read_row, WfiRun **run, bool *found,
				TransactionId *holder)
{
	WfiAccess	access;
	TupleTableSlot *slot;
	bool		traversed;

	if (!wfi_access_begin(&access, WFI_DIRECT_RUN, RowShareLock))
		return false;
	slot = access.slot;
	*run = NULL;
	*found = wfi_access_find(&access, key, values, at);
	if (skip_locked)
		*holder = *found ? holder_of_row(slot) : InvalidTransactionId;
	if (*found && !(skip_locked && TransactionIdIsValid(*holder)) &&
		lock_row(&access, skip_locked, &traversed))
	{
		slot_getallattrs(slot);
		*run = read_row(slot->tts_tupleDescriptor, slot->tts_values,
						slot->tts_isnull);
		(*run)->position = slot->tts_tid;
		(*run)->entry = access.position;
		/* the new version need not be what we looked for */
		if (traversed && key == WFI_DIRECT_CURRENT && !(*run)->is_current)
			*run = NULL;
	}
	wfi_access_end(&access);
	return true;
}

/*
 * SELECT of the row under a key of a table about runs; *row is what the
 * callback makes of its columns behind WFI_RUN_COLUMNS, in the current memory
 * context, or NULL when there is none.  *position may say where it is, and does
 * then.
 */
bool
wfi_direct_read(WfiDirectKey key, const Datum *values, WfiReadColumns read,
				void **row, ItemPointer position)
{
	WfiAccess	access;

	if (!wfi_access_begin(&access, key, AccessShareLock))
		return false;
	*row = NULL;
	if (wfi_access_find(&access, key, values, position))
	{
		*position = access.position;
		slot_getallattrs(access.slot);
		*row = read(access.slot->tts_values + WFI_RUN_COLUMNS,
					access.slot->tts_isnull + WFI_RUN_COLUMNS);
	}
	wfi_access_end(&access);
	return true;
}

/* Enter a new version into the indexes, when it is not a HOT one. */
static void
insert_index_entries(Relation relation, TupleTableSlot *slot,
					 bool only_summarizing)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);

	/* there is no range table: 0 says so */
	InitResultRelInfo(result, relation, 0, NULL, 0);
	ExecOpenIndices(result, false);
	wfi_insert_index_tuples(result, slot, estate, only_summarizing);
	ExecCloseIndices(result);
	FreeExecutorState(estate);
}

/*
 * Put a tuple in the place of the row in the slot.  False when somebody else
 * has changed it, which we may have had to wait for.
 */
static bool
replace_row(WfiAccess *access, HeapTuple tuple)
{
	Relation	relation = access->relation;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(relation),
													&TTSOpsHeapTuple);
	TM_FailureData failure;
	LockTupleMode mode;
	WfiUpdateIndexes indexes;
	bool		replaced;

	ExecStoreHeapTuple(tuple, slot, true);
	slot->tts_tableOid = RelationGetRelid(relation);
	replaced = table_tuple_update(relation, &access->slot->tts_tid, slot,
								  GetCurrentCommandId(true), access->snapshot,
								  InvalidSnapshot, true, &failure, &mode,
								  &indexes) == TM_Ok;
	if (replaced && wfi_update_needs_indexes(indexes))
		insert_index_entries(relation, slot,
							 wfi_update_only_summarizing(indexes));
	ExecDropSingleTupleTableSlot(slot);
	return replaced;
}

/*
 * UPDATE of columns of a run's row that this transaction has locked; values in
 * the order of the table's columns, those that replace says are taken.
 */
bool
wfi_direct_update(ItemPointerData position, Datum *values, bool *nulls,
				  bool *replace)
{
	WfiAccess	access;
	bool		should_free;
	HeapTuple	old_tuple;

	if (!wfi_access_begin(&access, WFI_DIRECT_RUN, RowExclusiveLock))
		return false;
	CheckCmdReplicaIdentity(access.relation, CMD_UPDATE);
	if (!table_tuple_fetch_row_version(access.relation, &position,
									   SnapshotAny, access.slot))
		elog(ERROR, "locked row has vanished");
	old_tuple = ExecFetchSlotHeapTuple(access.slot, false, &should_free);
	if (!replace_row(&access,
					 heap_modify_tuple(old_tuple,
									   RelationGetDescr(access.relation),
									   values, nulls, replace)))
		elog(ERROR, "somebody has changed a locked row");
	wfi_access_end(&access);
	CommandCounterIncrement();
	return true;
}

/*
 * UPDATE of the row under a key of a table about runs: the callback changes
 * the columns behind WFI_RUN_COLUMNS of its latest version.  For the position
 * see wfi_access_find().  *found says whether there was one.
 */
bool
wfi_direct_change(WfiDirectKey key, const Datum *values,
				  const ItemPointerData *position, WfiChangeColumns change,
				  const void *arg, bool *found)
{
	WfiAccess	access;
	TupleTableSlot *slot;
	bool		ignored;

	if (!wfi_access_begin(&access, key, RowExclusiveLock))
		return false;
	CheckCmdReplicaIdentity(access.relation, CMD_UPDATE);
	slot = access.slot;
	*found = wfi_access_find(&access, key, values, position);
	while (*found)
	{
		slot_getallattrs(slot);
		change(slot->tts_values + WFI_RUN_COLUMNS,
			   slot->tts_isnull + WFI_RUN_COLUMNS, arg);
		if (replace_row(&access, heap_form_tuple(slot->tts_tupleDescriptor,
												 slot->tts_values,
												 slot->tts_isnull)))
			break;
		*found = lock_row(&access, false, &ignored);
	}
	wfi_access_end(&access);
	CommandCounterIncrement();
	return true;
}

/*
 * DELETE of a row by its key; for the position see wfi_access_find().  *deleted is
 * false when it is gone, or when somebody else is at it and skip_locked is
 * given: it never waits then.
 */
bool
wfi_direct_delete(WfiDirectKey key, const Datum *values,
				  const ItemPointerData *position, bool skip_locked,
				  bool *deleted)
{
	WfiAccess	access;
	TM_FailureData failure;
	bool		ignored;

	if (!wfi_access_begin(&access, key, RowExclusiveLock))
		return false;
	CheckCmdReplicaIdentity(access.relation, CMD_DELETE);
	*deleted = wfi_access_find(&access, key, values, position);
	while (*deleted &&
		   table_tuple_delete(access.relation, &access.slot->tts_tid,
							  GetCurrentCommandId(true), access.snapshot,
							  InvalidSnapshot, !skip_locked, &failure,
							  false) != TM_Ok)
		*deleted = !skip_locked && lock_row(&access, false, &ignored);
	wfi_access_end(&access);
	CommandCounterIncrement();
	return true;
}

/* A walk along an index of a queue */
struct WfiDirectScan
{
	WfiAccess	access;
	IndexScanDesc scan;
};

/* Begin to read rows, see wfi_access_scan(); NULL when statements have to be used. */
WfiDirectScan *
wfi_direct_scan_begin(WfiDirectKey key, const Datum *values, int columns)
{
	WfiAccess	access;
	WfiDirectScan *scan;

	if (!wfi_access_begin(&access, key, AccessShareLock))
		return NULL;
	scan = palloc(sizeof(WfiDirectScan));
	scan->access = access;
	scan->scan = wfi_access_scan(&access, key, values, columns);
	return scan;
}

/* The next row's columns, or NULL at the end. */
const Datum *
wfi_direct_scan_next(WfiDirectScan *scan)
{
	TupleTableSlot *slot = scan->access.slot;

	if (!index_getnext_slot(scan->scan, ForwardScanDirection, slot))
		return NULL;
	slot_getallattrs(slot);
	return slot->tts_values;
}

/* The tid in a column of the row that was read last, invalid for NULL. */
ItemPointerData
wfi_direct_scan_tid(const WfiDirectScan *scan, int column)
{
	const TupleTableSlot *slot = scan->access.slot;
	ItemPointerData tid;

	if (!slot->tts_isnull[column])
		return *(ItemPointer) DatumGetPointer(slot->tts_values[column]);
	ItemPointerSetInvalid(&tid);
	return tid;
}

/* Where the row is that was read last. */
ItemPointerData
wfi_direct_scan_position(const WfiDirectScan *scan)
{
	return scan->access.slot->tts_tid;
}

/* Does somebody else hold the row that was read last? */
bool
wfi_direct_scan_held(const WfiDirectScan *scan)
{
	return TransactionIdIsValid(holder_of_row(scan->access.slot));
}

/*
 * What has become of the row that was read last, as far as others deleted it?
 * Where the transaction has one snapshot, what that shows is there: to take it
 * is an error then, as in SQL.
 */
WfiDirectFate
wfi_direct_scan_fate(const WfiDirectScan *scan)
{
	bool		only_locked;
	TransactionId xmax = xmax_of_row(scan->access.slot, &only_locked);

	if (!TransactionIdIsValid(xmax) || only_locked)
		return WFI_ROW_THERE;
	if (TransactionIdIsInProgress(xmax))
		return WFI_ROW_LEAVING;
	if (!IsolationUsesXactSnapshot() && TransactionIdDidCommit(xmax))
		return WFI_ROW_GONE;
	return WFI_ROW_THERE;
}

void
wfi_direct_scan_end(WfiDirectScan *scan)
{
	wfi_access_end_scan(scan->scan);
	wfi_access_end(&scan->access);
	pfree(scan);
}

/* How many rows are inserted together */
#define INSERT_BATCH 64

struct WfiDirectInsert
{
	Relation	relation;
	EState	   *estate;
	ResultRelInfo *result;
	MemoryContext context;		/* of one batch */
	int			n;
	TupleTableSlot *slots[INSERT_BATCH];	/* made as they are needed */
	ItemPointer positions[INSERT_BATCH];	/* who wants to know, or NULL */
};

/*
 * Begin to insert many rows of so many columns into the table of a key.  NULL
 * when a statement has to be used.
 */
WfiDirectInsert *
wfi_direct_insert_begin(WfiDirectKey key, int columns)
{
	Relation	relation = wfi_direct_open(key, RowExclusiveLock);
	WfiDirectInsert *insert;

	if (relation == NULL)
		return NULL;
	if (RelationGetNumberOfAttributes(relation) != columns)
	{
		/* somebody has added some */
		table_close(relation, NoLock);
		return NULL;
	}
	insert = palloc0(sizeof(WfiDirectInsert));
	insert->relation = relation;
	insert->estate = CreateExecutorState();
	insert->result = makeNode(ResultRelInfo);
	/* there is no range table: 0 says so */
	InitResultRelInfo(insert->result, relation, 0, NULL, 0);
	ExecOpenIndices(insert->result, false);
	insert->context = AllocSetContextCreate(CurrentMemoryContext, "insert",
											ALLOCSET_DEFAULT_SIZES);
	return insert;
}

/* Put the rows at hand into the table and its indexes. */
static void
insert_batch(WfiDirectInsert *insert)
{
	MemoryContext old = MemoryContextSwitchTo(insert->context);

	CHECK_FOR_INTERRUPTS();
	table_multi_insert(insert->relation, insert->slots, insert->n,
					   GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < insert->n; i++)
	{
		(void) wfi_insert_new_index_tuples(insert->result, insert->slots[i],
										   insert->estate);
		if (insert->positions[i] != NULL)
			*insert->positions[i] = insert->slots[i]->tts_tid;
		ExecClearTuple(insert->slots[i]);
	}
	ResetPerTupleExprContext(insert->estate);
	insert->n = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(insert->context);
}

/*
 * Insert a row; without nulls none of its columns is null.  *position says
 * where it is, when all are inserted, if that is not NULL.
 */
void
wfi_direct_insert(WfiDirectInsert *insert, const Datum *values,
				  const bool *nulls, ItemPointer position)
{
	int			natts = RelationGetNumberOfAttributes(insert->relation);
	TupleTableSlot *slot = insert->slots[insert->n];

	if (slot == NULL)
		slot = insert->slots[insert->n] = table_slot_create(insert->relation, NULL);
	insert->positions[insert->n] = position;
	memcpy(slot->tts_values, values, natts * sizeof(Datum));
	if (nulls)
		memcpy(slot->tts_isnull, nulls, natts * sizeof(bool));
	else
		memset(slot->tts_isnull, 0, natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
	if (++insert->n == INSERT_BATCH)
		insert_batch(insert);
}

/* That were all rows. */
void
wfi_direct_insert_end(WfiDirectInsert *insert)
{
	if (insert->n > 0)
		insert_batch(insert);
	for (int i = 0; i < INSERT_BATCH && insert->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(insert->slots[i]);
	ExecCloseIndices(insert->result);
	FreeExecutorState(insert->estate);
	table_close(insert->relation, NoLock);
	MemoryContextDelete(insert->context);
	pfree(insert);
	CommandCounterIncrement();
}
