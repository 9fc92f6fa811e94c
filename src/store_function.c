/*
 * store_function.c
 *	  The store's part about registered functions, see registry.c.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "sql_code.h"
#include "store.h"

/* A function from its columns, see SELECT_FUNCTION. */
static void *
read_function(Datum *values, bool *nulls)
{
	WfiFunction *function = palloc0(sizeof(WfiFunction));

	function->kind = DatumGetChar(values[0]);
	function->namespace = TextDatumGetCString(values[1]);
	function->name = TextDatumGetCString(values[2]);
	function->task_queue = TextDatumGetCString(values[3]);
	function->function_schema = TextDatumGetCString(values[4]);
	function->function_name = TextDatumGetCString(values[5]);
	function->owner = DatumGetObjectId(values[6]);
	function->role = DatumGetObjectId(values[7]);
	function->options = DatumGetJsonbPCopy(values[8]);
	return function;
}

static void
put_key(Params *params, const WfiFunction *function)
{
	params->n = 0;
	put(params, CharGetDatum(function->kind));
	put_text(params, function->namespace);
	put_text(params, function->name);
	put_text(params, function->task_queue);
}

/*
 * Remember a function, in place of the one with that key if its role is the
 * same, or whatever its role is; false when that was not so.
 */
bool
wfi_store_register(const WfiFunction *function, bool any_role)
{
	Params		params;

	put_key(&params, function);
	put_text(&params, function->function_schema);
	put_text(&params, function->function_name);
	put(&params, ObjectIdGetDatum(function->owner));
	put(&params, ObjectIdGetDatum(function->role));
	put_pointer(&params, function->options);
	put(&params, BoolGetDatum(any_role));
	return wfi_store_execute(REGISTER_FUNCTION, &params, SPI_OK_INSERT) == 1;
}

/* Forget a function. */
void
wfi_store_unregister(const WfiFunction *function)
{
	Params		params;

	put_key(&params, function);
	wfi_store_execute(UNREGISTER_FUNCTION, &params, SPI_OK_DELETE);
}

/* Forget the functions of a namespace. */
void
wfi_store_unregister_all(const char *namespace)
{
	Params		params = {0};

	put_text(&params, namespace);
	wfi_store_execute(UNREGISTER_FUNCTIONS, &params, SPI_OK_DELETE);
}

/* The function with a key, or NULL; a lock keeps it as it is. */
WfiFunction *
wfi_store_find_function(char kind, const char *namespace, const char *name,
						const char *task_queue, bool lock)
{
	Params		params = {0};
	List	   *functions;

	put(&params, CharGetDatum(kind));
	put_text(&params, namespace);
	put_text(&params, name);
	put_text(&params, task_queue);
	functions = wfi_store_list(lock ? LOCK_FUNCTION : FIND_FUNCTION, &params,
							   read_function);
	return functions == NIL ? NULL : linitial(functions);
}

/* All functions of a role; or, without one, of every role. */
List *
wfi_store_functions(Oid role)
{
	Params		params = {0};

	put(&params, ObjectIdGetDatum(role));
	put(&params, BoolGetDatum(!OidIsValid(role)));
	return wfi_store_list(READ_FUNCTIONS, &params, read_function);
}
