/*
 * database_hook.c
 *	  Commands that want a database for themselves: DROP DATABASE, ALTER
 *	  DATABASE ... RENAME and SET TABLESPACE, CREATE DATABASE ... TEMPLATE.
 *
 * They fail when somebody else is connected to the database, and our driver
 * is.  So a utility hook asks the driver to leave before such a command runs,
 * and keeps another one from being started until the command's transaction
 * has ended, in whatever way.  Until then the command holds a lock that would
 * keep a new driver waiting anyway.
 *
 * The hook also lets the background processes know at once what they would
 * find out by themselves later: databases that come and go, and DROP
 * EXTENSION.
 */
#include "postgres.h"

#include "access/xact.h"
#include "background.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "shmem.h"
#include "tcop/utility.h"
#include "utils/memutils.h"

static ProcessUtility_hook_type prev_ProcessUtility_hook = NULL;

/* Databases this transaction holds; lives in TopTransactionContext. */
static List *held_databases = NIL;

/*
 * Makes the driver of a database leave, until the end of the transaction.
 * Does nothing for somebody whose command will be refused: who may not touch
 * a database must not be able to stop its driver either.  (Templates that are
 * not one's own can be copied, but have no driver.)
 */
static void
vacate_database(const char *name, bool as_template)
{
	Oid			dboid = get_database_oid(name, true);
	MemoryContext oldcontext;

	if (!OidIsValid(dboid) ||
		!object_ownercheck(DatabaseRelationId, dboid, GetUserId()))
		return;

	/* The others are refused for the current database. */
	if (dboid == MyDatabaseId && !as_template)
		return;

	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	held_databases = lappend_oid(held_databases, dboid);
	MemoryContextSwitchTo(oldcontext);

	wfi_hold_database(dboid);
	wfi_await_driver_exit(dboid);
}

/*
 * The value of an option of CREATE or ALTER DATABASE; NULL if not given.
 */
static const char *
get_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/*
 * Does for a command what has to be done before it runs.
 */
static void
prepare_for(Node *parsetree)
{
	const char *template;

	switch (nodeTag(parsetree))
	{
		case T_CreatedbStmt:
			template = get_option(((CreatedbStmt *) parsetree)->options,
								  "template");
			if (template != NULL)
				vacate_database(template, true);
			wfi_note_databases_changed();
			break;
		case T_DropdbStmt:
			vacate_database(((DropdbStmt *) parsetree)->dbname, false);
			wfi_note_databases_changed();
			break;
		case T_AlterDatabaseStmt:
			if (get_option(((AlterDatabaseStmt *) parsetree)->options,
						   "tablespace") != NULL)
				vacate_database(((AlterDatabaseStmt *) parsetree)->dbname,
								false);
			wfi_note_databases_changed();
			break;
		case T_RenameStmt:
			if (((RenameStmt *) parsetree)->renameType == OBJECT_DATABASE)
				vacate_database(((RenameStmt *) parsetree)->subname, false);
			break;
		case T_DropStmt:
			if (((DropStmt *) parsetree)->removeType == OBJECT_EXTENSION)
				wfi_note_extension_dropped();
			break;
		default:
			break;
	}
}

/*
 * ProcessUtility hook
 */
static void
database_utility(PlannedStmt *pstmt, const char *queryString,
				 bool readOnlyTree, ProcessUtilityContext context,
				 ParamListInfo params, QueryEnvironment *queryEnv,
				 DestReceiver *dest, QueryCompletion *qc)
{
	if (wfi_shared != NULL)
		prepare_for(pstmt->utilityStmt);

	if (prev_ProcessUtility_hook)
		prev_ProcessUtility_hook(pstmt, queryString, readOnlyTree, context,
								 params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
}

/*
 * End of a transaction: nobody needs to keep away any more.
 */
static void
release_databases(XactEvent event, void *arg)
{
	ListCell   *lc;

	if (held_databases == NIL ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		 event != XACT_EVENT_PREPARE))
		return;

	foreach(lc, held_databases)
		wfi_release_database(lfirst_oid(lc));
	held_databases = NIL;
}

/*
 * Installs the hook.  To be called from _PG_init; does nothing unless the
 * library is being preloaded.
 */
void
wfi_utility_hook_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	prev_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = database_utility;
	RegisterXactCallback(release_databases, NULL);
}
