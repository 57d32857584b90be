/*
 * pushbuild.c
 *		Where a changes object is collected while it is parsed.
 *
 * Texts and fields are packed into large blocks, so that a document of
 * millions of small values costs a small multiple of its size.  Names, which
 * repeat in every record, are kept once.  A name also remembers the last
 * record that had it and where: a repeated member is found without searching
 * the record.  And the records of a device mostly have the same members in the
 * same order, so the name that comes next is known before it is looked up.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/pushbuild.h"

#define MIN_BLOCK_SIZE	1024
#define MAX_BLOCK_SIZE	65536

typedef struct KeptName
{
	const char *text;
	int			len;
	int			position;		/* fields: place in that record; collections: index */
	int64		record;			/* fields: number of the last record that has it */
} KeptName;

typedef struct NameEntry
{
	const char *name;
	uint32		hash;
	uint32		status;
	KeptName   *kept;
} NameEntry;

#define SH_PREFIX			names
#define SH_ELEMENT_TYPE		NameEntry
#define SH_KEY_TYPE			const char *
#define SH_KEY				name
#define SH_HASH_KEY(tb, k)	hash_bytes((const unsigned char *) (k), strlen(k))
#define SH_EQUAL(tb, a, b)	(strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	((a)->hash)
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A growing array. */
typedef struct Growing
{
	void	   *items;
	int			count;
	int			room;
} Growing;

typedef struct CollectionBuild
{
	const char *name;
	Growing		lists[OFS_PUSH_LISTS];
} CollectionBuild;

struct OfsPushBuild
{
	Growing		collections;	/* of CollectionBuild pointers */
	CollectionBuild *collection;	/* the current one */

	/* the record being read */
	int64		record;			/* its running number */
	Growing		fields;
	KeptName   *field;
	const char *wrong;
	Growing		order;			/* KeptName pointers: what stood in each place last, or NULL */

	names_hash *field_names;
	names_hash *collection_names;
	char	   *block;
	size_t		block_left;
	size_t		block_size;		/* of the next one */
};

OfsPushBuild *
ofs_pushbuild_create(void)
{
	OfsPushBuild *build = palloc0(sizeof(OfsPushBuild));

	build->block_size = MIN_BLOCK_SIZE;
	build->field_names = names_create(CurrentMemoryContext, 24, NULL);
	build->collection_names = names_create(CurrentMemoryContext, 4, NULL);
	return build;
}

/* Room that lives as long as the document; large pieces get a chunk of their own. */
static void *
keep(OfsPushBuild *build, size_t size, bool aligned)
{
	char	   *result;

	if (size > MAX_BLOCK_SIZE / 8)
		return palloc_extended(size, MCXT_ALLOC_HUGE);
	if (aligned)
	{
		size_t		skip = (char *) MAXALIGN(build->block) - build->block;

		skip = Min(skip, build->block_left);
		build->block += skip;
		build->block_left -= skip;
	}
	if (size > build->block_left)
	{
		while (build->block_size < MAX_BLOCK_SIZE && build->block_size < 4 * size)
			build->block_size *= 2;
		build->block = palloc(build->block_size);
		build->block_left = build->block_size;
		build->block_size = Min(2 * build->block_size, MAX_BLOCK_SIZE);
	}
	result = build->block;
	build->block += size;
	build->block_left -= size;
	return result;
}

