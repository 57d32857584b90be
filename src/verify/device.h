/*
 * device.h
 *		What a device says that it holds.
 */
#ifndef OFS_DEVICE_H
#define OFS_DEVICE_H

#include "postgres.h"

#include "core/idhash.h"
#include "nodes/pg_list.h"

typedef struct OfsDeviceRecord
{
	uint64		hash;			/* of the id, both lanes mixed; they are sorted by it */
	const char *id;
	double		version;		/* not a number: none */
	bool		found;			/* on the server, too */
} OfsDeviceRecord;

typedef struct OfsDevice
{
	const char *collection;		/* as sent */
	int			buckets;		/* that the collection is split into */
	bool	   *differs;		/* which of them are told of; NULL: all */
	bool		versions;		/* records have them */
	int			count;
	OfsDeviceRecord *records;	/* all of them are in buckets that are told of */
	int			index_bits;
	int		   *index;			/* by the first bits of the hash: where records with them start; and the end */
} OfsDevice;

/*
 * {"collection": {"buckets": 32, "differ": [3, 17], "records": {"id": version} or ["id"]}} as a list of OfsDevice;
 * PT400 for what is anything else.
 */
extern List *ofs_device_parse(const char *json, int len);

/* The device's record of that id; NULL when it has none. */
extern OfsDeviceRecord *ofs_device_find(const OfsDevice *device, const OfsIdHash *hash, const char *id);

#endif							/* OFS_DEVICE_H */
