/*
 * bury.c
 *		AFTER DELETE: leaves a tombstone of the old image, as the stamp trigger does for updates; AFTER TRUNCATE: resets;
 *		AFTER any write of a table that policies read: leaves an event.
 *
 * A tombstone says: before this transaction a row of this key looked like this to the policies.
 * Whoever could see it then, and can't see a row of that key now, is told that it is gone.  So the
 * first image of a transaction is the one that counts, and a row that the same transaction inserted
 * leaves none: nobody else ever saw it.  (But for one that a push inserted and deleted: its device has it.)
 *
 * An update that changes what tombstones hold, the key or what policies read, is told of before it is done.  That is as good: should
 * it not be done, as where a trigger keeps a row from moving to another partition, what the tombstone says is true all the same,
 * and whoever sees the row isn't told.  It spares all other updates the queue of AFTER triggers.
 *
 * The row is written straight into the tombstone table, beneath all permissions, for any writer:
 * cascades and the replication apply worker come here as well as a plain DELETE.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/access.h"
#include "catalog/capture.h"
#include "catalog/grave.h"
#include "catalog/incarnation.h"
#include "catalog/pg_type.h"
#include "catalog/synced.h"
#include "commands/trigger.h"
#include "optimizer/optimizer.h"
#include "port/pg_bswap.h"
#include "rewrite/rewriteHandler.h"
#include "track/row.h"
#include "track/tuple.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(offsync_bury);
PG_FUNCTION_INFO_V1(offsync_truncated);
PG_FUNCTION_INFO_V1(offsync_touched);

/* ---------- which updates leave one ---------- */

static void
mark_image(OfsRow *row, AttrNumber attnum)
{
	OfsColumn  *column = &row->columns[attnum - 1];

	if (column->stamp == -1)
		column->changes |= OFS_CHANGES_IMAGE;
	/* the other two change with the key */
	else if (column->stamp != OFS_S_CREATED_AT && column->stamp != OFS_S_CREATED_VERSION)
		row->images_stamps = true;
}

/* A generated column isn't computed yet when the trigger fires: what it is made of counts. */
static void
mark_sources(OfsRow *row, Relation rel, AttrNumber attnum)
{
	Bitmapset  *sources = NULL;
	int			source = -1;

	pull_varattnos(build_column_default(rel, attnum), 1, &sources);
	while ((source = bms_next_member(sources, source)) >= 0)
		if (source + FirstLowInvalidHeapAttributeNumber > 0)
			mark_image(row, source + FirstLowInvalidHeapAttributeNumber);
}

static bool
is_bookkeeping(const char *name)
{
	return strcmp(name, OFS_TOMB_VERSION) == 0 || strcmp(name, OFS_TOMB_AT) == 0 || strcmp(name, OFS_TOMB_CREATED) == 0;
}

void
ofs_bury_fit(OfsRow *row, Relation rel)
{
	Relation	tomb = OidIsValid(row->tombstone) ? try_relation_open(row->tombstone, AccessShareLock) : NULL;

	/* an invalidation that comes meanwhile counts, and an error leaves it unknown */
	row->fit = OFS_FIT_READING;
	row->images_stamps = false;
	for (int i = 0; i < row->natts; i++)
		row->columns[i].changes &= ~OFS_CHANGES_IMAGE;
	/* without it nothing is buried, and no answer exact */
	for (int i = 0; tomb && i < RelationGetNumberOfAttributes(tomb); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(tomb), i);
		AttrNumber	attnum = att->attisdropped || is_bookkeeping(NameStr(att->attname)) ? InvalidAttrNumber :
			get_attnum(RelationGetRelid(rel), NameStr(att->attname));

		if (attnum == InvalidAttrNumber)
			continue;
		if (TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attgenerated != '\0')
			mark_sources(row, rel, attnum);
		else
			mark_image(row, attnum);
	}
	if (tomb)
		relation_close(tomb, AccessShareLock);
	for (int i = row->natts - 1; i >= 0; i--)
		row->columns[i].rest = row->columns[i].changes | (i + 1 < row->natts ? row->columns[i + 1].rest : 0);
	if (row->fit == OFS_FIT_READING)
		row->fit = OFS_FIT_KNOWN;
}

/* ---------- what it holds ---------- */

/* The tombstone table's owner may have altered it: no value goes into a column of another type. */
static void
require_type(Relation tomb, Form_pg_attribute att, Oid type)
{
	if (att->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of tombstone table \"%s\" must have type %s", NameStr(att->attname),
						RelationGetRelationName(tomb), format_type_be(type)),
				 errhint("Call offsync.disable and offsync.enable on the synced table.")));
}

