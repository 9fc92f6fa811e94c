/*
 * store_access.c
 *	  Ways to rows for direct access (store_direct.c): which tables are plain,
 *	  their indexes, and what an access works with.
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
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store_access.h"

typedef enum DirectTable
{
	EXECUTION,
	EVENT,
	ACTIVITY,
	TASK,
	WAKEUP,
	TABLES						/* how many there are */
} DirectTable;

/* What is known of a table, until its relcache entry is invalidated */
typedef struct TableState
{
	bool		known;
	bool		usable;
	Oid			oid;
} TableState;

static TableState tables[TABLES];

static const struct
{
	const char *name;
	int			columns;		/* the first ones that we know by number */
	int			not_null;		/* how many columns were made so */
}			table_defs[TABLES] = {
	[EXECUTION] = {"execution", WFI_RUN_COLUMNS, 29},
	[EVENT] = {"event", EVENT_NCOLUMNS, EVENT_NCOLUMNS},
	[ACTIVITY] = {"activity", WFI_RUN_COLUMNS + ACTIVITY_COLUMNS, 16},
	[TASK] = {"task", 14, 11},
	[WAKEUP] = {"wakeup", 3, 3},
};

#define MAX_KEY_COLUMNS 3

typedef struct KeyColumn
{
	Oid			type;
	RegProcedure equal;
	Oid			collation;
	StrategyNumber behind;		/* how a scan can begin at a value */
	RegProcedure behind_proc;
} KeyColumn;

#define INT4_KEY {INT4OID, F_INT4EQ}
#define UUID_KEY {UUIDOID, F_UUID_EQ}
#define TEXT_KEY {TEXTOID, F_TEXTEQ, C_COLLATION_OID}
#define INT8_KEY {INT8OID, F_INT8EQ, InvalidOid, \
	BTGreaterStrategyNumber, F_INT8GT}
#define TIME_KEY {TIMESTAMPTZOID, F_TIMESTAMPTZ_EQ, InvalidOid, \
	BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE}

static const struct
{
	const char *name;
	DirectTable table;
	int			columns;
	KeyColumn	key[MAX_KEY_COLUMNS];
}			index_defs[WFI_DIRECT_KEYS] = {

	[WFI_DIRECT_CURRENT] = {
		"execution_current_key", EXECUTION, 3, {INT4_KEY, TEXT_KEY, TEXT_KEY}
	},
	[WFI_DIRECT_RUN] = {
		"execution_pkey", EXECUTION, 2, {INT4_KEY, UUID_KEY}
	},
	[WFI_DIRECT_EVENT] = {
		"event_pkey", EVENT, 3, {INT4_KEY, UUID_KEY, INT8_KEY}
	},
	[WFI_DIRECT_ACTIVITY] = {
		"activity_pkey", ACTIVITY, 3, {INT4_KEY, UUID_KEY, INT8_KEY}
	},
	[WFI_DIRECT_TASK] = {
		"task_pkey", TASK, 3, {INT8_KEY, INT8_KEY, INT4_KEY}
	},
	[WFI_DIRECT_WAKEUP] = {
		"wakeup_pkey", WAKEUP, 3, {TIME_KEY, UUID_KEY, INT4_KEY}
	},
};

static Oid	index_oids[WFI_DIRECT_KEYS];

/* Something changed in a table: look again if it was ours. */
static void
relation_changed(Datum arg, Oid relid)
{
	for (int i = 0; i < TABLES; i++)
	{
		if (relid == InvalidOid || relid == tables[i].oid)
			tables[i].known = false;
	}
}

/*
 * Is there nothing about the table that only the executor would honor?  And
 * are its columns where they were made?  Others may follow.
 */
static bool
is_plain(Relation relation, DirectTable table)
{
	TupleDesc	desc = RelationGetDescr(relation);
	const TupleConstr *constraints = desc->constr;
	int			not_null = 0;

	for (int i = 0; i < table_defs[table].columns; i++)
	{
		if (i >= desc->natts || TupleDescAttr(desc, i)->attisdropped)
			return false;
	}
	for (int i = 0; i < desc->natts; i++)
		not_null += TupleDescAttr(desc, i)->attnotnull;
	return not_null == table_defs[table].not_null &&
		relation->rd_rel->relkind == RELKIND_RELATION &&
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

/* Find out about a table and its indexes. */
static void
look(DirectTable table)
{
	static bool registered = false;
	TableState *state = &tables[table];
	Oid			schema = wfi_store_schema();
	Relation	relation;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		registered = true;
	}
	state->usable = false;
	state->oid = get_relname_relid(table_defs[table].name, schema);
	state->known = true;
	relation = table_open(state->oid, AccessShareLock);
	if (is_plain(relation, table) && !OidIsValid(get_extension_oid("citus", true)))
	{
		state->usable = true;
		for (int i = 0; i < WFI_DIRECT_KEYS; i++)
		{
			if (index_defs[i].table != table)
				continue;
			index_oids[i] = get_relname_relid(index_defs[i].name, schema);
			state->usable &= OidIsValid(index_oids[i]) &&
				get_index_isvalid(index_oids[i]);
		}
	}
	table_close(relation, AccessShareLock);
}

