/*
 * util.c
 *	  Logging, time, memory and text.
 *
 * Log lines go to standard error.  They name workflows and tell what became
 * of their tasks, but never contain what commands read or write.
 */
#include "wf_worker.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *wfi_progname = "wf_worker";
bool		wfi_verbose = false;

static const char *const level_names[] = {
	[WFI_LOG_INFO] = "info",
	[WFI_LOG_WARNING] = "warning",
	[WFI_LOG_ERROR] = "error",
	[WFI_LOG_HINT] = "hint"
};

/*
 * Writes one line with time, process id and level to standard error.  Line
 * breaks in the message (libpq's have some) become spaces.
 */
void
wfi_log(WfiLogLevel level, const char *fmt,...)
{
	struct timespec now;
	struct tm	local;
	char		stamp[32];
	char		zone[16];
	char	   *message;
	char	   *line;
	va_list		args;

	if (level == WFI_LOG_INFO && !wfi_verbose)
		return;

	va_start(args, fmt);
	message = wfi_format_args(fmt, args);
	va_end(args);
	line = wfi_one_line(message);

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &local);
	strftime(zone, sizeof(zone), "%Z", &local);
	fprintf(stderr, "%s.%03d %s [%d] %s: %s: %s\n", stamp,
			(int) (now.tv_nsec / 1000000), zone, (int) getpid(), wfi_progname,
			level_names[level], line);
	free(line);
	free(message);
}

/*
 * Milliseconds since some moment in the past; never goes back.
 */
WfiTime
wfi_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (WfiTime) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Ends the program: there is no memory.  Without it nothing can be replied,
 * so tasks at work are left to their time-outs.
 */
static void WFI_NORETURN
out_of_memory(void)
{
	fprintf(stderr, "%s: error: out of memory\n", wfi_progname);
	exit(EXIT_FAILURE);
}

/*
 * malloc() that never returns NULL.
 */
void *
wfi_malloc(size_t size)
{
	void	   *pointer = malloc(size > 0 ? size : 1);

	if (pointer == NULL)
		out_of_memory();
	return pointer;
}

/*
 * realloc() that never returns NULL.
 */
void *
wfi_realloc(void *pointer, size_t size)
{
	pointer = realloc(pointer, size > 0 ? size : 1);
	if (pointer == NULL)
		out_of_memory();
	return pointer;
}

/*
 * strdup() that never returns NULL.
 */
char *
wfi_strdup(const char *string)
{
	size_t		size = strlen(string) + 1;

	return memcpy(wfi_malloc(size), string, size);
}

/*
 * sprintf() into new memory.
 */
char *
wfi_format(const char *fmt,...)
{
	char	   *text;
	va_list		args;

	va_start(args, fmt);
	text = wfi_format_args(fmt, args);
	va_end(args);
	return text;
}

/*
 * vsprintf() into new memory.
 */
char *
wfi_format_args(const char *fmt, va_list args)
{
	va_list		copy;
	int			length;
	char	   *text;

	va_copy(copy, args);
	length = vsnprintf(NULL, 0, fmt, copy);
	va_end(copy);
	if (length < 0)
		return wfi_strdup(fmt);
	text = wfi_malloc((size_t) length + 1);
	vsnprintf(text, (size_t) length + 1, fmt, args);
	return text;
}

/*
 * Length of the UTF-8 character that s begins with, 0 when it is none that
 * PostgreSQL accepts: no overlong forms, surrogates, or codes over 10FFFF.
 */
static size_t
utf8_length(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80;
	unsigned char high = 0xBF;
	size_t		length;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		length = 2;
	else if (s[0] >= 0xE0 && s[0] <= 0xEF)
		length = 3;
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
		length = 4;
	else
		return 0;
	if (left < length)
		return 0;

	if (s[0] == 0xE0)
		low = 0xA0;
	else if (s[0] == 0xED)
		high = 0x9F;
	else if (s[0] == 0xF0)
		low = 0x90;
	else if (s[0] == 0xF4)
		high = 0x8F;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
	{
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	}
	return length;
}

/*
 * A copy of arbitrary bytes that any server accepts as text: what is not
 * valid UTF-8, or NUL, becomes '?', and with ascii_only every character
 * beyond ASCII.  The beginning may be in the middle of a character, which is
 * then left out.
 */
char *
wfi_clean_text(const char *bytes, size_t length, bool ascii_only)
{
	const unsigned char *s = (const unsigned char *) bytes;
	char	   *text = wfi_malloc(length + 1);
	size_t		done = 0;
	size_t		from = 0;

	while (from < length && from < 3 && (s[from] & 0xC0) == 0x80)
		from++;
	while (from < length)
	{
		size_t		n = utf8_length(s + from, length - from);

		if (n == 0 || s[from] == '\0' || (n > 1 && ascii_only))
		{
			text[done++] = '?';
			from += n > 0 ? n : 1;
		}
		else
		{
			memcpy(text + done, s + from, n);
			done += n;
			from += n;
		}
	}
	text[done] = '\0';
	return text;
}

/*
 * A copy in which line breaks, and the space around them, are one space, and
 * other control characters '?'.
 */
char *
wfi_one_line(const char *text)
{
	char	   *line = wfi_malloc(strlen(text) + 1);
	size_t		length = 0;

	while (*text != '\0')
	{
		if (*text == '\n')
		{
			while (length > 0 && line[length - 1] == ' ')
				length--;
			text += strspn(text, " \t\r\n");
			if (*text != '\0')
				line[length++] = ' ';
		}
		else
		{
			line[length++] = iscntrl((unsigned char) *text) ? '?' : *text;
			text++;
		}
	}
	line[length] = '\0';
	return line;
}