/* What a column of the tombstone is taken from: a column of the old row, or one of these. */
enum
{
	FROM_NOTHING = 0, FROM_VERSION = -1, FROM_CLOCK = -2, FROM_CREATED = -3
};

/* A row's values, by column, as far as tombstones or the key need them, and where its stamps stand. */
typedef struct Image
{
	Datum	   *values;
	bool	   *nulls;
	const char *stamps[OFS_NWRITTEN];
} Image;

static AttrNumber
source_of(Relation tomb, Relation rel, Form_pg_attribute att)
{
	const char *name = NameStr(att->attname);
	AttrNumber	source;

	if (att->attisdropped)
		return FROM_NOTHING;
	if (strcmp(name, OFS_TOMB_VERSION) == 0)
	{
		require_type(tomb, att, INT8OID);
		return FROM_VERSION;
	}
	if (strcmp(name, OFS_TOMB_AT) == 0)
	{
		require_type(tomb, att, TIMESTAMPTZOID);
		return FROM_CLOCK;
	}
	if (strcmp(name, OFS_TOMB_CREATED) == 0)
	{
		require_type(tomb, att, INT8OID);
		return FROM_CREATED;
	}
	source = get_attnum(RelationGetRelid(rel), name);
	if (source == InvalidAttrNumber)
		return FROM_NOTHING;
	require_type(tomb, att, getBaseType(TupleDescAttr(RelationGetDescr(rel), source - 1)->atttypid));
	return source;
}

/* The tombstone table is open: its invalidations have come. */
static const OfsBurial *
burial_of(OfsRow *row, const OfsGrave *grave, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(grave->rel);
	OfsBurial  *burial;
	MemoryContext old;

	if (row->measured && row->burial)
		return row->burial;
	row->burial = NULL;
	if (row->burial_context)
		MemoryContextReset(row->burial_context);
	else
		row->burial_context = AllocSetContextCreate(row->context, "offsync burial", ALLOCSET_SMALL_SIZES);
	row->measured = true;
	old = MemoryContextSwitchTo(row->burial_context);
	burial = palloc0(sizeof(OfsBurial));
	burial->natts = desc->natts;
	burial->sources = palloc(sizeof(AttrNumber) * desc->natts);
	burial->values = palloc0(sizeof(Datum) * desc->natts);
	burial->nulls = palloc0(sizeof(bool) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		burial->sources[i] = source_of(grave->rel, rel, TupleDescAttr(desc, i));
		burial->nread = Max(burial->nread, burial->sources[i]);
	}
	for (int i = 0; i < row->nkey; i++)
		burial->nread = Max(burial->nread, row->key[i]);
	MemoryContextSwitchTo(old);
	row->burial = burial;
	return burial;
}

static void
read_image(const OfsRow *row, TupleDesc desc, HeapTuple tuple, int nread, Image *image)
{
	OfsReader	reader = ofs_reader_of(tuple);

	image->values = palloc(sizeof(Datum) * nread);
	image->nulls = palloc(sizeof(bool) * nread);
	for (int i = 0; i < nread; i++)
	{
		const char *value = ofs_reader_next(&reader, &row->columns[i], i);

		image->nulls[i] = value == NULL;
		image->values[i] = value ? fetchatt(TupleDescAttr(desc, i), value) : (Datum) 0;
	}
}

static void
fill_tombstone(const OfsBurial *burial, const Image *image, int64 version)
{
	for (int i = 0; i < burial->natts; i++)
	{
		AttrNumber	source = burial->sources[i];

		burial->nulls[i] = source == FROM_NOTHING;
		if (source == FROM_VERSION)
			burial->values[i] = Int64GetDatum(version);
		else if (source == FROM_CLOCK)
			/* of transactions that wrote one row the order of these is that of the writing, for they waited for each other */
			burial->values[i] = TimestampTzGetDatum(GetCurrentTimestamp());
		else if (source == FROM_CREATED)
		{
			const char *created = image->stamps[OFS_S_CREATED_VERSION];

			burial->nulls[i] = created == NULL;
			burial->values[i] = created ? Int64GetDatum(ofs_stamp_at(created)) : (Datum) 0;
		}
		else if (source != FROM_NOTHING)
		{
			burial->values[i] = image->values[source - 1];
			burial->nulls[i] = image->nulls[source - 1];
		}
	}
}

