// Devices of drift-pocketbase-sync: what its client in Dart does, request by request, through README's proxy and PostgREST, with
// a WatermelonDB device's calls on the same table.  SEED=n plays one game again.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { createInterface } from 'node:readline'
import { callAt } from './fetch.mjs'
import { claims, jwt, sql, until, wire } from './server.mjs'

const env = process.env
const seed = Number(env.SEED ?? Math.floor(Math.random() * 1e9))

// mulberry32
let state = seed
const random = () => {
	let t = (state += 0x6d2b79f5)
	t = Math.imul(t ^ (t >>> 15), t | 1)
	t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
	return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}
const pick = (list) => list[Math.floor(random() * list.length)]
const newId = () => Array.from({ length: 15 }, () => pick([...'abcdefghijklmnopqrstuvwxyz0123456789'])).join('')

// ---- the proxy, and answers that get lost

let loses = 0
async function startProxy(toPostgrest) {
	const server = http.createServer({ keepAliveTimeout: 0 }, async (request, response) => {
		const chunks = []
		for await (const chunk of request) chunks.push(chunk)
		const { host, connection, 'content-length': length, ...headers } = request.headers
		const { method, path, body, headers: onward } = toPostgrest({ method: request.method, url: request.url, headers, body: Buffer.concat(chunks).toString() })
		const answer = await fetch(`http://127.0.0.1:${env.E2E_PORT}${path}`, { method, headers: onward, body })
		const text = await answer.text()
		if (loses > 0 && request.method !== 'GET' && answer.ok) return loses--, void request.socket.destroy()
		response.writeHead(answer.status, { 'content-type': 'application/json' })
		response.end(text)
	})
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
	return server
}

// ---- the SDK

class ClientException extends Error {
	constructor(statusCode, response) {
		super(`${statusCode} ${response?.message}`)
		Object.assign(this, { statusCode, response })
	}
}

class PocketBase {
	constructor(url, token, newer) {
		Object.assign(this, { url, token, newer })
	}

	async send(path, { method = 'GET', query = {}, body } = {}) {
		const params = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined))
		let answer
		try {
			answer = await fetch(`${this.url}${path}${params.size ? '?' + params : ''}`, {
				method, headers: { authorization: this.token(), 'accept-language': 'en-US', ...(body && { 'content-type': 'application/json' }) },
				body: body && JSON.stringify(body),
			})
		} catch {
			throw new ClientException(0)
		}
		const text = await answer.text()
		const data = text ? JSON.parse(text) : null
		if (answer.status >= 400) throw new ClientException(answer.status, data)
		return data
	}

	records(collection) {
		const base = `/api/collections/${encodeURIComponent(collection)}/records`
		return {
			create: (body) => this.send(base, { method: 'POST', body }),
			update: (id, body) => this.send(`${base}/${encodeURIComponent(id)}`, { method: 'PATCH', body }),
			delete: (id) => this.send(`${base}/${encodeURIComponent(id)}`, { method: 'DELETE' }),
			getFullList: async (filter) => {
				const result = []
				for (let page = 1; ; page++) {
					const list = await this.send(base, { query: { page, perPage: this.newer ? 500 : 100, filter, ...(this.newer && { skipTotal: true }) } })
					assert.ok(page === 1, 'one page')
					result.push(...list.items)
					// two releases' ways to know that there is more
					if (this.newer ? list.items.length !== list.perPage : !list.items.length || list.totalItems <= result.length) return result
				}
			},
		}
	}
}

// ---- the client

const core = ['synced', 'fresh', 'deleted', 'expand', 'collectionId', 'collectionName']
const columns = {
	note: ['body', 'created', 'id', 'owner', 'title', 'updated'],
	changes: ['action', 'collection_id', 'collection_name', 'created', 'id', 'record_data', 'record_id', 'updated'],
}
const moment = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z$/

class Device {
	constructor(name, url, user, lead) {
		Object.assign(this, { name, user, lead, last: {}, errors: [] })
		this.tables = { note: new Map(), changes: new Map() }
		this.pb = new PocketBase(url, () => jwt(claims(user)), random() < 0.5)
	}

	// DateTime.now()
	now() {
		return Date.now() + this.lead
	}

	// DateTime.toUtc().toString(), with microseconds
	stamp() {
		return new Date(this.now()).toISOString().replace('T', ' ').replace('Z', String(Math.floor(random() * 1000)).padStart(3, '0') + 'Z')
	}

	create(title) {
		const row = { id: newId(), title, body: null, owner: null, created: this.now(), updated: this.now(), deleted: false, synced: false, fresh: true }
		this.tables.note.set(row.id, row)
		return row.id
	}

