/*
 * textio.c
 *		A type's text form, both ways, free of session settings.
 *
 * Output functions of dates, intervals, floats, money, and of every array,
 * range or composite that holds one, look at settings that the session may
 * have changed.  Around a call of such a function the settings are pinned:
 * those that have a plain variable by setting it, which costs next to
 * nothing, the rest (search_path for object names, lc_monetary) under a GUC
 * nest level, only for types that hold such values.
 *
 * Types that name catalog objects (regclass and its like) are written as
 * their OID: their text depends on search_path and on renames.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"
#include "utils/xml.h"

#include "base/codec_internal.h"
#include "base/compat.h"
#include "base/put.h"

#define UUID_TEXT_LEN 36

typedef struct PinnedSettings
{
	int			date_style;
	int			date_order;
	int			interval_style;
	int			float_digits;
	int			bytea_style;
	int			xml_option;
	bool		array_nulls;
	pg_tz	   *timezone;
	int			guc_level;		/* 0 = none opened */
} PinnedSettings;

static void
pin_guc(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

static void
pin_settings(PinnedSettings *saved, bool guc_settings)
{
	pg_tz	   *gmt = pg_tzset("GMT");	/* the one zone that needs no file */

	saved->guc_level = 0;
	if (guc_settings)
	{
		saved->guc_level = NewGUCNestLevel();
		pin_guc("search_path", "pg_catalog, pg_temp");
		pin_guc("quote_all_identifiers", "off");
		pin_guc("lc_monetary", "C");
	}

	saved->date_style = DateStyle;
	saved->date_order = DateOrder;
	saved->interval_style = IntervalStyle;
	saved->float_digits = extra_float_digits;
	saved->bytea_style = bytea_output;
	saved->xml_option = xmloption;
	saved->array_nulls = Array_nulls;
	saved->timezone = session_timezone;

	DateStyle = USE_ISO_DATES;
	DateOrder = DATEORDER_MDY;
	IntervalStyle = INTSTYLE_POSTGRES;
	extra_float_digits = 1;
	bytea_output = BYTEA_OUTPUT_HEX;
	xmloption = XMLOPTION_CONTENT;
	Array_nulls = true;
	session_timezone = gmt;
}

static void
unpin_settings(const PinnedSettings *saved)
{
	DateStyle = saved->date_style;
	DateOrder = saved->date_order;
	IntervalStyle = saved->interval_style;
	extra_float_digits = saved->float_digits;
	bytea_output = saved->bytea_style;
	xmloption = saved->xml_option;
	Array_nulls = saved->array_nulls;
	session_timezone = saved->timezone;
}

/*
 * The nest level is closed here only on success: after an error the end of
 * the (sub)transaction does it, as for a function with a SET clause.
 */
static char *
output_pinned(OfsTextIo *io, Datum value)
{
	PinnedSettings saved;
	char	   *volatile text = NULL;

	pin_settings(&saved, io->guc_settings);
	PG_TRY();
	{
		text = OutputFunctionCall(&io->output, value);
	}
	PG_FINALLY();
	{
		unpin_settings(&saved);
	}
	PG_END_TRY();
	if (saved.guc_level != 0)
		AtEOXact_GUC(true, saved.guc_level);
	return text;
}

static Datum
input_pinned(OfsTextIo *io, char *text)
{
	PinnedSettings saved;
	volatile Datum value = (Datum) 0;

	pin_settings(&saved, io->guc_settings);
	PG_TRY();
	{
		value = InputFunctionCall(&io->input, text, io->ioparam, io->typmod);
	}
	PG_FINALLY();
	{
		unpin_settings(&saved);
	}
	PG_END_TRY();
	if (saved.guc_level != 0)
		AtEOXact_GUC(true, saved.guc_level);
	return value;
}

static bool
is_object_type(Oid typid)
{
	switch (typid)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
#ifdef REGDATABASEOID
		case REGDATABASEOID:
#endif
			return true;
		default:
			return false;
	}
}

static bool needs_guc_settings(Oid typid);

static bool
row_needs_guc_settings(Oid typid)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(typid, -1);
	bool		needs = false;

	for (int i = 0; i < desc->natts && !needs; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		needs = !att->attisdropped && needs_guc_settings(att->atttypid);
	}
	ReleaseTupleDesc(desc);
	return needs;
}

/* Does the type hold, at any depth, values whose text needs more than the plain variables? */
static bool
needs_guc_settings(Oid typid)
{
	Oid			inner;

	check_stack_depth();
	typid = getBaseType(typid);
	if (typid == CASHOID || is_object_type(typid))
		return true;
	inner = get_element_type(typid);
	if (!OidIsValid(inner))
		inner = get_range_subtype(typid);
	if (!OidIsValid(inner))
		inner = get_multirange_range(typid);
	if (OidIsValid(inner))
		return needs_guc_settings(inner);
	return get_typtype(typid) == TYPTYPE_COMPOSITE && row_needs_guc_settings(typid);
}

