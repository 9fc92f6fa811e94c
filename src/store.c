/*
 * store.c
 *	  Sessions of the store, and execution of its statements.
 *
 * The statements run as the owner of schema wf: callers need EXECUTE on the
 * functions and nothing else.  Locks are taken in one order: the run's row
 * first (a reset's base before the current run), then rows of its other
 * tables.  Runs that rows of wf.task and wf.wakeup lead to, and these rows,
 * are locked with SKIP LOCKED only.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* before version 16 there is a declaration without a prototype in these */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include "optimizer/cost.h"
#include "optimizer/planner.h"
#pragma GCC diagnostic pop

#include "store.h"

/* What this session knows of one life of the extension */
static Oid	known_schema = InvalidOid;	/* schema wf that the rest is about */
static SPIPlanPtr plans[STATEMENTS];
static Oid	status_type;
static Oid	status_oids[WFI_STATUSES];
static Oid	event_type;
static Oid	event_oids[WFI_EVENT_TYPES];

/*
 * The work of one SQL function.  Calls can nest: somebody may have put a
 * trigger on our tables that calls a function of ours.
 */
typedef struct StoreSession
{
	struct StoreSession *outer;
	MemoryContext caller_context;
	Oid			caller_user;
	int			caller_security;
	bool		read_only;
	const WfiRun *storing;		/* what is being written belongs to this run */
	MemoryContextCallback callback;
} StoreSession;

static StoreSession *session = NULL;

static Oid
param_type(char letter)
{
	switch (letter)
	{
		case 'i':
			return INT4OID;
		case 'l':
			return INT8OID;
		case 'u':
			return UUIDOID;
		case 's':
			return TEXTOID;
		case 't':
			return TIMESTAMPTZOID;
		case 'b':
			return BOOLOID;
		case 'v':
			return INTERVALOID;
		case 'j':
			return JSONBOID;
		case 'c':
			return CHAROID;
		case 'p':
			return TIDOID;
		case 'o':
			return status_type;
		case 'e':
			return event_type;
		case 'r':
			return REGROLEOID;
		case 'S':
			return TEXTARRAYOID;
		case 'L':
			return INT8ARRAYOID;
		case 'T':
			return TIMESTAMPTZARRAYOID;
		case 'E':
			return get_array_type(event_type);
		case 'J':
			return JSONBARRAYOID;
	}
	elog(ERROR, "unknown parameter type \"%c\"", letter);
	return InvalidOid;			/* keep compiler quiet */
}

/* The OID of an enum label; an error when there is none. */
static Oid
enum_oid(Oid type, const char *label)
{
	Oid			oid = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
									  ObjectIdGetDatum(type),
									  CStringGetDatum(label));

	if (!OidIsValid(oid))
		elog(ERROR, "enum label \"%s\" is missing", label);
	return oid;
}

/* The OID of a type in schema wf; an error when there is none. */
static Oid
type_oid(Oid schema, const char *name)
{
	Oid			oid = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
									  CStringGetDatum(name),
									  ObjectIdGetDatum(schema));

	if (!OidIsValid(oid))
		elog(ERROR, "type \"wf.%s\" is missing", name);
	return oid;
}

/*
 * Get to know a new life of the extension: when it is dropped and created
 * again, its types have other OIDs, and plans are of no use any more.
 */
static void
meet_schema(Oid schema)
{
	known_schema = InvalidOid;
	for (int i = 0; i < STATEMENTS; i++)
	{
		SPIPlanPtr	plan = plans[i];

		plans[i] = NULL;
		if (plan)
			SPI_freeplan(plan);
	}
	wfi_store_forget_runs();
	wfi_direct_forget();
	wfi_history_forget_all();
	status_type = type_oid(schema, "status");
	for (int i = 0; i < WFI_STATUSES; i++)
		status_oids[i] = enum_oid(status_type, wfi_status_name(i));
	event_type = type_oid(schema, "event_type");
	for (int i = 0; i < WFI_EVENT_TYPES; i++)
		event_oids[i] = enum_oid(event_type, wfi_event_name(i));
	known_schema = schema;
}

