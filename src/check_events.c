/*
 * check_events.c
 *	  What attributes each kind of event must and may have, and what the ids
 *	  among them refer to.
 *
 * What is not listed is not looked at.  Empty texts are absent from events, so
 * that only those that cannot be empty are required.
 */
#include "postgres.h"

#include <ctype.h>

#include "utils/builtins.h"

#include "check.h"

typedef enum Kind
{
	TEXT,						/* a string that is not empty */
	INTEGER,
	DURATION,					/* as wfi_put_duration() writes it */
	UUID,
	OBJECT,
	ID,							/* of an event; check_history.c knows which */
	REFERENCE					/* id of any earlier event of a kind */
} Kind;

/* When an attribute may be missing */
typedef enum Need
{
	REQUIRED,
	REQUIRED_IN_HISTORY,		/* filled in when the buffer is flushed */
	OPTIONAL
} Need;

typedef struct Attribute
{
	WfiEventType type;			/* of the event */
	const char *name;
	Kind		kind;
	Need		need;
	WfiEventType target;		/* what a reference is to */
} Attribute;

static const char *const kind_names[] = {
	[TEXT] = "a text",
	[INTEGER] = "a whole number",
	[DURATION] = "a duration",
	[UUID] = "a UUID",
	[OBJECT] = "an object",
	[ID] = "an event id",
	[REFERENCE] = "an event id"
};

/* Parts of many */
#define COMMAND(type) {type, "workflow_task_completed_event_id", ID}
#define TASK_SCHEDULED(type) {type, "scheduled_event_id", ID}
#define STARTED(type, need) {type, "started_event_id", ID, need}
#define FAILURE(type) {type, "failure", OBJECT}
#define ACTIVITY(type) \
	{type, "scheduled_event_id", REFERENCE, REQUIRED, WFI_EV_ACTIVITY_SCHEDULED}
#define INITIATED(type, target) \
	{type, "initiated_event_id", REFERENCE, REQUIRED, target}
#define CHILD(type) \
	INITIATED(type, WFI_EV_CHILD_INITIATED), \
	{type, "started_event_id", REFERENCE, OPTIONAL, WFI_EV_CHILD_STARTED}

