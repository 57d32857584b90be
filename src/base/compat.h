/*
 * compat.h
 *		The differences between PostgreSQL 15 and 19, all of them.
 *
 * No other file looks at PG_VERSION_NUM.
 */
#ifndef OFS_COMPAT_H
#define OFS_COMPAT_H

#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/jsonfuncs.h"

/* 16 moved the macros for variable-length datums out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * JSON parsing.  Semantic actions return nothing in 15 and a result since 16;
 * since 17 the lexer may be built in place.  Without strings, actions get NULL for strings and names.
 *
 *		static OFS_JSON_ACTION
 *		start(void *state)
 *		{
 *			...
 *			OFS_JSON_ACTION_DONE;
 *		}
 */
#if PG_VERSION_NUM >= 160000
#define OFS_JSON_ACTION JsonParseErrorType
#define OFS_JSON_ACTION_DONE return JSON_SUCCESS
#else
#define OFS_JSON_ACTION void
#define OFS_JSON_ACTION_DONE return
#endif

static inline JsonLexContext *
ofs_compat_json_lexer(const char *json, int len, bool strings)
{
#if PG_VERSION_NUM >= 170000
	return makeJsonLexContextCstringLen(NULL, json, len, GetDatabaseEncoding(), strings);
#else
	return makeJsonLexContextCstringLen(unconstify(char *, json), len,
										GetDatabaseEncoding(), strings);
#endif
}

/* base64: bytes are uint8 since 18. */
#if PG_VERSION_NUM >= 180000
typedef uint8 OfsBase64Byte;
#else
typedef char OfsBase64Byte;
#endif

/* Timestamps: 16 added a place for what an error is about. */
#include "utils/datetime.h"

static inline int
ofs_compat_decode_datetime(char **field, int *ftype, int nf, int *dtype,
						   struct pg_tm *tm, fsec_t *fsec, int *tz)
{
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;

	return DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, &extra);
#else
	return DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz);
#endif
}

/* The executor's run-once flag went in 18. */
#include "executor/executor.h"

static inline void
ofs_compat_executor_run(QueryDesc *desc)
{
#if PG_VERSION_NUM >= 180000
	ExecutorRun(desc, ForwardScanDirection, 0);
#else
	ExecutorRun(desc, ForwardScanDirection, 0, true);
#endif
}

#if PG_VERSION_NUM >= 180000
#define OFS_RUN_PARAMETERS	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define OFS_RUN_ARGUMENTS	queryDesc, direction, count
#else
#define OFS_RUN_PARAMETERS	QueryDesc *queryDesc, ScanDirection direction, uint64 count, bool execute_once
#define OFS_RUN_ARGUMENTS	queryDesc, direction, count, execute_once
#endif

/* Reading a table whole: flags since 19. */
#include "access/tableam.h"

static inline TableScanDesc
ofs_compat_scan_table(Relation rel, Snapshot snapshot)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan(rel, snapshot, 0, NULL, 0);
#else
	return table_beginscan(rel, snapshot, 0, NULL);
#endif
}

/* Planning takes the EXPLAIN that asks for it since 19. */
#include "tcop/tcopprot.h"

static inline PlannedStmt *
ofs_compat_plan_query(Query *query, const char *text, ParamListInfo params)
{
#if PG_VERSION_NUM >= 190000
	return pg_plan_query(query, text, 0, params, NULL);
#else
	return pg_plan_query(query, text, 0, params);
#endif
}

/* Object privileges have one function for all kinds since 16. */
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "utils/acl.h"

static inline AclResult
ofs_compat_namespace_aclcheck(Oid namespace, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, namespace, role, mode);
#else
	return pg_namespace_aclcheck(namespace, role, mode);
#endif
}

static inline bool
ofs_compat_owns_extension(Oid extension, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ExtensionRelationId, extension, role);
#else
	return pg_extension_ownercheck(extension, role);
#endif
}

/* May the one SET ROLE to the other? */
static inline bool
ofs_compat_may_become(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(member, role);
#else
	return is_member_of_role(member, role);
#endif
}

static inline bool
ofs_compat_owns_relation(Oid relid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, role);
#else
	return pg_class_ownercheck(relid, role);
#endif
}

