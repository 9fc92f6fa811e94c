/*
 * main.c
 *	  Start of wf_worker.
 */
#include "wf_worker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* descriptors that are not pipes to commands: plenty for libpq and all else */
#define OTHER_FDS			32

/*
 * Makes sure that descriptors 0 to 2 are open, so that pipes get others.
 */
static void
open_standard_descriptors(void)
{
	int			fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/*
 * Raises the limit on open files as far as this many commands need.
 */
static bool
allow_open_files(int max_commands)
{
	rlim_t		needed = (rlim_t) max_commands * WFI_PROCESS_FDS + OTHER_FDS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
		limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= needed)
		return true;
	if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= needed)
	{
		limit.rlim_cur = needed;
		if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
			return true;
	}
	fprintf(stderr,
			"%s: error: %d commands at once need %lu open files, the system allows %lu\n",
			wfi_progname, max_commands, (unsigned long) needed,
			(unsigned long) limit.rlim_max);
	return false;
}

int
main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	WfiOptions	options;
	int			status;

	wfi_progname = slash != NULL ? slash + 1 : argv[0];
	open_standard_descriptors();
	wfi_parse_options(&options, argc, argv);
	if (!allow_open_files(options.slots[WFI_WORKFLOW] +
						  options.slots[WFI_ACTIVITY]))
		return EXIT_FAILURE;

	status = wfi_run(&options);
	wfi_free_options(&options);
	return status;
}