/* In the order of their types */
static const Attribute attributes[] = {
	{WFI_EV_STARTED, "workflow_type", TEXT},
	{WFI_EV_STARTED, "workflow_id", TEXT},
	{WFI_EV_STARTED, "task_queue", TEXT},
	{WFI_EV_STARTED, "workflow_execution_timeout", DURATION, OPTIONAL},
	{WFI_EV_STARTED, "workflow_run_timeout", DURATION, OPTIONAL},
	{WFI_EV_STARTED, "workflow_task_timeout", DURATION},
	{WFI_EV_STARTED, "attempt", INTEGER},
	{WFI_EV_STARTED, "first_workflow_task_backoff", DURATION, OPTIONAL},
	{WFI_EV_STARTED, "memo", OBJECT, OPTIONAL},
	{WFI_EV_STARTED, "search_attributes", OBJECT, OPTIONAL},
	{WFI_EV_STARTED, "original_execution_run_id", UUID},
	{WFI_EV_STARTED, "first_execution_run_id", UUID},
	COMMAND(WFI_EV_COMPLETED),
	COMMAND(WFI_EV_FAILED),
	FAILURE(WFI_EV_FAILED),
	{WFI_EV_FAILED, "retry_state", TEXT},
	{WFI_EV_TIMED_OUT, "retry_state", TEXT},
	COMMAND(WFI_EV_CANCELED),
	COMMAND(WFI_EV_CONTINUED_AS_NEW),
	{WFI_EV_CONTINUED_AS_NEW, "new_execution_run_id", UUID},
	{WFI_EV_SIGNALED, "signal_name", TEXT},
	{WFI_EV_SIGNALED, "request_id", TEXT, OPTIONAL},
	{WFI_EV_TASK_SCHEDULED, "task_queue", TEXT},
	{WFI_EV_TASK_SCHEDULED, "start_to_close_timeout", DURATION},
	{WFI_EV_TASK_SCHEDULED, "attempt", INTEGER},
	TASK_SCHEDULED(WFI_EV_TASK_STARTED),
	{WFI_EV_TASK_STARTED, "identity", TEXT, OPTIONAL},
	TASK_SCHEDULED(WFI_EV_TASK_COMPLETED),
	STARTED(WFI_EV_TASK_COMPLETED, REQUIRED),
	TASK_SCHEDULED(WFI_EV_TASK_TIMED_OUT),
	STARTED(WFI_EV_TASK_TIMED_OUT, REQUIRED),
	{WFI_EV_TASK_TIMED_OUT, "timeout_type", TEXT},
	TASK_SCHEDULED(WFI_EV_TASK_FAILED),
	STARTED(WFI_EV_TASK_FAILED, OPTIONAL),
	{WFI_EV_TASK_FAILED, "cause", TEXT},
	{WFI_EV_TASK_FAILED, "base_run_id", UUID, OPTIONAL},
	{WFI_EV_TASK_FAILED, "new_run_id", UUID, OPTIONAL},
	COMMAND(WFI_EV_ACTIVITY_SCHEDULED),
	{WFI_EV_ACTIVITY_SCHEDULED, "activity_id", TEXT},
	{WFI_EV_ACTIVITY_SCHEDULED, "activity_type", TEXT},
	{WFI_EV_ACTIVITY_SCHEDULED, "task_queue", TEXT},
	{WFI_EV_ACTIVITY_SCHEDULED, "schedule_to_close_timeout", DURATION, OPTIONAL},
	{WFI_EV_ACTIVITY_SCHEDULED, "schedule_to_start_timeout", DURATION, OPTIONAL},
	{WFI_EV_ACTIVITY_SCHEDULED, "start_to_close_timeout", DURATION, OPTIONAL},
	{WFI_EV_ACTIVITY_SCHEDULED, "heartbeat_timeout", DURATION, OPTIONAL},
	{WFI_EV_ACTIVITY_SCHEDULED, "retry_policy", OBJECT, OPTIONAL},
	ACTIVITY(WFI_EV_ACTIVITY_STARTED),
	{WFI_EV_ACTIVITY_STARTED, "attempt", INTEGER},
	ACTIVITY(WFI_EV_ACTIVITY_COMPLETED),
	STARTED(WFI_EV_ACTIVITY_COMPLETED, REQUIRED_IN_HISTORY),
	ACTIVITY(WFI_EV_ACTIVITY_FAILED),
	STARTED(WFI_EV_ACTIVITY_FAILED, REQUIRED_IN_HISTORY),
	FAILURE(WFI_EV_ACTIVITY_FAILED),
	{WFI_EV_ACTIVITY_FAILED, "retry_state", TEXT},
	ACTIVITY(WFI_EV_ACTIVITY_TIMED_OUT),
	STARTED(WFI_EV_ACTIVITY_TIMED_OUT, OPTIONAL),
	FAILURE(WFI_EV_ACTIVITY_TIMED_OUT),
	{WFI_EV_ACTIVITY_TIMED_OUT, "retry_state", TEXT},
	COMMAND(WFI_EV_ACTIVITY_CANCEL_REQUESTED),
	ACTIVITY(WFI_EV_ACTIVITY_CANCEL_REQUESTED),
	ACTIVITY(WFI_EV_ACTIVITY_CANCELED),
	STARTED(WFI_EV_ACTIVITY_CANCELED, OPTIONAL),
	{WFI_EV_ACTIVITY_CANCELED, "latest_cancel_requested_event_id", ID},
	COMMAND(WFI_EV_TIMER_STARTED),
	{WFI_EV_TIMER_STARTED, "timer_id", TEXT},
	{WFI_EV_TIMER_STARTED, "start_to_fire_timeout", DURATION, OPTIONAL},
	{WFI_EV_TIMER_FIRED, "timer_id", TEXT},
	STARTED(WFI_EV_TIMER_FIRED, REQUIRED),
	COMMAND(WFI_EV_TIMER_CANCELED),
	{WFI_EV_TIMER_CANCELED, "timer_id", TEXT},
	STARTED(WFI_EV_TIMER_CANCELED, REQUIRED),
	COMMAND(WFI_EV_MARKER_RECORDED),
	{WFI_EV_MARKER_RECORDED, "marker_name", TEXT},
	COMMAND(WFI_EV_SEARCH_ATTRIBUTES_UPSERTED),
	{WFI_EV_SEARCH_ATTRIBUTES_UPSERTED, "search_attributes", OBJECT},
	COMMAND(WFI_EV_PROPERTIES_MODIFIED),
	{WFI_EV_PROPERTIES_MODIFIED, "upserted_memo", OBJECT},
	COMMAND(WFI_EV_CHILD_INITIATED),
	{WFI_EV_CHILD_INITIATED, "workflow_id", TEXT},
	{WFI_EV_CHILD_INITIATED, "workflow_type", TEXT},
	INITIATED(WFI_EV_CHILD_START_FAILED, WFI_EV_CHILD_INITIATED),
	{WFI_EV_CHILD_START_FAILED, "cause", TEXT},
	INITIATED(WFI_EV_CHILD_STARTED, WFI_EV_CHILD_INITIATED),
	CHILD(WFI_EV_CHILD_COMPLETED),
	CHILD(WFI_EV_CHILD_FAILED),
	FAILURE(WFI_EV_CHILD_FAILED),
	CHILD(WFI_EV_CHILD_CANCELED),
	CHILD(WFI_EV_CHILD_TIMED_OUT),
	CHILD(WFI_EV_CHILD_TERMINATED),
	COMMAND(WFI_EV_EXTERNAL_CANCEL_INITIATED),
	INITIATED(WFI_EV_EXTERNAL_CANCEL_FAILED, WFI_EV_EXTERNAL_CANCEL_INITIATED),
	{WFI_EV_EXTERNAL_CANCEL_FAILED, "cause", TEXT},
	INITIATED(WFI_EV_EXTERNAL_CANCEL_REQUESTED, WFI_EV_EXTERNAL_CANCEL_INITIATED),
	COMMAND(WFI_EV_EXTERNAL_SIGNAL_INITIATED),
	{WFI_EV_EXTERNAL_SIGNAL_INITIATED, "signal_name", TEXT},
	INITIATED(WFI_EV_EXTERNAL_SIGNAL_FAILED, WFI_EV_EXTERNAL_SIGNAL_INITIATED),
	{WFI_EV_EXTERNAL_SIGNAL_FAILED, "cause", TEXT},
	INITIATED(WFI_EV_EXTERNAL_SIGNALED, WFI_EV_EXTERNAL_SIGNAL_INITIATED),
};

