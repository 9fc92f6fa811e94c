/*
 * args.c
 *	  Arguments of SQL functions: the same checks and words everywhere.
 *
 * Sizes are checked before a value is detoasted, so that a huge argument
 * costs an error message and no more.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "workflow_interrupt.h"

/* Days of a month, as interval comparison has it */
#define USECS_PER_MONTH (INT64CONST(30) * USECS_PER_DAY)

static void
refuse_null(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s must not be null", name)));
}

/*
 * An id is given and no longer than the limit, in characters; and in bytes
 * no longer than an index entry can hold.
 */
void
wfi_check_id(const char *value, const char *name)
{
	Size		size;

	if (value == NULL)
		refuse_null(name);
	if (*value == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", name)));
	size = strlen(value);
	if (size > (Size) wfi_max_id_length &&
		pg_mbstrlen(value) > wfi_max_id_length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s exceeds the length limit", name),
				 errdetail("It has %d characters, the limit is %d.",
						   pg_mbstrlen(value), wfi_max_id_length)));
	if (size > WFI_MAX_ID_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s exceeds the length limit", name),
				 errdetail("It has %zu bytes, the limit is %d.",
						   size, WFI_MAX_ID_BYTES)));
}

/* A text that cannot be an id because of its size in bytes is refused. */
static char *
limited_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	Size		bytes = toast_raw_datum_size(PG_GETARG_DATUM(n)) - VARHDRSZ;
	Size		most = (Size) wfi_max_id_length *
	pg_database_encoding_max_length();

	if (bytes > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s exceeds the length limit", name),
				 errdetail("It has %zu bytes, the limit is %d characters.",
						   bytes, wfi_max_id_length)));
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* An id that must be given. */
char *
wfi_arg_id(FunctionCallInfo fcinfo, int n, const char *name)
{
	char	   *value;

	if (PG_ARGISNULL(n))
		refuse_null(name);
	value = limited_text(fcinfo, n, name);
	wfi_check_id(value, name);
	return value;
}

/* An id that may be left out: NULL or empty give NULL. */
char *
wfi_arg_optional_id(FunctionCallInfo fcinfo, int n, const char *name)
{
	char	   *value;

	if (PG_ARGISNULL(n))
		return NULL;
	value = limited_text(fcinfo, n, name);
	if (*value == '\0')
		return NULL;
	wfi_check_id(value, name);
	return value;
}

/* A text of payload size at most, or NULL. */
char *
wfi_arg_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		return NULL;
	wfi_check_payload_size(toast_raw_datum_size(PG_GETARG_DATUM(n)), name);
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* A payload must not exceed its limit; nothing is written when it does. */
void
wfi_check_payload_size(Size size, const char *name)
{
	if (size > (Size) wfi_payload_size_limit)
		ereport(ERROR,
				(errcode(WFI_ERRCODE_LIMIT_EXCEEDED),
				 errmsg("%s exceeds the size limit", name),
				 errdetail("It has %zu bytes, the limit is %d.",
						   size, wfi_payload_size_limit),
				 errhint("Store the data elsewhere and pass a reference, or raise \"workflow_interrupt.payload_size_limit\".")));
}

/* A JSON value of payload size at most, or NULL. */
Jsonb *
wfi_arg_payload(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		return NULL;
	wfi_check_payload_size(toast_raw_datum_size(PG_GETARG_DATUM(n)), name);
	return PG_GETARG_JSONB_P(n);
}

/* A JSON object of payload size at most, or NULL. */
Jsonb *
wfi_arg_object(FunctionCallInfo fcinfo, int n, const char *name)
{
	Jsonb	   *value = wfi_arg_payload(fcinfo, n, name);

	if (value != NULL && !wfi_is_object(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", name)));
	return value;
}

/* A UUID, or NULL. */
pg_uuid_t *
wfi_arg_uuid(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_UUID_P(n);
}

/* A boolean; NULL is false. */
bool
wfi_arg_bool(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? false : PG_GETARG_BOOL(n);
}

/*
 * Microseconds of an interval, a month being 30 days.  An infinite or
 * overflowing one gives PG_INT64_MAX or, if negative, -1.
 */
int64
wfi_interval_to_usecs(const Interval *interval)
{
	int64		months;
	int64		days;
	int64		usecs;

	if (pg_mul_s64_overflow(interval->month, USECS_PER_MONTH, &months) ||
		pg_mul_s64_overflow(interval->day, USECS_PER_DAY, &days) ||
		pg_add_s64_overflow(months, days, &usecs) ||
		pg_add_s64_overflow(usecs, interval->time, &usecs))
		return interval->month < 0 ? -1 : PG_INT64_MAX;
	return usecs;
}

/*
 * A time-out in microseconds; NULL and zero give 0.  What is so long that it
 * cannot be added to a time is refused.
 */
int64
wfi_arg_timeout(FunctionCallInfo fcinfo, int n, const char *name)
{
	int64		usecs;

	if (PG_ARGISNULL(n))
		return 0;
	usecs = wfi_interval_to_usecs(PG_GETARG_INTERVAL_P(n));
	if (usecs < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", name)));
	if (usecs > WFI_MAX_TIMEOUT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errdetail("The longest time-out is 100 years."),
				 errhint("Leave it out for none.")));
	return usecs;
}

/* A number from 1 to most. */
int32
wfi_arg_count(FunctionCallInfo fcinfo, int n, const char *name, int32 most)
{
	int32		value;

	if (PG_ARGISNULL(n))
		refuse_null(name);
	value = PG_GETARG_INT32(n);
	if (value < 1 || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 1 and %d", name, most)));
	return value;
}

/* A namespace: the setting's when left out. */
char *
wfi_arg_namespace(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return pstrdup(wfi_setting_namespace);
	return wfi_arg_id(fcinfo, n, "namespace");
}

/* Who acts: the session's user when left out. */
char *
wfi_arg_identity(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return GetUserNameFromId(GetSessionUserId(), false);
	return limited_text(fcinfo, n, "identity");
}
