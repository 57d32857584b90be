/*
 * seal.c
 *		Cursors are sealed, and what only the server may read in them is hidden.
 *
 * The seal is a keyed digest of the cursor's plain bytes.  It is also what the stream of bytes starts from that hides
 * the policies' sets, so that no two contents are hidden by the same.
 */
#include "postgres.h"

#include "catalog/seal.h"
#include "catalog/secret.h"
#include "catalog/since.h"

void
ofs_seal_make(const char *body, int len, uint8 seal[OFS_CURSOR_SEAL_LEN])
{
	uint8		digest[32];

	/* a device often comes back with the cursor that it was given here */
	ofs_secret_hmac_again(body, len, digest);
	memcpy(seal, digest, OFS_CURSOR_SEAL_LEN);
}

void
ofs_seal_hide(char *bytes, int len, const uint8 seal[OFS_CURSOR_SEAL_LEN])
{
	uint8		block[OFS_CURSOR_SEAL_LEN + 4];
	uint8		stream[32];

	memcpy(block, seal, OFS_CURSOR_SEAL_LEN);
	for (int i = 0; i < len; i++)
	{
		if (i % (int) sizeof(stream) == 0)
		{
			uint32		count = (uint32) i;

			for (int j = 0; j < 4; j++)
				block[OFS_CURSOR_SEAL_LEN + j] = (uint8) (count >> (8 * j));
			ofs_secret_hmac((char *) block, sizeof(block), stream);
		}
		bytes[i] ^= (char) stream[i % sizeof(stream)];
	}
}

char *
ofs_cursor_seal(const OfsCursor *cursor)
{
	StringInfoData packed;
	uint8		seal[OFS_CURSOR_SEAL_LEN];

	initStringInfo(&packed);
	ofs_cursor_pack(cursor, &packed);
	ofs_seal_make(packed.data, packed.len, seal);
	/* they come last */
	ofs_seal_hide(packed.data + packed.len - cursor->inputs_len, cursor->inputs_len, seal);
	return ofs_cursor_text(&packed, seal);
}