/* Where a type's attributes begin; those of the next type end them. */
static const Attribute *
attributes_of(WfiEventType type)
{
	static int16 first[WFI_EVENT_TYPES + 1];

	if (first[WFI_EVENT_TYPES] == 0)
	{
		int			n = 0;

		for (int i = 0; i < WFI_EVENT_TYPES; i++)
		{
			first[i] = n;
			while (n < (int) lengthof(attributes) &&
				   attributes[n].type == (WfiEventType) i)
				n++;
		}
		Assert(n == lengthof(attributes));
		first[WFI_EVENT_TYPES] = n;
	}
	return attributes + first[type];
}

/* Has a number no fraction, and does it fit? */
static bool
is_integer(const JsonbValue *value)
{
	char	   *string;
	char	   *end;

	if (value->type != jbvNumeric)
		return false;
	string = DatumGetCString(DirectFunctionCall1(numeric_out,
												 NumericGetDatum(value->val.numeric)));
	errno = 0;
	(void) strtoi64(string, &end, 10);
	return errno == 0 && *end == '\0' && *string != '\0';
}

/* Digits, perhaps with three or six decimals, and an s? */
static bool
is_duration(const JsonbValue *value)
{
	const char *chars = value->val.string.val;
	int			length;
	int			digits = 0;
	int			decimals = 0;

	if (value->type != jbvString)
		return false;
	length = value->val.string.len;
	while (digits < length && isdigit((unsigned char) chars[digits]))
		digits++;
	if (digits < length && chars[digits] == '.')
	{
		while (digits + 1 + decimals < length &&
			   isdigit((unsigned char) chars[digits + 1 + decimals]))
			decimals++;
		if (decimals != 3 && decimals != 6)
			return false;
		decimals++;
	}
	return digits > 0 && digits <= 12 && length == digits + decimals + 1 &&
		chars[length - 1] == 's';
}

