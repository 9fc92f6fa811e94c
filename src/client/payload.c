/*
 * payload.c
 *	  What commands write, as JSON values.
 *
 * The server decides what it accepts as JSON.  Looking here first spares it
 * what is plainly none: text travels as a JSON string at once, and the
 * server's log has no errors about it.
 */
#include "wf_worker.h"

#include <stdlib.h>
#include <string.h>

/* how deep arrays and objects may be nested; the server takes less */
#define MAX_DEPTH			8192

/* the text that is looked at, and what encloses the current position */
typedef struct Scanner
{
	const char *at;
	const char *end;
	int			depth;
	unsigned char in_object[MAX_DEPTH / 8];
} Scanner;

static void
skip_space(Scanner *scanner)
{
	while (scanner->at < scanner->end &&
		   (*scanner->at == ' ' || *scanner->at == '\t' ||
			*scanner->at == '\n' || *scanner->at == '\r'))
		scanner->at++;
}

/*
 * Steps over a character, if it comes next.
 */
static bool
skip_char(Scanner *scanner, char c)
{
	if (scanner->at == scanner->end || *scanner->at != c)
		return false;
	scanner->at++;
	return true;
}

/*
 * Steps over a string that begins here.
 */
static bool
skip_string(Scanner *scanner)
{
	if (!skip_char(scanner, '"'))
		return false;
	while (scanner->at < scanner->end)
	{
		unsigned char c = (unsigned char) *scanner->at++;

		if (c == '"')
			return true;
		if (c < ' ')
			return false;
		if (c != '\\')
			continue;
		if (scanner->at == scanner->end)
			return false;
		c = (unsigned char) *scanner->at++;
		if (c == 'u')
		{
			for (int i = 0; i < 4; i++)
			{
				if (scanner->at == scanner->end || *scanner->at == '\0' ||
					strchr("0123456789abcdefABCDEF", *scanner->at) == NULL)
					return false;
				scanner->at++;
			}
		}
		else if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
			return false;
	}
	return false;
}

/*
 * Steps over digits, at least one.
 */
static bool
skip_digits(Scanner *scanner)
{
	const char *begin = scanner->at;

	while (scanner->at < scanner->end &&
		   *scanner->at >= '0' && *scanner->at <= '9')
		scanner->at++;
	return scanner->at > begin;
}

/*
 * Steps over a number that begins here.
 */
static bool
skip_number(Scanner *scanner)
{
	skip_char(scanner, '-');
	if (!skip_char(scanner, '0') && !skip_digits(scanner))
		return false;
	if (skip_char(scanner, '.') && !skip_digits(scanner))
		return false;
	if (skip_char(scanner, 'e') || skip_char(scanner, 'E'))
	{
		if (!skip_char(scanner, '+'))
			skip_char(scanner, '-');
		return skip_digits(scanner);
	}
	return true;
}

/*
 * Steps over a value that is neither array nor object.
 */
static bool
skip_scalar(Scanner *scanner)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		size_t		length = strlen(words[i]);

		if ((size_t) (scanner->end - scanner->at) >= length &&
			memcmp(scanner->at, words[i], length) == 0)
		{
			scanner->at += length;
			return true;
		}
	}
	if (scanner->at < scanner->end && *scanner->at == '"')
		return skip_string(scanner);
	return skip_number(scanner);
}

/*
 * Steps over a key with its colon.
 */
static bool
skip_key(Scanner *scanner)
{
	skip_space(scanner);
	if (!skip_string(scanner))
		return false;
	skip_space(scanner);
	return skip_char(scanner, ':');
}

/*
 * Are we directly in an object?
 */
static bool
is_in_object(const Scanner *scanner)
{
	int			level = scanner->depth - 1;

	return (scanner->in_object[level / 8] >> (level % 8) & 1) != 0;
}

/*
 * Steps over the beginning of a value: a whole scalar, an empty array or
 * object, or else the bracket and, in an object, the first key.  *whole tells
 * whether the value is over.
 */
static bool
begin_value(Scanner *scanner, bool *whole)
{
	bool		object;
	int			level = scanner->depth;

	skip_space(scanner);
	object = skip_char(scanner, '{');
	if (!object && !skip_char(scanner, '['))
	{
		*whole = true;
		return skip_scalar(scanner);
	}
	skip_space(scanner);
	*whole = skip_char(scanner, object ? '}' : ']');
	if (*whole)
		return true;
	if (level == MAX_DEPTH)
		return false;
	scanner->in_object[level / 8] &= (unsigned char) ~(1 << (level % 8));
	scanner->in_object[level / 8] |=
		(unsigned char) ((object ? 1 : 0) << (level % 8));
	scanner->depth++;
	return !object || skip_key(scanner);
}

/*
 * Is this one JSON value?  Whether strings are valid in some encoding, and
 * numbers in some range, is not looked at.
 */
bool
wfi_is_json(const char *bytes, size_t length)
{
	Scanner		scanner;
	bool		whole;

	scanner.at = bytes;
	scanner.end = bytes + length;
	scanner.depth = 0;

	for (;;)
	{
		if (!begin_value(&scanner, &whole))
			return false;

		/* a value is over: what encloses it may be, too, or goes on */
		while (whole && scanner.depth > 0)
		{
			skip_space(&scanner);
			if (skip_char(&scanner, is_in_object(&scanner) ? '}' : ']'))
				scanner.depth--;
			else if (!skip_char(&scanner, ',') ||
					 (is_in_object(&scanner) && !skip_key(&scanner)))
				return false;
			else
				whole = false;
		}
		if (whole)
			break;
	}
	skip_space(&scanner);
	return scanner.at == scanner.end;
}

/*
 * Is there nothing but white space?
 */
bool
wfi_is_blank(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		if (strchr(" \t\r\n", bytes[i]) == NULL || bytes[i] == '\0')
			return false;
	}
	return true;
}

/*
 * Makes a copy of what a command wrote the payload: nothing, JSON, or text
 * without the line break at its end.
 */
void
wfi_payload_set(WfiPayload *payload, const char *bytes, size_t length)
{
	wfi_payload_free(payload);
	if (wfi_is_blank(bytes, length))
		return;
	payload->bytes = wfi_malloc(length + 1);
	memcpy(payload->bytes, bytes, length);
	payload->bytes[length] = '\0';
	payload->length = length;
	payload->json = wfi_is_json(bytes, length);
	if (!payload->json)
		wfi_payload_make_text(payload);
}

/*
 * Makes the payload text.
 */
void
wfi_payload_make_text(WfiPayload *payload)
{
	payload->json = false;
	if (payload->length > 0 && payload->bytes[payload->length - 1] == '\n')
		payload->bytes[--payload->length] = '\0';
}

/*
 * Makes the payload text that any server accepts.
 */
void
wfi_payload_clean(WfiPayload *payload, bool ascii_only)
{
	char	   *text;

	if (payload->bytes == NULL)
		return;
	wfi_payload_make_text(payload);
	text = wfi_clean_text(payload->bytes, payload->length, ascii_only);
	free(payload->bytes);
	payload->bytes = text;
	payload->length = strlen(text);
	payload->clean = true;
}

/*
 * Makes it no payload.
 */
void
wfi_payload_free(WfiPayload *payload)
{
	free(payload->bytes);
	memset(payload, 0, sizeof(*payload));
}
