/*
 * replay.c
 *	  The replay of workflow code against its history.
 *
 * Code runs through the workflow tasks of its run in order.  At each one it
 * sees the events before that task's WorkflowTaskStarted; its commands are
 * compared with the events that follow WorkflowTaskCompleted when it moves on
 * to the next.  So every decision it takes rests on the same events as when
 * it was taken first, whatever has happened since.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "replay.h"

WfiReplay  *wfi_replay = NULL;

/* Does the code know of that event? */
static bool
visible(const WfiReplay *replay, int64 event_id)
{
	return event_id != 0 &&
		event_id < wfi_replay_task(replay)->started_event_id;
}

/* The code has come to a task: from here on its random numbers may differ. */
static void
arrive(WfiReplay *replay)
{
	const WfiCodeHistory *history = replay->history;

	replay->marker_event_id = 0;
	while (replay->seed + 1 < history->n_seeds &&
		   visible(replay, history->seeds[replay->seed + 1].event_id))
	{
		replay->seed++;
		replay->random_count = 0;
	}
}

/* Before the code is run from its top: it knows nothing yet. */
void
wfi_replay_begin(WfiReplay *replay)
{
	int			n_signals = replay->history->n_signals;

	MemoryContextReset(replay->context);
	replay->signals_taken = MemoryContextAllocZero(replay->context,
												   (n_signals + 1) * sizeof(int));
	replay->n_signals = n_signals;
	replay->handles = NULL;
	replay->allocated_handles = 0;
	replay->commands = NULL;
	replay->allocated_commands = 0;
	replay->position = 0;
	replay->seed = 0;
	replay->random_count = 0;
	replay->cancel_delivered = false;
	replay->n_handles = 0;
	replay->n_commands = 0;
	replay->locals_used = 0;
	replay->wanted = NULL;
	replay->blocked = false;
	replay->raised_code = 0;
	replay->failure = NULL;
	arrive(replay);
}

/*
 * The replay of the code that calls one of our functions.  Once code has been
 * blocked, every call blocks it again: it may have caught the error.
 */
WfiReplay *
wfi_replay_here(const char *function)
{
	if (wfi_replay == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s can only be called by the code of a workflow",
						function),
				 errhint("Register a function that calls it with wf_register_workflow(), and start a workflow of that type.")));
	if (wfi_replay->blocked)
		wfi_replay_block(wfi_replay);
	return wfi_replay;
}

/* The workflow task that the code has come to. */
const WfiCodeTask *
wfi_replay_task(const WfiReplay *replay)
{
	return replay->position < replay->history->n_tasks ?
		&replay->history->tasks[replay->position] : &replay->current;
}

/* Is it the one under way, so that nothing of it is known yet? */
bool
wfi_replay_live(const WfiReplay *replay)
{
	return replay->position == replay->history->n_tasks;
}

/* End the code, by an error that PL/pgSQL's WHEN OTHERS does not catch. */
void
wfi_replay_block(WfiReplay *replay)
{
	replay->blocked = true;
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg_internal("the workflow waits")));
}

/* The code does not do what it did; the first difference counts. */
pg_noreturn static void
mismatch(WfiReplay *replay, const char *message)
{
	if (replay->mismatch == NULL)
		replay->mismatch = MemoryContextStrdup(replay->context, message);
	wfi_replay_block(replay);
}

/* Something in the code's or the history's words */
static const char *
describe(WfiEventType type, const char *id, const char *name, int64 refers_to)
{
	switch (type)
	{
		case WFI_EV_ACTIVITY_SCHEDULED:
			return psprintf("activity \"%s\" of type \"%s\"", id, name);
		case WFI_EV_ACTIVITY_CANCEL_REQUESTED:
			return psprintf("the cancellation of the activity of event "
							INT64_FORMAT, refers_to);
		case WFI_EV_TIMER_STARTED:
			return psprintf("timer \"%s\"", id);
		case WFI_EV_TIMER_CANCELED:
			return psprintf("the cancellation of timer \"%s\"", id);
		case WFI_EV_MARKER_RECORDED:
			if (name != NULL)
				return psprintf("local activity of type \"%s\"", name);
			return psprintf("marker \"%s\"", id);
		default:
			return wfi_event_name(type);
	}
}

