/*
 * offsync.c
 *		Module initialisation.
 */
#include "postgres.h"

#include "base/settings.h"
#include "catalog/capture.h"
#include "catalog/grave.h"
#include "catalog/incarnation.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	ofs_settings_init();
	ofs_incarnation_init();
	ofs_capture_init();
	ofs_grave_init();
}
