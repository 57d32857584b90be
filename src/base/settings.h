/*
 * settings.h
 *		The extension's settings (GUCs).
 */
#ifndef OFS_SETTINGS_H
#define OFS_SETTINGS_H

#include "postgres.h"

/* Of this library, as offsync.control has it. */
#define OFS_VERSION "0.2"

/* offsync.retention: how long offsync.prune() keeps what tells devices of deletions, in minutes. */
extern int	ofs_retention;

/* offsync.log_rejections: say in the server log which collections' records were refused, and why. */
extern bool ofs_log_rejections;

/* offsync.cursor_sets: how many bytes of sets (of memberships, for instance) a cursor carries by value. */
extern int	ofs_cursor_sets;

/* offsync.max_clock_drift: how far ahead of the server a device's hybrid logical clock may be, in milliseconds. */
extern int	ofs_max_clock_drift;

extern void ofs_settings_init(void);

#endif							/* OFS_SETTINGS_H */
