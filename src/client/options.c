/*
 * options.c
 *	  The command line.
 *
 * What can be wrong with it is reported here, in the manner of PostgreSQL's
 * own programs, and ends the program with status 1.
 */
#include "wf_worker.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CONCURRENT_LIMIT	1000	/* the server gives no more at once */
#define MAX_SECONDS				86400.0

/* options that have no short form */
enum
{
	OPT_TASK_QUEUE = 1000,
	OPT_WORKFLOW,
	OPT_ACTIVITY,
	OPT_NAMESPACE,
	OPT_IDENTITY,
	OPT_POLL_INTERVAL,
	OPT_MAX_CONCURRENT,
	OPT_MAX_ACTIVITIES,
	OPT_GRACE_PERIOD,
	OPT_TASK_TIMEOUT,
	OPT_EXIT_WHEN_EMPTY,
	OPT_HELP
};

static const struct option long_options[] = {
	{"task-queue", required_argument, NULL, OPT_TASK_QUEUE},
	{"workflow", required_argument, NULL, OPT_WORKFLOW},
	{"activity", required_argument, NULL, OPT_ACTIVITY},
	{"namespace", required_argument, NULL, OPT_NAMESPACE},
	{"identity", required_argument, NULL, OPT_IDENTITY},
	{"poll-interval", required_argument, NULL, OPT_POLL_INTERVAL},
	{"max-concurrent", required_argument, NULL, OPT_MAX_CONCURRENT},
	{"max-activities", required_argument, NULL, OPT_MAX_ACTIVITIES},
	{"grace-period", required_argument, NULL, OPT_GRACE_PERIOD},
	{"task-timeout", required_argument, NULL, OPT_TASK_TIMEOUT},
	{"exit-when-empty", no_argument, NULL, OPT_EXIT_WHEN_EMPTY},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, OPT_HELP},
	{"dbname", required_argument, NULL, 'd'},
	{"host", required_argument, NULL, 'h'},
	{"port", required_argument, NULL, 'p'},
	{"username", required_argument, NULL, 'U'},
	{NULL, 0, NULL, 0}
};

static void usage_error(const char *fmt,...) WFI_PRINTF(1, 2) WFI_NORETURN;

/*
 * Prints what --help promises.
 */
static void
print_help(void)
{
	printf("%s runs workflow tasks and activities of a PostgreSQL database as processes.\n\n",
		   wfi_progname);
	printf("Usage:\n");
	printf("  %s [OPTION]... --task-queue=QUEUE --workflow=TYPE=COMMAND...\n"
		   "            --activity=TYPE=COMMAND...\n",
		   wfi_progname);
	printf("\nTasks:\n");
	printf("  --task-queue=QUEUE       task queue to take tasks from\n");
	printf("  --workflow=TYPE=COMMAND  shell command for workflow tasks of this type;\n"
		   "                           may be repeated for other types\n");
	printf("  --activity=TYPE=COMMAND  shell command for activities of this type;\n"
		   "                           may be repeated for other types\n");
	printf("  --namespace=NAME         namespace (default: the server's setting\n"
		   "                           workflow_interrupt.namespace)\n");
	printf("  --identity=NAME          this worker's name in histories (default: pid@host)\n");
	printf("  --max-concurrent=NUM     commands of workflows, and of activities, that may\n"
		   "                           run at once (default: 4)\n");
	printf("  --max-activities=NUM     the same for activities alone (default: as\n"
		   "                           --max-concurrent)\n");
	printf("  --task-timeout=SECONDS   end a workflow's command that runs longer (default:\n"
		   "                           600; 0 for no limit)\n");
	printf("  --grace-period=SECONDS   what a canceled activity's command gets between\n"
		   "                           SIGTERM and SIGKILL (default: 10)\n");
	printf("  --poll-interval=SECONDS  look for tasks at least this often, even without\n"
		   "                           a notification (default: 5)\n");
	printf("  --exit-when-empty        end when no task is left, instead of waiting\n");
	printf("\nConnection:\n");
	printf("  -d, --dbname=CONNSTR     database name, connection string or URI\n");
	printf("  -h, --host=HOSTNAME      server host or socket directory\n");
	printf("  -p, --port=PORT          server port\n");
	printf("  -U, --username=NAME      user name\n");
	printf("\nGeneral:\n");
	printf("  -v, --verbose            log every task\n");
	printf("  -V, --version            output version information, then exit\n");
	printf("  -?, --help               show this help, then exit\n");
	printf("\nA workflow's command gets the task as one JSON object on standard input and\n"
		   "writes workflow commands as a JSON array to standard output.  An activity's\n"
		   "command gets the input, writes the result, and details of its progress, one\n"
		   "line each, to descriptor 3.\n");
}

