// Devices: a WatermelonDB on one of its stores, one of the clients that carry
// its calls, and a sync.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { createRequire, register } from 'node:module'
import { PostgrestClient } from '@supabase/postgrest-js'
import { createClient } from '@supabase/supabase-js'
import { repair } from './digest.mjs' // of ../client: README shows it, and what recipe.mjs, supabase.mjs and fetch.mjs have
import { callAt } from './fetch.mjs'
import { newest, without } from './schema.mjs'
import { claims, jwt, selectAs, wire } from './server.mjs'
import { callThrough } from './supabase.mjs'

// WatermelonDB is CommonJS with one entry per directory, as a bundler finds them.
const require = createRequire(import.meta.url)
const wm = (path = '') => require(`@nozbe/watermelondb/${path}`)
const { Database, Model, Q, appSchema, tableSchema } = wm()
const { addColumns, createTable, schemaMigrations } = wm('Schema/migrations')
export const { synchronize } = wm('sync')
const logger = wm('utils/common/logger').default
wm('utils/common/randomId').setGenerator(randomUUID)
register(`data:text/javascript,export const resolve = (name, context, next) =>
	next(name.replace(/(watermelondb.sync)$/, '$1/index.js'), context)`)
const { sync } = await import('./recipe.mjs')

// ---- transports: each makes a call(name, args) of a wire to the gateway and a function that gives a token

const schema = 'api'
const transports = {
	supabase: ({ url }, token) =>
		callThrough(createClient(url, jwt({ role: 'anon' }), {
			accessToken: async () => token(),
			db: { schema },
			realtime: { transport: class {} }, // Node 20 has no WebSocket, and none is opened
		})),
	postgrest: ({ url }, token) => {
		const client = new PostgrestClient(`${url}/rest/v1`, { schema })
		return (...args) => {
			client.headers.set('Authorization', `Bearer ${token()}`)
			return callThrough(client)(...args)
		}
	},
	fetch: ({ url }, token) => callAt(`${url}/rest/v1`, token),
}

// As a user; null: no token at all, PostgREST's anonymous role.  text: that very token
export function callOf(user, text = user && jwt(claims(user))) {
	const headers = text ? { Authorization: `Bearer ${text}` } : {}
	return callThrough(new PostgrestClient(`${wire().url}/rest/v1`, { headers, schema }))
}

// ---- WatermelonDB's log: whatever it complains about is a finding

export const complaints = []
for (const level of ['warn', 'error']) {
	logger[level] = (...messages) => complaints.push(`${level}: ${messages.join(' ')}`)
}
logger.log = logger.debug = () => {}

// ---- devices

const CURSOR = 'offsync_cursor' // as in recipe.mjs

// What the app's second version brought.
const added = ['done', 'notes', 'position']
const { tables } = newest
const old = without(1, newest, { project: true, task: added })
const models = Object.fromEntries(['project', 'task'].map((table) => [table, class extends Model { static table = table }]))
const apps = {
	1: { schema: appSchema({ ...old, tables: old.tables.map(tableSchema) }) },
	2: {
		schema: newest,
		migrations: schemaMigrations({
			migrations: [{
				toVersion: 2,
				steps: [
					createTable({ name: 'project', columns: tables.project.columnArray }),
					addColumns({ table: 'task', columns: added.map((name) => tables.task.columns[name]) }),
				],
			}],
		}),
	},
}

const adapters = {
	loki: (dbName, app) =>
		new (wm('adapters/lokijs').default)({
			...app,
			dbName,
			useWebWorker: false,
			useIncrementalIndexedDB: true, // not reached: the adapter below stands in for the browser's store
			_testLokiAdapter: new (require('lokijs').LokiMemoryAdapter)(),
			extraLokiOptions: { autosave: false },
		}),
	sqlite: (dbName, app) => new (wm('adapters/sqlite').default)({ ...app, dbName }),
}

const transportNames = Object.keys(transports)

export class Device {
	static count = 0

	constructor(kind, user, createdAsUpdated, { exact = true, version = 2, transport = transportNames[Device.count % 3] } = {}) {
		this.open(adapters[kind](`${kind}${++Device.count}`, apps[version]), version)
		this.kind = kind
		this.user = user
		this.token = () => jwt(claims(user))
		this.wire = wire()
		this.call = transports[transport](this.wire, () => this.token())
		this.createdAsUpdated = createdAsUpdated
		this.exact = exact
		// who says who it is, and has a cursor, gets what it surely hasn't got as created
		this.me = exact && !createdAsUpdated ? { client_id: `device ${Device.count}` } : {}
		this.pulled = false
	}

	open(adapter, version) {
		this.version = version
		this.db = new Database({ adapter, modelClasses: Object.keys(apps[version].schema.tables).map((table) => models[table]) })
	}