/* 18 put the mark of functions that don't return in front of them: OFS_NORETURN static void f(...). */
#if PG_VERSION_NUM >= 180000
#define OFS_NORETURN pg_noreturn
#else
#define OFS_NORETURN pg_attribute_noreturn()
#endif

/* Backends have process numbers since 17, and their entries are looked up by them since 16. */
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/backend_status.h"

static inline LocalPgBackendStatus *
ofs_compat_backend_status(int n)
{
#if PG_VERSION_NUM >= 160000
	return pgstat_get_local_beentry_by_index(n);
#else
	return pgstat_fetch_stat_local_beentry(n);
#endif
}

/* The process that is at work on the transaction; 0: none, or no more. */
static inline int
ofs_compat_vxid_pid(const VirtualTransactionId *vxid)
{
	PGPROC	   *proc;

#if PG_VERSION_NUM >= 170000
	if (vxid->procNumber == INVALID_PROC_NUMBER)
		return 0;
	proc = ProcNumberGetProc(vxid->procNumber);
	return proc != NULL && proc->vxid.lxid == vxid->localTransactionId ? proc->pid : 0;
#else
	if (vxid->backendId == InvalidBackendId)
		return 0;
	proc = BackendIdGetProc(vxid->backendId);
	return proc != NULL && proc->lxid == vxid->localTransactionId ? proc->pid : 0;
#endif
}

/* Parsing a qualified name can report its error softly since 16. */
#include "utils/builtins.h"
#include "utils/regproc.h"

static inline List *
ofs_compat_name_list(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return stringToQualifiedNameList(name, NULL);
#else
	return stringToQualifiedNameList(name);
#endif
}

/* The list of all settings brings its length along since 16. */
#include "utils/guc.h"
#include "utils/guc_tables.h"

static inline int
ofs_compat_settings(struct config_generic ***settings)
{
#if PG_VERSION_NUM >= 160000
	int			count;

	*settings = get_guc_variables(&count);
	return count;
#else
	*settings = get_guc_variables();
	return GetNumConfigOptions();
#endif
}

/* A tuple descriptor made by hand is finished by a call since 19. */
#if PG_VERSION_NUM < 190000
#define TupleDescFinalize(desc) ((void) (desc))
#endif

/*
 * A little shared memory by its name, made by whoever comes first, without being preloaded.  An error may leave a lock held.
 *
 *		static void
 *		OFS_COMPAT_SHARED_INIT(init)
 *		{
 *			... ptr ...
 *		}
 */
#include "storage/lwlock.h"

#if PG_VERSION_NUM >= 190000
#define OFS_COMPAT_SHARED_INIT(name) name(void *ptr, void *arg)
#else
#define OFS_COMPAT_SHARED_INIT(name) name(void *ptr)
#endif

#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#else
#include "storage/shmem.h"
#endif

static inline void *
ofs_compat_shared(const char *name, Size size, void OFS_COMPAT_SHARED_INIT((*init)))
{
	bool		found;
	void	   *memory;

#if PG_VERSION_NUM >= 190000
	memory = GetNamedDSMSegment(name, size, init, &found, NULL);
#elif PG_VERSION_NUM >= 170000
	memory = GetNamedDSMSegment(name, size, init, &found);
#else
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	memory = ShmemInitStruct(name, size, &found);
	if (!found)
		init(memory);
	LWLockRelease(AddinShmemInitLock);
#endif
	return memory;
}

/* Early minor releases of 15 lack these. */
#ifndef palloc0_array
#define palloc0_array(type, count) ((type *) palloc0(sizeof(type) * (count)))
#endif

/* The path of a foreign table: 17 and 18 added what is none here.  A macro, for not all want the planner's headers. */
#if PG_VERSION_NUM >= 180000
#define ofs_compat_foreign_path(root, rel, rows, startup, total) \
	create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, NIL, NULL, NULL, NIL, NIL)
#elif PG_VERSION_NUM >= 170000
#define ofs_compat_foreign_path(root, rel, rows, startup, total) \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, NULL, NULL, NIL, NIL)
#else
#define ofs_compat_foreign_path(root, rel, rows, startup, total) \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, NULL, NULL, NIL)
#endif

#endif							/* OFS_COMPAT_H */
