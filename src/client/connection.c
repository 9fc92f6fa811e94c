/*
 * connection.c
 *	  The one connection to the database.
 *
 * Connecting, and the few statements that prepare the session, wait for the
 * server: libpq's time-out for each of several hosts works only so.  It is
 * bounded by connect_timeout.  From then on nothing here waits: a statement
 * is sent with wfi_send(), and wfi_receive(), called whenever the socket has
 * something, returns its result once that is complete.
 */
#include "wf_worker.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_DELAY_MS		100
#define MAX_DELAY_MS		5000

/* for each host, when neither the user nor the environment says otherwise */
#define CONNECT_TIMEOUT		"10"

#define EXTENSION			"workflow_interrupt"

/* needs the empty search path */
static const char find_sql[] =
"SELECT n.nspname, coalesce($1::text,"
" nullif(current_setting('" EXTENSION ".namespace', true), ''), 'default')"
" FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
" WHERE e.extname = '" EXTENSION "'";

/* of our task queue, and of this worker */
static const char channels_sql[] =
"SELECT %s.wf_channel('workflow', $1::text),"
" %s.wf_channel('activity', $1::text),"
" %s.wf_channel('worker', $2::text)";

/*
 * A run that somebody keeps locked must not keep the heartbeats of others
 * from being sent in time.
 */
static const char lock_timeout_sql[] =
"SELECT set_config('lock_timeout', '100ms', false)"
" WHERE current_setting('lock_timeout') = '0'";

/*
 * Notices are warnings about workflows that the replies' results tell, too.
 */
static void
receive_notice(void *arg, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	(void) arg;
	wfi_log(WFI_LOG_INFO, "server: %s", message != NULL ? message : "");
}

/*
 * The primary message of a failed statement, which tells no payloads (the
 * detail may), or libpq's own when the server sent none.
 */
const char *
wfi_error_message(const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	return message != NULL ? message : PQresultErrorMessage(result);
}

/*
 * What to do about a failed statement.  An error that libpq made up has no
 * SQLSTATE; it is worth a repetition.
 */
WfiErrorClass
wfi_classify_error(const PGresult *result)
{
	static const struct
	{
		const char *prefix;		/* of the SQLSTATE */
		WfiErrorClass class;
	}			classes[] = {
		{"WF003", WFI_ERROR_STALE}, /* the run is closed */
		{"WF005", WFI_ERROR_STALE}, /* so is the task */
		{"08", WFI_ERROR_RECONNECT},	/* connection */
		{"25006", WFI_ERROR_RECONNECT}, /* the server became a standby */
		{"57P", WFI_ERROR_RECONNECT},	/* shutdown */
		{"40", WFI_ERROR_RETRY},	/* deadlock, serialization */
		{"53", WFI_ERROR_RETRY},	/* out of something */
		{"55P03", WFI_ERROR_LOCKED},	/* lock_timeout */
		{"57014", WFI_ERROR_RETRY}, /* canceled, statement_timeout */
		{"58", WFI_ERROR_RETRY},	/* input or output failed */
		{"WF002", WFI_ERROR_FATAL}, /* no such namespace */
		{"3F000", WFI_ERROR_FATAL}, /* no such schema */
		{"42501", WFI_ERROR_FATAL}, /* insufficient privilege */
		{"42883", WFI_ERROR_FATAL}	/* no such function */
	};
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (sqlstate == NULL)
		return WFI_ERROR_RETRY;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
	{
		if (strncmp(sqlstate, classes[i].prefix,
					strlen(classes[i].prefix)) == 0)
			return classes[i].class;
	}
	return WFI_ERROR_REFUSED;
}

/*
 * Postpones the next connection, or statement, by a delay that doubles with
 * each call until wfi_reset_back_off().
 */
void
wfi_back_off(WfiConnection *connection)
{
	if (connection->retry_delay == 0)
		connection->retry_delay = FIRST_DELAY_MS;
	connection->retry_time = wfi_now() + connection->retry_delay;
	connection->retry_delay *= 2;
	if (connection->retry_delay > MAX_DELAY_MS)
		connection->retry_delay = MAX_DELAY_MS;
}