	update(id, values) {
		Object.assign(this.tables.note.get(id), values, { updated: this.now(), synced: false, fresh: false })
	}

	remove(id) {
		Object.assign(this.tables.note.get(id), { deleted: true, synced: false })
	}

	// INSERT OR REPLACE and UPDATE name the record's members: a member more or less is an SQL error
	take(collection, record) {
		const values = Object.fromEntries(Object.entries(record).filter(([key]) => !core.includes(key))
			.map(([key, value]) => [key, typeof value === 'string' && value.trim() === '' ? null : value]))
		assert.deepEqual(Object.keys(values).sort(), columns[collection])
		for (const key of ['created', 'updated']) {
			assert.match(values[key], moment)
			values[key] = Date.parse(values[key].replace(' ', 'T'))
		}
		return { deleted: false, ...values, synced: true, fresh: false }
	}

	async syncCollection(collection) {
		const rows = this.tables[collection]
		try {
			const last = this.last[collection]
			const deleted = await this.pb.records('changes').getFullList(last && `updated >= '${last}' && action = 'delete'`)
			for (const entry of deleted) {
				assert.equal(entry.action, 'delete')
				if (entry.collection_id === collection) rows.delete(entry.record_id)
			}
			const records = await this.pb.records(collection).getFullList(last && rows.size ? `updated > '${last}'` : undefined)
			for (const record of records) {
				const held = rows.get(record.id)
				const taken = this.take(collection, record)
				if (!held || taken.updated > held.updated) rows.set(record.id, { ...held, ...taken, deleted: held?.deleted ?? false })
			}
			this.last[collection] = this.stamp()
			if (collection !== 'changes') await this.sendChanges(collection)
		} catch (error) {
			if (!(error instanceof ClientException)) throw error
			this.errors.push(error)
			if (error.statusCode === 410) await this.startAnew(collection)
		}
	}

	// README's answer to 410
	async startAnew(collection) {
		await this.sendChanges(collection)
		this.tables[collection].clear()
		delete this.last[collection]
	}

	async sendChanges(collection) {
		const rows = this.tables[collection]
		for (const row of [...rows.values()].filter(({ synced }) => !synced)) {
			try {
				const { synced, fresh, deleted, created, updated, ...data } = row
				if (fresh) {
					if (!deleted) await this.pb.records(collection).create(data)
				} else if (deleted) await this.pb.records(collection).delete(row.id)
				else {
					const { id, ...body } = data
					await this.pb.records(collection).update(id, body)
				}
				if (deleted) rows.delete(row.id)
				else Object.assign(row, { synced: true, fresh: false })
			} catch (error) {
				if (!(error instanceof ClientException)) throw error
				this.errors.push(error)
				if ([400, 403, 404].includes(error.statusCode)) rows.delete(row.id)
			}
		}
	}

	async sync() {
		for (const collection of ['changes', 'note']) await this.syncCollection(collection)
	}

	// stored: also what the app doesn't show.  A record that is deleted here, and changed elsewhere before that is sent, the client
	// takes anew, and forgets to show it again.
	held(stored) {
		return [...this.tables.note.values()].filter(({ deleted }) => stored || !deleted)
			.map(({ id, title, body }) => ({ id, title, body })).sort((x, y) => (x.id < y.id ? -1 : 1))
	}
}

// The two calls of WatermelonDB, on the same table
class Watermelon {
	rows = new Map()
	dirty = new Map()

	constructor(user) {
		this.call = callAt(wire().url + '/rest/v1', () => jwt(claims(user)), 'api')
	}

	async sync() {
		const { changes, cursor, experimentalStrategy } = await this.call('pull_changes', { collections: ['note'], last_pulled_at: this.cursor ?? null, created_as_updated: true })
		const { created, updated, deleted } = changes.note
		if (experimentalStrategy) this.rows.clear()
		for (const row of [...created, ...updated]) this.rows.set(row.id, row)
		for (const id of deleted) this.rows.delete(id)
		this.cursor = cursor
		const lists = { created: [], updated: [], deleted: [] }
		for (const [id, title] of this.dirty) {
			const row = this.rows.get(id)
			if (title === null) lists.deleted.push(id)
			else if (row) lists.updated.push({ ...Object.assign(row, { title }), _status: 'updated', _changed: 'title' })
			if (title === null) this.rows.delete(id)
		}
		this.dirty.clear()
		const answer = await this.call('push_changes', { changes: { note: lists }, last_pulled_at: cursor, on_error: 'skip' })
		this.cursor = answer.cursor
	}

