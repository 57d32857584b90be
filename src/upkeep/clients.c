/*
 * clients.c
 *		offsync.clients: the devices that name themselves when they push, as far as the push log tells.
 *
 * Pulls leave no trace: they write nothing.  A push says how far its device had pulled by then, by the number of the cursor
 * that comes with it.  A device that pulls and keeps what it gets is further on at its next push, if by nothing
 * else than by its own last one.  One that pushes again and again from the same place is stuck.
 */
#include "postgres.h"

#include "base/answer.h"
#include "base/compat.h"
#include "base/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/guc.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(offsync_clients);

/* Whoever pushed so often, for so long, and got no further. */
#define STUCK	"pushes_since >= 3 AND last_push - position_since >= '1 hour'"

static const char clients_sql[] =
	"WITH latest AS (SELECT DISTINCT ON (role, subject, client_id) role, subject, client_id, number, outcome"
	" FROM offsync_internal.push_log ORDER BY role, subject, client_id, at DESC, version DESC),"
	" client AS (SELECT l.role, l.subject, l.client_id, count(*) AS pushes, sum(cardinality(p.records))::bigint AS records,"
	" min(p.at) AS first_push, max(p.at) AS last_push, l.number AS position,"
	" min(p.at) FILTER (WHERE p.number >= l.number) AS position_since, count(*) FILTER (WHERE p.number >= l.number) AS pushes_since,"
	" coalesce(json_array_length(('{' || l.outcome || '}')::json -> 'rejected'), 0) AS rejected"
	" FROM latest l JOIN offsync_internal.push_log p ON p.role = l.role AND p.subject IS NOT DISTINCT FROM l.subject AND p.client_id = l.client_id"
	" GROUP BY l.role, l.subject, l.client_id, l.number, l.outcome)"
	" SELECT pg_get_userbyid(role), subject, client_id, pushes, records, first_push, last_push, position, position_since, pushes_since, rejected,"
	" CASE WHEN " STUCK " THEN 'stuck: it pushes, and keeps no newer cursor'"
	" WHEN rejected > 0 THEN 'refused: records of its last push'"
	" WHEN position <= (SELECT max(last) FROM offsync_internal.prune_horizon) THEN 'away: deletions that it hasn''t seen were pruned'"
	" WHEN position IS NOT NULL THEN 'ok' END"
	" FROM client ORDER BY last_push DESC, client_id COLLATE \"C\", role, subject";

Datum
offsync_clients(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *answer = (ReturnSetInfo *) fcinfo->resultinfo;
	uint64		count;
	OfsOwnerSwitch sw;
	int			level;

	ofs_answer_require_watcher("offsync.clients");
	InitMaterializedSRF(fcinfo, 0);
	level = ofs_jit_off();
	ofs_owner_begin(&sw);
	SPI_connect();
	count = ofs_spi_run(true, "%s", clients_sql);
	if (SPI_tuptable->tupdesc->natts != answer->setDesc->natts)
		elog(ERROR, "return type must be a row of %d columns", SPI_tuptable->tupdesc->natts);
	for (uint64 i = 0; i < count; i++)
		tuplestore_puttuple(answer->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
	ofs_owner_end(&sw);
	AtEOXact_GUC(true, level);
	return (Datum) 0;
}