static const char *
describe_event(const WfiCodeHistory *history, int64 event_id)
{
	const WfiSeen *seen = wfi_seen(history, event_id);

	return psprintf("%s (event " INT64_FORMAT ", %s)",
					describe(seen->type, seen->id, seen->name,
							 seen->refers_to),
					event_id, wfi_event_name(seen->type));
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Compare the commands of a completed task with the events they became. */
static void
match_commands(WfiReplay *replay)
{
	WfiCodeHistory *history = replay->history;
	int64		event_id = wfi_replay_task(replay)->completed_event_id;
	const WfiSeen *seen;

	for (int i = 0; i < replay->n_commands; i++)
	{
		const WfiCommand *command = &replay->commands[i];

		if (command->dropped)
			continue;
		seen = wfi_seen(history, ++event_id);
		if (seen == NULL || !wfi_event_of_command(seen->type))
			mismatch(replay,
					 psprintf("the code asks for %s, which the workflow task completed by event " INT64_FORMAT " did not ask for",
							  describe(command->type, command->id,
									   command->name, command->refers_to),
							  wfi_replay_task(replay)->completed_event_id));
		if (seen->type != command->type ||
			!same_text(seen->id, command->id) ||
			!same_text(seen->name, command->name) ||
			seen->refers_to != command->refers_to)
			mismatch(replay,
					 psprintf("the code asks for %s, where the history has %s",
							  describe(command->type, command->id,
									   command->name, command->refers_to),
							  describe_event(history, event_id)));
		if (command->handle >= 0)
			replay->handles[command->handle].event_id = event_id;
	}
	seen = wfi_seen(history, event_id + 1);
	if (seen != NULL && wfi_event_of_command(seen->type))
		mismatch(replay,
				 psprintf("the code does not ask for %s, which the history has",
						  describe_event(history, event_id + 1)));
	for (int i = 0; i < replay->n_commands; i++)
	{
		if (replay->commands[i].handle >= 0)
			replay->handles[replay->commands[i].handle].command = -1;
	}
	replay->n_commands = 0;
}

/*
 * The code has been kept at its wait, and the history has grown up to the
 * task in replay->task.
 */
void
wfi_replay_continue(WfiReplay *replay)
{
	const WfiPolledTask *task = replay->task;
	int			n_signals = replay->history->n_signals;

	replay->current.started_event_id = task->token.started_event_id;
	replay->current.started_time = task->started_time;
	if (n_signals > replay->n_signals)
	{
		replay->signals_taken = repalloc(replay->signals_taken,
										 n_signals * sizeof(int));
		memset(replay->signals_taken + replay->n_signals, 0,
			   (n_signals - replay->n_signals) * sizeof(int));
		replay->n_signals = n_signals;
	}
}

/* Nothing ends a wait yet: go on to the next task, if there is one. */
void
wfi_replay_go_on(WfiReplay *replay)
{
	if (wfi_replay_live(replay) && !wfi_keeper_wait(replay))
		wfi_replay_block(replay);
	match_commands(replay);
	replay->position++;
	arrive(replay);
}

/* The code has ended, which only fits the task under way. */
void
wfi_replay_check_end(WfiReplay *replay, const char *what)
{
	if (!wfi_replay_live(replay) && replay->mismatch == NULL)
		replay->mismatch =
			psprintf("the code %s in the workflow task completed by event " INT64_FORMAT ", where the history goes on",
					 what, wfi_replay_task(replay)->completed_event_id);
}

/* Has the code been asked to cancel, as far as it can know? */
bool
wfi_replay_cancel_visible(const WfiReplay *replay)
{
	return visible(replay, replay->history->cancel_event_id);
}

/*
 * Raise an error in the code.  It is remembered, as the code may let it out,
 * and some languages change it on the way.
 */
pg_noreturn static void
raise_in_code(WfiReplay *replay, int code, const char *message,
			  const char *detail)
{
	replay->raised_code = code;
	replay->raised_message = MemoryContextStrdup(replay->context, message);
	ereport(ERROR,
			(errcode(code),
			 errmsg("%s", message),
			 detail ? errdetail("%s", detail) : 0));
}

/* The code learns that it is to cancel, this once. */
pg_noreturn static void
deliver_cancel(WfiReplay *replay)
{
	replay->cancel_delivered = true;
	raise_in_code(replay, WFI_ERRCODE_CANCELED, "workflow was canceled",
				  replay->history->cancel_reason);
}

/* Has the code still to learn of that? */
bool
wfi_replay_cancel_due(const WfiReplay *replay)
{
	return !replay->cancel_delivered && wfi_replay_cancel_visible(replay);
}

/* Before a wait for something new: raise the cancel if there is one. */
void
wfi_replay_check_cancel(WfiReplay *replay)
{
	if (wfi_replay_cancel_due(replay))
		deliver_cancel(replay);
}

/* Make room for one more in an array of the replay. */
static void *
room(WfiReplay *replay, void *array, int n, int *allocated, Size size)
{
	if (n < *allocated)
		return array;
	*allocated = n == 0 ? 16 : 2 * n;
	if (array == NULL)
		return MemoryContextAlloc(replay->context, *allocated * size);
	return repalloc_huge(array, *allocated * size);
}

/*
 * Add a command; the caller sets more of it.  What it points to must live as
 * long as the replay.
 */
WfiCommand *
wfi_replay_command(WfiReplay *replay, WfiEventType type, const char *id,
				   const char *name)
{
	WfiCommand *command;

	replay->commands = room(replay, replay->commands, replay->n_commands,
							&replay->allocated_commands, sizeof(WfiCommand));
	command = &replay->commands[replay->n_commands++];
	memset(command, 0, sizeof(WfiCommand));
	command->type = type;
	command->id = id;
	command->name = name;
	command->handle = -1;
	return command;
}

/*
 * Make a handle for what a command begins, and the command; without an id it
 * gets the handle's number for one.
 */
int64
wfi_replay_new_handle(WfiReplay *replay, WfiEventType type, const char *id,
					  const char *name)
{
	WfiHandle  *handle;
	int			n = replay->n_handles;

	replay->handles = room(replay, replay->handles, n,
						   &replay->allocated_handles, sizeof(WfiHandle));
	handle = &replay->handles[n];
	replay->n_handles++;
	memset(handle, 0, sizeof(WfiHandle));
	if (id == NULL)
	{
		char		number[12];

		pg_ltoa(n + 1, number);
		id = MemoryContextStrdup(replay->context, number);
	}
	handle->type = type;
	handle->id = id;
	handle->name = name;
	handle->command = replay->n_commands;
	wfi_replay_command(replay, type, id, name)->handle = n;
	return n + 1;
}

/* A handle by its number; an error when the code has not made it. */
WfiHandle *
wfi_replay_handle(const WfiReplay *replay, int64 handle)
{
	if (handle < 1 || handle > replay->n_handles)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no handle " INT64_FORMAT, handle),
				 errhint("Handles are what wf_activity_start() and wf_timer_start() returned.")));
	return &replay->handles[handle - 1];
}