/* The memory of a session is going away. */
static void
end_session(void *arg)
{
	session = ((StoreSession *) arg)->outer;
}

/*
 * Begin the work of one SQL function: connect to SPI and become the owner of
 * the schema.  The function's name is for the error on a standby or in a
 * read-only transaction; a function that only reads uses the snapshot of the
 * calling statement.
 */
void
wfi_store_begin(const char *function, bool writes)
{
	HeapTuple	tuple;
	Form_pg_namespace schema;
	Oid			schema_oid;
	Oid			owner;
	MemoryContext context;
	StoreSession *new_session;

	if (writes)
		PreventCommandIfReadOnly(function);

	tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum("wf"));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"wf\" does not exist"),
				 errhint("Run CREATE EXTENSION workflow_interrupt in this database.")));
	schema = (Form_pg_namespace) GETSTRUCT(tuple);
	schema_oid = schema->oid;
	owner = schema->nspowner;
	ReleaseSysCache(tuple);
	if (schema_oid != known_schema)
		meet_schema(schema_oid);

	context = CurrentMemoryContext;
	SPI_connect();
	/* SPI's memory goes at the end, be it a good one or not, and this with it */
	new_session = palloc0(sizeof(StoreSession));
	new_session->outer = session;
	new_session->caller_context = context;
	new_session->read_only = !writes;
	GetUserIdAndSecContext(&new_session->caller_user,
						   &new_session->caller_security);
	new_session->callback.func = end_session;
	new_session->callback.arg = new_session;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &new_session->callback);
	session = new_session;
	SetUserIdAndSecContext(owner,
						   new_session->caller_security |
						   SECURITY_LOCAL_USERID_CHANGE);
}

/* From now on, what is written belongs to this run; NULL: to none. */
void
wfi_store_storing(const WfiRun *run)
{
	session->storing = run;
}

/*
 * A run that is half written must not be changed by a trigger on our tables:
 * neither of the two operations would know of the other.
 */
void
wfi_store_check_storing(const WfiRun *run)
{
	for (StoreSession *outer = session->outer; outer; outer = outer->outer)
	{
		if (outer->storing && outer->storing->shard == run->shard &&
			wfi_uuid_equal(&outer->storing->run_id, &run->run_id))
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("workflow \"%s\" is being changed by the operation that fired this trigger",
							run->workflow_id),
					 errhint("Use a constraint trigger that is deferred, or act on another workflow.")));
	}
}

/* Where to put what must outlive wfi_store_end(). */
MemoryContext
wfi_store_caller_context(void)
{
	return session->caller_context;
}

/* End what wfi_store_begin() began; after an error the server does it. */
void
wfi_store_end(void)
{
	SetUserIdAndSecContext(session->caller_user, session->caller_security);
	SPI_finish();
}

/* A cursor option of our own; the server's are in the low bits */
#define ALONG_INDEX 0x40000000

static planner_hook_type next_planner = NULL;

/*
 * Plan statements that look up few rows by a key.  A generic plan outlives
 * what the statistics said when it was made: a table that was as good as empty
 * then and was to be read in sequence may have many rows now.  So such a
 * statement goes along an index, whatever they say, also where the server
 * makes its plan anew; and without JIT compilation, which the price of what is
 * disabled but cannot be avoided would bring about.
 */
static PlannedStmt *
plan_statement(Query *query, const char *sql, int options,
			   ParamListInfo params)
{
	planner_hook_type planner = next_planner ? next_planner : standard_planner;
	bool		seqscan = enable_seqscan;
	bool		bitmapscan = enable_bitmapscan;
	bool		jit = jit_enabled;
	PlannedStmt *plan;

	if ((options & ALONG_INDEX) == 0)
		return planner(query, sql, options, params);
	PG_TRY();
	{
		enable_seqscan = enable_bitmapscan = jit_enabled = false;
		plan = planner(query, sql, options, params);
	}
	PG_FINALLY();
	{
		enable_seqscan = seqscan;
		enable_bitmapscan = bitmapscan;
		jit_enabled = jit;
	}
	PG_END_TRY();
	return plan;
}

