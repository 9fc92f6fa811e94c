/*
 * triggers.c
 *	  Trigger functions for application tables: a row's change starts,
 *	  signals, cancels or terminates the workflow it belongs to.
 *
 *	  EXECUTE FUNCTION wf_cancel_trigger('order-{id}', 'by {changed_by}',
 *										 'missing=ignore')
 *
 * The first two arguments are templates over the row's columns (the new row,
 * or the deleted one); the others are option=value, their values templates
 * too.  Everything that runs code of the table's types (their output
 * functions, casts to json) happens here as the trigger's user, before the
 * store works as the extension's owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_start_trigger);
PG_FUNCTION_INFO_V1(wfi_signal_trigger);
PG_FUNCTION_INFO_V1(wfi_cancel_trigger);
PG_FUNCTION_INFO_V1(wfi_terminate_trigger);

/* One firing of a trigger */
typedef struct Firing
{
	const char *function;
	Trigger    *trigger;
	Relation	relation;
	HeapTuple	row;
	char	   *namespace;
	char	   *identity;
	char	   *workflow_id;	/* NULL when a column in its template is */
	char	   *second;			/* likewise */
	bool		missing_ok;
} Firing;

/* The trigger's row, after checking that it was fired as intended. */
static void
begin_firing(FunctionCallInfo fcinfo, const char *function, Firing *firing)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s must be called as a trigger", function)));
	if (!TRIGGER_FIRED_AFTER(data->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s must be fired AFTER ... FOR EACH ROW", function)));
	if (data->tg_trigger->tgnargs < 2)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("%s needs at least two arguments", function),
				 errdetail("Trigger \"%s\" gives %d.",
						   data->tg_trigger->tgname,
						   data->tg_trigger->tgnargs)));
	memset(firing, 0, sizeof(*firing));
	firing->function = function;
	firing->trigger = data->tg_trigger;
	firing->relation = data->tg_relation;
	firing->row = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ?
		data->tg_newtuple : data->tg_trigtuple;
}

/* Number of a column, or an error. */
static int
column_number(const Firing *firing, const char *name)
{
	TupleDesc	desc = RelationGetDescr(firing->relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (!column->attisdropped && namestrcmp(&column->attname, name) == 0)
			return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of relation \"%s\" does not exist",
					name, RelationGetRelationName(firing->relation)),
			 errcontext("argument of trigger \"%s\"",
						firing->trigger->tgname)));
	return 0;					/* keep compiler quiet */
}

/* A column's value as string, NULL for null. */
static char *
column_text(const Firing *firing, const char *name)
{
	TupleDesc	desc = RelationGetDescr(firing->relation);
	int			number = column_number(firing, name);
	bool		isnull;
	Datum		value = heap_getattr(firing->row, number, desc, &isnull);
	Oid			output;
	bool		varlena;

	if (isnull)
		return NULL;
	getTypeOutputInfo(TupleDescAttr(desc, number - 1)->atttypid, &output,
					  &varlena);
	return OidOutputFunctionCall(output, value);
}

static void
refuse_template(const Firing *firing, const char *template)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("malformed template \"%s\"", template),
			 errdetail("Trigger \"%s\" of table \"%s\" has it as an argument.",
					   firing->trigger->tgname,
					   RelationGetRelationName(firing->relation)),
			 errhint("Write {column} for a column's value, {{ and }} for braces.")));
}

/*
 * Fill in a template.  NULL when a column in it is null, unless nulls_empty
 * makes that an empty string.
 */
static char *
expand(const Firing *firing, const char *template, bool nulls_empty)
{
	bool		any_null = false;
	StringInfoData string;

	initStringInfo(&string);
	for (const char *p = template; *p; p++)
	{
		if ((*p == '{' || *p == '}') && p[1] == *p)
			appendStringInfoChar(&string, *p++);
		else if (*p == '}')
			refuse_template(firing, template);
		else if (*p == '{')
		{
			const char *end = strchr(p, '}');
			char	   *value;

			if (end == NULL || end == p + 1)
				refuse_template(firing, template);
			value = column_text(firing, pnstrdup(p + 1, end - p - 1));
			if (value != NULL)
				appendStringInfoString(&string, value);
			else
				any_null = true;
			p = end;
		}
		else
			appendStringInfoChar(&string, *p);
	}
	return any_null && !nulls_empty ? NULL : string.data;
}

