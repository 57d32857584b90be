// What the scenarios are played with: signed tokens, the RPCs, SQL as the
// superuser or as a user, and devices (a WatermelonDB and its sync).
import { execFileSync } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { PostgrestClient } from '@supabase/postgrest-js'
import { repair } from './digest.mjs' // of ../client: README shows it
import { newest, without } from './schema.mjs'

// WatermelonDB is CommonJS with one entry per directory.
const require = createRequire(import.meta.url)
const wm = (path = '') => require(`@nozbe/watermelondb/${path}`)
const { Database, Model, Q, appSchema, tableSchema } = wm()
const { addColumns, createTable, schemaMigrations } = wm('Schema/migrations')
export const { synchronize } = wm('sync')
const logger = wm('utils/common/logger').default
wm('utils/common/randomId').setGenerator(randomUUID)

const env = process.env
const url = `http://127.0.0.1:${env.E2E_PORT}`

// ---- server side

export async function ready() {
	for (const deadline = Date.now() + 30000; Date.now() < deadline; ) {
		const answer = await fetch(`http://127.0.0.1:${env.E2E_ADMIN_PORT}/ready`).catch(() => ({}))
		if (answer.status === 200) return
		await new Promise((resolve) => setTimeout(resolve, 50))
	}
	throw new Error('PostgREST is not ready after 30 s')
}

export function sql(text, variables = {}) {
	const options = Object.entries(variables).flatMap(([name, value]) => ['-v', `${name}=${value}`])
	return execFileSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', ...options], { input: text, encoding: 'utf8' }).trim()
}

// What SELECT gives that user, in the shape that a device holds it.
const ms = (column) => `floor(extract(epoch FROM ${column}) * 1000)::bigint`
const truth = {
	project: 'id, owner, name',
	task: `id, project_id, owner, title, done, ${ms('due')} AS due, notes, position, ${ms('created_at')} AS created_at`,
}
export function selectAs(user) {
	const part = (table) =>
		`'${table}', (SELECT coalesce(json_agg(t ORDER BY id), '[]') FROM (SELECT ${truth[table]} FROM public.${table}) t)`
	return JSON.parse(
		sql(
			`BEGIN; SELECT set_config('request.jwt.claims', :'claims', true) \\g /dev/null
			SET LOCAL ROLE authenticated; SET LOCAL client_encoding TO UTF8;
			SELECT json_build_object(${part('project')}, ${part('task')}); COMMIT`,
			{ claims: JSON.stringify(claims(user)) },
		),
	)
}

const claims = (user) => ({ sub: user, role: 'authenticated' })

export function jwt(payload) {
	const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
	const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ exp: Math.floor(Date.now() / 1000) + 600, ...payload })}`
	return `${body}.${createHmac('sha256', env.E2E_SECRET).update(body).digest('base64url')}`
}

// user null: no token at all, PostgREST's anonymous role.
export function clientOf(user) {
	const headers = user ? { Authorization: `Bearer ${jwt(claims(user))}` } : {}
	return new PostgrestClient(url, { headers })
}

// ---- WatermelonDB's log: whatever it complains about is a finding

export const complaints = []
for (const level of ['warn', 'error']) {
	logger[level] = (...messages) => complaints.push(`${level}: ${messages.join(' ')}`)
}
logger.log = logger.debug = () => {}

// ---- devices

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

export class Device {
	static count = 0

	constructor(kind, user, createdAsUpdated, exact = true, version = 2) {
		this.open(adapters[kind](`${kind}${++Device.count}`, apps[version]), version)
		this.user = user
		this.client = clientOf(user)
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

	// What an app does, whole.  The exact cursor is kept beside WatermelonDB's
	// own number; beforePush stands for others who sync at that moment.
	async sync(beforePush = async () => {}) {
		const { db, client, createdAsUpdated, version } = this
		const cursor = await this.cursor()
		let stored
		await synchronize({
			database: db,
			sendCreatedAsUpdated: !this.me.client_id && this.pulled,
			migrationsEnabledAtVersion: version === 1 ? undefined : 1,
			pullChanges: ({ lastPulledAt, schemaVersion, migration }) =>
				rpc(client, 'pull_changes', {
					last_pulled_at: cursor ?? lastPulledAt,
					schema_version: schemaVersion,
					migration,
					collections: version === 1 ? ['task'] : null,
					created_as_updated: createdAsUpdated,
					...this.me,
				}),
			onDidPullChanges: (answer) => {
				this.pulled = true
				stored = db.localStorage.set('cursor', answer.cursor)
			},
			pushChanges: async ({ changes, lastPulledAt }) => {
				await stored
				await beforePush()
				const last_pulled_at = (await this.cursor()) ?? lastPulledAt
				const answer = await rpc(client, 'push_changes', { changes, last_pulled_at, ...this.me })
				if (answer.cursor !== null) await db.localStorage.set('cursor', answer.cursor)
			},
		})
		await stored
	}

	// As README has it; answers how many records came and went.
	async mend() {
		const { db, client } = this
		const call = (name, args) => rpc(client, name, args)
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
		return this.exact ? this.db.localStorage.get('cursor') : undefined
	}

	// The raw answer that the next sync would get.
	async peek() {
		return rpc(this.client, 'pull_changes', { last_pulled_at: await this.cursor(), ...this.me })
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

export async function rpc(client, name, args, options) {
	const { data, error, status } = await client.rpc(name, args, options)
	if (error) throw Object.assign(new Error(`${status} ${JSON.stringify(error)}`), { status, body: error })
	return data
}
