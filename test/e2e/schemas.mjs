// What offsync.client_schema writes is compiled, and run: TypeScript against the very answers that it
// describes, WatermelonDB's models in a database that their appSchema makes.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const ts = require('typescript')
const { Database } = require('@nozbe/watermelondb')
const { default: LokiAdapter } = require('@nozbe/watermelondb/adapters/lokijs')
const { default: SQLiteAdapter } = require('@nozbe/watermelondb/adapters/sqlite')
const { LokiMemoryAdapter } = require('lokijs')

const file = (name) => fileURLToPath(new URL(name, import.meta.url))
const psql = (input) => execFileSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1'], { input, encoding: 'utf8' })

// Types of every kind, and names that no language has in store for.
const tables = `
	CREATE SCHEMA shop;
	GRANT USAGE ON SCHEMA shop TO authenticated;
	CREATE TYPE shop.pair AS (a int, "b c" text);
	CREATE TYPE shop.mood AS ENUM ('fine', 'so so');
	CREATE DOMAIN shop.email AS text CHECK (VALUE LIKE '%@%');
	CREATE TABLE shop.author (id uuid PRIMARY KEY, name text NOT NULL, best_id text);
	CREATE TABLE shop.book (isbn text PRIMARY KEY, author_id uuid NOT NULL REFERENCES shop.author, editor_id uuid REFERENCES shop.author,
		parent_id text REFERENCES shop.book, id int, title varchar(80), "text" text, "collection" text, "2nd" text, "Title" text,
		"it's \${x} \\ ""odd" text, "größe" int, "line
break" int, "constructor" int, created_at timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz,
		small smallint NOT NULL, whole int, big bigint, price numeric(10,2), real4 real, real8 float8 NOT NULL, sold boolean NOT NULL,
		seen timestamptz, clock timestamp, day date, hour time, span interval, cover bytea, doc json, docb jsonb NOT NULL,
		tags text[] NOT NULL, days date[], docs jsonb[], flags boolean[], pair shop.pair, pairs shop.pair[], mood shop.mood, email shop.email,
		range int4range, net inet, gone timestamptz, twice int GENERATED ALWAYS AS (whole * 2) STORED);
	ALTER TABLE shop.author ADD FOREIGN KEY (best_id) REFERENCES shop.book DEFERRABLE NOT VALID;
	CREATE TABLE shop.shelf (row int, "column" text, size float8, PRIMARY KEY (row, "column"));
	CREATE TABLE shop."order" (id bigint PRIMARY KEY, book text REFERENCES shop.book, row int, "column" text,
		FOREIGN KEY (row, "column") REFERENCES shop.shelf);
	CREATE TABLE shop.item (id text PRIMARY KEY, order_id bigint REFERENCES shop."order");
	CREATE TABLE shop.dotted (id text PRIMARY KEY);
	INSERT INTO shop.author VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'Ann');
	INSERT INTO shop.book (isbn, author_id, title, small, real8, sold, docb, tags) VALUES
		('b1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'Sparse', 1, 0.5, false, '1', '{}');
	INSERT INTO shop.book (isbn, author_id, parent_id, id, title, "text", "collection", "2nd", "Title", "größe", "updatedAt", small, whole, big, price,
		real4, real8, sold, seen, clock, day, hour, span, cover, doc, docb, tags, days, docs, flags, pair, pairs, mood, email, range, net)
	VALUES ('b2', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'b1', 7, 'Full', 'x', 'x', 'x', 'x', 1, now(), 1, 2, 3, 4.5, 5.5, 6, true,
		'2025-01-02 03:04:05.678Z', now(), now(), '12:00', '1 day', '\\x00ff', '{"a": [1, null, "x"]}', '{"b": {}}', '{a,NULL}', '{2025-01-01}',
		ARRAY['[1]'::jsonb, NULL], '{t,f}', (1, 'x'), ARRAY[(1, 'x')]::shop.pair[], 'so so', 'a@b', '[1,3)', '10.0.0.1');
	INSERT INTO shop.shelf VALUES (1, 'a', 2);
	INSERT INTO shop."order" VALUES (9, 'b2', 1, 'a');
	INSERT INTO shop.item VALUES ('i', 9);
	SELECT offsync.enable('shop.author'), offsync.enable('shop.book', soft_delete => 'gone', filter_columns => '{sold}'),
		offsync.enable('shop.shelf'), offsync.enable('shop.order'), offsync.enable('shop.item'), offsync.enable('shop.dotted', 'dot.ted-1');
	GRANT SELECT ON ALL TABLES IN SCHEMA shop TO authenticated;`
const collections = `'{author,book,shelf,order,item,dot.ted-1}'`

