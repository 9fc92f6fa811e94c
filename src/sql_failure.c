/*
 * sql_failure.c
 *	  Errors of SQL code as failures in the history.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "sql_code.h"

/* The most that is kept of each text, in bytes */
#define MAX_TEXT 8192

static void
put_clipped(WfiObject *object, const char *key, const char *value)
{
	if (value != NULL)
		wfi_put_text(object, key,
					 pnstrdup(value, pg_mbcliplen(value, strlen(value),
												  MAX_TEXT)));
}

/*
 * An error as a failure: its message, its SQLSTATE as type, the rest as
 * details.  With a cause, which is another failure, that stands for the
 * error's detail.
 */
Jsonb *
wfi_error_failure(const ErrorData *error, const Jsonb *cause)
{
	WfiObject	object;

	wfi_object_begin(&object);
	put_clipped(&object, "message",
				error->message ? error->message : "missing error text");
	wfi_put_text(&object, "type",
				 pstrdup(unpack_sql_state(error->sqlerrcode)));
	wfi_object_nested(&object, "details");
	if (cause == NULL)
		put_clipped(&object, "detail", error->detail);
	put_clipped(&object, "hint", error->hint);
	put_clipped(&object, "context", error->context);
	put_clipped(&object, "schema", error->schema_name);
	put_clipped(&object, "table", error->table_name);
	put_clipped(&object, "column", error->column_name);
	put_clipped(&object, "datatype", error->datatype_name);
	put_clipped(&object, "constraint", error->constraint_name);
	wfi_object_nested_end(&object);
	wfi_put_json(&object, "cause", cause);
	return wfi_object_end(&object);
}