/*
 * To be called when the server did what it was asked for.
 */
void
wfi_reset_back_off(WfiConnection *connection)
{
	connection->retry_time = 0;
	connection->retry_delay = 0;
}

/*
 * Forgets the notifications about running activities.
 */
void
wfi_clear_pushes(WfiConnection *connection)
{
	for (int i = 0; i < connection->npushes; i++)
		free(connection->pushes[i]);
	connection->npushes = 0;
	connection->pushes_lost = false;
}

/*
 * Closes the connection, if there is one, and forgets the running statement.
 */
void
wfi_disconnect(WfiConnection *connection)
{
	PQclear(connection->result);
	connection->result = NULL;
	PQfinish(connection->conn);
	connection->conn = NULL;
	connection->busy = false;
	connection->want_write = false;
}

/*
 * Forgets the names of the channels.
 */
static void
free_channels(WfiConnection *connection)
{
	for (int kind = 0; kind < WFI_KINDS; kind++)
	{
		free(connection->channels[kind]);
		connection->channels[kind] = NULL;
	}
	free(connection->worker_channel);
	connection->worker_channel = NULL;
}

/*
 * Closes the connection for good.
 */
void
wfi_connection_free(WfiConnection *connection)
{
	wfi_disconnect(connection);
	wfi_clear_pushes(connection);
	free_channels(connection);
	free(connection->schema);
	free(connection->namespace_name);
	free(connection->last_error);
	memset(connection, 0, sizeof(*connection));
}

/*
 * Ends a failed attempt to connect: the message is logged unless it is the
 * same as the last time.  The first attempt of all is not repeated, hence an
 * error in any case.
 */
static WfiConnectResult
connect_failed(WfiConnection *connection, WfiConnectResult result,
			   const char *message)
{
	char	   *line = wfi_one_line(message);

	if (connection->last_error == NULL ||
		strcmp(connection->last_error, line) != 0)
		wfi_log(result == WFI_CONNECT_RETRY && connection->restoring ?
				WFI_LOG_WARNING : WFI_LOG_ERROR, "%s", line);
	free(connection->last_error);
	connection->last_error = line;
	wfi_disconnect(connection);
	wfi_back_off(connection);
	return result;
}

/*
 * The same for a statement.  Errors that a standby or a server that starts
 * or stops gives are no reason to give up.
 */
static WfiConnectResult
statement_failed(WfiConnection *connection, PGresult *result)
{
	WfiConnectResult outcome = WFI_CONNECT_RETRY;
	char	   *message = wfi_strdup(wfi_error_message(result));

	if (PQstatus(connection->conn) == CONNECTION_OK)
	{
		WfiErrorClass class = wfi_classify_error(result);

		if (class == WFI_ERROR_FATAL || class == WFI_ERROR_REFUSED)
			outcome = WFI_CONNECT_FATAL;
	}
	PQclear(result);
	outcome = connect_failed(connection, outcome, message);
	free(message);
	return outcome;
}

/*
 * Opens the connection, without preparing the session.
 */