const formats = {
	'shop-schema.mjs': `offsync.client_schema('watermelondb', ${collections}, 3)`,
	'shop-models.ts': `offsync.client_schema('watermelondb-models', ${collections})`,
	'shop.ts': `offsync.client_schema('typescript', ${collections})`,
	'shop-json.ts': `offsync.client_schema('typescript', ${collections}, dialect => 'json')`,
	'shop.json': `offsync.pull_changes(NULL, ${collections}) -> 'changes'`,
	'shop-json.json': `offsync.pull_changes(NULL, ${collections}, dialect => 'json') -> 'changes'`,
}

// All in a transaction that leaves nothing: the scenarios' devices don't know these collections.
function makeFiles() {
	const selects = Object.entries(formats).map(([name, call]) => `SELECT ${call} \\g '${file(name)}'\n`)
	psql(`BEGIN;${tables.replace(/SELECT offsync[^;]*;/, (enable) => `${enable.slice(0, -1)} \\g /dev/null\n`)}
		SET LOCAL ROLE authenticated;\n${selects.join('')}ROLLBACK;`)
	for (const name of ['shop', 'shop-json']) {
		const answer = readFileSync(file(`${name}.json`), 'utf8')
		writeFileSync(file(`${name}-answer.ts`), `import type { Changes } from './${name}'\nexport const changes: Changes = ${answer}`)
	}
}

function compile(files, options = {}) {
	const program = ts.createProgram(files.map(file), {
		noEmit: true, strict: true, noUnusedLocals: true, skipLibCheck: true, types: [],
		target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, ...options,
	})
	return ts.getPreEmitDiagnostics(program).map(({ file: at, start, messageText }) =>
		`${at?.fileName} ${at && JSON.stringify(at.text.slice(start, start + 60))} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`)
}

const modelOptions = { experimentalDecorators: true, useDefineForClassFields: false }

// The models as a bundler makes them.
function loadModels() {
	const { outputText } = ts.transpileModule(readFileSync(file('shop-models.ts'), 'utf8'), {
		compilerOptions: { ...modelOptions, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS },
	})
	writeFileSync(file('shop-models.cjs'), outputText)
	return require('./shop-models.cjs')
}

const adapters = {
	loki: (schema) => new LokiAdapter({
		schema, dbName: 'shop', useWebWorker: false, useIncrementalIndexedDB: true,
		_testLokiAdapter: new LokiMemoryAdapter(), extraLokiOptions: { autosave: false },
	}),
	sqlite: (schema) => new SQLiteAdapter({ schema, dbName: 'shop' }),
}

async function useModels(kind, schema, { modelClasses }) {
	const { synchronize } = require('@nozbe/watermelondb/sync')
	const changes = JSON.parse(readFileSync(file('shop.json'), 'utf8'))
	delete changes['dot.ted-1']
	const database = new Database({ adapter: adapters[kind](schema), modelClasses })
	await synchronize({ database, pullChanges: async () => ({ changes, timestamp: 1 }), pushChanges: async () => {} })

	const [author] = await database.get('author').query().fetch()
	const books = await author.book.fetch()
	assert.deepEqual(books.map(({ id }) => id).sort(), ['b1', 'b2'])
	const full = await database.get('book').find('b2'), raw = changes.book.created.find(({ id }) => id === 'b2')
	assert.equal((await full.author.fetch()).name, 'Ann')
	assert.equal((await full.parent.fetch()).title, 'Sparse')
	assert.equal(full.seen.getTime(), Date.parse('2025-01-02T03:04:05.678Z'))
	assert.deepEqual(full.doc, { a: [1, null, 'x'] })
	assert.equal(full.twice, 4)
	assert.equal(full.serverVersion, raw.server_version)
	// every column that the schema has came as the server sent it
	for (const { name } of schema.tables.book.columnArray) assert.deepEqual(full._raw[name], raw[name], name)

	await database.write(() => full.update((book) => { book.docb = { c: 1 }; book.day = '2026-01-01'; book.updatedAt_ = new Date(5) }))
	assert.equal(full._raw.docb, '{"c":1}')
	assert.equal(full._raw._changed, 'docb,day,updatedAt')
	assert.throws(() => { full.twice = 5 })
}

export default {
	'generated TypeScript compiles with the answers that it describes': async () => {
		makeFiles()
		assert.deepEqual(compile(['shop-answer.ts', 'shop-json-answer.ts']), [])
		// ... and not with others
		writeFileSync(file('shop-wrong.ts'), readFileSync(file('shop-answer.ts'), 'utf8').replace('"small":1', '"small":"1"'))
		assert.match(compile(['shop-wrong.ts']).join(), /not assignable to type 'number'/)
	},
	'generated models compile, and live in a database of the generated schema': async () => {
		makeFiles()
		assert.deepEqual(compile(['shop-models.ts'], modelOptions), [])
		const { default: schema } = await import('./shop-schema.mjs')
		assert.equal(schema.version, 3)
		assert.deepEqual(Object.keys(schema.tables), ['book', 'author', 'shelf', 'order', 'item'])
		const models = loadModels()
		for (const kind of ['loki', 'sqlite']) await useModels(kind, schema, models)
	},
}
