/*
 * json.c
 *	  Building and reading event attributes and commands.
 *
 * As in the API's own JSON form, what is not set is absent: the wfi_put_...
 * functions leave out NULL and empty values.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/numeric.h"

#include "workflow_interrupt.h"

/* Begin an object. */
void
wfi_object_begin(WfiObject *object)
{
	object->state = NULL;
	pushJsonbValue(&object->state, WJB_BEGIN_OBJECT, NULL);
}

static void
put_key(WfiObject *object, const char *key)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(&object->state, WJB_KEY, &value);
}

/* Begin an object inside the object, under that key. */
void
wfi_object_nested(WfiObject *object, const char *key)
{
	put_key(object, key);
	pushJsonbValue(&object->state, WJB_BEGIN_OBJECT, NULL);
}

/* End what wfi_object_nested() began. */
void
wfi_object_nested_end(WfiObject *object)
{
	pushJsonbValue(&object->state, WJB_END_OBJECT, NULL);
}

/* The finished object. */
Jsonb *
wfi_object_end(WfiObject *object)
{
	return JsonbValueToJsonb(pushJsonbValue(&object->state, WJB_END_OBJECT,
											NULL));
}

/* A string, which must live until the object's end; nothing when NULL or empty. */
void
wfi_put_text(WfiObject *object, const char *key, const char *value)
{
	JsonbValue	string;

	if (value == NULL || *value == '\0')
		return;
	put_key(object, key);
	string.type = jbvString;
	string.val.string.val = unconstify(char *, value);
	string.val.string.len = strlen(value);
	pushJsonbValue(&object->state, WJB_VALUE, &string);
}

/* A number. */
void
wfi_put_int(WfiObject *object, const char *key, int64 value)
{
	JsonbValue	number;

	put_key(object, key);
	number.type = jbvNumeric;
	number.val.numeric = int64_to_numeric(value);
	pushJsonbValue(&object->state, WJB_VALUE, &number);
}

/* An event id; nothing when 0. */
void
wfi_put_id(WfiObject *object, const char *key, int64 value)
{
	if (value != 0)
		wfi_put_int(object, key, value);
}

/* A boolean. */
void
wfi_put_bool(WfiObject *object, const char *key, bool value)
{
	JsonbValue	boolean;

	put_key(object, key);
	boolean.type = jbvBool;
	boolean.val.boolean = value;
	pushJsonbValue(&object->state, WJB_VALUE, &boolean);
}

/* Push any JSON value as an element (WJB_ELEM) or value (WJB_VALUE). */
void
wfi_push_value(JsonbParseState **state, int token, const Jsonb *value)
{
	JsonbValue	element;

	if (JB_ROOT_IS_SCALAR(value))
	{
		if (!JsonbExtractScalar(unconstify(JsonbContainer *, &value->root),
								&element))
			elog(ERROR, "scalar expected");
	}
	else
	{
		element.type = jbvBinary;
		element.val.binary.data = unconstify(JsonbContainer *, &value->root);
		element.val.binary.len = VARSIZE(value) - VARHDRSZ;
	}
	pushJsonbValue(state, (JsonbIteratorToken) token, &element);
}

/* Any JSON value; nothing when NULL. */
void
wfi_put_json(WfiObject *object, const char *key, const Jsonb *value)
{
	if (value == NULL)
		return;
	put_key(object, key);
	wfi_push_value(&object->state, WJB_VALUE, value);
}

/* A UUID as a string; nothing when NULL. */
void
wfi_put_uuid(WfiObject *object, const char *key, const pg_uuid_t *value)
{
	if (value != NULL)
		wfi_put_text(object, key, wfi_uuid_text(value));
}

/* A time in RFC 3339 form, in UTC, with microseconds; palloc'd. */
char *
wfi_time_text(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
					tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
}

/* A time as a string; nothing when WFI_NEVER. */
void
wfi_put_time(WfiObject *object, const char *key, TimestampTz value)
{
	if (value != WFI_NEVER)
		wfi_put_text(object, key, wfi_time_text(value));
}

/*
 * A duration in the API's form: seconds with as few groups of three decimals
 * as needed, and an "s".  The text casts to interval.  Nothing when 0.
 */
void
wfi_put_duration(WfiObject *object, const char *key, int64 usecs)
{
	int64		seconds = usecs / USECS_PER_SEC;
	int			fraction = (int) (usecs % USECS_PER_SEC);
	char	   *string;

	if (usecs == 0)
		return;
	if (fraction == 0)
		string = psprintf(INT64_FORMAT "s", seconds);
	else if (fraction % 1000 == 0)
		string = psprintf(INT64_FORMAT ".%03ds", seconds, fraction / 1000);
	else
		string = psprintf(INT64_FORMAT ".%06ds", seconds, fraction);
	wfi_put_text(object, key, string);
}

/* Is it an object? */
bool
wfi_is_object(const Jsonb *value)
{
	return JB_ROOT_IS_OBJECT(value);
}

/* The value of a key, in *value; NULL when absent or null. */
static JsonbValue *
find(const Jsonb *object, const char *key, JsonbValue *value)
{
	if (getKeyJsonValueFromContainer(unconstify(JsonbContainer *,
												&object->root),
									 key, strlen(key), value) == NULL ||
		value->type == jbvNull)
		return NULL;
	return value;
}