/*
 * Reports a wrong command line and ends the program.
 */
static void
usage_error(const char *fmt,...)
{
	va_list		args;

	fprintf(stderr, "%s: error: ", wfi_progname);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n%s: hint: Try \"%s --help\" for more information.\n",
			wfi_progname, wfi_progname);
	exit(EXIT_FAILURE);
}

/*
 * The value of an option that takes seconds, in milliseconds.
 */
static WfiTime
parse_seconds(const char *option, const char *value, bool zero_ok)
{
	char	   *end;
	double		seconds;

	errno = 0;
	seconds = strtod(value, &end);
	if (end == value || *end != '\0' || errno != 0 || !isfinite(seconds))
		usage_error("invalid value \"%s\" for option %s", value, option);
	if (zero_ok && seconds == 0)
		return 0;
	if (seconds < 0.001 || seconds > MAX_SECONDS)
		usage_error("%s must be in range 0.001..%.0f", option, MAX_SECONDS);
	return (WfiTime) (seconds * 1000);
}

/*
 * The value of an option that takes a number of commands.
 */
static int
parse_count(const char *option, const char *value)
{
	char	   *end;
	long		count;

	errno = 0;
	count = strtol(value, &end, 10);
	if (end == value || *end != '\0')
		usage_error("invalid value \"%s\" for option %s", value, option);
	if (errno != 0 || count < 1 || count > MAX_CONCURRENT_LIMIT)
		usage_error("%s must be in range 1..%d", option, MAX_CONCURRENT_LIMIT);
	return (int) count;
}

/*
 * The value of an option that takes a name.
 */
static const char *
parse_name(const char *option, const char *value)
{
	if (*value == '\0')
		usage_error("option %s must not be empty", option);
	return value;
}

/*
 * Adds the handler that an option TYPE=COMMAND describes.
 */
static void
add_handler(WfiOptions *options, WfiKind kind, const char *option,
			const char *value)
{
	const char *equals = strchr(value, '=');
	WfiHandler *handler;
	char	   *type;

	if (equals == NULL)
		usage_error("option %s needs TYPE=COMMAND, got \"%s\"", option, value);
	if (equals == value)
		usage_error("option %s has no type before \"=\"", option);
	if (equals[1 + strspn(equals + 1, " \t\n")] == '\0')
		usage_error("option %s has no command after \"=\"", option);
	type = wfi_format("%.*s", (int) (equals - value), value);
	if (wfi_find_handler(options, kind, type) != NULL)
		usage_error("option %s is given twice for type \"%s\"", option, type);

	options->handlers = wfi_realloc(options->handlers,
									sizeof(WfiHandler) *
									((size_t) options->nhandlers + 1));
	handler = &options->handlers[options->nhandlers++];
	handler->kind = kind;
	handler->type = type;
	handler->command = wfi_strdup(equals + 1);
}

/*
 * What --identity is when it is not given.
 */
static char *
default_identity(void)
{
	char		host[256];

	if (gethostname(host, sizeof(host)) != 0)
		strcpy(host, "unknown");
	host[sizeof(host) - 1] = '\0';
	return wfi_format("%d@%s", (int) getpid(), host);
}

/*
 * Applies one option that getopt_long() found.
 */
