-- What WatermelonDB does with the answers: a record that a device has deleted never comes back to life, whichever
-- answers get lost on the way, whatever the device keeps of an answer, and whether it says who it is or not.
--
-- The device here goes by WatermelonDB's rules.  Records are synced, created, updated or deleted; a sync pulls,
-- applies, pushes and marks what it pushed as synced.  A record that comes as "created" is recreated if it is deleted
-- here (and counted, since that is how records are resurrected), one that comes as "updated" stays
-- deleted; columns that were changed here stay as they are.
\ir begin.psql
SELECT * FROM no_plan();

CREATE TABLE wm_note (id text PRIMARY KEY, title text, body text);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('wm_note');
CREATE TABLE wm_record (id text PRIMARY KEY, data jsonb, status text, changed text[] DEFAULT ARRAY[]::text[]);
CREATE TABLE wm_device (form text, client_id text, since text, as_updated boolean, resurrected int);

-- What the app does
CREATE PROCEDURE wm_create() LANGUAGE sql AS $$
	INSERT INTO wm_record VALUES ('n', '{"id": "n", "title": "one", "body": ""}', 'created') $$;
CREATE PROCEDURE wm_update() LANGUAGE sql AS $$
	UPDATE wm_record SET data = data || '{"title": "two"}', status = CASE status WHEN 'created' THEN status ELSE 'updated' END,
		changed = CASE status WHEN 'created' THEN changed ELSE ARRAY['title'] END WHERE id = 'n' AND status <> 'deleted' $$;
CREATE PROCEDURE wm_delete() LANGUAGE sql AS $$
	UPDATE wm_record SET status = 'deleted' WHERE id = 'n' $$;

-- What its sync does
CREATE PROCEDURE wm_apply(changes jsonb) LANGUAGE plpgsql AS $$
DECLARE
	list text;
	r jsonb;
	held wm_record;
BEGIN
	FOREACH list IN ARRAY ARRAY['created', 'updated'] LOOP
		FOR r IN SELECT * FROM jsonb_array_elements(changes->list) LOOP
			SELECT * INTO held FROM wm_record WHERE id = r->>'id';
			IF held.status = 'deleted' THEN
				CONTINUE WHEN list = 'updated';
				UPDATE wm_device SET resurrected = resurrected + 1;
				DELETE FROM wm_record WHERE id = held.id;
				held := NULL;
			END IF;
			INSERT INTO wm_record VALUES (r->>'id', r, 'synced')
				ON CONFLICT (id) DO UPDATE SET status = CASE wm_record.status WHEN 'created' THEN 'updated' ELSE wm_record.status END,
					data = excluded.data || (SELECT coalesce(jsonb_object_agg(k, wm_record.data->k), '{}')
						FROM unnest(wm_record.changed) k);
		END LOOP;
	END LOOP;
	DELETE FROM wm_record WHERE id IN (SELECT jsonb_array_elements_text(changes->'deleted'));
END $$;

CREATE PROCEDURE wm_pull() LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	SELECT offsync.pull_changes(since, collections => ARRAY['wm_note'], client_id => client_id, created_as_updated => as_updated)
		INTO answer FROM wm_device;
	CALL wm_apply(answer->'changes'->'wm_note');
	UPDATE wm_device SET since = CASE form WHEN 'iso' THEN to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
		ELSE answer->>form END;
END $$;

-- What it applied last it asks for again, as if it had never kept how far it was.
CREATE PROCEDURE wm_again() LANGUAGE plpgsql AS $$
DECLARE
	kept text := since FROM wm_device;
BEGIN
	CALL wm_pull();
	UPDATE wm_device SET since = kept;
END $$;

