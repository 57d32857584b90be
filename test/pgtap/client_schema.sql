-- client_schema: what an app is to declare, of what its users may read.
\ir begin.psql
DROP SCHEMA IF EXISTS schemas CASCADE;
DROP ROLE IF EXISTS schemas_user;
DROP ROLE IF EXISTS schemas_nobody;
CREATE ROLE schemas_user;
CREATE ROLE schemas_nobody;
CREATE SCHEMA schemas;
GRANT USAGE ON SCHEMA schemas TO schemas_user, schemas_nobody;
SET search_path = schemas, public;
SELECT no_plan();

-- Types of every kind.
CREATE TYPE pair AS (a int, b text);
CREATE TYPE mood AS ENUM ('fine', 'bad');
CREATE DOMAIN amount AS numeric(10,2);
CREATE DOMAIN labels AS text[];
CREATE TABLE kinds (id uuid PRIMARY KEY, b boolean NOT NULL, i2 smallint, i4 int NOT NULL, i8 bigint, r real, f float8, n numeric,
	ts timestamptz, lt timestamp, d date, t time, iv interval, bin bytea, j json, jb jsonb NOT NULL, s text NOT NULL, v varchar(9), c char(3), u uuid,
	ar int[], ad date[] NOT NULL, aj json[], ab bool[], p pair, ap pair[], m mood, rg int4range, ip inet, nm name, am amount NOT NULL, la labels,
	rc regclass, ov oidvector, gen int GENERATED ALWAYS AS (i4 + 1) STORED, gone timestamptz);

-- Names of every kind.
CREATE TABLE names ("a.b" int, "Key" text, "Id" text, id text, class text, "Class" text, "CLASS" text, "projectId" text, project_id text, "2nd" text,
	"größe" text, "名前" text, "it's" text, "say ""x""" text, "c:\dir" text, "${x}" text, "line
break" text, U&"sep\2028arated" text, text text, "updatedAt" timestamptz, created_at text, updated_at timestamptz, "default" int, static int, "__x" int,
	rowid int, "constructor" int, "toString" int, "table" int, "HTTP_CODE" int, "*/ -- //" int, PRIMARY KEY ("a.b", "Key"));

-- Who refers to whom.
CREATE TABLE team (id uuid PRIMARY KEY, captain_id text);
CREATE TABLE member (handle text PRIMARY KEY, team_id uuid NOT NULL REFERENCES team, second_team uuid REFERENCES team, "bossId" text REFERENCES member,
	secret text, internal text, team text);