/*
 * The event that tells what came of a handle, as far as the code can know: of
 * the task for one that the code gave up.  0 when it is still to come.
 */
int64
wfi_replay_done(const WfiReplay *replay, const WfiHandle *handle)
{
	const WfiSeen *seen;

	if (handle->canceled_at != 0)
		return handle->canceled_at;
	seen = wfi_seen(replay->history, handle->event_id);
	return seen != NULL && visible(replay, seen->outcome) ? seen->outcome : 0;
}

/* The command that takes back what a handle stands for. */
static void
add_cancel_command(WfiReplay *replay, const WfiHandle *handle)
{
	WfiCommand *command;
	WfiObject	object;
	bool		activity = handle->type == WFI_EV_ACTIVITY_SCHEDULED;
	MemoryContext old;

	if (activity)
	{
		command = wfi_replay_command(replay, WFI_EV_ACTIVITY_CANCEL_REQUESTED,
									 NULL, NULL);
		command->refers_to = handle->event_id;
	}
	else
		command = wfi_replay_command(replay, WFI_EV_TIMER_CANCELED,
									 handle->id, NULL);
	if (!wfi_replay_live(replay))
		return;
	old = MemoryContextSwitchTo(replay->context);
	wfi_object_begin(&object);
	wfi_put_text(&object, "command_type", activity ?
				 "RequestCancelActivityTask" : "CancelTimer");
	if (activity)
		wfi_put_id(&object, "scheduled_event_id", handle->event_id);
	else
		wfi_put_text(&object, "timer_id", handle->id);
	command->command = wfi_object_end(&object);
	MemoryContextSwitchTo(old);
}

/*
 * Cancel what a handle stands for, in the way it was made for.  What the
 * code has asked for in this very task, is not asked for after all.  True
 * when this had an effect.
 */
bool
wfi_replay_cancel(WfiReplay *replay, WfiHandle *handle)
{
	int64		now = wfi_replay_task(replay)->started_event_id;

	if (handle->cancel_asked || wfi_replay_done(replay, handle) != 0)
		return false;
	handle->cancel_asked = true;
	if (handle->command >= 0)
	{
		replay->commands[handle->command].dropped = true;
		handle->canceled_at = now;
		return true;
	}
	if (handle->type == WFI_EV_TIMER_STARTED ||
		handle->cancellation != WFI_ABANDON)
		add_cancel_command(replay, handle);
	if (handle->type == WFI_EV_TIMER_STARTED ||
		handle->cancellation != WFI_WAIT_CANCEL)
		handle->canceled_at = now;
	return true;
}