static void
apply_option(WfiOptions *options, int option)
{
	switch (option)
	{
		case OPT_TASK_QUEUE:
			options->task_queue = parse_name("--task-queue", optarg);
			break;
		case OPT_WORKFLOW:
			add_handler(options, WFI_WORKFLOW, "--workflow", optarg);
			break;
		case OPT_ACTIVITY:
			add_handler(options, WFI_ACTIVITY, "--activity", optarg);
			break;
		case OPT_NAMESPACE:
			options->namespace_name = parse_name("--namespace", optarg);
			break;
		case OPT_IDENTITY:
			free(options->identity);
			options->identity = wfi_strdup(parse_name("--identity", optarg));
			break;
		case OPT_POLL_INTERVAL:
			options->poll_interval = parse_seconds("--poll-interval", optarg,
												   false);
			break;
		case OPT_MAX_CONCURRENT:
			options->slots[WFI_WORKFLOW] = parse_count("--max-concurrent",
													   optarg);
			break;
		case OPT_MAX_ACTIVITIES:
			options->slots[WFI_ACTIVITY] = parse_count("--max-activities",
													   optarg);
			break;
		case OPT_GRACE_PERIOD:
			options->grace_period = parse_seconds("--grace-period", optarg,
												  true);
			break;
		case OPT_TASK_TIMEOUT:
			options->task_timeout = parse_seconds("--task-timeout", optarg,
												  true);
			break;
		case OPT_EXIT_WHEN_EMPTY:
			options->exit_when_empty = true;
			break;
		case OPT_HELP:
			print_help();
			exit(EXIT_SUCCESS);
		case 'V':
			printf("wf_worker (workflow_interrupt) %s\n", WFI_VERSION);
			exit(EXIT_SUCCESS);
		case 'v':
			wfi_verbose = true;
			break;
		case 'd':
			options->dbname = optarg;
			break;
		case 'h':
			options->host = optarg;
			break;
		case 'p':
			options->port = optarg;
			break;
		case 'U':
			options->user = optarg;
			break;
		default:
			/* getopt_long() has said what is wrong */
			fprintf(stderr,
					"%s: hint: Try \"%s --help\" for more information.\n",
					wfi_progname, wfi_progname);
			exit(EXIT_FAILURE);
	}
}

/*
 * Is there a command for anything of this kind?
 */
static bool
has_handler(const WfiOptions *options, WfiKind kind)
{
	for (int i = 0; i < options->nhandlers; i++)
	{
		if (options->handlers[i].kind == kind)
			return true;
	}
	return false;
}

/*
 * Fills *options from the command line.  Does not return when the command
 * line is wrong or asks for help or the version.
 */
void
wfi_parse_options(WfiOptions *options, int argc, char **argv)
{
	int			option;

	/* getopt_long() cannot tell this from a wrong option */
	if (argc > 1 && strcmp(argv[1], "-?") == 0)
	{
		print_help();
		exit(EXIT_SUCCESS);
	}

	memset(options, 0, sizeof(*options));
	options->identity = default_identity();
	options->poll_interval = 5000;
	options->task_timeout = 600000;
	options->grace_period = 10000;
	options->slots[WFI_WORKFLOW] = 4;

	while ((option = getopt_long(argc, argv, "d:h:p:U:vV", long_options,
								 NULL)) != -1)
		apply_option(options, option);

	if (optind < argc)
		usage_error("too many command-line arguments (first is \"%s\")",
					argv[optind]);
	if (options->task_queue == NULL)
		usage_error("no task queue specified");
	if (options->nhandlers == 0)
		usage_error("no workflow type or activity type specified");

	if (options->slots[WFI_ACTIVITY] == 0)
		options->slots[WFI_ACTIVITY] = options->slots[WFI_WORKFLOW];
	for (int kind = 0; kind < WFI_KINDS; kind++)
	{
		if (!has_handler(options, (WfiKind) kind))
			options->slots[kind] = 0;
	}
}

/*
 * The handler for tasks of this kind and type, NULL when there is none.
 */
const WfiHandler *
wfi_find_handler(const WfiOptions *options, WfiKind kind, const char *type)
{
	for (int i = 0; i < options->nhandlers; i++)
	{
		const WfiHandler *handler = &options->handlers[i];

		if (handler->kind == kind && strcmp(handler->type, type) == 0)
			return handler;
	}
	return NULL;
}

/*
 * Releases what wfi_parse_options() allocated.
 */
void
wfi_free_options(WfiOptions *options)
{
	for (int i = 0; i < options->nhandlers; i++)
	{
		free(options->handlers[i].type);
		free(options->handlers[i].command);
	}
	free(options->handlers);
	free(options->identity);
}
