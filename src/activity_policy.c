/*
 * activity_policy.c
 *	  Time-outs and retry policies of activities: what is made of what the
 *	  code asked for, and whether there is another attempt.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "workflow_interrupt.h"

#define DEFAULT_INITIAL_INTERVAL (1 * USECS_PER_SEC)
#define DEFAULT_COEFFICIENT 2.0
#define DEFAULT_MAXIMUM_FACTOR 100

/* A retry policy with everything filled in */
typedef struct RetryPolicy
{
	int64		initial_interval;
	double		coefficient;
	int64		maximum_interval;
	int64		maximum_attempts;	/* 0: as many as it takes */
	Jsonb	   *non_retryable_types;	/* NULL or an array of strings */
} RetryPolicy;

/*
 * A number, infinite when there is none so large; the default when absent, NaN
 * when it is something else.
 */
static double
get_number(const Jsonb *object, const char *key, double when_absent)
{
	JsonbValue *value = wfi_get(object, key);

	if (value == NULL)
		return when_absent;
	if (value->type != jbvNumeric)
		return NAN;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(value->val.numeric)));
}

/* Is it an array of strings, or NULL? */
static bool
all_strings(const Jsonb *array)
{
	int			n;

	if (array == NULL)
		return true;
	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		return false;
	n = JB_ROOT_COUNT(array);
	for (int i = 0; i < n; i++)
	{
		if (getIthJsonbValueFromContainer(unconstify(JsonbContainer *,
													 &array->root),
										  i)->type != jbvString)
			return false;
	}
	return true;
}

/* Read a policy and fill it in; what is wrong with it, or NULL. */
static const char *
read_policy(const Jsonb *object, RetryPolicy *policy)
{
	policy->initial_interval = DEFAULT_INITIAL_INTERVAL;
	policy->coefficient = DEFAULT_COEFFICIENT;
	policy->maximum_attempts = 0;
	policy->non_retryable_types = NULL;
	policy->maximum_interval = 0;
	if (object != NULL)
	{
		static const char *const intervals[] = {
			"initial_interval", "maximum_interval"
		};
		const char *problem = wfi_duration_problem(object, intervals,
												   lengthof(intervals));
		double		attempts = get_number(object, "maximum_attempts", 0);
		int64		initial;

		if (problem != NULL)
			return problem;
		initial = wfi_get_duration(object, "initial_interval");
		if (initial < 0)
			return "InitialInterval cannot be negative on retry policy.";
		if (initial > 0)
			policy->initial_interval = Min(initial, WFI_MAX_TIMEOUT);
		policy->coefficient = get_number(object, "backoff_coefficient",
										 DEFAULT_COEFFICIENT);
		if (policy->coefficient == 0)
			policy->coefficient = DEFAULT_COEFFICIENT;
		if (!(policy->coefficient >= 1))
			return "BackoffCoefficient cannot be less than 1 on retry policy.";
		if (isinf(policy->coefficient))
			return "BackoffCoefficient is too large on retry policy.";
		policy->maximum_interval = Min(wfi_get_duration(object,
														"maximum_interval"),
									   WFI_MAX_TIMEOUT);
		if (policy->maximum_interval < 0)
			return "MaximumInterval cannot be negative on retry policy.";
		if (policy->maximum_interval > 0 &&
			policy->maximum_interval < policy->initial_interval)
			return "MaximumInterval cannot be less than InitialInterval on retry policy.";
		if (isnan(attempts) || attempts != floor(attempts) ||
			attempts > PG_INT32_MAX)
			return "MaximumAttempts must be a whole number on retry policy.";
		if (attempts < 0)
			return "MaximumAttempts cannot be negative on retry policy.";
		policy->maximum_attempts = (int64) attempts;
		if (wfi_get(object, "non_retryable_error_types") != NULL)
			policy->non_retryable_types =
				wfi_get_json(object, "non_retryable_error_types");
		if (!all_strings(policy->non_retryable_types))
			return "NonRetryableErrorTypes must be an array of strings on retry policy.";
	}
	if (policy->maximum_interval == 0)
		policy->maximum_interval = DEFAULT_MAXIMUM_FACTOR *
			Min(policy->initial_interval,
				WFI_MAX_TIMEOUT / DEFAULT_MAXIMUM_FACTOR);
	return NULL;
}