	held() {
		return [...this.rows.values()].map(({ id, title, body }) => ({ id, title, body })).sort((x, y) => (x.id < y.id ? -1 : 1))
	}
}

// A transaction that writes, and stays open; resolves to what commits it
async function open(text) {
	const session = spawn('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1'], { stdio: ['pipe', 'pipe', 'inherit'] })
	const ended = new Promise((resolve) => session.on('exit', resolve))
	session.stdin.write(`BEGIN; ${text};\n\\echo written\n`)
	for await (const line of createInterface({ input: session.stdout })) {
		if (line === 'written') return () => (session.stdin.end('COMMIT;\n'), ended)
	}
	assert.fail(`not written: ${text}`)
}

// As if that had been an hour ago: what a device has fetched since lies behind it
function age() {
	sql(`SELECT offsync.push_changes('{}') \\g /dev/null
		UPDATE offsync_internal.timeline SET at = at - interval '1 hour'`)
}

const truth = (user) =>
	JSON.parse(sql(`SELECT coalesce(json_agg(n ORDER BY id COLLATE "C"), '[]') FROM (SELECT id, title, body FROM note WHERE owner = :'user') n`, { user }))

// ---- the game

async function play(url, user, stranger) {
	const devices = ['even', 'behind', 'ahead'].map((name, i) => new Device(name, url, user, [0, -90e3, 250][i]))
	const reader = new Device('far ahead, and only reads', url, user, 4 * 60e3)
	const melon = new Watermelon(user)
	let commit
	for (let step = 0; step < 120; step++) {
		const device = pick(devices)
		const rows = device.held()
		const row = rows.length && pick(rows)
		const title = `${device.name} ${step}`
		const action = random()
		if (action < 0.2) device.create(title)
		else if (action < 0.4 && row) device.update(row.id, { title, body: random() < 0.3 ? null : `body ${step}` })
		else if (action < 0.47 && row) device.remove(row.id)
		else if (action < 0.55) {
			loses += random() < 0.5 ? 1 : 0
			await device.sync()
			loses = 0
		} else if (action < 0.6) await reader.sync()
		else if (action < 0.7) {
			for (const { id } of melon.held().slice(0, 3)) melon.dirty.set(id, random() < 0.2 ? null : `melon ${step}`)
			await melon.sync()
		} else if (action < 0.75)
			sql(`UPDATE note SET title = :'title' WHERE id = (SELECT id FROM note WHERE owner = :'user' ORDER BY random() LIMIT 1)`, { title: `sql ${step}`, user })
		else if (action < 0.8 && !commit)
			commit = await open(`INSERT INTO note (title, owner) VALUES ('late ${step}', '${user}'), ('not theirs', '${stranger}')`)
		else if (action < 0.85 && commit) {
			await commit()
			commit = null
		} else await device.sync()
	}
	await commit?.()
	// what is sent now is the last word of each; two rounds more bring it to all
	for (let round = 0; round < 3; round++) for (const device of [...devices, melon]) await device.sync()
	await reader.sync()
	for (const device of [devices[0], devices[1], melon, reader])
		assert.deepEqual(device.held(true), truth(user), `${device.name ?? 'WatermelonDB'}, SEED=${seed}`)
	// a clock that is ahead: the next write that it doesn't date later mends what it passed over
	await new Promise((resolve) => setTimeout(resolve, 250))
	sql(`UPDATE note SET title = title || '.' WHERE owner = :'user'`, { user })
	for (const device of [...devices, melon, reader]) {
		await device.sync()
		assert.deepEqual(device.held(true), truth(user), `${device.name ?? 'WatermelonDB'} in the end, SEED=${seed}`)
		const bad = (device.errors ?? []).filter(({ statusCode }) => ![0, 404, 409].includes(statusCode))
		assert.deepEqual(bad, [], `SEED=${seed}`)
	}
}

