/*
 * argument.c
 *		Arguments of SQL functions.
 */
#include "postgres.h"

#include "base/argument.h"
#include "utils/builtins.h"

char *
ofs_argument_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}