-- A clock is told apart from others by times that the server notes at pushes, less a margin of a minute.
CREATE PROCEDURE wm_hour() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM offsync.push_changes('{}');
	UPDATE offsync_internal.timeline SET at = at - interval '1 hour';
	UPDATE wm_device SET since = to_char((since::timestamptz - interval '1 hour') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
END $$;

CREATE FUNCTION wm_changes(wanted text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT coalesce(jsonb_agg(data || jsonb_build_object('_status', status, '_changed', array_to_string(changed, ','))), '[]')
	FROM wm_record WHERE status = wanted $$;

CREATE FUNCTION wm_push() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN offsync.push_changes(json_build_object('wm_note', json_build_object('created', wm_changes('created'),
			'updated', wm_changes('updated'), 'deleted', (SELECT coalesce(json_agg(id), '[]') FROM wm_record WHERE status = 'deleted'))),
		since, client_id => client_id) FROM wm_device;
EXCEPTION WHEN SQLSTATE 'PT409' THEN
	RETURN NULL;
END $$;

-- A number alone can't tell a row from later ones while older transactions run: then the app tries again.
CREATE PROCEDURE wm_sync(heard boolean) LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	FOR try IN 1 .. 100 LOOP
		IF (SELECT form = 'iso' FROM wm_device) THEN
			CALL wm_hour();
			COMMIT;
		END IF;
		CALL wm_pull();
		COMMIT;
		answer := wm_push();
		COMMIT;
		EXIT WHEN answer IS NOT NULL;
		PERFORM pg_sleep(0.1);
	END LOOP;
	IF heard THEN
		DELETE FROM wm_record WHERE status = 'deleted';
		UPDATE wm_record SET status = 'synced', changed = ARRAY[]::text[];
		UPDATE wm_device SET since = coalesce(CASE WHEN form <> 'iso' THEN answer->>form END, since);
	END IF;
END $$;

-- A story: create, update, delete, sync, lost (a sync whose push's answer gets lost), again (a pull that is applied, and
-- whose cursor gets lost), same and touch (somebody else writes the same record, or changes it); then two syncs more.
CREATE FUNCTION wm_end() RETURNS text LANGUAGE sql AS $$
	SELECT format('%s here, %s there, %s resurrected', (SELECT count(*) FROM wm_record), (SELECT count(*) FROM wm_note), resurrected)
	FROM wm_device $$;
CREATE PROCEDURE wm_live(story text, form text, client_id text, as_updated boolean) LANGUAGE plpgsql AS $$
DECLARE
	step text;
BEGIN
	TRUNCATE wm_record, wm_device;
	DELETE FROM wm_note;
	INSERT INTO wm_device VALUES (form, client_id, NULL, as_updated, 0);
	COMMIT;
	CALL wm_pull();
	COMMIT;
	FOREACH step IN ARRAY string_to_array(story || ' sync sync', ' ') LOOP
		CASE step
			WHEN 'create' THEN CALL wm_create();
			WHEN 'update' THEN CALL wm_update();
			WHEN 'delete' THEN CALL wm_delete();
			WHEN 'sync' THEN CALL wm_sync(true);
			WHEN 'lost' THEN CALL wm_sync(false);
			WHEN 'pull' THEN CALL wm_pull();
			WHEN 'again' THEN CALL wm_again();
			WHEN 'same' THEN INSERT INTO wm_note VALUES ('n', 'one', '');
			WHEN 'touch' THEN UPDATE wm_note SET body = 'touched';
		END CASE;
		COMMIT;
	END LOOP;
END $$;
CREATE TABLE wm_ends (story text, keeps text, told text);
CREATE PROCEDURE wm_lives() LANGUAGE plpgsql AS $$
DECLARE
	story text;
	form text;
	who text;
BEGIN
	FOREACH story IN ARRAY ARRAY[
		'create sync delete sync pull',
		'create sync delete pull sync',
		'create lost delete sync pull',
		'create lost delete lost pull',
		'create sync delete lost pull',
		'create sync update sync delete sync pull',
		'create sync update lost delete lost pull',
		'create lost update delete sync',
		'create lost update lost delete lost pull',
		'create lost pull delete sync',
		'create delete sync pull',
		'create delete lost pull',
		'create same sync delete lost pull',
		'create same lost touch delete pull',
		'create lost touch delete pull sync',
		'create sync touch update lost delete again pull',
		'create lost again delete pull',
		'same again delete pull'] LOOP
		FOREACH form IN ARRAY ARRAY['timestamp', 'iso', 'cursor'] LOOP
			FOREACH who IN ARRAY ARRAY['phone', NULL] LOOP
				-- a device must keep a cursor together with what came with it, or want nothing under "created"
				CALL wm_live(story, form, who, form = 'cursor' AND who = 'phone' AND story LIKE 'same again%');
				INSERT INTO wm_ends VALUES (story, concat_ws(', ', form, who), wm_end());
				COMMIT;
			END LOOP;
		END LOOP;
	END LOOP;
END $$;
CALL wm_lives();
SELECT is(told, '0 here, 0 there, 0 resurrected', story || ' (' || keeps || ')') FROM wm_ends ORDER BY story, keeps;

DROP TABLE wm_note, wm_record, wm_device, wm_ends;
DROP PROCEDURE wm_create, wm_update, wm_delete, wm_apply, wm_pull, wm_again, wm_hour, wm_sync, wm_live, wm_lives;
DROP FUNCTION wm_changes, wm_push, wm_end;
SELECT * FROM finish();