/* By the output function, so that citext and its like are known too. */
static bool
is_plain_text(const FmgrInfo *output)
{
	return output->fn_addr == textout || output->fn_addr == varcharout ||
		output->fn_addr == bpcharout || output->fn_addr == json_out;
}

static OfsTextForm
text_form(Oid basetype, const FmgrInfo *output)
{
	if (is_plain_text(output))
		return OFS_TEXT_VARLENA;
	if (is_object_type(basetype))
		return OFS_TEXT_OID;
	switch (basetype)
	{
		case UUIDOID:
			return OFS_TEXT_UUID;
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case NAMEOID:
		case CHAROID:
		case OIDOID:
		case JSONBOID:
		case INETOID:
		case CIDROID:
			return OFS_TEXT_FREE;
		default:
			return get_typtype(basetype) == TYPTYPE_ENUM ? OFS_TEXT_FREE : OFS_TEXT_PINNED;
	}
}

void
ofs_textio_init(OfsTextIo *io, Oid typid, int32 typmod)
{
	Oid			basetype = getBaseType(typid);
	Oid			input;
	Oid			output;
	bool		isvarlena;

	getTypeInputInfo(typid, &input, &io->ioparam);
	getTypeOutputInfo(basetype, &output, &isvarlena);
	fmgr_info(input, &io->input);
	fmgr_info(output, &io->output);
	io->typmod = typmod;
	io->form = text_form(basetype, &io->output);
	io->guc_settings = needs_guc_settings(basetype);
}

/* Eight hexadecimal digits at once: each nibble in a byte of its own, and 39 more where it is a letter. */
static inline void
put_hex(char *to, uint32 number)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);
	uint64		word = number;

	word = (word << 16 | word) & UINT64CONST(0x0000FFFF0000FFFF);
	word = (word << 8 | word) & UINT64CONST(0x00FF00FF00FF00FF);
	word = (word << 4 | word) & UINT64CONST(0x0F0F0F0F0F0F0F0F);
	word += ones * '0' + ((word + ones * 6) >> 4 & ones) * ('a' - '0' - 10);
	word = pg_hton64(word);
	memcpy(to, &word, sizeof(word));
}

static void
write_uuid(StringInfo out, Datum value)
{
	const pg_uuid_t *uuid = DatumGetUUIDP(value);
	char		hex[2 * UUID_LEN];
	char	   *p = ofs_put_room(out, UUID_TEXT_LEN);

	for (int i = 0; i < 4; i++)
	{
		uint32		number;

		memcpy(&number, uuid->data + 4 * i, sizeof(number));
		put_hex(hex + 8 * i, pg_ntoh32(number));
	}
	memcpy(p, hex, 8);
	memcpy(p + 9, hex + 8, 4);
	memcpy(p + 14, hex + 12, 4);
	memcpy(p + 19, hex + 16, 4);
	memcpy(p + 24, hex + 20, 12);
	p[8] = p[13] = p[18] = p[23] = '-';
	ofs_put_end(out, p + UUID_TEXT_LEN);
}

static char *
output_text(OfsTextIo *io, Datum value)
{
	if (io->form == OFS_TEXT_FREE)
		return OutputFunctionCall(&io->output, value);
	return output_pinned(io, value);
}

/* Append the text form as it is. */
void
ofs_textio_write(OfsTextIo *io, StringInfo out, Datum value)
{
	if (io->form == OFS_TEXT_VARLENA)
	{
		struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

		ofs_put_bytes(out, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
		if ((Pointer) text != DatumGetPointer(value))
			pfree(text);
	}
	else if (io->form == OFS_TEXT_UUID)
		write_uuid(out, value);
	else if (io->form == OFS_TEXT_OID)
		appendStringInfo(out, "%u", DatumGetObjectId(value));
	else
	{
		char	   *text = output_text(io, value);

		appendStringInfoString(out, text);
		pfree(text);
	}
}

/* Append the text form as a JSON string. */
void
ofs_textio_write_json(OfsTextIo *io, StringInfo out, Datum value)
{
	if (io->form == OFS_TEXT_VARLENA)
	{
		struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

		ofs_json_string(out, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
		if ((Pointer) text != DatumGetPointer(value))
			pfree(text);
	}
	else if (io->form == OFS_TEXT_UUID || io->form == OFS_TEXT_OID)
	{
		ofs_put_char(out, '"');
		ofs_textio_write(io, out, value);
		ofs_put_char(out, '"');
	}
	else
	{
		char	   *text = output_text(io, value);

		ofs_json_text(out, text);
		pfree(text);
	}
}

/* Through the type's input function; its errors are the caller's. */
Datum
ofs_textio_read(OfsTextIo *io, const char *text)
{
	if (io->form == OFS_TEXT_PINNED || io->form == OFS_TEXT_OID)
		return input_pinned(io, unconstify(char *, text));
	return InputFunctionCall(&io->input, unconstify(char *, text), io->ioparam, io->typmod);
}