/*
 * An argument that is a retry policy, or NULL.  What a policy does not have is
 * an error here: whoever misspells maximum_attempts would retry for ever.
 */
Jsonb *
wfi_arg_retry_policy(FunctionCallInfo fcinfo, int n)
{
	static const char *const members[] = {
		"initial_interval", "backoff_coefficient", "maximum_interval",
		"maximum_attempts", "non_retryable_error_types"
	};
	Jsonb	   *policy = wfi_arg_object(fcinfo, n, "retry_policy");
	JsonbValue	value;
	int			known = 0;

	if (policy == NULL)
		return NULL;
	for (int i = 0; i < lengthof(members); i++)
		known += getKeyJsonValueFromContainer(&policy->root, members[i],
											  strlen(members[i]),
											  &value) != NULL;
	if (known < JB_ROOT_COUNT(policy))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retry_policy has an unknown member"),
				 errhint("There are initial_interval, backoff_coefficient, maximum_interval, maximum_attempts and non_retryable_error_types.")));
	return policy;
}

/* Put a policy, filled in, into an event. */
static void
put_policy(WfiObject *event, const RetryPolicy *policy)
{
	static const char *const coefficient = "backoff_coefficient";
	JsonbValue	number;

	wfi_object_nested(event, "retry_policy");
	wfi_put_duration(event, "initial_interval", policy->initial_interval);
	number.type = jbvString;
	number.val.string.val = unconstify(char *, coefficient);
	number.val.string.len = strlen(coefficient);
	pushJsonbValue(&event->state, WJB_KEY, &number);
	number.type = jbvNumeric;
	number.val.numeric =
		DatumGetNumeric(DirectFunctionCall1(float8_numeric,
											Float8GetDatum(policy->coefficient)));
	pushJsonbValue(&event->state, WJB_VALUE, &number);
	wfi_put_duration(event, "maximum_interval", policy->maximum_interval);
	wfi_put_id(event, "maximum_attempts", policy->maximum_attempts);
	wfi_put_json(event, "non_retryable_error_types",
				 policy->non_retryable_types);
	wfi_object_nested_end(event);
}

/* The shorter of a time-out and its cap; 0 stands for none in both. */
static int64
cap(int64 timeout, int64 most)
{
	if (timeout == 0 || most == 0)
		return Max(timeout, most);
	return Min(timeout, most);
}

/*
 * Put the time-outs and the retry policy of a ScheduleActivityTask command
 * into its event, after normalizing them.  What is wrong with them, or NULL.
 */
const char *
wfi_activity_policy(const Jsonb *attributes, int64 run_timeout,
					WfiObject *event)
{
	static const char *const timeouts[] = {
		"schedule_to_close_timeout", "schedule_to_start_timeout",
		"start_to_close_timeout", "heartbeat_timeout"
	};
	int64		to_close;
	int64		to_start;
	int64		start_to_close;
	int64		heartbeat;
	Jsonb	   *object = wfi_get(attributes, "retry_policy") ?
	wfi_get_json(attributes, "retry_policy") : NULL;
	RetryPolicy policy;
	const char *problem = wfi_duration_problem(attributes, timeouts,
											   lengthof(timeouts));

	if (problem != NULL)
		return problem;
	to_close = wfi_get_duration(attributes, "schedule_to_close_timeout");
	to_start = wfi_get_duration(attributes, "schedule_to_start_timeout");
	start_to_close = wfi_get_duration(attributes, "start_to_close_timeout");
	heartbeat = wfi_get_duration(attributes, "heartbeat_timeout");
	if (to_close < 0 || to_start < 0 || start_to_close < 0 || heartbeat < 0)
		return "A valid timeout cannot be negative on ScheduleActivityTaskCommand.";
	if (object != NULL && !wfi_is_object(object))
		return "RetryPolicy must be an object on ScheduleActivityTaskCommand.";
	problem = read_policy(object, &policy);
	if (problem != NULL)
		return problem;

	if (to_close != 0)
	{
		to_start = cap(to_start, to_close);
		start_to_close = cap(start_to_close, to_close);
	}
	else if (start_to_close != 0)
	{
		to_close = run_timeout;
		if (to_start == 0)
			to_start = run_timeout;
	}
	else
		return "A valid StartToClose or ScheduleToCloseTimeout is not set on ScheduleActivityTaskCommand.";
	if (run_timeout != 0)
	{
		to_close = cap(to_close, run_timeout);
		to_start = cap(to_start, run_timeout);
		start_to_close = cap(start_to_close, run_timeout);
	}
	to_close = Min(to_close, WFI_MAX_TIMEOUT);
	to_start = Min(to_start, WFI_MAX_TIMEOUT);
	start_to_close = Min(start_to_close, WFI_MAX_TIMEOUT);
	heartbeat = Min(heartbeat, start_to_close);

	wfi_put_duration(event, "schedule_to_close_timeout", to_close);
	wfi_put_duration(event, "schedule_to_start_timeout", to_start);
	wfi_put_duration(event, "start_to_close_timeout", start_to_close);
	wfi_put_duration(event, "heartbeat_timeout", heartbeat);
	put_policy(event, &policy);
	return NULL;
}

