/*
 * codec_internal.h
 *		What the files of the codec share: text forms and the codec's insides.
 *
 * The files:
 *		textio.c		a type's text form, both ways, free of session settings
 *		codec.c			choosing a codec, NULLs, domains
 *		codec_write.c	writers for single values
 *		codec_read.c	readers for single values
 *		codec_nested.c	arrays and composites as JSON arrays and objects
 *		codec_same.c	the comparison of promise P10
 *		jsonsplit.c		one level of a pushed object or array
 *		key.c			ids, built from text forms alone
 */
#ifndef OFS_CODEC_INTERNAL_H
#define OFS_CODEC_INTERNAL_H

#include "base/codec.h"

#include "access/tupdesc.h"
#include "fmgr.h"

/* How the text form of a type is made. */
typedef enum OfsTextForm
{
	OFS_TEXT_VARLENA,			/* the bytes of the datum are the text */
	OFS_TEXT_UUID,				/* by hand, since keys are made of it */
	OFS_TEXT_OID,				/* a catalog object's name type: its OID in decimal */
	OFS_TEXT_FREE,				/* output function that looks at no setting */
	OFS_TEXT_PINNED				/* output function that may: run with them pinned */
} OfsTextForm;

typedef struct OfsTextIo
{
	OfsTextForm form;
	bool		guc_settings;	/* also depends on settings that have no plain variable */
	int32		typmod;
	Oid			ioparam;
	FmgrInfo	input;
	FmgrInfo	output;
} OfsTextIo;

/* A domain's own input function is used, checks included. */
extern void ofs_textio_init(OfsTextIo *io, Oid typid, int32 typmod);
extern void ofs_textio_write(OfsTextIo *io, StringInfo out, Datum value);
extern void ofs_textio_write_json(OfsTextIo *io, StringInfo out, Datum value);
extern Datum ofs_textio_read(OfsTextIo *io, const char *text);

/* Writers get values that are not null; readers get values that don't stand for NULL. */
typedef void (*OfsCodecWriter) (OfsCodec *codec, StringInfo out, Datum value);
typedef Datum (*OfsCodecReader) (OfsCodec *codec, const OfsJsonValue *pushed);

struct OfsCodec
{
	OfsDialect	dialect;
	Oid			typid;			/* as declared, maybe a domain */
	Oid			basetype;		/* below all domains */
	int32		typmod;			/* of the base type */
	int16		typlen;
	bool		typbyval;
	bool		empty_is_null;
	bool		faithful;		/* reading never rounds, cuts off or pads */
	int64		zone;			/* of times that come without one, in microseconds */
	OfsCodecWriter write;
	OfsCodecReader read;
	OfsTextIo	io;				/* of the base type */
	MemoryContext context;
	void	   *domain_state;

	/* buffers of the comparison */
	StringInfoData written;
	StringInfoData sent;

	/* arrays */
	OfsCodec   *element;
	char		elemalign;

	/* composites: rebuilt when the type was altered */
	uint64		row_identifier;
	MemoryContext row_context;
	TupleDesc	row_desc;
	OfsCodec  **fields;			/* by attribute, NULL where dropped */
};

extern OfsCodecWriter ofs_codec_writer(Oid basetype, OfsDialect dialect);
extern OfsCodecReader ofs_codec_reader(Oid basetype);

/* The type's input function on the pushed value's text. */
extern Datum ofs_codec_read_text(OfsCodec *codec, const OfsJsonValue *pushed);

/* A JSON value as JSON text again. */
extern char *ofs_codec_json_text(const OfsJsonValue *pushed);

/* codec_nested.c */
extern void ofs_nested_init_array(OfsCodec *codec, Oid elemtype);
extern void ofs_nested_init_row(OfsCodec *codec);

#endif							/* OFS_CODEC_INTERNAL_H */