/* Groups of 8, 4, 4, 4 and 12 hexadecimal digits? */
static bool
is_uuid(const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len != 36)
		return false;
	for (int i = 0; i < 36; i++)
	{
		char		c = value->val.string.val[i];

		if (i == 8 || i == 13 || i == 18 || i == 23 ? c != '-' :
			!isxdigit((unsigned char) c))
			return false;
	}
	return true;
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary &&
		JsonContainerIsObject(value->val.binary.data);
}

static bool
is_kind(const JsonbValue *value, Kind kind)
{
	switch (kind)
	{
		case TEXT:
			return value->type == jbvString && value->val.string.len > 0;
		case INTEGER:
		case ID:
		case REFERENCE:
			return is_integer(value);
		case DURATION:
			return is_duration(value);
		case UUID:
			return is_uuid(value);
		default:
			return is_object(value);
	}
}

/* Does an id among the attributes refer to an event of the right kind? */
static void
check_reference(WfiChecked *c, const WfiEvent *event,
				const Attribute *attribute)
{
	int64		target = wfi_get_int(event->attributes, attribute->name);
	const char *found;

	if (target == 0 && attribute->need != REQUIRED)
		return;
	/* what is buffered comes behind all that has an id */
	if (target < 1 || target >= c->replay->next_event_id)
		found = "no earlier event";
	else if (c->types[target] == attribute->target)
		return;
	else
		found = wfi_event_name(c->types[target]);
	wfi_finding(c, event->event_id, "reference",
				psprintf("%s: %s of %s", wfi_event_name(event->type),
						 attribute->name, wfi_event_name(attribute->target)),
				psprintf(INT64_FORMAT ", of %s", target, found));
}

/*
 * Check an event's attributes.  False when some are missing or of the wrong
 * kind, so that the event must not be reduced; all references are as good as
 * they can be then.
 */
bool
wfi_check_attributes(WfiChecked *c, const WfiEvent *event, bool buffered)
{
	const Attribute *end = attributes_of(event->type + 1);
	bool		good = true;

	if (!wfi_is_object(event->attributes))
	{
		wfi_finding(c, event->event_id, "attribute",
					psprintf("%s: attributes are an object",
							 wfi_event_name(event->type)),
					"another JSON value");
		return false;
	}
	for (const Attribute *a = attributes_of(event->type); a < end; a++)
	{
		const JsonbValue *value = wfi_get(event->attributes, a->name);
		bool		may_miss = a->need == OPTIONAL ||
		(a->need == REQUIRED_IN_HISTORY && buffered);

		if (value == NULL ? may_miss : is_kind(value, a->kind))
		{
			if (value != NULL && a->kind == REFERENCE)
				check_reference(c, event, a);
			continue;
		}
		wfi_finding(c, event->event_id, "attribute",
					psprintf("%s: %s is %s", wfi_event_name(event->type),
							 a->name, kind_names[a->kind]),
					value == NULL ? "nothing" : "another JSON value");
		good = false;
	}
	return good;
}