/* The value of a key, or NULL when absent or null. */
JsonbValue *
wfi_get(const Jsonb *object, const char *key)
{
	return find(object, key, palloc(sizeof(JsonbValue)));
}

/* A string, or NULL when absent or something else. */
char *
wfi_get_text(const Jsonb *object, const char *key)
{
	JsonbValue	value;

	if (find(object, key, &value) == NULL || value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static char *
numeric_text(Numeric number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(number)));
}

/* A whole number, 0 when absent or something else. */
int64
wfi_get_int(const Jsonb *object, const char *key)
{
	JsonbValue	value;
	char	   *string;
	char	   *end;
	int64		number;

	if (find(object, key, &value) == NULL || value.type != jbvNumeric)
		return 0;
	string = numeric_text(value.val.numeric);
	errno = 0;
	number = strtoi64(string, &end, 10);
	if (errno != 0 || *end != '\0')
		number = 0;
	pfree(string);
	return number;
}

/* Any value on its own, or NULL when absent (null is a value here). */
Jsonb *
wfi_get_json(const Jsonb *object, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(unconstify(JsonbContainer *,
												&object->root),
									 key, strlen(key), &value) == NULL)
		return NULL;
	return JsonbValueToJsonb(&value);
}

/* What interval_in() would make of a string; false where it would not. */
static bool
parse_interval(const char *string, Interval *interval)
{
	char		buffer[256];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			n;
	int			type;
	struct pg_itm_in itm = {0};
	int			error = ParseDateTime(string, buffer, sizeof(buffer), fields,
									  types, MAXDATEFIELDS, &n);

	if (error == 0)
		error = DecodeInterval(fields, types, n, INTERVAL_FULL_RANGE, &type,
							   &itm);
	if (error == DTERR_BAD_FORMAT)
		error = DecodeISO8601Interval(pstrdup(string), &type, &itm);
	return error == 0 && type == DTK_DELTA &&
		itmin2interval(&itm, interval) == 0;
}

/*
 * A duration in microseconds, 0 when it is absent; false when what is there is
 * not one: a string like an interval, or a number of seconds.
 */
static bool
parse_duration(const Jsonb *object, const char *key, int64 *usecs)
{
	JsonbValue	value;
	char	   *string;
	Interval	interval;

	*usecs = 0;
	if (find(object, key, &value) == NULL)
		return true;
	if (value.type == jbvString)
	{
		string = pnstrdup(value.val.string.val, value.val.string.len);
		/* the form we write most */
		if (strspn(string, "0123456789") + 1 == value.val.string.len &&
			value.val.string.len < 10 && strchr(string, 's') != NULL)
		{
			*usecs = atoi(string) * USECS_PER_SEC;
			pfree(string);
			return true;
		}
	}
	else if (value.type == jbvNumeric)
		string = psprintf("%s s", numeric_text(value.val.numeric));
	else
		return false;
	if (!parse_interval(string, &interval))
		return false;
	*usecs = wfi_interval_to_usecs(&interval);
	return true;
}

/* A duration in microseconds, 0 when it is absent. */
int64
wfi_get_duration(const Jsonb *object, const char *key)
{
	int64		usecs;

	if (!parse_duration(object, key, &usecs))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a duration", key),
				 errhint("Write it like \"30s\".")));
	return usecs;
}

/* What is wrong with these durations of an object, or NULL. */
const char *
wfi_duration_problem(const Jsonb *object, const char *const *keys, int n)
{
	int64		usecs;

	for (int i = 0; i < n; i++)
	{
		if (!parse_duration(object, keys[i], &usecs))
			return psprintf("%s must be a duration like \"30s\".", keys[i]);
	}
	return NULL;
}

/* A failure the engine reports: it cannot be retried. */
Jsonb *
wfi_failure(const char *message)
{
	WfiObject	object;

	wfi_object_begin(&object);
	wfi_put_text(&object, "message", message);
	wfi_put_bool(&object, "non_retryable", true);
	return wfi_object_end(&object);
}

/* Push the pairs of an object, but those that are null or in *without. */
static void
push_pairs(JsonbParseState **state, Jsonb *object, const Jsonb *without)
{
	JsonbIterator *iterator = JsonbIteratorInit(&object->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (value.type == jbvNull ||
			(without != NULL &&
			 getKeyJsonValueFromContainer(unconstify(JsonbContainer *,
													 &without->root),
										  key.val.string.val,
										  key.val.string.len, NULL) != NULL))
			continue;
		pushJsonbValue(state, WJB_KEY, &key);
		pushJsonbValue(state, WJB_VALUE, &value);
	}
}

/* The keys of one object over those of another; null removes a key. */
Jsonb *
wfi_merge_objects(Jsonb *old, Jsonb *changes)
{
	WfiObject	merged;

	wfi_object_begin(&merged);
	if (old != NULL)
		push_pairs(&merged.state, old, changes);
	push_pairs(&merged.state, changes, NULL);
	return wfi_object_end(&merged);
}
