/*
 * settings.h
 *		The extension's settings (GUCs).
 */
#ifndef OFS_SETTINGS_H
#define OFS_SETTINGS_H

#include "postgres.h"

/* offsync.retention: how long offsync.prune() keeps what tells devices of deletions, in minutes. */
extern int	ofs_retention;

/* offsync.log_rejections: say in the server log which collections' records were refused, and why. */
extern bool ofs_log_rejections;

extern void ofs_settings_init(void);

#endif							/* OFS_SETTINGS_H */
