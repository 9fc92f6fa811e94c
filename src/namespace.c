/*
 * namespace.c
 *	  Namespaces: create, describe, drop.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_create_namespace);
PG_FUNCTION_INFO_V1(wfi_describe_namespace);
PG_FUNCTION_INFO_V1(wfi_drop_namespace);

/* Made with the extension, and never dropped */
#define DEFAULT_NAMESPACE "default"

#define DEFAULT_RETENTION (3 * USECS_PER_DAY)

static void
error_namespace(const char *name)
{
	ereport(ERROR,
			(errcode(WFI_ERRCODE_NOT_FOUND),
			 errmsg("namespace \"%s\" not found", name),
			 errhint("Create it with wf_create_namespace().")));
}

/* An error unless there is such a namespace. */
void
wfi_check_namespace(const char *name)
{
	if (!wfi_store_namespace_exists(name, false))
		error_namespace(name);
}

/*
 * An error unless there is such a namespace, which then cannot be dropped
 * before the transaction ends.
 */
void
wfi_hold_namespace(const char *name)
{
	if (strcmp(name, DEFAULT_NAMESPACE) != 0 &&
		!wfi_store_namespace_exists(name, true))
		error_namespace(name);
}

/* wf_create_namespace(name, retention, description) */
Datum
wfi_create_namespace(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *description;
	Interval	retention = {0};

	wfi_store_begin("wf_create_namespace()", true);
	name = wfi_arg_id(fcinfo, 0, "name");
	if (PG_ARGISNULL(1))
		retention.time = DEFAULT_RETENTION;
	else
		retention = *PG_GETARG_INTERVAL_P(1);
	if (wfi_interval_to_usecs(&retention) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retention must be positive")));
	description = wfi_arg_text(fcinfo, 2, "description");
	if (!wfi_store_create_namespace(name, &retention,
									description ? description : ""))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("namespace \"%s\" already exists", name)));
	wfi_store_end();
	PG_RETURN_VOID();
}

/* wf_describe_namespace(name) */
Datum
wfi_describe_namespace(PG_FUNCTION_ARGS)
{
	char	   *name;
	Jsonb	   *namespace;
	Jsonb	   *result;

	wfi_store_begin("wf_describe_namespace()", false);
	name = wfi_arg_namespace(fcinfo, 0);
	namespace = wfi_store_describe_namespace(name);
	if (namespace == NULL)
		error_namespace(name);
	result = MemoryContextAlloc(wfi_store_caller_context(),
								VARSIZE(namespace));
	memcpy(result, namespace, VARSIZE(namespace));
	wfi_store_end();
	PG_RETURN_JSONB_P(result);
}

/* wf_drop_namespace(name) */
Datum
wfi_drop_namespace(PG_FUNCTION_ARGS)
{
	char	   *name;
	bool		dropped;

	wfi_store_begin("wf_drop_namespace()", true);
	name = wfi_arg_id(fcinfo, 0, "name");
	if (strcmp(name, DEFAULT_NAMESPACE) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("namespace \"%s\" cannot be dropped", name)));
	if (wfi_store_namespace_in_use(name))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("namespace \"%s\" holds workflow executions", name)));
	wfi_store_unregister_all(name);
	wfi_note_registrations_changed();
	dropped = wfi_store_drop_namespace(name);
	wfi_store_end();
	PG_RETURN_BOOL(dropped);
}
