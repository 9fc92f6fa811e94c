/*
 * registry.c
 *	  Which SQL function is run for which type of workflow or activity.
 *
 * A registration names its function by schema and name, so that it survives
 * dump and restore and follows DROP and CREATE as any SQL text does.  It also
 * keeps who owned the function then: should the name come to stand for
 * somebody else's function, it is not run with the rights of the role that
 * registered.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pool.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "sql_code.h"

PG_FUNCTION_INFO_V1(wfi_register_workflow);
PG_FUNCTION_INFO_V1(wfi_register_activity);
PG_FUNCTION_INFO_V1(wfi_unregister_workflow);
PG_FUNCTION_INFO_V1(wfi_unregister_activity);

static const char *
kind_name(char kind)
{
	return kind == WFI_TASK_WORKFLOW ? "workflow" : "activity";
}

/* The function as a user writes it; palloc'd. */
char *
wfi_function_signature(const WfiFunction *function)
{
	return psprintf("%s(jsonb)",
					quote_qualified_identifier(function->function_schema,
											   function->function_name));
}

/* Can it be called as a workflow or an activity? */
static bool
is_suitable(Form_pg_proc procedure)
{
	return procedure->prokind == PROKIND_FUNCTION &&
		!procedure->proretset &&
		procedure->pronargs == 1 &&
		procedure->proargtypes.values[0] == JSONBOID &&
		(procedure->prorettype == JSONBOID ||
		 procedure->prorettype == VOIDOID);
}

/*
 * Find out which function a registration stands for now: none when it is
 * gone, is of another kind or has become somebody else's.
 */
void
wfi_function_resolve(WfiFunction *function)
{
	Oid			schema = get_namespace_oid(function->function_schema, true);
	Oid			argument = JSONBOID;
	HeapTuple	tuple;
	Form_pg_proc procedure;

	function->function = InvalidOid;
	if (!OidIsValid(schema))
		return;
	tuple = SearchSysCache3(PROCNAMEARGSNSP,
							CStringGetDatum(function->function_name),
							PointerGetDatum(buildoidvector(&argument, 1)),
							ObjectIdGetDatum(schema));
	if (!HeapTupleIsValid(tuple))
		return;
	procedure = (Form_pg_proc) GETSTRUCT(tuple);
	if (procedure->proowner == function->owner && is_suitable(procedure))
		function->function = procedure->oid;
	ReleaseSysCache(tuple);
}

/*
 * The function that is registered for a type on a task queue, or NULL; to be
 * called between wfi_store_begin() and wfi_store_end().
 */
WfiFunction *
wfi_function_find(char kind, const char *namespace, const char *name,
				  const char *task_queue)
{
	WfiFunction *function = wfi_store_find_function(kind, namespace, name,
													task_queue, false);

	if (function != NULL)
		wfi_function_resolve(function);
	return function;
}

/* All functions of a role, or of every role when none is given; likewise. */
List *
wfi_functions_of(Oid role)
{
	List	   *functions = wfi_store_functions(role);
	ListCell   *lc;

	foreach(lc, functions)
		wfi_function_resolve(lfirst(lc));
	return functions;
}

/*
 * An error unless a registered function is there and the current user may run
 * it.
 */
void
wfi_function_check(const WfiFunction *function)
{
	char	   *signature = wfi_function_signature(function);

	if (!OidIsValid(function->function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s does not exist", signature),
				 errdetail("It is registered for %s type \"%s\" on task queue \"%s\"; it was dropped or renamed, returns something else, or belongs to another role now.",
						   kind_name(function->kind), function->name,
						   function->task_queue),
				 errhint("Create it again, or register another one.")));
	if (object_aclcheck(NamespaceRelationId,
						get_namespace_oid(function->function_schema, false),
						GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA,
					   function->function_schema);
	if (object_aclcheck(ProcedureRelationId, function->function, GetUserId(),
						ACL_EXECUTE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, signature);
}

/*
 * Call a registered function as the current user; NULL stands for SQL's null,
 * and for the result of a function that returns void.  The caller has an
 * active snapshot.
 */
Jsonb *
wfi_function_call(const WfiFunction *function, const Jsonb *input)
{
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo	flinfo;
	PgStat_FunctionCallUsage usage;
	Oid			result_type;
	Datum		result;

	wfi_function_check(function);
	result_type = get_func_rettype(function->function);
	fmgr_info(function->function, &flinfo);
	if (flinfo.fn_strict && input == NULL)
		return NULL;
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(input);
	fcinfo->args[0].isnull = input == NULL;
	pgstat_init_function_usage(fcinfo, &usage);
	result = FunctionCallInvoke(fcinfo);
	pgstat_end_function_usage(&usage, true);
	if (fcinfo->isnull || result_type == VOIDOID)
		return NULL;
	return DatumGetJsonbPCopy(result);
}

/*
 * The function that was given to be registered, found along the caller's
 * search path: it must be one that can be run, and that the caller may run.
 */
static void
read_procedure(FunctionCallInfo fcinfo, int n, WfiFunction *function)
{
	char	   *signature = wfi_arg_id(fcinfo, n, "function");
	Oid			oid;
	HeapTuple	tuple;
	Form_pg_proc procedure;

	if (strchr(signature, '(') == NULL &&
		signature[strspn(signature, "0123456789")] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("function \"%s\" is given without the type of its argument",
						signature),
				 errhint("Write \"%s(jsonb)\".", signature)));
	oid = DatumGetObjectId(DirectFunctionCall1(regprocedurein,
											   CStringGetDatum(signature)));
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function \"%s\" does not exist", signature)));
	procedure = (Form_pg_proc) GETSTRUCT(tuple);
	if (!is_suitable(procedure))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s cannot be registered",
						format_procedure(oid)),
				 errdetail("It must take one argument, of type jsonb, and return jsonb or void.")));
	function->function = oid;
	function->function_schema = get_namespace_name(procedure->pronamespace);
	function->function_name = pstrdup(NameStr(procedure->proname));
	function->owner = procedure->proowner;
	ReleaseSysCache(tuple);
	wfi_function_check(function);
}

