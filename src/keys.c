/*
 * keys.c
 *	  Values that identify things: shards, run ids, queues and task tokens.
 *
 * Shards and queue ids are stored, so their hash must never change: 64-bit
 * FNV-1a over raw bytes, the same on every platform and server version.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/builtins.h"

#include "workflow_interrupt.h"

PG_FUNCTION_INFO_V1(wfi_shard_of);

#define FNV_OFFSET	UINT64CONST(0xcbf29ce484222325)
#define FNV_PRIME	UINT64CONST(0x100000001b3)

/* Continue an FNV-1a hash over some bytes. */
static uint64
fnv1a(uint64 hash, const char *bytes, Size length)
{
	for (Size i = 0; i < length; i++)
	{
		hash ^= (unsigned char) bytes[i];
		hash *= FNV_PRIME;
	}
	return hash;
}

/* Shard of a workflow; stored in every row, never to be changed. */
int32
wfi_shard(const char *namespace, const char *workflow_id)
{
	uint64		hash = fnv1a(FNV_OFFSET, namespace, strlen(namespace));

	hash = fnv1a(hash, "\xff", 1);
	hash = fnv1a(hash, workflow_id, strlen(workflow_id));
	hash ^= hash >> 32;
	return (int32) (hash % WFI_SHARDS);
}

/* wf.shard_of(namespace, workflow_id) */
Datum
wfi_shard_of(PG_FUNCTION_ARGS)
{
	char	   *namespace = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *workflow_id = text_to_cstring(PG_GETARG_TEXT_PP(1));

	PG_RETURN_INT32(wfi_shard(namespace, workflow_id));
}

/* The key of a queue in wf.task. */
int64
wfi_queue_id(char kind, const char *namespace, const char *task_queue)
{
	uint64		hash = fnv1a(FNV_OFFSET, &kind, 1);

	hash = fnv1a(hash, namespace, strlen(namespace));
	hash = fnv1a(hash, "\xff", 1);
	hash = fnv1a(hash, task_queue, strlen(task_queue));
	return (int64) hash;
}

/*
 * A random UUID (version 4).  Random bytes cost by the call, so some are drawn
 * ahead.
 */
void
wfi_random_uuid(pg_uuid_t *uuid)
{
	static pg_uuid_t ahead[16];
	static int	left = 0;

	if (left == 0)
	{
		if (!pg_strong_random(ahead, sizeof(ahead)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = lengthof(ahead);
	}
	*uuid = ahead[--left];
	/* no secret stays behind */
	memset(&ahead[left], 0, sizeof(pg_uuid_t));
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x40;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}

/*
 * A UUID (version 7), so that the rows of new runs lie close together, in the
 * order in which a session makes them: next to the milliseconds it has the
 * fraction of one, as 12 bits.
 */
void
wfi_new_run_id(pg_uuid_t *uuid, TimestampTz now)
{
	/* milliseconds since the Unix epoch */
	uint64		ms = (uint64) (now / 1000 +
							   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
							   INT64CONST(86400000));
	int			fraction;

	wfi_random_uuid(uuid);
	for (int i = 0; i < 6; i++)
		uuid->data[i] = (unsigned char) (ms >> (8 * (5 - i)));
	fraction = (int) (now % 1000) * 4096 / 1000;
	uuid->data[6] = (unsigned char) (0x70 | fraction >> 8);
	uuid->data[7] = (unsigned char) fraction;
}

/*
 * What the tables keep of a token's secret: whoever reads them cannot make the
 * token from it.
 */
void
wfi_hash_secret(const pg_uuid_t *secret, pg_uuid_t *hash)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, secret->data, UUID_LEN) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a hash")));
	pg_cryptohash_free(context);
	memcpy(hash->data, digest, UUID_LEN);
}

#define UUID_LENGTH 36			/* as text */

/* Write the usual text form of a UUID; where it ends, without a zero. */
static char *
put_uuid(char *p, const pg_uuid_t *uuid)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[uuid->data[i] >> 4];
		*p++ = digits[uuid->data[i] & 0x0f];
	}
	return p;
}

