// Devices that sync with a REST cache: the exact requests of such a client, through README's nginx and PostgREST; and two of them,
// with a device of pull_changes and push_changes beside, till all hold the same.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { callAt } from './fetch.mjs'
import { claims, hold, jwt, sql, until, wire } from './server.mjs'

const table = 'rest_task'
const EPOCH = '1970-01-01T00:00:00.000Z'

// ---- nginx, with README's location

const freePort = () =>
	new Promise((resolve) => {
		const server = createServer().listen(0, '127.0.0.1', () => {
			const { port } = server.address()
			server.close(() => resolve(port))
		})
	})

async function nginx(location) {
	const [port, dir] = [await freePort(), mkdtempSync(`${tmpdir()}/nginx-`)]
	chmodSync(dir, 0o755) // for its workers, where root starts it
	const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/${name};`)
	writeFileSync(`${dir}/nginx.conf`, `pid ${dir}/pid; error_log ${dir}/error.log; daemon off; worker_processes 1;
		events {} http { access_log off; ${temp.join(' ')} server { listen 127.0.0.1:${port};
		${location.replace('127.0.0.1:3000', `127.0.0.1:${process.env.E2E_PORT}`)} } }`)
	const server = spawn('/usr/sbin/nginx', ['-p', dir, '-c', `${dir}/nginx.conf`, '-e', `${dir}/error.log`], { stdio: ['ignore', 'ignore', 'inherit'] })
	const ended = new Promise((resolve) => server.on('exit', resolve))
	const url = `http://127.0.0.1:${port}/sync`
	await until('nginx answers', () => fetch(url).then(() => true, () => false))
	return { url, stop: async () => (server.kill(), await ended, rmSync(dir, { recursive: true })) }
}

// ---- a request as the client makes it

const caller = (url, user) => async (method, path, { headers = {}, body } = {}) => {
	const answer = await fetch(url + path, {
		method,
		headers: { Authorization: `Bearer ${jwt(claims(user))}`, Accept: 'application/json', 'Content-Type': 'application/json', ...headers },
		body: body === undefined ? undefined : JSON.stringify(body),
	})
	const text = await answer.text()
	return { status: answer.status, body: text ? JSON.parse(text) : null }
}

// ---- the client

const SYSTEM = new Set(['id', 'created_at', 'updated_at', 'deleted_at', 'owner', 'server_created_at', 'server_updated_at', 'server_version'])
const iso = (ms) => new Date(ms).toISOString()

// autoPreserve: the server's row, over which what the device has and isn't null is laid; lists are united
function preserve(local, server) {
	const merged = { ...server }
	for (const [name, value] of Object.entries(local)) {
		if (SYSTEM.has(name) || value === null || value === undefined) continue
		merged[name] = Array.isArray(value) && Array.isArray(server[name]) ? [...new Set([...server[name], ...value])] : value
	}
	return merged
}

class RestDevice {
	rows = new Map()
	outbox = [] // one operation for each record
	cursor = null
	loses = 0 // answers that get lost

	constructor(url, user, { limit = 3, batches = false } = {}) {
		this.send = caller(url, user)
		Object.assign(this, { limit, batches })
	}

