/*
 * id.c
 *		Ids and keys of pushed records.
 *
 * Ids are compared as the server writes them, and must be sent so: under another spelling the device would hold the row
 * twice.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "push/push.h"

/* The id as a pull writes it, which mostly is how it was sent. */
const char *
ofs_id_canonical(PushTable *table, const Datum *key, const char *sent)
{
	if (table->canonical.data == NULL)
		initStringInfo(&table->canonical);
	resetStringInfo(&table->canonical);
	ofs_key_write(table->key, &table->canonical, key);
	if (sent != NULL && strcmp(table->canonical.data, sent) == 0)
		return sent;
	return pstrdup(table->canonical.data);
}

/* The parts of the key from a record without an id; false when one is missing. */
static bool
derive_key(PushTable *table, const OfsPushRecord *record, Datum *key)
{
	int			found = 0;

	for (int i = 0; i < record->nfields; i++)
	{
		int			column = ofs_columns_find(table, record->fields[i].name);
		int			part = column >= 0 ? table->columns[column].keypart : -1;
		bool		isnull;

		if (part < 0)
			continue;
		key[part] = ofs_codec_read(table->columns[column].codec, &record->fields[i].value, &isnull);
		if (isnull)
			return false;
		found++;
	}
	return found == table->table->nkey;
}

/* The key of a record, and its id as a pull writes it. */
Datum *
ofs_id_read(Push *push, PushTable *table, const OfsPushRecord *record, const char **id)
{
	Datum	   *key = palloc0_array(Datum, table->table->nkey);
	const char *canonical;

	if (record->id == NULL)
	{
		if (!derive_key(table, record, key))
			ereport(ERROR,
					(errcode(ERRCODE_OFS_MALFORMED),
					 errmsg("a record of collection \"%s\" has no id", table->name)));
		*id = ofs_id_canonical(table, key, NULL);
		return key;
	}
	push->place.id = record->id;
	ofs_key_read(table->key, record->id, key);
	canonical = ofs_id_canonical(table, key, record->id);
	if (strcmp(canonical, record->id) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OFS_MALFORMED),
				 errmsg("malformed id"),
				 errdetail("The server writes this id as \"%s\".", canonical)));
	*id = canonical;
	return key;
}