/*
 * The workflow's cancel reaches what the code waits for; false when there is
 * still something to wait for.
 */
static bool
interrupt(WfiReplay *replay, const int64 *handles, int n)
{
	bool		reached = false;
	bool		wait = false;

	for (int i = 0; i < n; i++)
	{
		WfiHandle  *handle = wfi_replay_handle(replay, handles[i]);

		if (handle->disconnected)
			continue;
		reached = true;
		if (wfi_replay_cancel(replay, handle))
			handle->interrupted = true;
		if (handle->canceled_at == 0)
			wait = true;
	}
	return reached && !wait;
}

/* Which of the handles had an outcome first; -1 when none has. */
static int
first_done(const WfiReplay *replay, const int64 *handles, int n)
{
	int			first = -1;
	int64		first_event_id = 0;

	for (int i = 0; i < n; i++)
	{
		const WfiHandle *handle = wfi_replay_handle(replay, handles[i]);
		int64		event_id = wfi_replay_done(replay, handle);

		if (event_id != 0 && (first < 0 || event_id < first_event_id))
		{
			first = i;
			first_event_id = event_id;
		}
	}
	return first;
}

/*
 * Wait until there is an outcome of one of the handles, and say of which: of
 * several the one that came first.
 */
int
wfi_replay_await(WfiReplay *replay, const int64 *handles, int n)
{
	int			first;

	while ((first = first_done(replay, handles, n)) < 0)
	{
		if (wfi_replay_cancel_due(replay))
		{
			if (interrupt(replay, handles, n))
				deliver_cancel(replay);
			first = first_done(replay, handles, n);
			if (first >= 0)
				break;
		}
		wfi_replay_go_on(replay);
	}
	return first;
}

/* What a failure says, for the message of an error */
static const char *
failure_message(const Jsonb *failure)
{
	const char *message = failure && wfi_is_object(failure) ?
	wfi_get_text(failure, "message") : NULL;

	return message ? message : "no message";
}

/* A JSON value as text, or NULL */
static char *
json_text(Jsonb *value)
{
	return value == NULL ? NULL :
		JsonbToCString(NULL, &value->root, VARSIZE(value));
}

/* Tell the code that an activity failed; the failure is the detail. */
pg_noreturn static void
raise_failure(WfiReplay *replay, const char *name, Jsonb *failure,
			  const char *what)
{
	replay->failure = failure;
	raise_in_code(replay, WFI_ERRCODE_ACTIVITY_FAILED,
				  psprintf("activity \"%s\" %s: %s", name, what,
						   failure_message(failure)),
				  json_text(failure));
}

/*
 * What came of a handle that has an outcome: the result, NULL for a timer, or
 * an error.
 */
Jsonb *
wfi_replay_result(WfiReplay *replay, const WfiHandle *handle)
{
	const WfiSeen *seen = NULL;

	if (handle->canceled_at == 0)
		seen = wfi_seen(replay->history, wfi_replay_done(replay, handle));
	if (seen != NULL && seen->type == WFI_EV_ACTIVITY_FAILED)
		raise_failure(replay, handle->name, seen->failure, "failed");
	if (seen != NULL && seen->type == WFI_EV_ACTIVITY_TIMED_OUT)
		raise_failure(replay, handle->name, seen->failure, "timed out");
	if (seen != NULL && seen->type != WFI_EV_ACTIVITY_CANCELED)
		return seen->payload;

	if (handle->interrupted && wfi_replay_cancel_due(replay))
		deliver_cancel(replay);
	raise_in_code(replay, WFI_ERRCODE_CANCELED,
				  handle->type == WFI_EV_TIMER_STARTED ?
				  psprintf("timer \"%s\" was canceled", handle->id) :
				  psprintf("activity \"%s\" was canceled", handle->name),
				  seen ? json_text(seen->payload) : NULL);
}

/* Take the next signal of that name that has come in: its event, or 0. */
int64
wfi_replay_next_signal(WfiReplay *replay, const char *name)
{
	const WfiCodeHistory *history = replay->history;

	for (int i = 0; i < history->n_signals; i++)
	{
		const WfiSignals *signals = &history->signals[i];
		int			taken = replay->signals_taken[i];

		if (strcmp(signals->name, name) != 0)
			continue;
		if (taken == signals->n || !visible(replay, signals->event_ids[taken]))
			return 0;
		replay->signals_taken[i]++;
		return signals->event_ids[taken];
	}
	return 0;
}

