/*
 * store_direct.c
 *	  Direct access to rows of wf.execution, beside SQL.
 *
 * Every operation locks one row of this table and updates it.  As statements
 * these two cost more than all else together, most of it the executor's
 * start-up.  So, where the table is a plain one, they go through the table
 * and index access methods instead, step by step as the executor would do
 * it: LockRows with EvalPlanQual for the lock, ModifyTable for the update.
 * Where anything is special about the table (triggers, policies, another
 * access method, distribution over nodes), and with the setting
 * workflow_interrupt.direct_access off, the statements in statements.c are
 * used; both do the same.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store.h"

/* What is known of the table, until its relcache entry is invalidated */
static bool known = false;
static bool usable;
static Oid	table_oid;
static Oid	index_oids[WFI_DIRECT_KEYS];

static const char *const index_names[WFI_DIRECT_KEYS] = {
	[WFI_DIRECT_CURRENT] = "execution_current_key",
	[WFI_DIRECT_RUN] = "execution_pkey",
};

/* Something changed in a table: look again if it was ours. */
static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == table_oid)
		known = false;
}

/* Is there nothing about the table that only the executor would honor? */
static bool
is_plain(Relation relation)
{
	const TupleConstr *constraints = RelationGetDescr(relation)->constr;

	return relation->rd_rel->relkind == RELKIND_RELATION &&
		relation->rd_tableam == GetHeapamTableAmRoutine() &&
		!relation->rd_rel->relispartition &&
		!relation->rd_rel->relhassubclass &&
		!relation->rd_rel->relhasrules &&
		!relation->rd_rel->relrowsecurity &&
		relation->trigdesc == NULL &&
		(constraints == NULL ||
		 (constraints->num_check == 0 &&
		  !constraints->has_generated_stored));
}

/* Find out about the table and its indexes. */
static void
look(Oid schema)
{
	static bool registered = false;
	Relation	relation;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		registered = true;
	}
	usable = false;
	table_oid = get_relname_relid("execution", schema);
	known = true;
	relation = table_open(table_oid, AccessShareLock);
	if (is_plain(relation) && !OidIsValid(get_extension_oid("citus", true)))
	{
		usable = true;
		for (int i = 0; i < WFI_DIRECT_KEYS; i++)
		{
			index_oids[i] = get_relname_relid(index_names[i], schema);
			if (!OidIsValid(index_oids[i]) ||
				!get_index_isvalid(index_oids[i]))
				usable = false;
		}
	}
	table_close(relation, AccessShareLock);
}

/* May rows of wf.execution be accessed directly? */
bool
wfi_direct_usable(Oid schema)
{
	if (!wfi_direct_access)
		return false;
	if (!known)
		look(schema);
	return usable;
}

/* Another life of the extension has begun. */
void
wfi_direct_forget(void)
{
	known = false;
}

/* Set up scan keys; the columns are those of the index. */
static int
make_keys(WfiDirectKey key, const Datum *values, ScanKeyData *keys)
{
	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, INT4OID,
						   InvalidOid, F_INT4EQ, values[0]);
	if (key == WFI_DIRECT_RUN)
	{
		ScanKeyEntryInitialize(&keys[1], 0, 2, BTEqualStrategyNumber, UUIDOID,
							   InvalidOid, F_UUID_EQ, values[1]);
		return 2;
	}
	ScanKeyEntryInitialize(&keys[1], 0, 2, BTEqualStrategyNumber, TEXTOID,
						   C_COLLATION_OID, F_TEXTEQ, values[1]);
	ScanKeyEntryInitialize(&keys[2], 0, 3, BTEqualStrategyNumber, TEXTOID,
						   C_COLLATION_OID, F_TEXTEQ, values[2]);
	return 3;
}

/* Find the row that the snapshot shows under a key. */
static bool
find_row(Relation relation, WfiDirectKey key, const Datum *values,
		 Snapshot snapshot, TupleTableSlot *slot)
{
	Relation	index = index_open(index_oids[key], AccessShareLock);
	ScanKeyData keys[3];
	int			n = make_keys(key, values, keys);
	IndexScanDesc scan = wfi_index_beginscan(relation, index, snapshot, n);
	bool		found;

	index_rescan(scan, keys, n, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	index_endscan(scan);
	index_close(index, AccessShareLock);
	return found;
}

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
lock_row(Relation relation, Snapshot snapshot, bool skip_locked,
		 TupleTableSlot *slot, bool *traversed)
{
	ItemPointerData position = slot->tts_tid;
	uint8		flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
	TM_FailureData failure = {0};
	TM_Result	result;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	result = table_tuple_lock(relation, &position, snapshot, slot,
							  GetCurrentCommandId(false),
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
 * SELECT ... FOR NO KEY UPDATE of a run's row: the current run of a workflow
 * id, or a run by its id.  What the callback makes of the row, or NULL when
 * there is none (or, with skip_locked, it is locked).
 */
WfiRun *
wfi_direct_lock(WfiDirectKey key, const Datum *values, bool skip_locked,
				WfiReadRow read_row)
{
	Relation	relation = table_open(table_oid, RowShareLock);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	Snapshot	snapshot;
	WfiRun	   *run = NULL;
	bool		traversed;

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	if (find_row(relation, key, values, snapshot, slot) &&
		lock_row(relation, snapshot, skip_locked, slot, &traversed))
	{
		slot_getallattrs(slot);
		run = read_row(RelationGetDescr(relation), slot->tts_values,
					   slot->tts_isnull);
		run->position = slot->tts_tid;
		/* the new version need not be what we looked for */
		if (traversed && key == WFI_DIRECT_CURRENT && !run->is_current)
			run = NULL;
	}
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, NoLock);
	return run;
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
 * UPDATE of columns of a row that this transaction has locked; values in the
 * order of the table's columns, those that replace says are taken.
 */
void
wfi_direct_update(ItemPointerData position, Datum *values, bool *nulls,
				  bool *replace)
{
	Relation	relation = table_open(table_oid, RowExclusiveLock);
	TupleDesc	desc = RelationGetDescr(relation);
	TupleTableSlot *old_slot = table_slot_create(relation, NULL);
	TupleTableSlot *new_slot = MakeSingleTupleTableSlot(desc,
														&TTSOpsHeapTuple);
	TM_FailureData failure;
	LockTupleMode mode;
	WfiUpdateIndexes indexes;
	TM_Result	result;
	bool		should_free;
	HeapTuple	old_tuple;
	Snapshot	snapshot;

	CheckCmdReplicaIdentity(relation, CMD_UPDATE);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	if (!table_tuple_fetch_row_version(relation, &position, SnapshotAny,
									   old_slot))
		elog(ERROR, "locked row has vanished");
	old_tuple = ExecFetchSlotHeapTuple(old_slot, false, &should_free);
	ExecStoreHeapTuple(heap_modify_tuple(old_tuple, desc, values, nulls,
										 replace),
					   new_slot, true);
	new_slot->tts_tableOid = table_oid;
	result = table_tuple_update(relation, &position, new_slot,
								GetCurrentCommandId(true), snapshot,
								InvalidSnapshot, true, &failure, &mode,
								&indexes);
	if (result != TM_Ok)
		elog(ERROR, "unexpected result of updating a locked row: %d", result);
	if (wfi_update_needs_indexes(indexes))
		insert_index_entries(relation, new_slot,
							 wfi_update_only_summarizing(indexes));
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(old_slot);
	ExecDropSingleTupleTableSlot(new_slot);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}