/* Options of a registration: an object with known members. */
static Jsonb *
read_options(FunctionCallInfo fcinfo, int n, char kind)
{
	Jsonb	   *options = wfi_arg_object(fcinfo, n, "options");
	JsonbIterator *iterator;
	JsonbValue	value;
	WfiObject	empty;

	if (options == NULL)
	{
		wfi_object_begin(&empty);
		return wfi_object_end(&empty);
	}
	iterator = JsonbIteratorInit(&options->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	while (JsonbIteratorNext(&iterator, &value, true) == WJB_KEY)
	{
		char	   *key = pnstrdup(value.val.string.val, value.val.string.len);

		if (kind != WFI_TASK_ACTIVITY || strcmp(key, "interruptible") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown option \"%s\"", key),
					 kind == WFI_TASK_ACTIVITY ?
					 errhint("Activities have the option \"interruptible\".") :
					 errhint("Workflows have no options.")));
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (value.type != jbvBool)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be true or false", key)));
	}
	return options;
}

/*
 * An error unless that user may change a registration: the role that made it,
 * or a superuser.
 */
static void
check_registrant(const WfiFunction *function, Oid user)
{
	char	   *role;

	if (function->role == user || superuser_arg(user))
		return;
	role = GetUserNameFromId(function->role, true);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s type \"%s\" on task queue \"%s\" is registered by another role",
					kind_name(function->kind), function->name,
					function->task_queue),
			 role != NULL ?
			 errdetail("It was registered by role \"%s\".", role) :
			 errdetail("The role that registered it does not exist any more.")));
}

/* wf_register_...(name, function, task_queue, options, namespace) */
static void
register_function(FunctionCallInfo fcinfo, char kind, const char *caller)
{
	WfiFunction function = {0};
	Oid			user = GetUserId();

	/* what is the caller's is looked at as the caller */
	function.kind = kind;
	function.name = wfi_arg_id(fcinfo, 0, "name");
	function.task_queue = wfi_arg_id(fcinfo, 2, "task_queue");
	read_procedure(fcinfo, 1, &function);
	function.options = read_options(fcinfo, 3, kind);
	function.namespace = wfi_arg_namespace(fcinfo, 4);
	function.role = user;

	wfi_store_begin(caller, true);
	wfi_hold_namespace(function.namespace);
	if (!wfi_store_register(&function, superuser_arg(user)))
	{
		WfiFunction *known = wfi_store_find_function(kind, function.namespace,
													 function.name,
													 function.task_queue,
													 true);

		if (known == NULL)
			elog(ERROR, "registration has vanished");
		check_registrant(known, user);
	}
	wfi_store_end();
	wfi_note_registrations_changed();
	if (wfi_pool == NULL || wfi_max_workers == 0)
		ereport(NOTICE,
				(errmsg("no background worker will run function %s",
						wfi_function_signature(&function)),
				 wfi_pool == NULL ?
				 errdetail("The library is not in shared_preload_libraries.") :
				 errdetail("workflow_interrupt.max_workers is 0."),
				 errhint("Change that, or call wf_work() to run tasks.")));
}

/* wf_unregister_...(name, task_queue, namespace) */
static bool
unregister_function(FunctionCallInfo fcinfo, char kind, const char *caller)
{
	char	   *name = wfi_arg_id(fcinfo, 0, "name");
	char	   *task_queue = wfi_arg_id(fcinfo, 1, "task_queue");
	char	   *namespace = wfi_arg_namespace(fcinfo, 2);
	Oid			user = GetUserId();
	WfiFunction *known;

	wfi_store_begin(caller, true);
	known = wfi_store_find_function(kind, namespace, name, task_queue, true);
	if (known != NULL)
	{
		check_registrant(known, user);
		wfi_store_unregister(known);
		wfi_note_registrations_changed();
	}
	else
		wfi_check_namespace(namespace);
	wfi_store_end();
	return known != NULL;
}

/* wf_register_workflow(name, function, task_queue, options, namespace) */
Datum
wfi_register_workflow(PG_FUNCTION_ARGS)
{
	register_function(fcinfo, WFI_TASK_WORKFLOW, "wf_register_workflow()");
	PG_RETURN_VOID();
}

/* wf_register_activity(name, function, task_queue, options, namespace) */
Datum
wfi_register_activity(PG_FUNCTION_ARGS)
{
	register_function(fcinfo, WFI_TASK_ACTIVITY, "wf_register_activity()");
	PG_RETURN_VOID();
}

/* wf_unregister_workflow(name, task_queue, namespace) */
Datum
wfi_unregister_workflow(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(unregister_function(fcinfo, WFI_TASK_WORKFLOW,
									   "wf_unregister_workflow()"));
}

/* wf_unregister_activity(name, task_queue, namespace) */
Datum
wfi_unregister_activity(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(unregister_function(fcinfo, WFI_TASK_ACTIVITY,
									   "wf_unregister_activity()"));
}
