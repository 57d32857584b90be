-- Values on the wire, of every base type: random ones, and those where something changes.  In the dialect json each is what
-- to_json makes of it, but for what README says: instants end in Z, binary data is base64.  In any session.
\ir begin.psql
CREATE SCHEMA encoder;
SET search_path = encoder, public;
SELECT no_plan();
SELECT setseed(0.5);

CREATE TYPE mood AS ENUM ('sad', 'ok; "x"', 'it''s \');
CREATE TYPE pair AS (a numeric, "b ""q""" timestamptz, c text[]);
CREATE DOMAIN amount AS numeric(12, 2);

-- Text of up to so many characters: what needs escaping may stand anywhere in a machine word, behind it, or at its end.
CREATE FUNCTION a_text(most int) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(string_agg(CASE (random() * 30)::int WHEN 0 THEN '"' WHEN 1 THEN '\' WHEN 2 THEN E'\n' WHEN 3 THEN 'ü' WHEN 4 THEN '😀'
		WHEN 5 THEN chr(1 + (random() * 30)::int) WHEN 6 THEN chr(127) WHEN 7 THEN '/' ELSE chr(32 + (random() * 90)::int) END, ''), '')
	FROM generate_series(1, (random() * most)::int) $$;
CREATE FUNCTION a_number() RETURNS numeric LANGUAGE sql VOLATILE AS $$
	SELECT round((random() * 2 - 1)::numeric * power(10::numeric, (random() * 60 - 30)::int), (random() * 40)::int) $$;
CREATE FUNCTION an_int(bits int) RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT trunc((random() * 2 - 1) * power(2::float8, (random() * bits)::int))::bigint $$;
CREATE FUNCTION a_time() RETURNS timestamp LANGUAGE sql VOLATILE AS $$
	SELECT timestamp '2000-01-01' + (random() * 2 - 1) * power(10, (random() * 5)::int) * interval '1 day' + an_int(40) * interval '1 microsecond' $$;

CREATE TABLE kinds (type text, random text, edges text);
INSERT INTO kinds VALUES
	('bool', 'random() < 0.5', NULL),
	('int2', 'an_int(15)', '-32768, 32767, 0, 9, 10, 99, 100'),
	('int4', 'an_int(31)', '-2147483648, 2147483647, 0'),
	('int8', 'an_int(62)', '-9223372036854775808, 9223372036854775807, 0'),
	('float4', 'an_int(31) / (1 + random() * 1000)', $$'NaN', 'Infinity', '-Infinity', '-0', '1e-45', '3.4e38'$$),
	('float8', '(random() - 0.5) * power(10::float8, an_int(8))', $$'NaN', 'Infinity', '-Infinity', '-0', '5e-324', '1.7e308', '0.1'$$),
	('numeric', 'a_number()', $$'NaN', 'Infinity', '-Infinity', '0', '0.00', '-0.5', '0.0001', '0.00001', '9999', '10000', '-10000.0001', '99999999', '100000000',
		'1e63', '1e64', '1e1000', '1e-63', '1e-64', '-1e-1000', '1e131071', '0.00000000000000000000000000000000000000000000000000000000000000000001',
		'123456789012345678901234567890.123456789012345678901234567890', '1000000000000', '1.0000', '1.00001', '12345678.00000000'$$),
	('numeric(12,2)', 'an_int(33) / 100.0', $$'0', '-9999999999.99', 'NaN'$$),
	('amount', 'an_int(33) / 100.0', '0'),
	('text', 'a_text(70)', $$'', repeat('x', 15), repeat('x', 16), repeat('x', 17), repeat('x', 15) || '"', repeat('x', 16) || '\', repeat('"', 40), repeat('y', 100000)$$),
	('varchar(20)', 'a_text(20)', $$''$$),
	('char(12)', 'a_text(12)', $$''$$),
	('name', 'a_text(20)', $$''$$),
	('"char"', 'chr(32 + (random() * 90)::int)', $$''$$),
	('mood', $$(enum_range(NULL::mood))[1 + (random() * 2)::int]$$, NULL),
	('uuid', 'md5(random()::text)', $$'00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '01234567-89ab-cdef-0123-456789abcdef'$$),
	('date', 'a_time()', $$'infinity', '-infinity', '0001-01-01', '9999-12-31', '10000-01-01', '0001-12-31 BC', '4714-11-24 BC', '5874897-12-31'$$),
	('timestamp', 'a_time()', $$'infinity', '-infinity', '0001-01-01', '9999-12-31 23:59:59.999999', '10000-01-01', '0001-12-31 23:59:59.9 BC', '1999-12-31 23:59:59.1', '294276-12-31'$$),
	('timestamptz', 'a_time()', $$'infinity', '-infinity', '0001-01-01Z', '9999-12-31 23:59:59.999999Z', '10000-01-01Z', '0001-12-31 23:59:59.9Z BC', '1969-12-31 23:59:59.000001Z', '294276-12-31Z'$$),
	('time', 'a_time()', $$'24:00'$$),
	('timetz', $$(a_time()::time::text || '+05:30')$$, NULL),
	('interval', $$an_int(40) * interval '1.5 second' + an_int(10) * interval '1 month'$$, $$'0'$$),
	('bytea', $$convert_to(a_text(40), 'UTF8')$$, $$'', '\x00ff00'$$),
	('json', $$json_build_object('k' || a_text(5), a_text(20), 'n', a_number())$$, $$'[ 1,  2 ]', 'null', '"x"', '1.00'$$),
	('jsonb', $$jsonb_build_object('k' || a_text(5), a_text(20), 'n', a_number())$$, $$'[]', 'null', '"x"', '1.00'$$),
	('inet', $$'10.0.0.0'::inet + an_int(20)$$, $$'::1', '10.0.0.1/8'$$),
	('cidr', NULL, $$'10.0.0.0/8'$$),
	('macaddr', NULL, $$'08:00:2b:01:02:03'$$),
	('bit(3)', NULL, $$'101'$$),
	('varbit', $$an_int(30)::bit(32)$$, $$''$$),
	('oid', 'an_int(30)::int', '4294967295'),
	('pg_lsn', NULL, $$'16/B374D848'$$),
	('point', 'point(random(), random())', NULL),
	('tsvector', NULL, $$'a:1 b:2'$$),
	('int4range', NULL, $$'[1,5)', 'empty'$$),
	('tstzrange', $$tstzrange(a_time()::timestamptz, NULL)$$, NULL),
	('int4multirange', NULL, $$'{[1,3),[5,6)}'$$),
	('int4[]', 'array[an_int(31), an_int(31)]', $$'{}', '{{1,2},{3,NULL}}', '[0:1]={5,6}'$$),
	('text[]', 'array[a_text(20), a_text(20), NULL]', $$'{}'$$),
	('numeric[]', 'array[a_number()]', $$'{NaN,Infinity}'$$),
	('jsonb[]', $$array[jsonb_build_object('a', a_number())]$$, NULL),
	('pair', 'row(a_number(), NULL, array[a_text(20)])', $$'(,,)'$$);

-- What the json dialect says of a value
CREATE FUNCTION wire(type text, v anyelement) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN v IS NOT DISTINCT FROM NULL THEN 'null'
		WHEN type = 'timestamptz' THEN regexp_replace(to_json(v)::text, '\+00:00', 'Z')
		WHEN type = 'bytea' THEN to_json(replace(encode(v::text::bytea, 'base64'), E'\n', ''))::text
		ELSE to_json(v)::text END $$;

CREATE TABLE told (type text, dialect text, id int, value text);
CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
DECLARE
	k kinds;
	t text;
BEGIN
	FOR k IN SELECT * FROM kinds LOOP
		t := 't_' || regexp_replace(k.type, '\W', '_', 'g');
		EXECUTE format('CREATE TABLE %I (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v %s, w %2$s)', t, k.type);
		PERFORM offsync.enable(t::regclass);
		EXECUTE format('INSERT INTO %I (v) VALUES (NULL)', t);
		IF k.random IS NOT NULL THEN
			EXECUTE format('INSERT INTO %I (v, w) SELECT CASE WHEN i %% 20 > 0 THEN v END, v FROM generate_series(1, 400) i, LATERAL (SELECT CAST(%s AS %s) v WHERE i > 0) x',
				t, k.random, k.type);
		END IF;
		IF k.edges IS NOT NULL THEN
			EXECUTE format('INSERT INTO %I (v) SELECT unnest(ARRAY[%s]::text[])::%s', t, k.edges, k.type);
		END IF;
		COMMIT;
	END LOOP;
END $$;
CALL fill();

-- The session's settings say otherwise while it is asked
CREATE FUNCTION ask(t text, told_as text) RETURNS void LANGUAGE sql VOLATILE
	SET DateStyle = 'SQL, DMY' SET TimeZone = 'Asia/Tokyo' SET extra_float_digits = -5 SET IntervalStyle = 'iso_8601' SET bytea_output = 'escape' AS $$
	INSERT INTO told SELECT told_as, d, (r ->> 'id')::int, (r -> 'v')::text
	FROM unnest(ARRAY['json', 'watermelondb']) d,
		json_array_elements(offsync.pull_changes(NULL, ARRAY[t], dialect => d) -> 'changes' -> t -> 'created') r $$;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';

CREATE FUNCTION compare(k kinds) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	t text := 't_' || regexp_replace(k.type, '\W', '_', 'g');
	others text;
	n int;
BEGIN
	PERFORM ask(t, k.type);
	EXECUTE format('SELECT count(*), string_agg(format(''%%s is told as %%s'', e, left(value, 200)), ''; '') FILTER (WHERE e IS DISTINCT FROM value)
		FROM (SELECT told.value, %s AS e FROM %I t LEFT JOIN told ON told.id = t.id AND told.type = $1 AND told.dialect = ''json'') x',
		CASE k.type WHEN 'bytea' THEN 'CASE WHEN t.v IS NULL THEN ''null'' ELSE to_json(replace(encode(t.v, ''base64''), E''\n'', ''''))::text END'
			ELSE 'wire($1, t.v)' END, t) INTO n, others USING k.type;
	RETURN NEXT is(left(others, 1000), NULL, k.type || ': ' || n || ' values');
END $$;
SELECT compare(k) FROM kinds k;

-- The other dialect has other forms for some
SELECT is(count(*), 0::bigint, 'watermelondb: instants in milliseconds, rounded down') FROM t_timestamptz t JOIN told USING (id)
	WHERE type = 'timestamptz' AND dialect = 'watermelondb' AND isfinite(v) AND value <> floor(extract(epoch FROM v) * 1000)::text;
SELECT is(count(*), 0::bigint, 'watermelondb: numbers are those of the json dialect, if there are any')
	FROM told j JOIN told w USING (type, id) WHERE j.dialect = 'json' AND w.dialect = 'watermelondb' AND type IN ('numeric', 'amount', 'float8', 'int8')
	AND w.value <> CASE WHEN j.value LIKE '"%' THEN 'null' ELSE j.value END;
SELECT is(count(*), 0::bigint, 'watermelondb: JSON is text') FROM t_jsonb t JOIN told USING (id)
	WHERE type = 'jsonb' AND dialect = 'watermelondb' AND value::json #>> '{}' IS DISTINCT FROM v::text;

-- In many columns, with some that the planner leaves out
CREATE TABLE wide (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), a text, b int, c numeric, d date, e text, f timestamptz, g text, "h ""q""" bool);
SELECT ok(count(*) > 0, 'enabled') FROM offsync.enable('wide');
INSERT INTO wide (a, b, c, d, e, f, g, "h ""q""") SELECT a_text(2000), an_int(31), a_number(), a_time(), repeat(a_text(50), 300), a_time(), NULL, true
	FROM generate_series(1, 500) i;
ALTER TABLE wide DROP COLUMN e;
SELECT is(count(*), 0::bigint, 'whole records') FROM wide w
	FULL JOIN json_array_elements(offsync.pull_changes(NULL, '{wide}', dialect => 'json') -> 'changes' -> 'wide' -> 'created') r ON w.id = (r ->> 'id')::uuid
	WHERE to_jsonb(w) - 'server_created_version' - 'f' - 'server_created_at' - 'server_updated_at'
		IS DISTINCT FROM r::jsonb - 'f' - 'server_created_at' - 'server_updated_at';

SELECT finish();
DROP SCHEMA encoder CASCADE;
