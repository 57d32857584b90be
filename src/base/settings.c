/*
 * settings.c
 *		The extension's settings (GUCs).
 */
#include "postgres.h"

#include <limits.h>

#include "base/settings.h"
#include "utils/guc.h"

#define MINUTES_PER_DAY (24 * 60)

int			ofs_retention = 90 * MINUTES_PER_DAY;
bool		ofs_log_rejections = false;
int			ofs_cursor_sets = 16 * 1024;
int			ofs_max_clock_drift = 60 * 1000;

void
ofs_settings_init(void)
{
	/* whoever may call prune() may name another retention in the call, so this needs no guard */
	DefineCustomIntVariable("offsync.retention",
							"How long offsync.prune() keeps tombstones, the push log and the timeline.",
							"Devices that were away longer take the collections anew.",
							&ofs_retention, 90 * MINUTES_PER_DAY, 1, INT_MAX,
							PGC_USERSET, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomBoolVariable("offsync.log_rejections",
							 "Logs the collection and the SQLSTATE of each record that a push refuses.",
							 "Never a value or an id.",
							 &ofs_log_rejections, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("offsync.cursor_sets",
							"How many bytes of the policies' sets a cursor carries by value.",
							"Of a set beyond that only a hash is carried; when it changes, the collection is replaced.",
							&ofs_cursor_sets, 16 * 1024, 0, 1024 * 1024,
							PGC_USERSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	/* a clock that is ahead wins till time has caught up with it */
	DefineCustomIntVariable("offsync.max_clock_drift",
							"How far ahead of the server the hybrid logical clock of a pushed record may be.",
							"Records with a clock beyond that are refused.",
							&ofs_max_clock_drift, 60 * 1000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	MarkGUCPrefixReserved("offsync");
}