char *
ofs_pushbuild_text(OfsPushBuild *build, const char *text, int len)
{
	char	   *copy = keep(build, (size_t) len + 1, false);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

/* The address of a new last item. */
static void *
grow(Growing *array, size_t item_size)
{
	if (array->count == array->room)
	{
		if (array->room > PG_INT32_MAX / 2)
			ereport(ERROR,
					(errcode(ERRCODE_OFS_TOO_LARGE),
					 errmsg("changes object has too many elements")));
		array->room = Max(16, array->room * 2);
		if (array->items == NULL)
			array->items = palloc(array->room * item_size);
		else
			array->items = repalloc_huge(array->items, array->room * item_size);
	}
	return (char *) array->items + item_size * array->count++;
}

static KeptName *
keep_name(OfsPushBuild *build, names_hash *table, const char *name, bool *found)
{
	NameEntry  *entry = names_insert(table, name, found);

	if (!*found)
	{
		entry->kept = palloc0(sizeof(KeptName));
		entry->kept->len = strlen(name);
		entry->kept->text = entry->name = ofs_pushbuild_text(build, name, entry->kept->len);
	}
	return entry->kept;
}

const char *
ofs_pushbuild_collection(OfsPushBuild *build, const char *name)
{
	bool		found;
	KeptName   *kept = keep_name(build, build->collection_names, name, &found);

	if (!found)
	{
		CollectionBuild *collection = palloc0(sizeof(CollectionBuild));

		collection->name = kept->text;
		kept->position = build->collections.count;
		*(CollectionBuild **) grow(&build->collections, sizeof(CollectionBuild *)) = collection;
	}
	build->collection = ((CollectionBuild **) build->collections.items)[kept->position];
	return kept->text;
}

void
ofs_pushbuild_record_begin(OfsPushBuild *build)
{
	build->record++;
	build->wrong = NULL;
	build->fields.count = 0;
}

void
ofs_pushbuild_field_name(OfsPushBuild *build, const char *name)
{
	bool		found;

	build->field = keep_name(build, build->field_names, name, &found);
	while (build->order.count <= build->fields.count)
		*(KeptName **) grow(&build->order, sizeof(KeptName *)) = NULL;
	/* in the document it stands otherwise if it has a backslash */
	((KeptName **) build->order.items)[build->fields.count] =
		strchr(name, '\\') == NULL ? build->field : NULL;
}

int
ofs_pushbuild_field_guess(OfsPushBuild *build, const char *text, int len)
{
	KeptName   *guess;

	if (build->fields.count >= build->order.count)
		return -1;
	guess = ((KeptName **) build->order.items)[build->fields.count];
	if (guess == NULL || guess->len >= len || text[guess->len] != '"' ||
		memcmp(text, guess->text, guess->len) != 0)
		return -1;
	build->field = guess;
	return guess->len;
}

/* The value of the field named last; of a repeated field the last value stands. */
void
ofs_pushbuild_field_value(OfsPushBuild *build, OfsJsonKind kind, const char *text, int len)
{
	KeptName   *name = build->field;
	OfsPushField *field;

	if (name->record == build->record)
		field = (OfsPushField *) build->fields.items + name->position;
	else
	{
		name->record = build->record;
		name->position = build->fields.count;
		field = grow(&build->fields, sizeof(OfsPushField));
	}
	field->name = name->text;
	field->value.kind = kind;
	field->value.text = NULL;
	field->value.len = 0;
	if (kind == OFS_JSON_STRING || kind == OFS_JSON_NUMBER || kind == OFS_JSON_NESTED)
	{
		field->value.text = ofs_pushbuild_text(build, text, len);
		field->value.len = len;
	}
}

void
ofs_pushbuild_record_spoil(OfsPushBuild *build, const char *wrong, int len)
{
	build->wrong = ofs_pushbuild_text(build, wrong, len);
}

void
ofs_pushbuild_record_end(OfsPushBuild *build, const char *id, OfsPushList list)
{
	size_t		size = build->fields.count * sizeof(OfsPushField);
	OfsPushRecord *record;

	record = grow(&build->collection->lists[list], sizeof(OfsPushRecord));
	record->id = id;
	record->wrong = build->wrong;
	record->created = list == OFS_LIST_CREATED;
	record->nfields = build->fields.count;
	record->fields = NULL;
	if (size > 0)
	{
		record->fields = keep(build, size, true);
		memcpy(record->fields, build->fields.items, size);
	}
}

/* Created and updated records stand in one array. */
static void
finish_collection(OfsPushCollection *collection, CollectionBuild *built)
{
	Growing    *created = &built->lists[OFS_LIST_CREATED];
	Growing    *updated = &built->lists[OFS_LIST_UPDATED];
	OfsPushRecord *records = created->count > 0 ? created->items : updated->items;

	if (created->count > 0 && updated->count > 0)
	{
		records = repalloc_huge(created->items,
								((size_t) created->count + updated->count) * sizeof(OfsPushRecord));
		memcpy(records + created->count, updated->items, updated->count * sizeof(OfsPushRecord));
		pfree(updated->items);
	}
	collection->name = built->name;
	collection->nrecords = created->count + updated->count;
	collection->records = records;
	collection->ndeleted = built->lists[OFS_LIST_DELETED].count;
	collection->deleted = built->lists[OFS_LIST_DELETED].items;
}

OfsPushDoc *
ofs_pushbuild_finish(OfsPushBuild *build)
{
	OfsPushDoc *doc = palloc0(sizeof(OfsPushDoc));

	doc->ncollections = build->collections.count;
	doc->collections = palloc_extended(doc->ncollections * sizeof(OfsPushCollection),
									   MCXT_ALLOC_HUGE);
	for (int i = 0; i < doc->ncollections; i++)
		finish_collection(&doc->collections[i],
						  ((CollectionBuild **) build->collections.items)[i]);
	names_destroy(build->field_names);
	names_destroy(build->collection_names);
	return doc;
}
