/*
 * device.c
 *		What a device says that it holds.
 *
 * Ids are texts here and never become keys: whatever a device calls an id, rows are looked up in its list, and its ids never
 * in the table.
 */
#include "postgres.h"

#include <math.h>

#include "base/compat.h"
#include "base/errors.h"
#include "base/jsonsplit.h"
#include "utils/float.h"
#include "verify/device.h"
#include "verify/scan.h"

#define MAX_DIGITS 5			/* of a bucket's number */
#define MAX_INDEX_BITS 20

OFS_NORETURN static void
malformed(const char *collection, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_OFS_MALFORMED),
			 errmsg("malformed list of a device's records"),
			 collection ? errdetail("Collection \"%s\": %s", collection, problem) :
			 errdetail_internal("%s", problem)));
}

static bool
is_nested(const OfsJsonValue *value, char open)
{
	return value->kind == OFS_JSON_NESTED && value->text[0] == open;
}

/* A small number without sign, fraction or exponent; -1 for anything else. */
static int
small_number(const OfsJsonValue *value)
{
	if (value->kind != OFS_JSON_NUMBER || value->len > MAX_DIGITS ||
		strspn(value->text, "0123456789") != (size_t) value->len)
		return -1;
	return atoi(value->text);
}

static void
read_differ(OfsDevice *device, const OfsJsonValue *value)
{
	OfsJsonMember *members;
	int			count;

	if (value->kind == OFS_JSON_NULL)
		return;
	if (!is_nested(value, '['))
		malformed(device->collection, _("\"differ\" must be an array of the buckets' numbers."));
	count = ofs_json_split(value, &members);
	device->differs = palloc0(sizeof(bool) * device->buckets);
	for (int i = 0; i < count; i++)
	{
		int			number = small_number(&members[i].value);

		if (number < 0 || number >= device->buckets)
			malformed(device->collection, _("\"differ\" must hold numbers from 0 to one less than \"buckets\"."));
		device->differs[number] = true;
	}
}

static uint64
both_lanes(const OfsIdHash *hash)
{
	return ((uint64) ofs_idhash_mix(hash->a) << 32) | ofs_idhash_mix(hash->b);
}

/* The id of a record, be it a member's name or an array's element; its version, if it has one. */
static void
read_record(OfsDevice *device, const OfsJsonMember *member, OfsDeviceRecord *record)
{
	const OfsJsonValue *value = &member->value;
	OfsIdHash	hash;

	record->id = member->name;
	record->version = get_float8_nan();
	record->found = false;
	if (device->versions && value->kind == OFS_JSON_NUMBER)
		record->version = strtod(value->text, NULL);
	else if (device->versions && value->kind != OFS_JSON_NULL)
		malformed(device->collection, _("A record's version must be a number or null."));
	else if (!device->versions)
	{
		if (value->kind != OFS_JSON_STRING && value->kind != OFS_JSON_NUMBER)
			malformed(device->collection, _("A record's id must be a string."));
		record->id = value->text;
	}
	hash = ofs_scan_hash(record->id, strlen(record->id));
	record->hash = both_lanes(&hash);
	if (device->differs && !device->differs[ofs_idhash_bucket(&hash, device->buckets)])
		malformed(device->collection, _("A record is not in any of the buckets that differ."));
}

static int
first_bits(const OfsDevice *device, uint64 hash)
{
	return (int) (hash >> 32 >> (32 - device->index_bits));
}

static int
compare_records(const void *a, const void *b)
{
	const OfsDeviceRecord *ra = a;
	const OfsDeviceRecord *rb = b;

	if (ra->hash != rb->hash)
		return ra->hash < rb->hash ? -1 : 1;
	return strcmp(ra->id, rb->id);
}

/* Hashes are spread evenly, so that a search among the records with the same first bits is short. */
static void
make_index(OfsDevice *device)
{
	int			at = 0;

	while (device->index_bits < MAX_INDEX_BITS && (2 << device->index_bits) <= device->count)
		device->index_bits++;
	device->index = palloc(sizeof(int) * ((1 << device->index_bits) + 1));
	for (int slot = 0; slot < 1 << device->index_bits; slot++)
	{
		while (at < device->count && first_bits(device, device->records[at].hash) < slot)
			at++;
		device->index[slot] = at;
	}
	device->index[1 << device->index_bits] = device->count;
}

static void
read_records(OfsDevice *device, const OfsJsonValue *value)
{
	OfsJsonMember *members;

	device->versions = is_nested(value, '{');
	if (!device->versions && !is_nested(value, '['))
		malformed(device->collection, _("\"records\" must be an object of ids and versions, or an array of ids."));
	device->count = ofs_json_split(value, &members);
	device->records = palloc_extended(sizeof(OfsDeviceRecord) * Max(device->count, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < device->count; i++)
		read_record(device, &members[i], &device->records[i]);
	qsort(device->records, device->count, sizeof(OfsDeviceRecord), compare_records);
	for (int i = 1; i < device->count; i++)
		if (compare_records(&device->records[i - 1], &device->records[i]) == 0)
			malformed(device->collection, _("An id stands in it twice."));
	make_index(device);
}

static OfsDevice *
read_collection(const char *name, const OfsJsonValue *value)
{
	OfsDevice  *device = palloc0(sizeof(OfsDevice));
	const OfsJsonValue *differ = NULL;
	const OfsJsonValue *records = NULL;
	OfsJsonMember *members;
	int			count;

	device->collection = name;
	device->buckets = 1;
	if (!is_nested(value, '{'))
		malformed(name, _("It must be an object."));
	count = ofs_json_split(value, &members);
	for (int i = 0; i < count; i++)
	{
		if (strcmp(members[i].name, "buckets") == 0)
			device->buckets = small_number(&members[i].value);
		else if (strcmp(members[i].name, "differ") == 0)
			differ = &members[i].value;
		else if (strcmp(members[i].name, "records") == 0)
			records = &members[i].value;
		else
			malformed(name, _("It may have the members buckets, differ and records."));
	}
	if (!ofs_scan_buckets_valid(device->buckets))
		malformed(name, _("\"buckets\" must be the number that the digest was asked for with."));
	if (records == NULL)
		malformed(name, _("It has no member \"records\"."));
	if (differ)
		read_differ(device, differ);
	read_records(device, records);
	return device;
}

List *
ofs_device_parse(const char *json, int len)
{
	OfsJsonValue document = {OFS_JSON_NESTED, len, json};
	OfsJsonMember *members;
	int			count;
	List	   *devices = NIL;

	if (json[strspn(json, " \t\r\n")] != '{')
		malformed(NULL, _("It must be an object with a member for each collection."));
	count = ofs_json_split(&document, &members);
	for (int i = 0; i < count; i++)
		devices = lappend(devices, read_collection(members[i].name, &members[i].value));
	return devices;
}

OfsDeviceRecord *
ofs_device_find(const OfsDevice *device, const OfsIdHash *hash, const char *id)
{
	OfsDeviceRecord wanted = {0};
	const int  *slot;

	wanted.hash = both_lanes(hash);
	wanted.id = id;
	slot = &device->index[first_bits(device, wanted.hash)];
	return bsearch(&wanted, device->records + slot[0], slot[1] - slot[0], sizeof(OfsDeviceRecord), compare_records);
}