/* Called when the library is loaded. */
void
wfi_store_init(void)
{
	next_planner = planner_hook;
	planner_hook = plan_statement;
}

/* Make a saved generic plan. */
static SPIPlanPtr
make_plan(const char *sql, const char *types, int options)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			oids[MAX_PARAMS];
	int			n = strlen(types);
	SPIPlanPtr	plan;

	for (int i = 0; i < n; i++)
		oids[i] = param_type(types[i]);
	plan = SPI_prepare_cursor(sql, n, oids, CURSOR_OPT_GENERIC_PLAN | options);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql,
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	/* SPI goes back to its own context */
	MemoryContextSwitchTo(context);
	return plan;
}

/* Make a saved plan; its parameter types are letters, see param_type(). */
SPIPlanPtr
wfi_store_plan(const char *sql, const char *types)
{
	return make_plan(sql, types, ALONG_INDEX);
}

/* The plan of a statement, made at its first use. */
static SPIPlanPtr
statement_plan(Statement statement, const Params *params)
{
	const StatementDef *def = &wfi_statements[statement];

	Assert(params->n == (int) strlen(def->types));
	if (plans[statement] == NULL)
		plans[statement] = make_plan(def->sql, def->types,
									 def->reads_all ? CURSOR_OPT_FAST_PLAN :
									 ALONG_INDEX);
	return plans[statement];
}

/* Execute a plan; the number of rows it returned or changed. */
uint64
wfi_store_execute_plan(SPIPlanPtr plan, Params *params, int expected)
{
	MemoryContext context = CurrentMemoryContext;
	int			result = SPI_execute_plan(plan, params->values, params->nulls,
										  session->read_only, 0);

	if (result != expected)
		elog(ERROR, "statement gave %s", SPI_result_code_string(result));
	/* SPI goes back to its own context */
	MemoryContextSwitchTo(context);
	return SPI_processed;
}

/*
 * Execute a statement whose rows go to the receiver one by one, so that there
 * may be many; how many there were.
 */
uint64
wfi_store_stream(Statement statement, Params *params, DestReceiver *receiver,
				 int expected)
{
	const StatementDef *def = &wfi_statements[statement];
	MemoryContext context = CurrentMemoryContext;
	ParamListInfo list = makeParamList(params->n);
	SPIExecuteOptions options = {0};
	int			result;

	for (int i = 0; i < params->n; i++)
	{
		list->params[i].value = params->values[i];
		list->params[i].isnull = params->nulls[i] == 'n';
		list->params[i].pflags = PARAM_FLAG_CONST;
		list->params[i].ptype = param_type(def->types[i]);
	}
	options.params = list;
	options.read_only = session->read_only;
	options.dest = receiver;
	result = SPI_execute_plan_extended(statement_plan(statement, params),
									   &options);
	if (result != expected)
		elog(ERROR, "statement %d gave %s", (int) statement,
			 SPI_result_code_string(result));
	MemoryContextSwitchTo(context);
	return SPI_processed;
}

/*
 * Open a cursor for a SELECT of many rows, along an index where there is one
 * rather than by a sort.
 */
Portal
wfi_store_cursor(Statement statement, Params *params)
{
	MemoryContext context = CurrentMemoryContext;
	Portal		portal;

	portal = SPI_cursor_open(NULL, statement_plan(statement, params),
							 params->values, params->nulls,
							 session->read_only);
	MemoryContextSwitchTo(context);
	return portal;
}

/* Execute a statement; the number of rows it returned or changed. */
uint64
wfi_store_execute(Statement statement, Params *params, int expected)
{
	return wfi_store_execute_plan(statement_plan(statement, params), params,
								  expected);
}

