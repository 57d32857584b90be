/*
 * client.c
 *		Who pushes: role, subject and client_id.
 *
 * A client_id is what a device calls itself: nobody vouches for it, and two devices may share one (a restored
 * backup, a second tab).  So it says which device among those of one user, and the role and
 * the token's subject say which user.  Gateways give the token's claims, and the request's headers, in settings.
 */
#include "postgres.h"

#include "catalog/client.h"
#include "core/cursor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

/* A member of the JSON object that a setting holds. */
static char *
setting_member(const char *setting, const char *member)
{
	const char *value = GetConfigOption(setting, true, false);
	LOCAL_FCINFO(fcinfo, 2);
	Datum		result;

	/* a setting of a transaction that is over is empty, not absent */
	if (value == NULL || value[0] == '\0')
		return NULL;
	InitFunctionCallInfoData(*fcinfo, NULL, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(value);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = CStringGetTextDatum(member);
	fcinfo->args[1].isnull = false;
	result = json_object_field_text(fcinfo);
	return fcinfo->isnull ? NULL : TextDatumGetCString(result);
}

const char *
ofs_client_subject(void)
{
	const char *subject = setting_member("request.jwt.claims", "sub");

	/* as older gateways give it */
	if (subject == NULL)
		subject = GetConfigOption("request.jwt.claim.sub", true, false);
	return subject == NULL || subject[0] == '\0' ? NULL : pstrdup(subject);
}

void
ofs_client_check_length(const char *what, const char *name)
{
	if (strlen(name) > OFS_NAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", what),
				 errdetail("At most %d bytes are taken.", OFS_NAME_MAX)));
}

OfsClient *
ofs_client_identify(const char *client_id)
{
	OfsClient  *client;

	if (client_id == NULL || client_id[0] == '\0')
		return NULL;
	ofs_client_check_length("client_id", client_id);
	client = palloc(sizeof(OfsClient));
	client->role = GetUserId();
	client->subject = ofs_client_subject();
	client->client_id = pstrdup(client_id);
	client->hash = (int64) ofs_name_hash(psprintf("%u %s\n%s", client->role,
												  client->subject ? client->subject : "", client_id));
	return client;
}

char *
ofs_client_header(const char *name)
{
	return setting_member("request.headers", name);
}