ALTER TABLE team ADD FOREIGN KEY (captain_id) REFERENCES member;
CREATE TABLE event (id text, at date, member_id text REFERENCES member, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE event_old PARTITION OF event FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE event_new PARTITION OF event DEFAULT;
CREATE TABLE seat (id bigint PRIMARY KEY, event_id text, event_at date, vip boolean NOT NULL, FOREIGN KEY (event_id, event_at) REFERENCES event);
CREATE TABLE ticket (id text PRIMARY KEY, seat_id bigint REFERENCES seat, hidden_id text);
CREATE TABLE index_name (id text PRIMARY KEY);
CREATE TABLE upper (id text PRIMARY KEY);
CREATE TABLE dashed (id text PRIMARY KEY);
CREATE TABLE system (id text PRIMARY KEY);
CREATE TABLE hidden (id text PRIMARY KEY);
ALTER TABLE ticket ADD FOREIGN KEY (hidden_id) REFERENCES hidden;

GRANT SELECT ON kinds, names, team, event, seat, ticket, index_name, upper, dashed, system TO schemas_user;
DO $$BEGIN
	PERFORM offsync.enable('kinds', soft_delete => 'gone', filter_columns => '{b,u}');
	PERFORM offsync.enable(t) FROM unnest('{names,team,event,ticket,hidden}'::regclass[]) t;
	PERFORM offsync.enable('member', columns => '{handle,team_id,second_team,bossId,team,secret}');
	PERFORM offsync.enable('seat', filter_columns => '{vip}');
	PERFORM offsync.enable('index_name', 'event_member_id');
	PERFORM offsync.enable('upper', 'Team');
	PERFORM offsync.enable('dashed', 'dash-ed.v2');
	PERFORM offsync.enable('system', 'sqlite_x');
END$$;
GRANT SELECT (handle, team_id, second_team, "bossId", team, internal, server_version) ON member TO schemas_user;

CREATE FUNCTION written(format text, collections text[] DEFAULT NULL, version int DEFAULT 1, dialect text DEFAULT NULL, as_role text DEFAULT 'schemas_user')
	RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', as_role);
	answer := offsync.client_schema(format, collections, version, dialect);
	RESET ROLE;
	RETURN answer;
END$$;
CREATE FUNCTION refusal(format text, collections text[] DEFAULT NULL, version int DEFAULT 1, dialect text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
	detail text;
BEGIN
	PERFORM written(format, collections, version, dialect);
	RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END$$;

-- What is written.
SELECT is(written('watermelondb', '{kinds}', 7), $schema$// Made by offsync.client_schema('watermelondb').
import { appSchema, tableSchema } from '@nozbe/watermelondb'

export default appSchema({
  version: 7,
  tables: [
    tableSchema({
      name: 'kinds',
      columns: [
        { name: 'b', type: 'boolean', isIndexed: true },
        { name: 'i2', type: 'number', isOptional: true },
        { name: 'i4', type: 'number' },
        { name: 'i8', type: 'number', isOptional: true }, // 64 bits
        { name: 'r', type: 'number', isOptional: true },
        { name: 'f', type: 'number', isOptional: true },
        { name: 'n', type: 'number', isOptional: true }, // rounded to a double
        { name: 'ts', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'lt', type: 'number', isOptional: true }, // milliseconds since 1970, as if it were UTC
        { name: 'd', type: 'string', isOptional: true }, // YYYY-MM-DD
        { name: 't', type: 'string', isOptional: true },
        { name: 'iv', type: 'string', isOptional: true },
        { name: 'bin', type: 'string', isOptional: true }, // base64
        { name: 'j', type: 'string', isOptional: true }, // JSON
        { name: 'jb', type: 'string' }, // JSON
        { name: 's', type: 'string' },
        { name: 'v', type: 'string', isOptional: true },
        { name: 'c', type: 'string', isOptional: true },
        { name: 'u', type: 'string', isOptional: true, isIndexed: true },
        { name: 'ar', type: 'string', isOptional: true }, // array, {a,b}
        { name: 'ad', type: 'string' }, // array, {a,b}
        { name: 'aj', type: 'string', isOptional: true }, // array, {a,b}
        { name: 'ab', type: 'string', isOptional: true }, // array, {a,b}
        { name: 'p', type: 'string', isOptional: true }, // row, (a,b)
        { name: 'ap', type: 'string', isOptional: true }, // array, {a,b}
        { name: 'm', type: 'string', isOptional: true },
        { name: 'rg', type: 'string', isOptional: true },
        { name: 'ip', type: 'string', isOptional: true },
        { name: 'nm', type: 'string', isOptional: true },
        { name: 'am', type: 'number' }, // rounded to a double
        { name: 'la', type: 'string', isOptional: true }, // array, {a,b}
        { name: 'rc', type: 'string', isOptional: true },
        { name: 'ov', type: 'string', isOptional: true },
        { name: 'gen', type: 'number', isOptional: true },
        { name: 'gone', type: 'number', isOptional: true }, // set: the record is deleted
        { name: 'server_created_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_updated_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_version', type: 'number', isOptional: true },
      ],
    }),
  ],
})
$schema$, 'WatermelonDB''s schema of all types');
SELECT is(written('watermelondb-models', '{kinds}'), $schema$// Made by offsync.client_schema('watermelondb-models'): a start, to be edited.
// TypeScript needs "experimentalDecorators": true, "useDefineForClassFields": false.
import { Model } from '@nozbe/watermelondb'
import { date, field, json, readonly, text } from '@nozbe/watermelondb/decorators'

export class Kinds extends Model {
  static table = 'kinds'

  @field('b') b!: boolean
  @field('i2') i2!: number | null
  @field('i4') i4!: number
  @field('i8') i8!: number | null
  @field('r') r!: number | null
  @field('f') f!: number | null
  @field('n') n!: number | null
  @date('ts') ts!: Date | null
  @date('lt') lt!: Date | null
  @field('d') d!: string | null
  @field('t') t!: string | null
  @field('iv') iv!: string | null
  @field('bin') bin!: string | null
  @json('j', (value: unknown) => value) j!: unknown
  @json('jb', (value: unknown) => value) jb!: unknown
  @text('s') s!: string
  @text('v') v!: string | null
  @text('c') c!: string | null
  @field('u') u!: string | null
  @field('ar') ar!: string | null
  @field('ad') ad!: string
  @field('aj') aj!: string | null
  @field('ab') ab!: string | null
  @field('p') p!: string | null
  @field('ap') ap!: string | null
  @field('m') m!: string | null
  @field('rg') rg!: string | null
  @field('ip') ip!: string | null
  @text('nm') nm!: string | null
  @field('am') am!: number
  @field('la') la!: string | null
  @field('rc') rc!: string | null
  @field('ov') ov!: string | null
  @readonly @field('gen') gen!: number | null
  @date('gone') gone!: Date | null
  @readonly @date('server_created_at') serverCreatedAt!: Date | null
  @readonly @date('server_updated_at') serverUpdatedAt!: Date | null
  @readonly @field('server_version') serverVersion!: number | null
}

export const modelClasses = [Kinds]
$schema$, 'its models');
SELECT is(written('drift', '{kinds}'), $schema$// Made by offsync.client_schema('drift').
// build.yaml: store_date_time_values_as_text: true
// main.dart: driftRuntimeOptions.defaultSerializer =
//     const ValueSerializer.defaults(serializeDateTimeValuesAsString: true);
import 'dart:convert';

import 'package:drift/drift.dart';

class JsonConverter extends TypeConverter<Object, String> with JsonTypeConverter2<Object, String, Object> {
  const JsonConverter();

  @override
  Object fromSql(String fromDb) => jsonDecode(fromDb) as Object;
  @override
  String toSql(Object value) => jsonEncode(value);
  @override
  Object fromJson(Object json) => json;
  @override
  Object toJson(Object value) => value;
}

@TableIndex(name: 'kinds_b', columns: {#b})
@TableIndex(name: 'kinds_u', columns: {#u})
@DataClassName('KindsData')
class Kinds extends Table {
  static String get serverTableName => 'kinds';

  @override
  String get tableName => 'kinds';

  TextColumn get id => text()();

  BoolColumn get b => boolean()();

  @JsonKey('i2')
  IntColumn get i2 => integer().named('i2').nullable()();

  @JsonKey('i4')
  IntColumn get i4 => integer().named('i4')();

  /// 64 bits
  @JsonKey('i8')
  IntColumn get i8 => integer().named('i8').nullable()();

  RealColumn get r => real().nullable()();

  RealColumn get f => real().nullable()();

  /// rounded to a double
  RealColumn get n => real().nullable()();

  /// ISO 8601, UTC
  DateTimeColumn get ts => dateTime().nullable()();

  /// ISO 8601, without a zone
  TextColumn get lt => text().nullable()();

  /// YYYY-MM-DD
  TextColumn get d => text().nullable()();

  TextColumn get t => text().nullable()();

  TextColumn get iv => text().nullable()();

  /// base64
  TextColumn get bin => text().nullable()();

  TextColumn get j => text().map(const JsonConverter()).nullable()();

  TextColumn get jb => text().map(const JsonConverter())();

  TextColumn get s => text()();

  TextColumn get v => text().nullable()();

  TextColumn get c => text().nullable()();

  TextColumn get u => text().nullable()();

  TextColumn get ar => text().map(const JsonConverter()).nullable()();

  TextColumn get ad => text().map(const JsonConverter())();

  TextColumn get aj => text().map(const JsonConverter()).nullable()();

  TextColumn get ab => text().map(const JsonConverter()).nullable()();

  TextColumn get p => text().map(const JsonConverter()).nullable()();

  TextColumn get ap => text().map(const JsonConverter()).nullable()();

  TextColumn get m => text().nullable()();

  TextColumn get rg => text().nullable()();

  TextColumn get ip => text().nullable()();

  TextColumn get nm => text().nullable()();

  /// rounded to a double
  RealColumn get am => real()();

  TextColumn get la => text().map(const JsonConverter()).nullable()();

  TextColumn get rc => text().nullable()();

  TextColumn get ov => text().nullable()();

  IntColumn get gen => integer().nullable()();

  /// set: the record is deleted
  DateTimeColumn get gone => dateTime().nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_created_at')
  DateTimeColumn get serverCreatedAt => dateTime().named('server_created_at').nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_updated_at')
  DateTimeColumn get serverUpdatedAt => dateTime().named('server_updated_at').nullable()();

  @JsonKey('server_version')
  IntColumn get serverVersion => integer().named('server_version').nullable()();

  @override
  Set<Column> get primaryKey => {id};
}
$schema$, 'Drift''s tables');
SELECT is(written('sqlite', '{kinds}'), $schema$-- Made by offsync.client_schema('sqlite'), for the dialect watermelondb.

CREATE TABLE IF NOT EXISTS "kinds" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "b" BOOLEAN,
  "i2" INTEGER,
  "i4" INTEGER,
  "i8" INTEGER, -- 64 bits
  "r" REAL,
  "f" REAL,
  "n" NUMERIC, -- rounded to a double
  "ts" INTEGER, -- milliseconds since 1970
  "lt" INTEGER, -- milliseconds since 1970, as if it were UTC
  "d" TEXT, -- YYYY-MM-DD
  "t" TEXT,
  "iv" TEXT,
  "bin" TEXT, -- base64
  "j" TEXT, -- JSON
  "jb" TEXT, -- JSON
  "s" TEXT,
  "v" TEXT,
  "c" TEXT,
  "u" TEXT,
  "ar" TEXT, -- array, {a,b}
  "ad" TEXT, -- array, {a,b}
  "aj" TEXT, -- array, {a,b}
  "ab" TEXT, -- array, {a,b}
  "p" TEXT, -- row, (a,b)
  "ap" TEXT, -- array, {a,b}
  "m" TEXT,
  "rg" TEXT,
  "ip" TEXT,
  "nm" TEXT,
  "am" NUMERIC, -- rounded to a double
  "la" TEXT, -- array, {a,b}
  "rc" TEXT,
  "ov" TEXT,
  "gen" INTEGER,
  "gone" INTEGER, -- set: the record is deleted
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);
CREATE INDEX IF NOT EXISTS "kinds:b" ON "kinds" ("b");
CREATE INDEX IF NOT EXISTS "kinds:u" ON "kinds" ("u");
$schema$, 'tables for SQLite');
SELECT is(written('sqlite', '{kinds}', dialect => 'json'), $schema$-- Made by offsync.client_schema('sqlite'), for the dialect json.

CREATE TABLE IF NOT EXISTS "kinds" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "b" BOOLEAN,
  "i2" INTEGER,
  "i4" INTEGER,
  "i8" INTEGER, -- 64 bits
  "r" REAL,
  "f" REAL,
  "n" NUMERIC, -- rounded to a double
  "ts" TEXT, -- ISO 8601, UTC
  "lt" TEXT, -- ISO 8601, without a zone
  "d" TEXT, -- YYYY-MM-DD
  "t" TEXT,
  "iv" TEXT,
  "bin" TEXT, -- base64
  "j" TEXT, -- JSON
  "jb" TEXT, -- JSON
  "s" TEXT,
  "v" TEXT,
  "c" TEXT,
  "u" TEXT,
  "ar" TEXT, -- JSON
  "ad" TEXT, -- JSON
  "aj" TEXT, -- JSON
  "ab" TEXT, -- JSON
  "p" TEXT, -- JSON
  "ap" TEXT, -- JSON
  "m" TEXT,
  "rg" TEXT,
  "ip" TEXT,
  "nm" TEXT,
  "am" NUMERIC, -- rounded to a double
  "la" TEXT, -- JSON
  "rc" TEXT,
  "ov" TEXT,
  "gen" INTEGER,
  "gone" TEXT, -- set: the record is deleted
  "server_created_at" TEXT, -- ISO 8601, UTC
  "server_updated_at" TEXT, -- ISO 8601, UTC
  "server_version" INTEGER
);
CREATE INDEX IF NOT EXISTS "kinds:b" ON "kinds" ("b");
CREATE INDEX IF NOT EXISTS "kinds:u" ON "kinds" ("u");
$schema$, '... for records in the dialect json');
SELECT is(written('typescript', '{kinds}'), $schema$// Made by offsync.client_schema('typescript'), for the dialect watermelondb.

export interface Part<T> {
  created: T[]
  updated: T[]
  deleted: string[]
}

export interface Kinds {
  id: string
  b: boolean
  i2: number | null
  i4: number
  i8: number | null // 64 bits
  r: number | null
  f: number | null
  n: number | null // rounded to a double
  ts: number | null // milliseconds since 1970
  lt: number | null // milliseconds since 1970, as if it were UTC
  d: string | null // YYYY-MM-DD
  t: string | null
  iv: string | null
  bin: string | null // base64
  j: string | null // JSON
  jb: string // JSON
  s: string
  v: string | null
  c: string | null
  u: string | null
  ar: string | null // array, {a,b}
  ad: string // array, {a,b}
  aj: string | null // array, {a,b}
  ab: string | null // array, {a,b}
  p: string | null // row, (a,b)
  ap: string | null // array, {a,b}
  m: string | null
  rg: string | null
  ip: string | null
  nm: string | null
  am: number // rounded to a double
  la: string | null // array, {a,b}
  rc: string | null
  ov: string | null
  gen: number | null
  gone: number | null // set: the record is deleted
  server_created_at: number // milliseconds since 1970
  server_updated_at: number // milliseconds since 1970
  server_version: number
}

export interface Changes {
  kinds: Part<Kinds>
}
$schema$, 'TypeScript''s types');
SELECT is(written('typescript', '{kinds}', dialect => 'json'), $schema$// Made by offsync.client_schema('typescript'), for the dialect json.

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

export interface Part<T> {
  created: T[]
  updated: T[]
  deleted: string[]
}

export interface Kinds {
  id: string
  b: boolean
  i2: number | null
  i4: number
  i8: number | null // 64 bits
  r: number | null
  f: number | null
  n: number | null // rounded to a double
  ts: string | null // ISO 8601, UTC
  lt: string | null // ISO 8601, without a zone
  d: string | null // YYYY-MM-DD
  t: string | null
  iv: string | null
  bin: string | null // base64
  j: Json | null
  jb: Json
  s: string
  v: string | null
  c: string | null
  u: string | null
  ar: (number | null)[] | null
  ad: (string | null)[]
  aj: (Json | null)[] | null
  ab: (boolean | null)[] | null
  p: { [field: string]: Json } | null
  ap: ({ [field: string]: Json } | null)[] | null
  m: string | null
  rg: string | null
  ip: string | null
  nm: string | null
  am: number // rounded to a double
  la: (string | null)[] | null
  rc: string | null
  ov: string | null
  gen: number | null
  gone: string | null // set: the record is deleted
  server_created_at: string // ISO 8601, UTC
  server_updated_at: string // ISO 8601, UTC
  server_version: number
}

export interface Changes {
  kinds: Part<Kinds>
}
$schema$, '... of records in the dialect json');
SELECT is(written('watermelondb', '{names}'), $schema$// Made by offsync.client_schema('watermelondb').
import { appSchema, tableSchema } from '@nozbe/watermelondb'

export default appSchema({
  version: 1,
  tables: [
    tableSchema({
      name: 'names',
      columns: [
        // left out: 'a.b': WatermelonDB takes no such name
        { name: 'Key', type: 'string' },
        // left out: 'Id': WatermelonDB takes no such name
        { name: 'id_', type: 'string', isOptional: true },
        { name: 'class', type: 'string', isOptional: true },
        // left out: 'Class': SQLite takes it for one above
        // left out: 'CLASS': SQLite takes it for one above
        { name: 'projectId', type: 'string', isOptional: true },
        { name: 'project_id', type: 'string', isOptional: true },
        // left out: '2nd': WatermelonDB takes no such name
        // left out: 'größe': WatermelonDB takes no such name
        // left out: '名前': WatermelonDB takes no such name
        // left out: 'it\'s': WatermelonDB takes no such name
        // left out: 'say "x"': WatermelonDB takes no such name
        // left out: 'c:\\dir': WatermelonDB takes no such name
        // left out: '\${x}': WatermelonDB takes no such name
        // left out: 'line\u000abreak': WatermelonDB takes no such name
        // left out: 'sep\u2028arated': WatermelonDB takes no such name
        { name: 'text', type: 'string', isOptional: true },
        { name: 'updatedAt', type: 'number', isOptional: true }, // milliseconds since 1970
        // left out: 'created_at': WatermelonDB wants a number there
        { name: 'updated_at', type: 'number' }, // milliseconds since 1970
        { name: 'default', type: 'number', isOptional: true },
        { name: 'static', type: 'number', isOptional: true },
        // left out: '__x': WatermelonDB takes no such name
        // left out: 'rowid': WatermelonDB takes no such name
        // left out: 'constructor': WatermelonDB takes no such name
        // left out: 'toString': WatermelonDB takes no such name
        { name: 'table', type: 'number', isOptional: true },
        { name: 'HTTP_CODE', type: 'number', isOptional: true },
        // left out: '*/ -- //': WatermelonDB takes no such name
        { name: 'server_created_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_updated_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_version', type: 'number', isOptional: true },
      ],
    }),
  ],
})
$schema$, 'WatermelonDB takes some names only');
SELECT is(written('watermelondb-models', '{names}'), $schema$// Made by offsync.client_schema('watermelondb-models'): a start, to be edited.
// TypeScript needs "experimentalDecorators": true, "useDefineForClassFields": false.
import { Model } from '@nozbe/watermelondb'
import { date, field, readonly, text } from '@nozbe/watermelondb/decorators'

export class Names extends Model {
  static table = 'names'

  @text('Key') key!: string
  @text('id_') id_!: string | null
  @text('class') class!: string | null
  @text('projectId') projectId!: string | null
  @text('project_id') projectId_!: string | null
  @text('text') text!: string | null
  @date('updatedAt') updatedAt_!: Date | null
  @readonly @date('updated_at') updatedAt!: Date
  @field('default') default!: number | null
  @field('static') static_!: number | null
  @field('table') table_!: number | null
  @field('HTTP_CODE') httpCode!: number | null
  @readonly @date('server_created_at') serverCreatedAt!: Date | null
  @readonly @date('server_updated_at') serverUpdatedAt!: Date | null
  @readonly @field('server_version') serverVersion!: number | null
}

export const modelClasses = [Names]
$schema$, 'properties have names of their own');
SELECT is(written('drift', '{schemas.names}'), $schema$// Made by offsync.client_schema('drift').
// build.yaml: store_date_time_values_as_text: true
// main.dart: driftRuntimeOptions.defaultSerializer =
//     const ValueSerializer.defaults(serializeDateTimeValuesAsString: true);
import 'package:drift/drift.dart';

@DataClassName('NamesData')
class Names extends Table {
  static String get serverTableName => 'schemas.names';

  @override
  String get tableName => 'names';

  TextColumn get id => text()();

  @JsonKey('a.b')
  IntColumn get aB => integer().named('a.b')();

  @JsonKey('Key')
  TextColumn get key => text().named('Key')();

  @JsonKey('Id')
  TextColumn get id_ => text().named('Id~2').nullable()();

  @JsonKey('id_')
  TextColumn get id_2 => text().named('id_').nullable()();

  @JsonKey('class')
  TextColumn get class_ => text().named('class').nullable()();

  @JsonKey('Class')
  TextColumn get class_2 => text().named('Class~3').nullable()();

  @JsonKey('CLASS')
  TextColumn get class_3 => text().named('CLASS~2').nullable()();

  @JsonKey('projectId')
  TextColumn get projectId => text().named('projectId').nullable()();

  @JsonKey('project_id')
  TextColumn get projectId_ => text().named('project_id').nullable()();

  @JsonKey('2nd')
  TextColumn get column2nd => text().named('2nd').nullable()();

  @JsonKey('größe')
  TextColumn get gre => text().named('größe').nullable()();

  @JsonKey('名前')
  TextColumn get column => text().named('名前').nullable()();

  @JsonKey('it\'s')
  TextColumn get itS => text().named('it\'s').nullable()();

  @JsonKey('say "x"')
  TextColumn get sayX => text().named('say "x"').nullable()();

  @JsonKey('c:\\dir')
  TextColumn get cDir => text().named('c:\\dir').nullable()();

  @JsonKey('\${x}')
  TextColumn get x => text().named('\${x}').nullable()();

  @JsonKey('line\u000abreak')
  TextColumn get lineBreak => text().named('line\u000abreak').nullable()();

  @JsonKey('sep\u2028arated')
  TextColumn get separated => text().named('sep\u2028arated').nullable()();

  @JsonKey('text')
  TextColumn get text_ => text().named('text').nullable()();

  /// ISO 8601, UTC
  @JsonKey('updatedAt')
  DateTimeColumn get updatedAt => dateTime().named('updatedAt').nullable()();

  @JsonKey('created_at')
  TextColumn get createdAt => text().named('created_at').nullable()();

  /// ISO 8601, UTC
  @JsonKey('updated_at')
  DateTimeColumn get updatedAt_ => dateTime().named('updated_at').nullable()();

  @JsonKey('default')
  IntColumn get default_ => integer().named('default').nullable()();

  @JsonKey('static')
  IntColumn get static_ => integer().named('static').nullable()();

  @JsonKey('__x')
  IntColumn get x_ => integer().named('__x').nullable()();

  @JsonKey('rowid')
  IntColumn get rowid_ => integer().named('rowid').nullable()();

  IntColumn get constructor => integer().nullable()();

  @JsonKey('toString')
  IntColumn get toString_ => integer().named('toString').nullable()();

  IntColumn get table => integer().nullable()();

  @JsonKey('HTTP_CODE')
  IntColumn get httpCode => integer().named('HTTP_CODE').nullable()();

  @JsonKey('*/ -- //')
  IntColumn get column_ => integer().named('*/ -- //').nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_created_at')
  DateTimeColumn get serverCreatedAt => dateTime().named('server_created_at').nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_updated_at')
  DateTimeColumn get serverUpdatedAt => dateTime().named('server_updated_at').nullable()();

  @JsonKey('server_version')
  IntColumn get serverVersion => integer().named('server_version').nullable()();

  @override
  Set<Column> get primaryKey => {id};
}
$schema$, 'getters, too; a collection is asked for as it was here');
SELECT is(written('sqlite', '{names}'), $schema$-- Made by offsync.client_schema('sqlite'), for the dialect watermelondb.

CREATE TABLE IF NOT EXISTS "names" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "a.b" INTEGER,
  "Key" TEXT,
  "Id~2" TEXT,
  "id_" TEXT,
  "class" TEXT,
  "Class~3" TEXT,
  "CLASS~2" TEXT,
  "projectId" TEXT,
  "project_id" TEXT,
  "2nd" TEXT,
  "größe" TEXT,
  "名前" TEXT,
  "it's" TEXT,
  "say ""x""" TEXT,
  "c:\dir" TEXT,
  "${x}" TEXT,
  "line
break" TEXT,
  "sep arated" TEXT,
  "text" TEXT,
  "updatedAt" INTEGER, -- milliseconds since 1970
  "created_at" TEXT,
  "updated_at" INTEGER, -- milliseconds since 1970
  "default" INTEGER,
  "static" INTEGER,
  "__x" INTEGER,
  "rowid" INTEGER,
  "constructor" INTEGER,
  "toString" INTEGER,
  "table" INTEGER,
  "HTTP_CODE" INTEGER,
  "*/ -- //" INTEGER,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);
$schema$, 'SQLite doesn''t tell case apart');
SELECT is(written('typescript', '{names}'), $schema$// Made by offsync.client_schema('typescript'), for the dialect watermelondb.

export interface Part<T> {
  created: T[]
  updated: T[]
  deleted: string[]
}

export interface Names {
  id: string
  'a.b': number
  Key: string
  Id: string | null
  id_: string | null
  class: string | null
  Class: string | null
  CLASS: string | null
  projectId: string | null
  project_id: string | null
  '2nd': string | null
  'größe': string | null
  '名前': string | null
  'it\'s': string | null
  'say "x"': string | null
  'c:\\dir': string | null
  '\${x}': string | null
  'line\u000abreak': string | null
  'sep\u2028arated': string | null
  text: string | null
  updatedAt: number | null // milliseconds since 1970
  created_at: string | null
  updated_at: number | null // milliseconds since 1970
  default: number | null
  static: number | null
  __x: number | null
  rowid: number | null
  constructor: number | null
  toString: number | null
  table: number | null
  HTTP_CODE: number | null
  '*/ -- //': number | null
  server_created_at: number // milliseconds since 1970
  server_updated_at: number // milliseconds since 1970
  server_version: number
}

export interface Changes {
  names: Part<Names>
}
$schema$, 'TypeScript takes all names');
SELECT is(written('watermelondb', '{team,member,event,seat,ticket,event_member_id,Team,dash-ed.v2,sqlite_x}'), $schema$// Made by offsync.client_schema('watermelondb').
import { appSchema, tableSchema } from '@nozbe/watermelondb'

export default appSchema({
  version: 1,
  tables: [
    tableSchema({
      name: 'Team',
      columns: [
        { name: 'server_created_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_updated_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_version', type: 'number', isOptional: true },
      ],
    }),
    // left out: 'dash-ed.v2': WatermelonDB takes no such name
    // left out: 'team': SQLite takes it for one above
    tableSchema({
      name: 'member',
      columns: [
        { name: 'handle', type: 'string' },
        { name: 'team_id', type: 'string', isIndexed: true },
        { name: 'second_team', type: 'string', isOptional: true, isIndexed: true },
        { name: 'bossId', type: 'string', isOptional: true, isIndexed: true },
        { name: 'team', type: 'string', isOptional: true },
        { name: 'server_version', type: 'number', isOptional: true },
      ],
    }),
    tableSchema({
      name: 'event',
      columns: [
        { name: 'id_', type: 'string' },
        { name: 'at', type: 'string' }, // YYYY-MM-DD
        { name: 'member_id', type: 'string', isOptional: true },
        { name: 'note', type: 'string', isOptional: true },
        { name: 'server_created_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_updated_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_version', type: 'number', isOptional: true },
      ],
    }),
    tableSchema({
      name: 'event_member_id',
      columns: [
        { name: 'server_created_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_updated_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_version', type: 'number', isOptional: true },
      ],
    }),
    tableSchema({
      name: 'seat',
      columns: [
        { name: 'event_id', type: 'string', isOptional: true, isIndexed: true },
        { name: 'event_at', type: 'string', isOptional: true }, // YYYY-MM-DD
        { name: 'vip', type: 'boolean', isIndexed: true },
        { name: 'server_created_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_updated_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_version', type: 'number', isOptional: true },
      ],
    }),
    // left out: 'sqlite_x': WatermelonDB takes no such name
    tableSchema({
      name: 'ticket',
      columns: [
        { name: 'seat_id', type: 'number', isOptional: true, isIndexed: true }, // 64 bits
        { name: 'hidden_id', type: 'string', isOptional: true, isIndexed: true },
        { name: 'server_created_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_updated_at', type: 'number', isOptional: true }, // milliseconds since 1970
        { name: 'server_version', type: 'number', isOptional: true },
      ],
    }),
  ],
})
$schema$, 'what refers to another collection has an index, unless a table has its name');
SELECT is(written('watermelondb-models', '{team,member,event,seat,ticket}'), $schema$// Made by offsync.client_schema('watermelondb-models'): a start, to be edited.
// TypeScript needs "experimentalDecorators": true, "useDefineForClassFields": false.
import { Model, type Query, type Relation } from '@nozbe/watermelondb'
import { children, date, field, readonly, relation, text } from '@nozbe/watermelondb/decorators'

export class Team extends Model {
  static table = 'team'
  static associations = {
    member: { type: 'has_many' as const, foreignKey: 'team_id' },
  }

  @field('captain_id') captainId!: string | null
  @readonly @date('server_created_at') serverCreatedAt!: Date | null
  @readonly @date('server_updated_at') serverUpdatedAt!: Date | null
  @readonly @field('server_version') serverVersion!: number | null
  @relation('member', 'captain_id') captain!: Relation<Member>
  @children('member') member!: Query<Member>
}

export class Member extends Model {
  static table = 'member'
  static associations = {
    team: { type: 'belongs_to' as const, key: 'team_id' },
    event: { type: 'has_many' as const, foreignKey: 'member_id' },
  }

  @text('handle') handle!: string
  @field('team_id') teamId!: string
  @field('second_team') secondTeam!: string | null
  @field('bossId') bossId!: string | null
  @text('team') team!: string | null
  @readonly @field('server_version') serverVersion!: number | null
  @relation('team', 'team_id') team_!: Relation<Team>
  @relation('team', 'second_team') secondTeamRecord!: Relation<Team>
  @relation('member', 'bossId') boss!: Relation<Member>
  @children('event') event!: Query<Event>
}

export class Event extends Model {
  static table = 'event'
  static associations = {
    member: { type: 'belongs_to' as const, key: 'member_id' },
  }

  @text('id_') id_!: string
  @field('at') at!: string
  @field('member_id') memberId!: string | null
  @text('note') note!: string | null
  @readonly @date('server_created_at') serverCreatedAt!: Date | null
  @readonly @date('server_updated_at') serverUpdatedAt!: Date | null
  @readonly @field('server_version') serverVersion!: number | null
  @relation('member', 'member_id') member!: Relation<Member>
}

export class Seat extends Model {
  static table = 'seat'

  @text('event_id') eventId!: string | null
  @field('event_at') eventAt!: string | null
  @field('vip') vip!: boolean
  @readonly @date('server_created_at') serverCreatedAt!: Date | null
  @readonly @date('server_updated_at') serverUpdatedAt!: Date | null
  @readonly @field('server_version') serverVersion!: number | null
}

export class Ticket extends Model {
  static table = 'ticket'

  @field('seat_id') seatId!: number | null
  @text('hidden_id') hiddenId!: string | null
  @readonly @date('server_created_at') serverCreatedAt!: Date | null
  @readonly @date('server_updated_at') serverUpdatedAt!: Date | null
  @readonly @field('server_version') serverVersion!: number | null
}

export const modelClasses = [Team, Member, Event, Seat, Ticket]
$schema$, 'relations, children, associations');
SELECT is(written('drift', '{member,ticket,Team,team}'), $schema$// Made by offsync.client_schema('drift').
// build.yaml: store_date_time_values_as_text: true
// main.dart: driftRuntimeOptions.defaultSerializer =
//     const ValueSerializer.defaults(serializeDateTimeValuesAsString: true);
import 'package:drift/drift.dart';

@DataClassName('TeamData')
class Team extends Table {
  static String get serverTableName => 'Team';

  @override
  String get tableName => 'Team~2';

  TextColumn get id => text()();

  /// ISO 8601, UTC
  @JsonKey('server_created_at')
  DateTimeColumn get serverCreatedAt => dateTime().named('server_created_at').nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_updated_at')
  DateTimeColumn get serverUpdatedAt => dateTime().named('server_updated_at').nullable()();

  @JsonKey('server_version')
  IntColumn get serverVersion => integer().named('server_version').nullable()();

  @override
  Set<Column> get primaryKey => {id};
}

@TableIndex(name: 'team_captainId', columns: {#captainId})
@DataClassName('Team_Data')
class Team_ extends Table {
  static String get serverTableName => 'team';

  @override
  String get tableName => 'team';

  TextColumn get id => text()();

  @JsonKey('captain_id')
  TextColumn get captainId => text().named('captain_id').nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_created_at')
  DateTimeColumn get serverCreatedAt => dateTime().named('server_created_at').nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_updated_at')
  DateTimeColumn get serverUpdatedAt => dateTime().named('server_updated_at').nullable()();

  @JsonKey('server_version')
  IntColumn get serverVersion => integer().named('server_version').nullable()();

  @override
  Set<Column> get primaryKey => {id};
}

@TableIndex(name: 'member_teamId', columns: {#teamId})
@TableIndex(name: 'member_secondTeam', columns: {#secondTeam})
@TableIndex(name: 'member_bossId', columns: {#bossId})
@DataClassName('MemberData')
class Member extends Table {
  static String get serverTableName => 'member';

  @override
  String get tableName => 'member';

  TextColumn get id => text()();

  TextColumn get handle => text()();

  @JsonKey('team_id')
  TextColumn get teamId => text().named('team_id')();

  @JsonKey('second_team')
  TextColumn get secondTeam => text().named('second_team').nullable()();

  @JsonKey('bossId')
  TextColumn get bossId => text().named('bossId').nullable()();

  TextColumn get team => text().nullable()();

  @JsonKey('server_version')
  IntColumn get serverVersion => integer().named('server_version').nullable()();

  @override
  Set<Column> get primaryKey => {id};
}

@TableIndex(name: 'ticket_seatId', columns: {#seatId})
@TableIndex(name: 'ticket_hiddenId', columns: {#hiddenId})
@DataClassName('TicketData')
class Ticket extends Table {
  static String get serverTableName => 'ticket';

  @override
  String get tableName => 'ticket';

  TextColumn get id => text()();

  /// 64 bits
  @JsonKey('seat_id')
  IntColumn get seatId => integer().named('seat_id').nullable()();

  @JsonKey('hidden_id')
  TextColumn get hiddenId => text().named('hidden_id').nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_created_at')
  DateTimeColumn get serverCreatedAt => dateTime().named('server_created_at').nullable()();

  /// ISO 8601, UTC
  @JsonKey('server_updated_at')
  DateTimeColumn get serverUpdatedAt => dateTime().named('server_updated_at').nullable()();

  @JsonKey('server_version')
  IntColumn get serverVersion => integer().named('server_version').nullable()();

  @override
  Set<Column> get primaryKey => {id};
}
$schema$, 'references in Drift');
SELECT is(written('sqlite', '{team,member,event,seat,ticket,event_member_id,Team,dash-ed.v2,sqlite_x}'), $schema$-- Made by offsync.client_schema('sqlite'), for the dialect watermelondb.

CREATE TABLE IF NOT EXISTS "Team~2" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);

CREATE TABLE IF NOT EXISTS "dash-ed.v2" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);

CREATE TABLE IF NOT EXISTS "team" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "captain_id" TEXT,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);
CREATE INDEX IF NOT EXISTS "team:captain_id" ON "team" ("captain_id");

CREATE TABLE IF NOT EXISTS "member" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "handle" TEXT,
  "team_id" TEXT,
  "second_team" TEXT,
  "bossId" TEXT,
  "team" TEXT,
  "server_version" INTEGER
);
CREATE INDEX IF NOT EXISTS "member:team_id" ON "member" ("team_id");
CREATE INDEX IF NOT EXISTS "member:second_team" ON "member" ("second_team");
CREATE INDEX IF NOT EXISTS "member:bossId" ON "member" ("bossId");

CREATE TABLE IF NOT EXISTS "event" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "id_" TEXT,
  "at" TEXT, -- YYYY-MM-DD
  "member_id" TEXT,
  "note" TEXT,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);
CREATE INDEX IF NOT EXISTS "event:member_id" ON "event" ("member_id");

CREATE TABLE IF NOT EXISTS "event_member_id" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);

CREATE TABLE IF NOT EXISTS "seat" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "event_id" TEXT,
  "event_at" TEXT, -- YYYY-MM-DD
  "vip" BOOLEAN,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);
CREATE INDEX IF NOT EXISTS "seat:event_id" ON "seat" ("event_id");
CREATE INDEX IF NOT EXISTS "seat:vip" ON "seat" ("vip");

CREATE TABLE IF NOT EXISTS "~sqlite_x" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);

CREATE TABLE IF NOT EXISTS "ticket" (
  "id" TEXT PRIMARY KEY NOT NULL,
  "seat_id" INTEGER, -- 64 bits
  "hidden_id" TEXT,
  "server_created_at" INTEGER, -- milliseconds since 1970
  "server_updated_at" INTEGER, -- milliseconds since 1970
  "server_version" INTEGER
);
CREATE INDEX IF NOT EXISTS "ticket:seat_id" ON "ticket" ("seat_id");
CREATE INDEX IF NOT EXISTS "ticket:hidden_id" ON "ticket" ("hidden_id");
$schema$, 'and in SQLite');

-- Of whom it is asked.
CREATE FUNCTION listed(as_role text, collections text[] DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(m[1], ' ') FROM regexp_matches(written('typescript', collections, as_role => as_role), '(?n)^  (\S+): Part', 'g') m
$$;
CREATE FUNCTION pulled(dialect text, as_role text DEFAULT 'schemas_user') RETURNS json LANGUAGE plpgsql AS $$
DECLARE
	answer json;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', as_role);
	answer := offsync.pull_changes(dialect => pulled.dialect) -> 'changes';
	RESET ROLE;
	RETURN answer;
END$$;
SELECT is(listed('schemas_user'), (SELECT string_agg(CASE WHEN k ~ '^\w+$' THEN k ELSE format('''%s''', k) END, ' ') FROM json_object_keys(pulled('json')) k),
	'all that the caller may read, in the order of a pull');
SELECT is(listed('schemas_user', '{ticket,team}'), 'team ticket', 'what it asks for, parents first');
SELECT is(listed('schemas_user', '{schemas.team}'), '''schemas.team''', 'as it is asked for');
SELECT unalike(written('sqlite', '{ticket}'), '%hidden"', 'nothing of a table that it can''t read');
SELECT is(listed('schemas_nobody'), NULL, 'a role that may read nothing');
SELECT is(written(f, as_role => 'schemas_nobody'), t, 'has an empty schema: ' || f) FROM (VALUES
	('watermelondb', E'// Made by offsync.client_schema(''watermelondb'').\nimport { appSchema, tableSchema } from ''@nozbe/watermelondb''\n\nexport default appSchema({\n  version: 1,\n  tables: [\n  ],\n})\n'),
	('sqlite', E'-- Made by offsync.client_schema(''sqlite''), for the dialect watermelondb.\n')) v(f, t);
GRANT SELECT (id) ON hidden TO schemas_user;
SELECT alike(written('typescript', '{hidden}'), E'%interface Hidden {\n  id: string\n}\n%', 'a key is enough');
REVOKE SELECT (id) ON hidden FROM schemas_user;

-- Columns come as records have them: the same, in the same order, of the types that it says.
INSERT INTO kinds (id, b, i2, i4, i8, r, f, n, ts, lt, d, t, iv, bin, j, jb, s, v, c, u, ar, ad, aj, ab, p, ap, m, rg, ip, nm, am, la, rc, ov)
VALUES (gen_random_uuid(), true, 1, 2, 3, 1.5, 2.5, 3.5, now(), now(), now(), '12:00', '1 day', '\x00', '{}', '[]', 's', 'v', 'c', gen_random_uuid(), '{1}', '{2020-01-01}',
	ARRAY['{}'::json], '{t}', (1, 'x'), ARRAY[(1, 'x')]::pair[], 'bad', '[1,2)', '10.0.0.1', 'nm', 1, '{x}', 'kinds', '1 2');
INSERT INTO names ("a.b", "Key") VALUES (1, 'k');
CREATE FUNCTION fields(text, OUT name text, OUT type text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT coalesce(m[1], replace(replace(m[2], '\''', ''''), '\\', '\')), regexp_replace(regexp_replace(m[3], ' // .*', ''), ' \| null$', '')
	FROM regexp_matches($1, '(?n)^  (?:(\w+)|''(.*)''): (.*)$', 'g') m
	WHERE m[3] !~ 'Part<' AND m[3] !~ '^T\[\]' AND m[3] <> 'string[]'
$$;
SELECT is((SELECT string_agg(name, ' ') FROM fields(written('typescript', '{kinds}', dialect => d))),
	(SELECT string_agg(k, ' ') FROM json_object_keys(pulled(d) -> 'kinds' -> 'created' -> 0) k), 'columns in their order: ' || d)
FROM unnest('{watermelondb,json}'::text[]) d;
SELECT is((SELECT count(*) FROM json_each(pulled('json') -> 'names' -> 'created' -> 0)), (SELECT count(*) FROM fields(written('typescript', '{names}'))),
	'columns of any name');
SELECT is((SELECT string_agg(concat_ws(' ', k.key, f.type, json_typeof(k.value)), ', ') FROM fields(written('typescript', '{kinds}', dialect => d)) f
	JOIN json_each(pulled(d) -> 'kinds' -> 'created' -> 0) k ON k.key = f.name
	WHERE json_typeof(k.value) <> 'null' AND f.type <> 'Json' AND json_typeof(k.value) <>
		CASE WHEN f.type ~ '\[\]$' THEN 'array' WHEN f.type ~ '^{' THEN 'object' ELSE f.type END), NULL, 'values are of these types: ' || d)
FROM unnest('{watermelondb,json}'::text[]) d;

-- What is refused.
SELECT is(refusal(f), format('22023 | unknown format "%s" | Valid formats are: watermelondb, watermelondb-models, drift, sqlite, typescript.', f), 'no format: ' || coalesce(f, 'null'))
FROM unnest('{"",Drift,json,NULL}'::text[]) f;
SELECT is(refusal('sqlite', '{nothing}'), 'PT404 | unknown collection "nothing" | The view offsync.status lists the collections.', 'a collection that there isn''t');
SELECT is(refusal('sqlite', '{hidden}'), '42501 | permission denied for collection "hidden"', 'one that the caller can''t read');
SELECT is(refusal('sqlite', '{team,schemas.team}'), 'PT400 | collection "schemas.team" is asked for twice', 'one twice');
SELECT is(refusal('watermelondb', version => v), format('22023 | invalid schema version %s | An app''s schema versions start with 1.', v), 'version ' || v) FROM unnest('{0,-1}'::int[]) v;
SELECT is(refusal('watermelondb', version => NULL), 'taken', 'no version is the first');
SELECT is(refusal('sqlite', dialect => 'xml'), '22023 | unknown dialect "xml" | ' || hint, 'no such dialect')
FROM regexp_replace(refusal('sqlite', dialect => 'xml'), '.*\| ', '') hint;
SELECT is(refusal(f, dialect => d), format('22023 | format "%s" can''t be of the dialect "%s" | Leave the dialect out.', f, d), f || ' is of one dialect')
FROM (VALUES ('watermelondb', 'json'), ('watermelondb-models', 'json'), ('drift', 'watermelondb')) v(f, d);
SELECT is(refusal(f, dialect => d), 'taken', f || ' of its own dialect') FROM (VALUES ('watermelondb', 'watermelondb'), ('drift', 'json')) v(f, d);

-- Who may call it: whoever may pull.
SELECT ok(has_function_privilege('schemas_nobody', 'offsync.client_schema(text,text[],integer,text)', 'EXECUTE'), 'anybody may call it');
SELECT is((SELECT count(*) FROM pg_proc p WHERE p.oid = 'offsync.client_schema'::regproc AND p.provolatile = 's' AND NOT p.prosecdef), 1::bigint, 'it reads, with the caller''s rights');
CREATE SCHEMA schemas_api;
SELECT hasnt_function('schemas_api'::name, 'client_schema'::name, 'people call it, not apps: expose leaves it out: ' || count(*)) FROM offsync.expose('schemas_api');
DROP SCHEMA schemas_api CASCADE;

SELECT * FROM finish();
RESET search_path;
DO $$BEGIN PERFORM offsync.disable(format('schemas.%I', t)::regclass) FROM unnest('{kinds,names,team,member,event,seat,ticket,index_name,upper,dashed,system,hidden}'::text[]) t; END$$;
DROP SCHEMA schemas CASCADE;
DROP ROLE schemas_user;
DROP ROLE schemas_nobody;