static PGconn *
open_connection(const WfiOptions *options)
{
	const char *const keywords[] = {
		"host", "port", "user", "dbname",
		"client_encoding", "fallback_application_name", NULL
	};
	const char *const values[] = {
		options->host, options->port, options->user, options->dbname,
		"UTF8", "wf_worker", NULL
	};
	bool		own_timeout = getenv("PGCONNECT_TIMEOUT") == NULL;
	PGconn	   *conn;

	/* of all places, the environment is the one libpq looks at last */
	if (own_timeout)
		setenv("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT, 1);
	conn = PQconnectdbParams(keywords, values, true);
	if (own_timeout)
		unsetenv("PGCONNECT_TIMEOUT");
	return conn;
}

/*
 * A name as a quoted identifier, malloc'd.
 */
static char *
quote_name(PGconn *conn, const char *name)
{
	char	   *quoted = PQescapeIdentifier(conn, name, strlen(name));
	char	   *copy;

	/* fails only for lack of memory: the server has just sent the name */
	copy = wfi_strdup(quoted != NULL ? quoted : "");
	PQfreemem(quoted);
	return copy;
}

/*
 * Finds out where the extension's functions are, and which namespace is
 * meant.  No other name depends on the session's search path any more.
 */
static WfiConnectResult
find_extension(WfiConnection *connection, const WfiOptions *options)
{
	PGconn	   *conn = connection->conn;
	PGresult   *result;
	char	   *text;

	result = PQexec(conn,
					"SELECT pg_catalog.set_config('search_path', '', false)");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return statement_failed(connection, result);
	PQclear(result);

	result = PQexecParams(conn, find_sql, 1, NULL, &options->namespace_name,
						  NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return statement_failed(connection, result);
	if (PQntuples(result) == 0)
	{
		PQclear(result);
		text = wfi_format("extension \"%s\" is not installed in database \"%s\"",
						  EXTENSION, PQdb(conn));
		connect_failed(connection, WFI_CONNECT_FATAL, text);
		free(text);
		wfi_log(WFI_LOG_HINT,
				"Use CREATE EXTENSION %s in that database, or connect to another one.",
				EXTENSION);
		return WFI_CONNECT_FATAL;
	}

	free(connection->schema);
	connection->schema = quote_name(conn, PQgetvalue(result, 0, 0));
	free(connection->namespace_name);
	connection->namespace_name = wfi_strdup(PQgetvalue(result, 0, 1));
	PQclear(result);
	return WFI_CONNECT_OK;
}

/*
 * Listens on a channel.
 */
static WfiConnectResult
listen_on(WfiConnection *connection, const char *channel)
{
	char	   *name = quote_name(connection->conn, channel);
	char	   *sql = wfi_format("LISTEN %s", name);
	PGresult   *result = PQexec(connection->conn, sql);

	free(sql);
	free(name);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return statement_failed(connection, result);
	PQclear(result);
	return WFI_CONNECT_OK;
}

/*
 * Listens for the work we look for on our task queue, and for news about the
 * activities we run.
 */
static WfiConnectResult
listen_to_queue(WfiConnection *connection, const WfiOptions *options)
{
	PGconn	   *conn = connection->conn;
	const char *values[2];
	WfiConnectResult outcome = WFI_CONNECT_OK;
	PGresult   *result;
	char	   *sql;

	values[0] = options->task_queue;
	values[1] = options->identity;
	sql = wfi_format(channels_sql, connection->schema, connection->schema,
					 connection->schema);
	result = PQexecParams(conn, sql, 2, NULL, values, NULL, NULL, 0);
	free(sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return statement_failed(connection, result);
	free_channels(connection);
	for (int kind = 0; kind < WFI_KINDS; kind++)
	{
		if (options->slots[kind] > 0)
			connection->channels[kind] = wfi_strdup(PQgetvalue(result, 0, kind));
	}
	if (options->slots[WFI_ACTIVITY] > 0)
		connection->worker_channel = wfi_strdup(PQgetvalue(result, 0,
														   WFI_KINDS));
	PQclear(result);

	for (int kind = 0; kind < WFI_KINDS && outcome == WFI_CONNECT_OK; kind++)
	{
		if (connection->channels[kind] != NULL)
			outcome = listen_on(connection, connection->channels[kind]);
	}
	if (connection->worker_channel == NULL || outcome != WFI_CONNECT_OK)
		return outcome;
	result = PQexec(conn, lock_timeout_sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return statement_failed(connection, result);
	PQclear(result);
	return listen_on(connection, connection->worker_channel);
}

/*
 * Connects and listens.  Whatever became available before that, the caller
 * finds by polling once.  On failure the reason was logged, there is no
 * connection, and the next attempt should wait for retry_time.
 */
WfiConnectResult
wfi_connect(WfiConnection *connection, const WfiOptions *options)
{
	const char *encoding;
	WfiConnectResult outcome;

	connection->conn = open_connection(options);
	if (PQstatus(connection->conn) != CONNECTION_OK)
	{
		char	   *message = wfi_strdup(PQerrorMessage(connection->conn));

		outcome = connect_failed(connection, WFI_CONNECT_RETRY, message);
		free(message);
		return outcome;
	}
	PQsetNoticeReceiver(connection->conn, receive_notice, NULL);
	outcome = find_extension(connection, options);
	if (outcome == WFI_CONNECT_OK)
		outcome = listen_to_queue(connection, options);
	if (outcome != WFI_CONNECT_OK)
		return outcome;

	if (PQsetnonblocking(connection->conn, 1) != 0)
		return connect_failed(connection, WFI_CONNECT_RETRY,
							  "out of memory");
	encoding = PQparameterStatus(connection->conn, "server_encoding");
	connection->utf8 = encoding != NULL && strcmp(encoding, "UTF8") == 0;
	free(connection->last_error);
	connection->last_error = NULL;
	if (connection->restoring)
		wfi_log(WFI_LOG_WARNING, "connection restored");
	connection->restoring = true;
	return WFI_CONNECT_OK;
}

/*
 * What poll(2) has to look for on the connection's socket.
 */
short
wfi_connection_events(const WfiConnection *connection)
{
	return connection->want_write ? POLLIN | POLLOUT : POLLIN;
}

/*
 * Reports that the connection broke and closes it.
 */
static void
connection_lost(WfiConnection *connection)
{
	wfi_log(WFI_LOG_WARNING, "connection lost: %s",
			PQerrorMessage(connection->conn));
	wfi_disconnect(connection);
	wfi_back_off(connection);
}

/*
 * Starts a statement.  False when the connection broke, it is closed then.
 */
bool
wfi_send(WfiConnection *connection, const char *sql, int nparams,
		 const char *const *values, const int *lengths, const int *formats)
{
	int			unsent = -1;

	if (PQsendQueryParams(connection->conn, sql, nparams, NULL, values,
						  lengths, formats, 0))
		unsent = PQflush(connection->conn);
	if (unsent < 0)
	{
		connection_lost(connection);
		return false;
	}
	connection->busy = true;
	connection->want_write = unsent > 0;
	return true;
}

/*
 * Keeps what was sent to this worker, in bounds.
 */
static void
keep_push(WfiConnection *connection, const char *payload)
{
	if (connection->npushes < WFI_MAX_PUSHES)
		connection->pushes[connection->npushes++] = wfi_strdup(payload);
	else
		connection->pushes_lost = true;
}

/*
 * Takes all notifications there are.  Those of a task queue mean that a poll
 * may find something, whatever they contain.
 */
static void
take_notifications(WfiConnection *connection)
{
	PGnotify   *notify;

	while ((notify = PQnotifies(connection->conn)) != NULL)
	{
		if (connection->worker_channel != NULL &&
			strcmp(notify->relname, connection->worker_channel) == 0)
			keep_push(connection, notify->extra);
		for (int kind = 0; kind < WFI_KINDS; kind++)
		{
			if (connection->channels[kind] != NULL &&
				strcmp(notify->relname, connection->channels[kind]) == 0)
				connection->notified[kind] = true;
		}
		PQfreemem(notify);
	}
}

/*
 * Sends and reads what can be without waiting.  Returns the result of the
 * running statement when it is complete, else NULL.  The connection is
 * closed when it broke.  A result that came before that but without the
 * server's word that it is ready again is dropped: nothing may have been
 * committed.
 */
PGresult *
wfi_receive(WfiConnection *connection)
{
	PGconn	   *conn = connection->conn;
	int			unsent = PQflush(conn);

	if (!PQconsumeInput(conn) || unsent < 0)
	{
		connection_lost(connection);
		return NULL;
	}
	connection->want_write = unsent > 0;
	take_notifications(connection);

	while (connection->busy && !PQisBusy(conn))
	{
		PGresult   *result = PQgetResult(conn);

		if (result != NULL)
		{
			PQclear(connection->result);
			connection->result = result;
			continue;
		}
		if (PQstatus(conn) != CONNECTION_OK)
			break;
		take_notifications(connection);
		result = connection->result;
		connection->result = NULL;
		connection->busy = false;
		return result;
	}
	if (PQstatus(conn) != CONNECTION_OK)
		connection_lost(connection);
	return NULL;
}