/* The first bytes of the key, such that they sort about as the key does. */
static void
find_place(const OfsRow *row, TupleDesc desc, const Image *image, OfsGravePlace *place)
{
	Size		used = 0;

	memset(place, 0, sizeof(OfsGravePlace));
	for (int i = 0; i < row->nkey && used < sizeof(OfsGravePlace); i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, row->key[i] - 1);
		Datum		part = image->values[row->key[i] - 1];
		uint64		number;
		const void *bytes = &number;
		Size		length = sizeof(number);

		if (image->nulls[row->key[i] - 1])
			continue;
		number = pg_hton64((uint64) part ^ (UINT64CONST(1) << 63));
		if (att->attlen == -1)
		{
			struct varlena *value = (struct varlena *) DatumGetPointer(part);

			if (VARATT_IS_EXTENDED(value) && !VARATT_IS_SHORT(value))
				return;
			bytes = VARDATA_ANY(value);
			length = VARSIZE_ANY_EXHDR(value);
		}
		else if (!att->attbyval)
		{
			bytes = DatumGetPointer(part);
			length = att->attlen > 0 ? att->attlen : strlen(bytes);
		}
		length = Min(length, sizeof(OfsGravePlace) - used);
		memcpy(place->bytes + used, bytes, length);
		used += length;
	}
}

/* ---------- leaving it ---------- */

/* Is the stamp this transaction's? */
static bool
is_own(const Image *image, int stamp, int64 version)
{
	return image->stamps[stamp] != NULL && ofs_stamp_at(image->stamps[stamp]) == version;
}

/*
 * The command that does away with an image.  Before an update it isn't said which that is, and triggers may have gone on to others.
 * But those are over, and now that this one is used, whatever does away with the next image begins with a greater one.
 */
static CommandId
command_of(const Image *image, int64 version, HeapTuple old, bool deleted)
{
	if (!is_own(image, OFS_S_VERSION, version))
		return OFS_GRAVE_FIRST;
	return deleted ? HeapTupleHeaderGetCmax(old->t_data) : GetCurrentCommandId(true);
}

void
ofs_bury_row(OfsRow *row, Relation rel, HeapTuple old, bool deleted)
{
	int64		version = ofs_version_stamp();
	TupleDesc	desc = RelationGetDescr(rel);
	HeapTuple	whole = ofs_tuple_complete(old, desc);
	Image		image = {NULL};
	OfsGrave   *grave;
	OfsGravePlace place;
	const OfsBurial *burial;

	ofs_tuple_stamps(row, whole, image.stamps);
	/* a row that a push brings, and a cascade takes away in the same push, is one that the pusher has */
	if (is_own(&image, OFS_S_CREATED_VERSION, version) && !(deleted && ofs_capture_active()))
	{
		/* nobody ever saw it, but the device that pushed it where the push has been answered */
		if (ofs_capture_answered() && !ofs_capture_active())
			ofs_table_reset(row->root, OFS_STAIN);
		return;
	}

	grave = ofs_grave_open(row->tombstone);
	burial = burial_of(row, grave, rel);
	read_image(row, desc, whole, burial->nread, &image);
	fill_tombstone(burial, &image, version);
	find_place(row, desc, &image, &place);
	ofs_grave_put(grave, burial->values, burial->nulls, &place, command_of(&image, version, old, deleted));
	ofs_grave_close(grave);
}

/* ---------- triggers ---------- */

Datum
offsync_bury(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	OfsRow	   *row;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) || TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"offsync_internal.bury\" must be fired AFTER DELETE FOR EACH ROW")));

	/* of 0.1: the stamp trigger has done it */
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		return PointerGetDatum(NULL);
	row = ofs_row_get(fcinfo->flinfo, trigger->tg_relation);
	if (OidIsValid(row->root))
	{
		ofs_bury_row(row, trigger->tg_relation, trigger->tg_trigtuple, true);
		ofs_row_written(row, trigger->tg_relation, trigger->tg_trigtuple, false);
	}
	return PointerGetDatum(NULL);
}

Datum
offsync_truncated(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	OfsTable   *table;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"offsync_internal.truncated\" must be fired AFTER TRUNCATE")));
	table = ofs_table_of(RelationGetRelid(trigger->tg_relation));
	if (table)
		ofs_table_reset(table->relid, "truncated");
	return PointerGetDatum(NULL);
}

Datum
offsync_touched(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"offsync_internal.touched\" must be fired AFTER a write")));
	ofs_access_touch(RelationGetRelid(trigger->tg_relation));
	return PointerGetDatum(NULL);
}
