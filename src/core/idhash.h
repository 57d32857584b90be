/*
 * idhash.h
 *		The hash of an id that devices compute too.
 *
 * Two lanes of 32 bits, so that a language without wider integers computes them, and so that the products stay
 * below 2^63 for one that has nothing else.  A lane takes a text's characters by their Unicode code points, as FNV-1a takes
 * bytes; at the end its bits are mixed.  FNV-1a alone would not do, because hashes are summed: where only the last
 * characters of two texts differ, so do only a few bits of their hashes, and such differences cancel each
 * other out often.  What the README promises of the digests depends on every constant here.
 */
#ifndef OFS_IDHASH_H
#define OFS_IDHASH_H

#include "postgres.h"

#define OFS_IDHASH_START	0x811c9dc5	/* FNV-1a's, in both lanes */
#define OFS_IDHASH_A		0x01000193	/* FNV-1a's */
#define OFS_IDHASH_B		0x5f356495	/* odd, and below 2^31 */
#define OFS_IDHASH_MIX		0x045d9f3b

typedef struct OfsIdHash
{
	uint32		a;
	uint32		b;
} OfsIdHash;

static inline void
ofs_idhash_start(OfsIdHash *hash)
{
	hash->a = hash->b = OFS_IDHASH_START;
}

/* The code point of the character at *at, which moves behind it. */
static inline uint32
ofs_idhash_next(const unsigned char **at, const unsigned char *end)
{
	uint32		c = *(*at)++;
	int			more = c < 0xC0 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;

	if (more > 0)
		c &= 0x3F >> more;
	while (more-- > 0 && *at < end)
		c = (c << 6) | (*(*at)++ & 0x3F);
	return c;
}

/* Go on with valid UTF-8. */
static inline void
ofs_idhash_add(OfsIdHash *hash, const char *utf8, int len)
{
	const unsigned char *at = (const unsigned char *) utf8;
	const unsigned char *end = at + len;

	while (at < end)
	{
		uint32		c = ofs_idhash_next(&at, end);

		hash->a = (hash->a ^ c) * OFS_IDHASH_A;
		hash->b = (hash->b ^ c) * OFS_IDHASH_B;
	}
}

/* What a lane says in the end. */
static inline uint32
ofs_idhash_mix(uint32 lane)
{
	lane = (lane ^ (lane >> 16)) * OFS_IDHASH_MIX;
	lane = (lane ^ (lane >> 16)) * OFS_IDHASH_MIX;
	return lane ^ (lane >> 16);
}

/* The bucket of an id that this is the hash of; their number is a power of two. */
static inline uint32
ofs_idhash_bucket(const OfsIdHash *hash, int buckets)
{
	return ofs_idhash_mix(hash->a) & (uint32) (buckets - 1);
}

#endif							/* OFS_IDHASH_H */