export default async function pocketbase(setup, code) {
	const { toPostgrest } = await import(`data:text/javascript,${encodeURIComponent(code)}`)
	const proxy = await startProxy(toPostgrest)
	const url = `http://127.0.0.1:${proxy.address().port}`
	const [user, stranger] = [randomUUID(), randomUUID()]
	try {
		sql(setup)
		age()
		const a = new Device('a', url, user, 0)
		const b = new Device('b', url, user, 0)
		await until('the functions are published', async () => {
			a.errors = []
			await a.sync()
			return !a.errors.some(({ response }) => response?.code === 'PGRST202')
		})
		assert.deepEqual(a.errors, [])
		const agree = async (...titles) => {
			for (const device of [a, b, a, b]) await device.sync()
			for (const device of [a, b]) assert.deepEqual(device.held().map(({ title }) => title).sort(), titles)
		}
		const [milk, bread] = [a.create('Milk'), b.create('Bread')]
		await agree('Bread', 'Milk')
		assert.equal(sql(`SELECT count(*) FROM note WHERE owner = :'user'`, { user }), '2')

		// an answer gets lost, and the record comes again, edited meanwhile: as an update, for that is what the client makes of it
		const tea = a.create('Tea')
		loses = 1
		await a.sync()
		a.update(tea, { title: 'Green tea' })
		await agree('Bread', 'Green tea', 'Milk')
		// the same before it was ever sent
		a.update(a.create('Cof'), { title: 'Coffee' })
		await agree('Bread', 'Coffee', 'Green tea', 'Milk')

		// the last to arrive wins; NULL and an empty text, which is NULL on the device
		b.update(milk, { title: 'Soy', body: '' })
		await agree('Bread', 'Coffee', 'Green tea', 'Soy')
		assert.equal(a.tables.note.get(milk).body, null)
		assert.equal(sql(`SELECT body = '' FROM note WHERE id = :'milk'`, { milk }), 't')
		a.update(milk, { body: null })
		await agree('Bread', 'Coffee', 'Green tea', 'Soy')
		assert.equal(sql(`SELECT body IS NULL FROM note WHERE id = :'milk'`, { milk }), 't')

		// deletions: an edit of what others have deleted goes; a deletion whose answer is lost
		a.remove(bread)
		await a.sync()
		b.update(bread, { title: 'Too late' })
		loses = 1
		b.remove(tea)
		await agree('Coffee', 'Soy')

		// a first fetch names deletions only: what it finds unsent stays
		const own = b.create('Unsent')
		b.last = {}
		await agree('Coffee', 'Soy', 'Unsent')
		assert.ok([...a.tables.changes.values()].every(({ action }) => action === 'delete'))
		assert.ok([...a.tables.changes.values()].some(({ record_id }) => record_id === bread))

		// others' rows: an update and a deletion of what is out of sight, and of what isn't there
		const hidden = sql(`INSERT INTO note (title, owner) VALUES ('Hidden', :'stranger') RETURNING id`, { stranger })
		const failure = (promise) => promise.then(() => assert.fail('no error'), ({ statusCode, response }) => ({ statusCode, response }))
		const records = a.pb.records('note')
		const [seen, missing] = [await failure(records.delete(hidden)), await failure(records.delete(newId()))]
		assert.deepEqual(seen, missing)
		assert.equal(seen.statusCode, 404)
		assert.deepEqual(await failure(records.update(hidden, { title: 'x', body: null, owner: null })), seen)
		assert.equal((await failure(records.create({ id: hidden, title: 'x' }))).statusCode, 403)
		assert.equal((await failure(records.create({ id: newId(), title: null }))).statusCode, 422)
		assert.equal((await failure(records.update(own, { title: 'x', owner: stranger }))).statusCode, 422)
		// what can't be NULL the device has no value of: it is left
		assert.equal((await records.update(own, { title: null })).title, 'Unsent')
		assert.equal((await failure(a.pb.records('nowhere').create({ id: newId() }))).statusCode, 422)
		assert.equal((await failure(a.pb.records('note').getFullList('title ~ "x"'))).statusCode, 400)
		for (const method of ['PUT', 'GET']) assert.equal((await failure(a.pb.send('/api/collections/note/records/x', { method }))).statusCode, 501)

		await play(url, randomUUID(), stranger)

		// away for longer than anybody remembers: it is told, sends what it has, and fetches anew
		for (const last of ['2020-01-01 00:00:00.000000Z', new Date(Date.now() + 3600e3).toISOString().replace('T', ' ')]) {
			b.last = { note: last, changes: last }
			const late = b.create(`Made ${last}`)
			sql(`DELETE FROM note WHERE id = :'own'`, { own })
			b.errors = []
			await b.sync()
			assert.ok(b.errors.length > 0 && b.errors.every(({ statusCode }) => statusCode === 410))
			await b.sync()
			assert.deepEqual(b.held(), truth(user))
			assert.ok(b.tables.note.has(late))
		}
		sql(`DELETE FROM note WHERE id = :'milk'; SELECT count(*) FROM offsync.prune('0s') \\g /dev/null`, { milk })
		b.errors = []
		await b.sync()
		assert.deepEqual(b.errors.map(({ response }) => response.code), ['PT410', 'PT410'])
		age()
		b.errors = []
		await b.sync()
		await b.sync()
		assert.deepEqual([b.errors, b.held()], [[], truth(user)])
	} finally {
		proxy.close()
	}
}