	async request(...args) {
		const answer = await this.send(...args)
		if (this.loses > 0 && this.loses--) throw Object.assign(new Error('lost'), { lost: true })
		if (answer.status === 429 || answer.status >= 500) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`)
		return answer
	}

	edit(id, values) {
		const row = this.rows.get(id)
		this.rows.set(id, { ...row, id, ...values })
		this.enqueue('upsert', id, row)
	}

	remove(id) {
		this.enqueue('delete', id, this.rows.get(id))
		this.rows.set(id, { ...this.rows.get(id), deleted_at: iso(Date.now()) })
	}

	enqueue(type, id, row) {
		const waiting = this.outbox.find((op) => op.id === id)
		const base = waiting ? waiting.base : row?.updated_at ? Date.parse(row.updated_at) : null
		this.outbox = this.outbox.filter((op) => op !== waiting)
		const { updated_at, ...payload } = this.rows.get(id) ?? {}
		this.outbox.push({ opId: randomUUID(), type, id, base, payload })
	}

	done(op) {
		this.outbox = this.outbox.filter((other) => other !== op)
	}

	store(item) {
		assert.ok(item.id && item.updated_at, JSON.stringify(item))
		this.rows.set(item.id, item)
	}

	put(op, payload, forced) {
		const body = forced || op.base === null ? payload : { ...payload, _baseUpdatedAt: iso(op.base) }
		const headers = { 'X-Idempotency-Key': op.opId, ...(forced ? { 'X-Force-Update': 'true' } : {}) }
		return this.request('PUT', `/${table}/${op.id}`, { headers, body })
	}

	async pushOne(op) {
		const answer = op.type === 'upsert' ? await this.put(op, op.payload, false) :
			await this.request('DELETE', `/${table}/${op.id}${op.base === null ? '' : `?_baseUpdatedAt=${encodeURIComponent(iso(op.base))}`}`,
				{ headers: { 'X-Idempotency-Key': op.opId } })
		await this.settle(op, answer)
	}

	async settle(op, { status, body }) {
		if (status === 409) {
			const current = body.current
			if (op.type === 'delete') {
				if (current) this.store(current) // a deletion can't be merged: the server's row stays
				return this.done(op)
			}
			const merged = current ? preserve(op.payload, current) : op.payload
			const forced = await this.put(op, merged, true)
			assert.ok([200, 201].includes(forced.status), JSON.stringify(forced))
			this.store(forced.body)
			return this.done(op)
		}
		assert.ok([200, 201].includes(status), `${status} ${JSON.stringify(body)}`)
		if (op.type === 'upsert') this.store(body)
		this.done(op)
	}

	async push() {
		if (!this.batches || this.outbox.length < 2) {
			for (const op of [...this.outbox]) await this.pushOne(op)
			return
		}
		const ops = this.outbox.map(({ opId, type, id, base, payload }) =>
			({ opId, kind: table, id, type, ...(type === 'upsert' ? { payload } : {}), ...(base === null ? {} : { baseUpdatedAt: iso(base) }) }))
		const { status, body } = await this.request('POST', '/batch', { body: { ops } })
		assert.equal(status, 200)
		for (const op of [...this.outbox]) {
			const result = body.results.find(({ opId }) => opId === op.opId)
			assert.ok(result, 'a missing result is an error')
			await this.settle(op, { status: result.statusCode, body: result.statusCode === 409 ? result.error : result.data })
		}
	}

	async pull() {
		let [since, after] = this.cursor ? [iso(this.cursor.ms), this.cursor.id] : [EPOCH, this.reset ? '' : undefined]
		for (let token = null, pages = 0; ; pages++) {
			assert.ok(pages < 1000, 'no end')
			const query = new URLSearchParams({ updatedSince: since, limit: this.limit, includeDeleted: true,
				...(token ? { pageToken: token } : {}), ...(after === undefined ? {} : { afterId: after }) })
			const { status, body } = await this.request('GET', `/${table}?${query}`)
			assert.equal(status, 200, JSON.stringify(body))
			for (const item of body.items) this.store(item)
			if (body.items.length) {
				const last = body.items.at(-1)
				this.cursor = { ms: Date.parse(last.updated_at), id: last.id };
				[since, after] = [iso(this.cursor.ms), this.cursor.id]
			}
			token = body.nextPageToken
			if (!body.items.length || (token === null && body.items.length < this.limit)) return
		}
	}

	async sync() {
		await this.push()
		await this.pull()
	}

	// Every seven days: all is pushed, and pulled anew; what is held stays.
	async fullResync() {
		await this.push()
		this.cursor = null
		this.reset = true
		await this.pull()
	}

	holds() {
		return [...this.rows.values()].filter((row) => !row.deleted_at).map(({ id, title, tags }) => ({ id, title, tags }))
			.sort((a, b) => (a.id < b.id ? -1 : 1))
	}
}

// A device of the two calls that goes by the cursor, as WatermelonDB's do; what it holds is told by rows.
class CursorDevice {
	rows = new Map()
	changed = new Map() // id -> its changed columns, or null: it is deleted
	cursor = null

	constructor(user) {
		this.call = callAt(wire().url + '/rest/v1', () => jwt(claims(user)))
	}

	edit(id, values) {
		this.rows.set(id, { id, title: null, tags: null, ...this.rows.get(id), ...values })
		this.changed.set(id, { ...this.changed.get(id), ...values })
	}

	remove(id) {
		this.rows.delete(id)
		this.changed.set(id, null)
	}

	async pull() {
		const { changes, cursor, experimentalStrategy } = await this.call('pull_changes', { last_pulled_at: this.cursor, collections: [table] })
		const { created, updated, deleted } = changes[table]
		if (experimentalStrategy) this.rows.clear()
		for (const { id, title, tags } of [...created, ...updated]) this.rows.set(id, { id, title, tags: tags && JSON.parse(tags) })
		for (const id of deleted) this.rows.delete(id)
		for (const [id, values] of this.changed) {
			if (values === null) this.rows.delete(id)
			else if (this.rows.has(id)) this.rows.set(id, { ...this.rows.get(id), ...values })
		}
		this.cursor = cursor
	}

	async sync() {
		for (let round = 0; ; round++) {
			await this.pull()
			if (!this.changed.size) return
			const raw = ([id, { tags, ...values }]) => ({ id, ...values, ...(tags === undefined ? {} : { tags: JSON.stringify(tags) }) })
			const lists = {
				created: [],
				updated: [...this.changed].filter(([id, values]) => values && this.rows.has(id)).map(raw),
				deleted: [...this.changed].filter(([, values]) => values === null).map(([id]) => id),
			}
			try {
				const answer = await this.call('push_changes', { changes: { [table]: lists }, last_pulled_at: this.cursor })
				this.cursor = answer.cursor
				this.changed.clear()
				return this.pull()
			} catch (error) {
				if (error.code !== 'PT409' || round === 5) throw error
			}
		}
	}

	holds() {
		return [...this.rows.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
	}
}

// ---- the tests

// As they went over the wire; {…} stands for what the answers before held.
async function replay(send, id) {
	const first = await send('GET', `/${table}?updatedSince=1970-01-01T00:00:00.000Z&limit=500&includeDeleted=true`)
	assert.deepEqual(first, { status: 200, body: { items: [], nextPageToken: null } })
	const key = { 'X-Idempotency-Key': randomUUID() }
	const made = await send('PUT', `/${table}/${id}`, { headers: key, body: { id, title: 'Milk', tags: ['a'] } })
	assert.equal(made.status, 201)
	assert.deepEqual(await send('PUT', `/${table}/${id}`, { headers: key, body: { id, title: 'Milk', tags: ['a'] } }), { ...made, status: 200 })
	const base = made.body.updated_at
	assert.match(base, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
	assert.deepEqual((await send('GET', `/${table}/${id}`)).body, made.body)
	const update = (title, more = {}, headers = {}) =>
		send('PUT', `/${table}/${id}`, { headers: { 'X-Idempotency-Key': randomUUID(), ...headers }, body: { id, title, ...more } })
	await until('the clock has gone on', () => Date.now() > Date.parse(base))
	const changed = await update('Oats', { _baseUpdatedAt: base })
	assert.deepEqual([changed.status, changed.body.title, changed.body.tags], [200, 'Oats', ['a']])
	const conflict = await update('Soy', { _baseUpdatedAt: base })
	assert.deepEqual(conflict, { status: 409, body: { error: 'conflict', current: changed.body } })
	assert.equal((await update('Soy', {}, { 'X-Force-Update': 'true' })).body.title, 'Soy')
	const posted = await send('POST', `/${table}`, { headers: { 'X-Idempotency-Key': randomUUID() }, body: { id: '', title: 'Tea' } })
	assert.equal(posted.status, 201)
	assert.match(posted.body.id, /^[-0-9a-f]{36}$/)
	assert.equal((await send('DELETE', `/${table}/${id}?_baseUpdatedAt=${base}`)).status, 409)
	assert.equal((await send('DELETE', `/${table}/${id}?_baseUpdatedAt=${base}`, { headers: { 'X-Force-Delete': 'true' } })).status, 200)
	assert.equal((await send('DELETE', `/${table}/${posted.body.id}`)).status, 200)
	const gone = await send('GET', `/${table}/${id}`)
	assert.deepEqual([gone.status, typeof gone.body.deleted_at], [200, 'string'])
	assert.equal((await send('GET', `/${table}/${randomUUID()}`)).status, 404)
	assert.deepEqual(await send('GET', '/health'), { status: 200, body: { status: 'ok' } })
	const refused = await send('PUT', `/${table}/${randomUUID()}`, { body: { title: 'unheard of' } })
	assert.equal(refused.status, 422, 'a constraint is no conflict')
	assert.equal((await send('PUT', '/nosuch/1', { body: {} })).status, 422, 'and a 404 would be taken for an acknowledgement')
	const batch = await send('POST', '/batch', { body: { ops: [
		{ opId: 'one', kind: table, id: randomUUID(), type: 'upsert', payload: { title: 'Batched', tags: null } },
		{ opId: 'two', kind: table, id, type: 'upsert', payload: { title: 'Late' }, baseUpdatedAt: base },
		{ opId: 'three', kind: table, id: randomUUID(), type: 'delete' }] } })
	assert.equal(batch.status, 200)
	assert.deepEqual(batch.body.results.map(({ opId, statusCode }) => `${opId} ${statusCode}`), ['one 201', 'two 409', 'three 200'])
	assert.equal(batch.body.results[1].error.current.id, id)
	const rows = () => send('GET', `/${table}?updatedSince=${EPOCH}&limit=500&includeDeleted=true&afterId=`)
	await until('all is listed', async () => (await rows()).body.items.length === 3)
	// a body that nginx keeps in a file
	const long = await send('PUT', `/${table}/${randomUUID()}`, { body: { title: 'x'.repeat(100000) } })
	assert.deepEqual([long.status, long.body.title.length], [201, 100000])
}

// Numbers from a seed
function dice(seed) {
	let state = seed >>> 0
	return (n) => {
		state = (state + 0x6d2b79f5) >>> 0
		let t = Math.imul(state ^ (state >>> 15), state | 1)
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
		return ((t ^ (t >>> 14)) >>> 0) % n
	}
}

async function converge(url, user, seed) {
	const roll = dice(seed)
	const rest = [new RestDevice(url, user), new RestDevice(url, user, { limit: 2, batches: true })]
	const devices = [...rest, new CursorDevice(user)]
	const alive = (device) => [...device.rows.values()].filter((row) => !row.deleted_at).map(({ id }) => id)
	const pick = (list) => list[roll(list.length)]
	const writers = [] // transactions that are open
	let texts = 0
	const words = () => Array.from({ length: 1 + roll(2) }, () => 'tag' + roll(5))
	function act(device) {
		const ids = alive(device)
		const what = ids.length ? roll(6) : 0
		if (what < 2) device.edit(randomUUID(), { title: `new ${++texts}`, tags: words() })
		else if (what < 5) device.edit(pick(ids), roll(2) ? { title: `text ${++texts}` } : { tags: words() })
		else device.remove(pick(ids))
	}
	const stored = () => sql(`SELECT string_agg(id::text, ' ' ORDER BY id) FROM ${table} WHERE owner = :'user' AND deleted_at IS NULL`, { user }).split(' ').filter(Boolean)
	async function write() {
		const ids = stored()
		const insert = `INSERT INTO ${table} (id, owner, title) VALUES ('${randomUUID()}', '${user}', 'by SQL ${++texts}')`
		// what stays open must not keep devices waiting
		if (writers.length < 2) writers.push({ commit: await hold(insert, {}, 'COMMIT'), left: 2 + roll(5) })
		else sql(ids.length ? `UPDATE ${table} SET title = 'by SQL ${texts}' WHERE id = '${pick(ids)}'` : insert)
	}
	for (let step = 0; step < 60; step++) {
		for (const writer of [...writers]) {
			if (writer.left-- > 0) continue
			await writer.commit()
			writers.splice(writers.indexOf(writer), 1)
		}
		const device = pick(devices)
		if (roll(3)) act(device)
		else await write()
		if (roll(2)) {
			if (device instanceof RestDevice && roll(4) === 0) device.loses = 1 + roll(2)
			await device.sync().catch((error) => assert.ok(error.lost, error.stack))
			device.loses = 0
		}
		if (roll(20) === 0 && device instanceof RestDevice) await device.fullResync()
	}
	for (const writer of writers) await writer.commit()
	for (let round = 0; round < 3; round++) for (const device of devices) await device.sync()
	const want = JSON.parse(sql(`SELECT coalesce(json_agg(t ORDER BY id), '[]') FROM (SELECT id, title, tags FROM ${table}
		WHERE owner = :'user' AND deleted_at IS NULL) t`, { user }))
	await until('all is settled', () => Date.now() > Date.parse(sql(`SELECT max(server_updated_at) AT TIME ZONE 'UTC' FROM ${table}`).replace(' ', 'T') + 'Z'))
	for (const device of devices) {
		await device.sync()
		assert.deepEqual(device.holds(), want, `SEED=${seed}: ${device.constructor.name}`)
		if (device.outbox) assert.deepEqual(device.outbox, [])
	}
}

export default async function rest(setup, location) {
	sql(setup.replaceAll(/\btask\b/g, table))
	sql(`ALTER TABLE ${table} ADD CHECK (title <> 'unheard of'); NOTIFY pgrst, 'reload schema'`)
	const server = await nginx(location)
	try {
		await until('the function is published', async () => (await caller(server.url, randomUUID())('GET', '/health')).status === 200)
		await replay(caller(server.url, randomUUID()), randomUUID())
		const seed = Number(process.env.SEED) || Math.floor(Math.random() * 1e6)
		for (let run = 0; run < 4; run++) await converge(server.url, randomUUID(), seed + run)
	} finally {
		await server.stop()
	}
}