/* The usual text form of a UUID, palloc'd. */
char *
wfi_uuid_text(const pg_uuid_t *uuid)
{
	char	   *string = palloc(UUID_LENGTH + 1);

	*put_uuid(string, uuid) = '\0';
	return string;
}

bool
wfi_uuid_equal(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a->data, b->data, UUID_LEN) == 0;
}

/* No token is longer: two letters, two 32-bit, two 64-bit numbers, two UUIDs */
#define TOKEN_LENGTH (2 + 2 * 11 + 2 * 20 + 2 * UUID_LENGTH + 6)

/*
 * A token: what a worker shows to prove that it holds a task.  It says where
 * the task is; a hash of its secret part is in the task's row.
 */
char *
wfi_token_text(const WfiToken *token)
{
	char	   *string = palloc(TOKEN_LENGTH + 1);
	char	   *p = string;

	*p++ = token->kind;
	*p++ = '1';
	*p++ = '.';
	p += pg_ltoa(token->shard, p);
	*p++ = '.';
	p = put_uuid(p, &token->run_id);
	*p++ = '.';
	p += pg_lltoa(token->scheduled_event_id, p);
	*p++ = '.';
	p += pg_lltoa(token->started_event_id, p);
	*p++ = '.';
	p += pg_ltoa(token->attempt, p);
	*p++ = '.';
	p = put_uuid(p, &token->secret);
	*p = '\0';
	Assert(p - string <= TOKEN_LENGTH);
	return string;
}

/* Read a UUID of exactly UUID text length at *p and advance. */
static bool
parse_uuid(const char **p, pg_uuid_t *uuid)
{
	const char *s = *p;

	for (int i = 0; i < UUID_LEN; i++)
	{
		int			value = 0;

		if (i == 4 || i == 6 || i == 8 || i == 10)
		{
			if (*s++ != '-')
				return false;
		}
		for (int j = 0; j < 2; j++, s++)
		{
			if (*s >= '0' && *s <= '9')
				value = value * 16 + *s - '0';
			else if (*s >= 'a' && *s <= 'f')
				value = value * 16 + *s - 'a' + 10;
			else
				return false;
		}
		uuid->data[i] = (unsigned char) value;
	}
	*p = s;
	return true;
}

/* Read a number from 0 to most at *p and advance. */
static bool
parse_number(const char **p, int64 most, int64 *number)
{
	const char *s = *p;
	int64		value = 0;

	if (*s < '0' || *s > '9')
		return false;
	while (*s >= '0' && *s <= '9')
	{
		if (value > (most - (*s - '0')) / 10)
			return false;
		value = value * 10 + *s++ - '0';
	}
	*p = s;
	*number = value;
	return true;
}

/* Step over the dot between two parts. */
static bool
parse_dot(const char **p)
{
	return *(*p)++ == '.';
}

/* A token of that kind from its string; an error for anything else. */
void
wfi_token_parse(const char *string, char kind, WfiToken *token)
{
	const char *p = string;
	int64		shard;
	int64		attempt;

	if (*p++ == kind && *p++ == '1' && parse_dot(&p) &&
		parse_number(&p, WFI_SHARDS - 1, &shard) && parse_dot(&p) &&
		parse_uuid(&p, &token->run_id) && parse_dot(&p) &&
		parse_number(&p, PG_INT64_MAX, &token->scheduled_event_id) &&
		parse_dot(&p) &&
		parse_number(&p, PG_INT64_MAX, &token->started_event_id) &&
		parse_dot(&p) &&
		parse_number(&p, PG_INT32_MAX, &attempt) && parse_dot(&p) &&
		parse_uuid(&p, &token->secret) && *p == '\0')
	{
		token->kind = kind;
		wfi_hash_secret(&token->secret, &token->hash);
		token->shard = (int32) shard;
		token->attempt = (int32) attempt;
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid task token"),
			 errhint("A task token is what a poll returned with the task.")));
}
