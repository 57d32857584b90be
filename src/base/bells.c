/*
 * bells.c
 *		News of roles, types, operators, collations and schemas.
 */
#include "postgres.h"

#include "base/bells.h"
#include "utils/inval.h"
#include "utils/syscache.h"

static uint64 count = 0;

static void
ring(Datum arg, int cacheid, uint32 hashvalue)
{
	count++;
}

uint64
ofs_bells_count(void)
{
	static const int caches[] = {
		AUTHOID, AUTHMEMMEMROLE, AUTHMEMROLEMEM, TYPEOID, OPEROID, CLAOID, COLLOID, NAMESPACEOID
	};

	if (count > 0)
		return count;
	for (int i = 0; i < (int) lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], ring, (Datum) 0);
	return ++count;
}