/* Open and lock the table of a key; NULL when it must not be accessed directly. */
Relation
wfi_direct_open(WfiDirectKey key, LOCKMODE mode)
{
	DirectTable table = index_defs[key].table;
	TableState *state = &tables[table];
	Relation	relation;

	if (!wfi_direct_access)
		return NULL;
	if (!state->known)
		look(table);
	if (!state->usable)
		return NULL;
	relation = table_open(state->oid, mode);
	/* what was known before the lock may be out of date */
	if (!state->known)
		look(table);
	if (state->usable && state->oid == RelationGetRelid(relation))
		return relation;
	table_close(relation, mode);
	return NULL;
}

/* Another life of the extension has begun. */
void
wfi_direct_forget(void)
{
	for (int i = 0; i < TABLES; i++)
		tables[i].known = false;
}

/*
 * Set up scan keys for the first columns of an index: all equal, or the last
 * of them from that value on.
 */
static void
make_keys(WfiDirectKey key, const Datum *values, int columns, bool from,
		  ScanKeyData *keys)
{
	for (int i = 0; i < columns; i++)
	{
		const KeyColumn *column = &index_defs[key].key[i];
		bool		behind = from && i == columns - 1;

		ScanKeyEntryInitialize(&keys[i], 0, i + 1,
							   behind ? column->behind : BTEqualStrategyNumber,
							   column->type, column->collation,
							   behind ? column->behind_proc : column->equal,
							   values[i]);
	}
}

/* Begin an access by a key; false when it must not be a direct one. */
bool
wfi_access_begin(WfiAccess *access, WfiDirectKey key, LOCKMODE mode)
{
	access->relation = wfi_direct_open(key, mode);
	if (access->relation == NULL)
		return false;
	access->slot = table_slot_create(access->relation, NULL);
	CommandCounterIncrement();
	access->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	return true;
}

void
wfi_access_end(WfiAccess *access)
{
	UnregisterSnapshot(access->snapshot);
	ExecDropSingleTupleTableSlot(access->slot);
	table_close(access->relation, NoLock);
}

/*
 * Has the table that block?  With our lock on it, it does not get shorter, so
 * what was known last will do if it says so.
 */
static bool
has_block(Relation relation, BlockNumber block)
{
	BlockNumber known = RelationGetSmgr(relation)->smgr_cached_nblocks[MAIN_FORKNUM];

	return (known != InvalidBlockNumber && block < known) ||
		block < RelationGetNumberOfBlocks(relation);
}

/*
 * Is there, at a position where an index entry may point to, the row under a
 * key, whose columns are the table's first ones, for the snapshot to see?
 * Whatever else may be at that position, or may have been, does no harm.
 */
static bool
fetch_row(WfiAccess *access, const ItemPointerData *position, ScanKey keys,
		  int n)
{
	TupleTableSlot *slot = access->slot;
	ItemPointerData tid = *position;
	IndexFetchTableData *fetch;
	bool		call_again = false;
	bool		found;

	if (!has_block(access->relation, ItemPointerGetBlockNumber(&tid)))
		return false;
	fetch = table_index_fetch_begin(access->relation);
	found = table_index_fetch_tuple(fetch, &tid, access->snapshot, slot,
									&call_again, NULL);
	table_index_fetch_end(fetch);
	if (!found)
		return false;
	slot_getsomeattrs(slot, n);
	for (int i = 0; i < n; i++)
	{
		if (!DatumGetBool(FunctionCall2Coll(&keys[i].sk_func,
											keys[i].sk_collation,
											slot->tts_values[i],
											keys[i].sk_argument)))
			return false;
	}
	return true;
}

/* Begin a scan of the index of a key, for so many of its columns. */
static IndexScanDesc
open_scan(const WfiAccess *access, WfiDirectKey key, int columns)
{
	return wfi_index_beginscan(access->relation,
							   index_open(index_oids[key], AccessShareLock),
							   access->snapshot, columns);
}

void
wfi_access_end_scan(IndexScanDesc scan)
{
	Relation	index = scan->indexRelation;

	index_endscan(scan);
	index_close(index, NoLock);
}

/*
 * Begin to read rows along the index of a key: those with the given values in
 * its first columns but the last of them, and behind (for a time: not before)
 * that.
 */
IndexScanDesc
wfi_access_scan(const WfiAccess *access, WfiDirectKey key, const Datum *values,
				int columns)
{
	ScanKeyData keys[MAX_KEY_COLUMNS];
	IndexScanDesc scan = open_scan(access, key, columns);

	make_keys(key, values, columns, true, keys);
	index_rescan(scan, keys, columns, NULL, 0);
	return scan;
}

/* The row that a scan finds; the index entry says where it is. */
static bool
scan_for_row(WfiAccess *access, IndexScanDesc scan)
{
	ItemPointer tid;

	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		access->position = *tid;
		if (index_fetch_heap(scan, access->slot))
			return true;
	}
	return false;
}

/*
 * Find the row that the snapshot shows under a key; at once, if there is a
 * valid position and the row is still there.  access->position says where it
 * was found.
 */
bool
wfi_access_find(WfiAccess *access, WfiDirectKey key, const Datum *values,
				const ItemPointerData *position)
{
	ScanKeyData keys[MAX_KEY_COLUMNS];
	int			n = index_defs[key].columns;
	IndexScanDesc scan;
	bool		found;

	make_keys(key, values, n, false, keys);
	if (ItemPointerIsValid(position) && fetch_row(access, position, keys, n))
	{
		access->position = *position;
		return true;
	}
	scan = open_scan(access, key, n);
	index_rescan(scan, keys, n, NULL, 0);
	found = scan_for_row(access, scan);
	wfi_access_end_scan(scan);
	return found;
}