	// The app comes back in its second version, with what it holds.
	async updateApp() {
		const old = this.db.adapter.underlyingAdapter
		if (old._driver) await new Promise((resolve) => old._driver.loki.saveDatabase(resolve))
		this.open(await old.testClone(apps[2]), 2)
	}

	// One sync.  beforePush stands for others who sync at that moment; resolves to the records that were refused.
	// With the exact cursor and everything as updated it is README's.
	async sync({ beforePush, ...options } = {}) {
		if (this.version > 1) options.migrationsEnabledAtVersion = 1
		const call = async (name, args) => {
			if (name === 'push_changes') {
				await beforePush?.()
				beforePush = null
			}
			return this.call(name, args)
		}
		return this.exact && this.createdAsUpdated ? sync(this.db, call, options) : this.plainSync(call, options)
	}

	// Without an exact cursor, or with records told apart that are new to the device: all or nothing is pushed,
	// and a conflict is for the caller.
	async plainSync(call, { on_error, ...options }) {
		const { db, createdAsUpdated } = this
		const collections = Object.keys(db.schema.tables)
		let stored
		let refused = []
		await synchronize({
			database: db,
			sendCreatedAsUpdated: !this.me.client_id && this.pulled,
			pullChanges: async ({ lastPulledAt, schemaVersion, migration }) =>
				call('pull_changes', {
					last_pulled_at: (await this.cursor()) ?? lastPulledAt,
					schema_version: schemaVersion,
					migration,
					collections,
					created_as_updated: createdAsUpdated,
					...this.me,
				}),
			onDidPullChanges: (answer) => {
				this.pulled = true
				stored = this.exact && db.localStorage.set(CURSOR, answer.cursor)
			},
			pushChanges: async ({ changes, lastPulledAt }) => {
				await stored
				const last_pulled_at = (await this.cursor()) ?? lastPulledAt
				const answer = await call('push_changes', { changes, last_pulled_at, on_error, ...this.me })
				if (answer.cursor !== null) await db.localStorage.set(CURSOR, answer.cursor)
				refused = answer.rejected ?? []
				return answer
			},
			...options,
		})
		await stored
		return refused
	}

	// As README has it; answers how many records came and went.
	async mend() {
		const { db, call } = this
		const rows = await db.get('project').query(Q.where('_status', Q.notEq('created'))).unsafeFetchRaw()
		let answer
		await synchronize({
			database: db,
			sendCreatedAsUpdated: true,
			pullChanges: async ({ lastPulledAt }) => {
				answer = { timestamp: lastPulledAt, ...await repair(call, { project: rows }, await this.cursor()) }
				return answer
			},
			pushChanges: () => { throw new Error('there is something to push') },
		})
		const { updated = [], deleted = [] } = answer.changes.project ?? {}
		return [updated.length, deleted.length]
	}

	async cursor() {
		return this.exact ? this.db.localStorage.get(CURSOR) : undefined
	}

	// The raw answer that the next sync would get.
	async peek() {
		return this.call('pull_changes', { last_pulled_at: await this.cursor(), ...this.me })
	}

	create(table, values) {
		return this.db.write(async () => (await this.db.get(table).create((record) => fill(record, values))).id)
	}

	update(table, id, values) {
		return this.db.write(async () => (await this.db.get(table).find(id)).update((record) => fill(record, values)))
	}

	remove(table, id) {
		return this.db.write(async () => (await this.db.get(table).find(id)).markAsDeleted())
	}

	// Behind WatermelonDB's back: nothing of it is for the server.
	async damage(lost, stale, extra) {
		const projects = this.db.get('project')
		await this.db.write(async () => {
			for (const id of lost) await (await projects.find(id)).destroyPermanently()
			for (const id of stale) await (await projects.find(id)).update(({ _raw }) => { _raw.name = 'old'; _raw.server_version-- })
			for (const id of extra) await projects.create(({ _raw }) => Object.assign(_raw, { id, _status: 'synced' }))
		})
	}

	createTask(project_id, values) {
		return this.create('task', { project_id, owner: this.user, created_at: Date.now(), ...values })
	}

	async rows(table) {
		const records = await this.db.get(table).query().fetch()
		return records
			.map(({ _raw: { _status, _changed, server_version, server_created_at, server_updated_at, ...row } }) => row)
			.sort((one, other) => (one.id < other.id ? -1 : 1))
	}

	async row(table, id) {
		return (await this.rows(table)).find((row) => row.id === id)
	}
}

function fill(record, values) {
	for (const [name, value] of Object.entries(values)) record._setRaw(name, value)
}

// ---- what is said of devices and answers

export const nothing = { created: [], updated: [], deleted: [] }

export const assertEmpty = (answer, message) =>
	assert.deepEqual(answer.changes, { project: nothing, task: nothing }, message)

export async function assertHolds(device) {
	for (const [table, rows] of Object.entries(selectAs(device.user))) assert.deepEqual(await device.rows(table), rows)
}

export const holds = async (device, id, table = 'project') => Boolean(await device.row(table, id))