/* Is the string one of the array's? */
static bool
listed(const Jsonb *array, const char *string)
{
	JsonbValue	value;

	if (array == NULL || string == NULL)
		return false;
	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	return findJsonbValueFromContainer(unconstify(JsonbContainer *,
												  &array->root),
									   JB_FARRAY, &value) != NULL;
}

/* May a failure be tried again? */
static bool
retryable(const Jsonb *failure, const char *timeout_type,
		  const RetryPolicy *policy)
{
	JsonbValue *flag = wfi_get(failure, "non_retryable");

	if (timeout_type != NULL)
		return !listed(policy->non_retryable_types,
					   psprintf("TemporalTimeout:%s", timeout_type));
	if (flag != NULL && flag->type == jbvBool && flag->val.boolean)
		return false;
	return !listed(policy->non_retryable_types, wfi_get_text(failure, "type"));
}

/* How long a policy has the next attempt wait after that many. */
static int64
interval_after(const RetryPolicy *policy, int32 attempts)
{
	double		interval = policy->initial_interval *
	pow(policy->coefficient, attempts - 1);

	return (int64) Min(interval, (double) policy->maximum_interval);
}

/* The same for an activity's policy, in microseconds. */
int64
wfi_retry_interval(const WfiActivity *activity, int32 attempts)
{
	RetryPolicy policy;

	if (activity->retry_policy == NULL || attempts < 1)
		return 0;
	if (read_policy(activity->retry_policy, &policy) != NULL)
		elog(ERROR, "stored retry policy is malformed");
	return interval_after(&policy, attempts);
}

/*
 * What becomes of an attempt that failed, or timed out when timeout_type is
 * given: NULL when there is another one after *backoff microseconds, else why
 * not, under the API's name.
 */
const char *
wfi_retry_state(const WfiActivity *activity, const Jsonb *failure,
				const char *timeout_type, TimestampTz now, int64 *backoff)
{
	RetryPolicy policy;

	*backoff = 0;
	if (activity->retry_policy == NULL)
		return "RetryPolicyNotSet";
	if (activity->cancel_requested_event_id != 0)
		return "CancelRequested";
	if (timeout_type != NULL && strncmp(timeout_type, "Schedule", 8) == 0)
		return "Timeout";
	if (read_policy(activity->retry_policy, &policy) != NULL)
		elog(ERROR, "stored retry policy is malformed");
	if (!retryable(failure, timeout_type, &policy))
		return "NonRetryableFailure";
	if (activity->was_reset)
		return NULL;			/* the next attempt is the first again */
	if (policy.maximum_attempts > 0 &&
		activity->attempt >= policy.maximum_attempts)
		return "MaximumAttemptsReached";

	*backoff = interval_after(&policy, activity->attempt);
	if (wfi_get(failure, "next_retry_delay") != NULL)
		*backoff = Min(Max(0, wfi_get_duration(failure, "next_retry_delay")),
					   WFI_MAX_TIMEOUT);
	if (activity->schedule_to_close_timeout != 0 &&
		now + *backoff >= activity->first_scheduled_time +
		activity->schedule_to_close_timeout)
		return "Timeout";
	return NULL;
}
