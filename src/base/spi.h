/*
 * spi.h
 *		SPI and user switching, the one place for both.
 */
#ifndef OFS_SPI_H
#define OFS_SPI_H

#include "postgres.h"

#include "executor/spi.h"
#include "utils/relcache.h"

/* State of a switch to the owner of the private schema. */
typedef struct OfsOwnerSwitch
{
	Oid			userid;
	int			sec_context;
	int			nestlevel;
} OfsOwnerSwitch;

/* Become the owner of offsync_internal, search_path pinned to pg_catalog; an error's abort undoes it too. */
extern void ofs_owner_begin(OfsOwnerSwitch *sw);
extern void ofs_owner_end(OfsOwnerSwitch *sw);

/*
 * Open a GUC nest level with search_path = 'pg_catalog' (everything else in generated or
 * deparsed SQL is then schema-qualified); close it with AtEOXact_GUC(true, level).
 */
extern int	ofs_search_path_pin(void);

/* Open a GUC nest level without just-in-time compilation, which takes longer than most of our statements; close it likewise. */
extern int	ofs_jit_off(void);

/* SPI_execute with a printf-like text, erroring unless it succeeds; returns SPI_processed. SPI is connected. */
extern uint64 ofs_spi_run(bool read_only, const char *fmt,...) pg_attribute_printf(2, 3);

/* "schema"."name" of a relation, quoted; palloc'd. */
extern char *ofs_relation_name(Oid relid);

/* OID of a table in offsync_internal. */
extern Oid	ofs_internal_table(const char *name);

#endif							/* OFS_SPI_H */