/* The value of an option, filled in; NULL when not given. */
static char *
option(const Firing *firing, const char *name)
{
	Size		length = strlen(name);

	for (int i = 2; i < firing->trigger->tgnargs; i++)
	{
		const char *arg = firing->trigger->tgargs[i];

		if (strncmp(arg, name, length) == 0 && arg[length] == '=')
		{
			char	   *value = expand(firing, arg + length + 1, false);

			/* a default would be somebody else's namespace or queue */
			if (value == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						 errmsg("option \"%s\" of trigger \"%s\" is null",
								name, firing->trigger->tgname)));
			return value;
		}
	}
	return NULL;
}

/* Every option is one of those that the function knows. */
static void
check_options(const Firing *firing, const char *const *known)
{
	for (int i = 2; i < firing->trigger->tgnargs; i++)
	{
		const char *arg = firing->trigger->tgargs[i];
		const char *equals = strchr(arg, '=');
		bool		found = false;

		for (int j = 0; equals != NULL && known[j] != NULL; j++)
		{
			if (strlen(known[j]) == (Size) (equals - arg) &&
				strncmp(known[j], arg, equals - arg) == 0)
				found = true;
		}
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid argument \"%s\" of trigger \"%s\"",
							arg, firing->trigger->tgname),
					 errhint("Write option=value; the options are in the comment on function %s().",
							 firing->function)));
	}
}

/* The option "missing": error, the default, or ignore. */
static bool
option_missing(const Firing *firing)
{
	char	   *value = option(firing, "missing");

	if (value == NULL || strcmp(value, "error") == 0)
		return false;
	if (strcmp(value, "ignore") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value \"%s\" of option \"missing\" of trigger \"%s\"",
						value, firing->trigger->tgname),
				 errhint("Valid values are error and ignore.")));
	return true;
}

/* An option that is an interval, in microseconds; 0 when not given. */
static int64
option_timeout(const Firing *firing, const char *name)
{
	LOCAL_FCINFO(fcinfo, 1);
	char	   *value = option(firing, name);

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].isnull = value == NULL;
	if (value != NULL)
		fcinfo->args[0].value =
			DirectFunctionCall3(interval_in, CStringGetDatum(value),
								ObjectIdGetDatum(InvalidOid),
								Int32GetDatum(-1));
	return wfi_arg_timeout(fcinfo, 0, name);
}

/* to_jsonb() of a value of any type. */
static Jsonb *
column_json(Datum value, Oid type)
{
	Const	   *typed = makeNullConst(type, -1, InvalidOid);
	FuncExpr   *expression = makeFuncExpr(F_TO_JSONB, JSONBOID,
										  list_make1(typed), InvalidOid,
										  InvalidOid, COERCE_EXPLICIT_CALL);
	FmgrInfo	function;

	fmgr_info(F_TO_JSONB, &function);
	fmgr_info_set_expr((Node *) expression, &function);
	return DatumGetJsonbP(FunctionCall1(&function, value));
}

/*
 * The input of a start or signal: the column that option "input" names, NULL
 * when that is null; the whole row when it is not given.
 */
static Jsonb *
row_input(const Firing *firing)
{
	TupleDesc	desc = RelationGetDescr(firing->relation);
	char	   *name = option(firing, "input");
	Jsonb	   *input;

	if (name == NULL)
		input = column_json(heap_copy_tuple_as_datum(firing->row, desc),
							RelationGetForm(firing->relation)->reltype);
	else
	{
		int			number = column_number(firing, name);
		bool		isnull;
		Datum		value = heap_getattr(firing->row, number, desc, &isnull);

		if (isnull)
			return NULL;
		input = column_json(value, TupleDescAttr(desc, number - 1)->atttypid);
	}
	wfi_check_payload_size(VARSIZE(input), "input");
	return input;
}

/*
 * What all four have in common: who, where, which workflow.  False when there
 * is nothing to do because the workflow's id is null and that is to be
 * ignored.
 */