/* Execute a SELECT; what the callback makes of each row. */
List *
wfi_store_list(Statement statement, Params *params,
			   WfiReadColumns read_columns)
{
	uint64		rows = wfi_store_execute(statement, params, SPI_OK_SELECT);
	SPITupleTable *table = SPI_tuptable;
	List	   *list = NIL;

	Assert(table->tupdesc->natts <= MAX_LIST_COLUMNS);
	for (uint64 i = 0; i < rows; i++)
	{
		Datum		values[MAX_LIST_COLUMNS];
		bool		nulls[MAX_LIST_COLUMNS];

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		list = lappend(list, read_columns(values, nulls));
	}
	SPI_freetuptable(table);
	return list;
}

/*
 * Read a row of a table about runs by its key, directly or by a SELECT with
 * the key as parameters; what the callback makes of it, or NULL.  *position may
 * say where its index entry points to, and does so then if that is known; it is
 * invalid else.
 */
void *
wfi_store_read(Statement statement, WfiDirectKey key, Params *params,
			   WfiReadColumns read_columns, ItemPointer position)
{
	void	   *row;
	List	   *rows;

	if (!session->read_only &&
		wfi_direct_read(key, params->values, read_columns, &row, position))
		return row;
	ItemPointerSetInvalid(position);
	rows = wfi_store_list(statement, params, read_columns);
	return rows == NIL ? NULL : linitial(rows);
}

/* As wfi_store_execute(), for statements that must hit exactly one row. */
void
wfi_store_execute_one(Statement statement, Params *params, int expected)
{
	uint64		rows = wfi_store_execute(statement, params, expected);

	if (rows != 1)
		elog(ERROR, "statement %d changed " UINT64_FORMAT " rows",
			 (int) statement, rows);
}

/*
 * Does a SELECT find anything in what is committed now, or was done by this
 * transaction, whatever snapshot the transaction has?
 */
bool
wfi_store_exists_now(Statement statement, Params *params)
{
	MemoryContext context = CurrentMemoryContext;
	int			result;

	result = SPI_execute_snapshot(statement_plan(statement, params),
								  params->values, params->nulls,
								  GetLatestSnapshot(), InvalidSnapshot,
								  false, false, 1);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "statement %d gave %s", (int) statement,
			 SPI_result_code_string(result));
	MemoryContextSwitchTo(context);
	return SPI_processed > 0;
}

/* Schema wf. */
Oid
wfi_store_schema(void)
{
	return known_schema;
}

/* Does the function at work write, and so see what is committed by now? */
bool
wfi_store_writes(void)
{
	return !session->read_only;
}

/* A status as a parameter. */
Datum
wfi_store_status(WfiStatus status)
{
	return ObjectIdGetDatum(status_oids[status]);
}

/* A status from a column. */
WfiStatus
wfi_store_read_status(Datum value)
{
	for (int i = 0; i < WFI_STATUSES; i++)
	{
		if (status_oids[i] == DatumGetObjectId(value))
			return (WfiStatus) i;
	}
	elog(ERROR, "unknown status %u", DatumGetObjectId(value));
	return WFI_RUNNING;			/* keep compiler quiet */
}

/* An event type as a parameter. */
Datum
wfi_store_event_type(WfiEventType type)
{
	return ObjectIdGetDatum(event_oids[type]);
}

/* An event type from a column. */
WfiEventType
wfi_store_read_event_type(Datum value)
{
	Oid			guess = DatumGetObjectId(value) - event_oids[0];

	/* labels made by one command have most often OIDs in a row */
	if (guess < WFI_EVENT_TYPES && event_oids[guess] == DatumGetObjectId(value))
		return (WfiEventType) guess;
	for (int i = 0; i < WFI_EVENT_TYPES; i++)
	{
		if (event_oids[i] == DatumGetObjectId(value))
			return (WfiEventType) i;
	}
	elog(ERROR, "unknown event type %u", DatumGetObjectId(value));
	return WFI_EVENT_TYPES;		/* keep compiler quiet */
}

/* The type of event types, for arrays of them. */
Oid
wfi_store_event_type_oid(void)
{
	return event_type;
}
