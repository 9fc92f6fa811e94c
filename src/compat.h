/*
 * compat.h
 *	  Differences between the server versions we build for, 15 to 18.
 *
 * Every test of PG_VERSION_NUM is in this file.  What a newer version offers
 * is given to older ones under its newest name and signature.
 */
#ifndef WFI_COMPAT_H
#define WFI_COMPAT_H

#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "workflow_interrupt needs PostgreSQL 15 or later"
#endif

/* Minor releases of 2023 began to mark half-dropped databases. */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

#if PG_VERSION_NUM < 160000

/* Only for the kinds of objects we ask about. */
static inline bool
object_ownercheck(Oid classid, Oid objectid, Oid roleid)
{
	Assert(classid == DatabaseRelationId);
	return pg_database_ownercheck(objectid, roleid);
}

static inline AclResult
object_aclcheck(Oid classid, Oid objectid, Oid roleid, AclMode mode)
{
	switch (classid)
	{
		case DatabaseRelationId:
			return pg_database_aclcheck(objectid, roleid, mode);
		case NamespaceRelationId:
			return pg_namespace_aclcheck(objectid, roleid, mode);
		default:
			Assert(classid == ProcedureRelationId);
			return pg_proc_aclcheck(objectid, roleid, mode);
	}
}

#endif

#if PG_VERSION_NUM < 170000

/* Extensions could not name their wait events. */
static inline uint32
WaitEventExtensionNew(const char *wait_event_name)
{
	return PG_WAIT_EXTENSION;
}

/* Nor could background workers be roles that are not to log in. */
#define WFI_WORKER_CONNECT_FLAGS	0
#define WFI_WORKER_NEEDS_NO_LOGIN	false

#else

#define WFI_HAVE_TRANSACTION_TIMEOUT
#define WFI_WORKER_CONNECT_FLAGS	BGWORKER_BYPASS_ROLELOGINCHECK
#define WFI_WORKER_NEEDS_NO_LOGIN	true

#endif

#if PG_VERSION_NUM < 180000

/* It went to the front of the declaration, where older compilers accept it. */
#define pg_noreturn pg_attribute_noreturn()

#endif

/*
 * What an update, or an insert, has to do to the indexes, and how.
 */
#if PG_VERSION_NUM < 160000

typedef bool WfiUpdateIndexes;
#define wfi_update_needs_indexes(u)		(u)
#define wfi_update_only_summarizing(u)	false
#define wfi_insert_index_tuples(result, slot, estate, only_summarizing) \
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL)
#define wfi_insert_new_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)

#else

typedef TU_UpdateIndexes WfiUpdateIndexes;
#define wfi_update_needs_indexes(u)		((u) != TU_None)
#define wfi_update_only_summarizing(u)	((u) == TU_Summarizing)
#define wfi_insert_index_tuples(result, slot, estate, only_summarizing) \
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL, \
						  only_summarizing)
#define wfi_insert_new_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false)

#endif

/* Index scans can be instrumented since 18. */
#if PG_VERSION_NUM < 180000
#define wfi_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, nkeys, 0)
#else
#define wfi_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#endif

#endif							/* WFI_COMPAT_H */