static bool
read_firing(Firing *firing, const char *const *options,
			bool second_nulls_empty)
{
	check_options(firing, options);
	firing->missing_ok = option_missing(firing);
	firing->namespace = option(firing, "namespace");
	if (firing->namespace == NULL)
		firing->namespace = wfi_setting_namespace;
	wfi_check_id(firing->namespace, "namespace");
	firing->identity = option(firing, "identity");
	if (firing->identity == NULL)
		firing->identity = GetUserNameFromId(GetSessionUserId(), false);
	firing->workflow_id = expand(firing, firing->trigger->tgargs[0], false);
	if (firing->workflow_id == NULL && firing->missing_ok)
		return false;
	wfi_check_id(firing->workflow_id, "workflow_id");
	firing->second = expand(firing, firing->trigger->tgargs[1],
							second_nulls_empty);
	if (firing->second != NULL)
		wfi_check_payload_size(strlen(firing->second), "reason");
	wfi_check_payload_size(strlen(firing->identity), "identity");
	return true;
}

/* wf_cancel_trigger(workflow id, reason, options) */
Datum
wfi_cancel_trigger(PG_FUNCTION_ARGS)
{
	static const char *const options[] = {
		"missing", "namespace", "identity", NULL
	};
	Firing		firing;

	begin_firing(fcinfo, "wf_cancel_trigger", &firing);
	if (read_firing(&firing, options, true))
	{
		wfi_store_begin("wf_cancel_trigger()", true);
		wfi_do_cancel(firing.namespace, firing.workflow_id, NULL, NULL,
					  firing.second, NULL, firing.identity,
					  firing.missing_ok);
		wfi_store_end();
	}
	return PointerGetDatum(NULL);
}

/* wf_terminate_trigger(workflow id, reason, options) */
Datum
wfi_terminate_trigger(PG_FUNCTION_ARGS)
{
	static const char *const options[] = {
		"missing", "namespace", "identity", NULL
	};
	Firing		firing;

	begin_firing(fcinfo, "wf_terminate_trigger", &firing);
	if (read_firing(&firing, options, true))
	{
		wfi_store_begin("wf_terminate_trigger()", true);
		wfi_do_terminate(firing.namespace, firing.workflow_id, NULL, NULL,
						 firing.second, NULL, firing.identity,
						 firing.missing_ok);
		wfi_store_end();
	}
	return PointerGetDatum(NULL);
}

/* wf_signal_trigger(workflow id, signal name, options) */
Datum
wfi_signal_trigger(PG_FUNCTION_ARGS)
{
	static const char *const options[] = {
		"input", "missing", "namespace", "identity", NULL
	};
	Firing		firing;

	begin_firing(fcinfo, "wf_signal_trigger", &firing);
	if (read_firing(&firing, options, false))
	{
		Jsonb	   *input = row_input(&firing);

		wfi_check_id(firing.second, "signal_name");
		wfi_store_begin("wf_signal_trigger()", true);
		wfi_do_signal(firing.namespace, firing.workflow_id, NULL,
					  firing.second, input, NULL, firing.identity,
					  firing.missing_ok);
		wfi_store_end();
	}
	return PointerGetDatum(NULL);
}

/* wf_start_trigger(workflow id, workflow type, options) */
Datum
wfi_start_trigger(PG_FUNCTION_ARGS)
{
	static const char *const options[] = {
		"input", "task_queue", "id_reuse_policy", "id_conflict_policy",
		"start_delay", "execution_timeout", "run_timeout", "task_timeout",
		"namespace", "identity", NULL
	};
	Firing		firing;
	WfiStart	start = {0};
	pg_uuid_t	run_id;

	begin_firing(fcinfo, "wf_start_trigger", &firing);
	if (read_firing(&firing, options, false))
	{
		start.namespace = firing.namespace;
		start.workflow_id = firing.workflow_id;
		start.workflow_type = firing.second;
		wfi_check_id(start.workflow_type, "workflow_type");
		start.task_queue = option(&firing, "task_queue");
		if (start.task_queue == NULL)
			start.task_queue = pstrdup("default");
		wfi_check_id(start.task_queue, "task_queue");
		start.id_reuse_policy = option(&firing, "id_reuse_policy");
		start.id_conflict_policy = option(&firing, "id_conflict_policy");
		if (start.id_conflict_policy == NULL)
			start.id_conflict_policy = pstrdup("UseExisting");
		start.identity = firing.identity;
		start.input = row_input(&firing);
		start.execution_timeout = option_timeout(&firing, "execution_timeout");
		start.run_timeout = option_timeout(&firing, "run_timeout");
		start.task_timeout = option_timeout(&firing, "task_timeout");
		start.start_delay = option_timeout(&firing, "start_delay");

		wfi_store_begin("wf_start_trigger()", true);
		wfi_do_start(&start, &run_id);
		wfi_store_end();
	}
	return PointerGetDatum(NULL);
}