/* The next marker of a completed task that a local activity left, or NULL. */
static WfiSeen *
next_marker(WfiReplay *replay)
{
	int64		event_id = replay->marker_event_id;
	WfiSeen    *seen;

	if (event_id == 0)
		event_id = wfi_replay_task(replay)->completed_event_id;
	while ((seen = wfi_seen(replay->history, ++event_id)) != NULL &&
		   wfi_event_of_command(seen->type))
	{
		replay->marker_event_id = event_id;
		if (seen->type == WFI_EV_MARKER_RECORDED &&
			same_text(seen->id, "LocalActivity"))
			return seen;
	}
	return NULL;
}

/* The command that records what a local activity did, made but once. */
static Jsonb *
marker_command(WfiReplay *replay, WfiLocalActivity *local)
{
	WfiObject	object;
	MemoryContext old;

	if (local->command != NULL)
		return local->command;
	old = MemoryContextSwitchTo(replay->task_context);
	wfi_object_begin(&object);
	wfi_put_text(&object, "command_type", "RecordMarker");
	wfi_put_text(&object, "marker_name", "LocalActivity");
	wfi_object_nested(&object, "details");
	wfi_put_text(&object, "activity_type", local->name);
	wfi_put_json(&object, "result", local->result);
	wfi_object_nested_end(&object);
	wfi_put_json(&object, "failure", local->failure);
	local->command = wfi_object_end(&object);
	MemoryContextSwitchTo(old);
	return local->command;
}

/* Have a local activity run, and end the code for that. */
pg_noreturn static void
want_local(WfiReplay *replay, const WfiLocalActivity *wanted)
{
	MemoryContext old = MemoryContextSwitchTo(replay->task_context);
	WfiLocalActivity *local = palloc0(sizeof(WfiLocalActivity));

	local->name = pstrdup(wanted->name);
	if (wanted->task_queue != NULL)
		local->task_queue = pstrdup(wanted->task_queue);
	if (wanted->input != NULL)
		local->input = DatumGetJsonbPCopy(JsonbPGetDatum(wanted->input));
	replay->wanted = local;
	MemoryContextSwitchTo(old);
	wfi_replay_block(replay);
}

/*
 * The result of a local activity.  One that has not been run ends the code,
 * which is run again when it has: what it writes must outlive the code.
 */
Jsonb *
wfi_replay_local(WfiReplay *replay, const WfiLocalActivity *wanted)
{
	WfiCommand *command;
	Jsonb	   *result;
	Jsonb	   *failure;

	if (wfi_replay_live(replay))
	{
		WfiLocalActivity *local;

		if (replay->locals_used == list_length(replay->locals))
			want_local(replay, wanted);
		local = list_nth(replay->locals, replay->locals_used++);
		if (!same_text(local->name, wanted->name))
			mismatch(replay,
					 psprintf("the code asks for %s, where it asked for %s when the same workflow task began",
							  describe(WFI_EV_MARKER_RECORDED, NULL,
									   wanted->name, 0),
							  describe(WFI_EV_MARKER_RECORDED, NULL,
									   local->name, 0)));
		command = wfi_replay_command(replay, WFI_EV_MARKER_RECORDED,
									 "LocalActivity", wanted->name);
		command->command = marker_command(replay, local);
		result = local->result;
		failure = local->failure;
	}
	else
	{
		WfiSeen    *marker = next_marker(replay);

		if (marker == NULL)
			mismatch(replay,
					 psprintf("the code asks for %s, which the workflow task completed by event " INT64_FORMAT " did not ask for",
							  describe(WFI_EV_MARKER_RECORDED, NULL,
									   wanted->name, 0),
							  wfi_replay_task(replay)->completed_event_id));
		wfi_replay_command(replay, WFI_EV_MARKER_RECORDED, "LocalActivity",
						   wanted->name);
		result = marker->payload;
		failure = marker->failure;
	}
	if (failure != NULL)
		raise_failure(replay, wanted->name, failure, "failed");
	return result;
}

/*
 * The next 128 bits of the run's own sequence of random numbers, which the
 * code of a run that is reset from here on will not see again.
 */
void
wfi_replay_random(WfiReplay *replay, pg_uuid_t *bits)
{
	pg_uuid_t	block = replay->history->seeds[replay->seed].uuid;
	uint64		count = ++replay->random_count;

	for (int i = 0; i < 8; i++)
		block.data[i] ^= (unsigned char) (count >> (8 * i));
	wfi_hash_secret(&block, bits);
}
