/*
 * spi.c
 *		SPI and user switching, the one place for both.
 *
 * What belongs to the extension is written as the owner of its private schema, whoever the
 * caller is.  Nothing that a caller wrote may be evaluated meanwhile: not its policies, not its
 * defaults, not its triggers.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/spi.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define INTERNAL_SCHEMA "offsync_internal"

static Oid
schema_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum(INTERNAL_SCHEMA));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"%s\" does not exist", INTERNAL_SCHEMA),
				 errhint("Create the extension offsync.")));
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
ofs_owner_begin(OfsOwnerSwitch *sw)
{
	Oid			owner = schema_owner();

	GetUserIdAndSecContext(&sw->userid, &sw->sec_context);
	sw->nestlevel = ofs_search_path_pin();
	SetUserIdAndSecContext(owner, sw->sec_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

void
ofs_owner_end(OfsOwnerSwitch *sw)
{
	SetUserIdAndSecContext(sw->userid, sw->sec_context);
	AtEOXact_GUC(true, sw->nestlevel);
}

int
ofs_search_path_pin(void)
{
	int			nestlevel = NewGUCNestLevel();

	/* pg_temp named last, or it would stand first */
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return nestlevel;
}

int
ofs_jit_off(void)
{
	int			nestlevel = NewGUCNestLevel();

	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nestlevel;
}

uint64
ofs_spi_run(bool read_only, const char *fmt,...)
{
	StringInfoData sql;
	int			save_errno = errno;
	int			rc;

	initStringInfo(&sql);
	for (;;)
	{
		va_list		args;
		int			needed;

		errno = save_errno;
		va_start(args, fmt);
		needed = appendStringInfoVA(&sql, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&sql, needed);
	}

	rc = SPI_execute(sql.data, read_only, 0);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql.data, SPI_result_code_string(rc));
	pfree(sql.data);
	return SPI_processed;
}

char *
ofs_relation_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

Oid
ofs_internal_table(const char *name)
{
	Oid			nspid = get_namespace_oid(INTERNAL_SCHEMA, false);
	Oid			relid = get_relname_relid(name, nspid);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist", INTERNAL_SCHEMA, name)));
	return relid;
}
