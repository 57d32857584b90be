// Devices of an app that syncs field by field, as its client in Dart does, with README's table, through PostgREST: some on
// the table of messages, some on the two calls, beside one that does as WatermelonDB does, and psql.
// SEED=n plays the same game again.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { callAt } from './fetch.mjs'
import { claims, hold, jwt, sql, until, wire } from './server.mjs'

const DAY = 24 * 3600e3

// ---- hybrid logical clocks, as that client has them

const pack = ({ ms, count, node }) => `${String(ms).padStart(15, '0')}:${count.toString(36).padStart(5, '0')}:${node}`
const parse = (text) => {
	const [ms, count, ...node] = text.split(':')
	return { ms: Number(ms), count: parseInt(count, 36), node: node.join(':') }
}
const compare = (a, b) => a.ms - b.ms || a.count - b.count || (a.node < b.node ? -1 : a.node > b.node ? 1 : 0)

// ---- values

function serialize(value) {
	if (value === null) return ['null', '']
	if (typeof value === 'string') return ['string', value]
	if (typeof value === 'boolean') return ['bool', value ? '1' : '0']
	if (typeof value === 'number') return [Number.isInteger(value) ? 'int' : 'double', String(value)]
	if (value instanceof Date) return ['datetime', value.toISOString()]
	return ['json', JSON.stringify(value)]
}
const deserialize = (type, text) =>
	({ null: () => null, int: Number, double: Number, bool: (t) => t === '1', datetime: (t) => new Date(t), json: JSON.parse })[type]?.(text) ?? (type === 'null' ? null : text)

// ---- a device

// The table tells nothing that an older transaction could still come behind, and there are some: autovacuum's, of other tests.
let patient = true
async function settled() {
	const last = sql('SELECT pg_current_xact_id()')
	await until('older transactions have ended', () => sql(`SELECT pg_snapshot_xmin(pg_current_snapshot()) > :'last'::xid8`, { last }) === 't')
}

class Device {
	messages = new Map()
	cells = new Map() // "row column" -> { value, clock }
	last = null
	wall = Date.now
	failed = []

	constructor(user, clientId, transport) {
		Object.assign(this, { user, clientId, transport, wire: wire(), clock: { ms: 0, count: 0, node: clientId } })
		this.token = jwt(claims(user))
		this.call = callAt(this.wire.url + '/rest/v1', () => this.token, 'public')
	}

	tick(remote) {
		const now = this.wall()
		const { ms, count } = this.clock
		if (!remote) this.clock = now > ms ? { ...this.clock, ms: now, count: 0 } : { ...this.clock, count: count + 1 }
		else if (now > ms && now > remote.ms) this.clock = { ...this.clock, ms: now, count: 0 }
		else if (ms < remote.ms) this.clock = { ...this.clock, ms: remote.ms, count: remote.count + 1 }
		else this.clock = { ...this.clock, count: (ms > remote.ms ? count : Math.max(count, remote.count)) + 1 }
	}

	save(row, column, value) {
		this.tick()
		const [data_type, text] = serialize(value)
		const message = { id: randomUUID(), table_name: 'todos', row, column, data_type, value: text,
			local_timestamp: pack(this.clock), user_id: this.user, client_id: this.clientId }
		this.cells.set(`${row} ${column}`, { value, clock: { ...this.clock } })
		this.messages.set(message.id, { ...message, synced: false })
		return message
	}

	async request(path, options = {}) {
		const response = await fetch(`${this.wire.url}/rest/v1/${path}`, {
			...options, headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${this.token}`, ...options.headers } })
		const text = await response.text()
		if (!response.ok) throw Object.assign(new Error(text), JSON.parse(text), { status: response.status })
		return text && JSON.parse(text)
	}

	async insert(body) {
		await this.request('messages', { method: 'POST', headers: { Prefer: 'return=minimal' }, body: JSON.stringify(body) })
	}

	// ids of those that are done with
	async send(batch) {
		if (this.transport === 'rpc') {
			const all = batch.map((message) => ({ ...message, server_timestamp: null, hasBeenApplied: 0, hasBeenSynced: 0 }))
			const { accepted, rejected } = await this.call('push_messages', { messages: all })
			this.failed.push(...rejected)
			return accepted
		}
		try {
			await this.insert(batch)
			return batch.map(({ id }) => id)
		} catch {
			const ids = []
			for (const message of batch) await this.insert(message).then(() => ids.push(message.id), (error) => this.failed.push(error))
			return ids
		}
	}

	async push() {
		const unsynced = [...this.messages.values()].filter(({ synced }) => !synced)
			.sort((a, b) => compare(parse(a.local_timestamp), parse(b.local_timestamp))).map(({ synced, ...message }) => message)
		for (let i = 0; i < unsynced.length; i += 50) {
			const batch = unsynced.slice(i, i + 50)
			const ids = await this.send(batch)
			for (const id of ids) this.messages.get(id).synced = true
			if (ids.length < batch.length) break
		}
	}

	async fetch() {
		if (this.transport === 'rpc') {
			return this.call('pull_messages', { last_server_timestamp: this.last, client_id: this.clientId, user_id: this.user })
		}
		const since = this.last === null ? '' : `&server_timestamp=gt.${this.last}`
		return this.request(`messages?select=*&user_id=eq.${this.user}&client_id=neq.${this.clientId}${since}&order=server_timestamp.asc.nullslast`)
	}

	// It keeps the clock of what it has applied: what that client's documentation shows instead, the latest of the messages
	// that it has stored, is that of the very message that it asks about.
	async pull() {
		if (patient && this.transport === 'table') await settled()
		const got = await this.fetch()
		for (const message of got) {
			for (const [name, value] of Object.entries(message)) {
				assert.equal(typeof value, name === 'server_timestamp' ? 'number' : 'string', name)
			}
			this.tick(parse(message.local_timestamp))
		}
		for (const message of got) {
			if (this.last !== null || this.transport === 'table') assert.notEqual(message.client_id, this.clientId)
			this.messages.set(message.id, { ...message, synced: true })
			const cell = `${message.row} ${message.column}`
			const clock = parse(message.local_timestamp)
			const held = this.cells.get(cell)
			if (!held || compare(clock, held.clock) > 0) {
				this.cells.set(cell, { value: deserialize(message.data_type, message.value), clock })
			}
		}
		if (got.length) this.last = got.reduce((last, { server_timestamp }) => Math.max(last, server_timestamp), 0)
		return got
	}

	// Errors are printed there, and the next sync tries again.
	async sync() {
		await this.push().catch((error) => this.failed.push(error))
		await this.pull().catch((error) => this.failed.push(error))
	}

	get(row, column) {
		return this.cells.get(`${row} ${column}`)?.value
	}

	rows() {
		const rows = {}
		for (const [cell, { value }] of this.cells) {
			const [row, column] = cell.split(' ')
			;(rows[row] ??= {})[column] = value
		}
		return rows
	}
}

// ---- a device as WatermelonDB is one: whole records, and which columns of them it changed

class Records {
	rows = new Map()
	deleted = new Set()
	last = null

	constructor(user) {
		this.wire = wire()
		this.call = callAt(this.wire.url + '/rest/v1', () => jwt(claims(user)), 'api')
	}

	update(id, values) {
		const row = this.rows.get(id)
		Object.assign(row, values)
		row._changed = [...new Set([...row._changed, ...Object.keys(values)])]
	}

	create(id, values) {
		this.rows.set(id, { id, ...values, _changed: [], _status: 'created' })
	}

	remove(id) {
		this.rows.delete(id)
		this.deleted.add(id)
	}

	async pull() {
		const { changes, cursor } = await this.call('pull_changes', { collections: ['todos'], last_pulled_at: this.last, created_as_updated: true })
		for (const row of [...changes.todos.created, ...changes.todos.updated]) {
			const held = this.rows.get(row.id)
			if (this.deleted.has(row.id)) continue
			const changed = held?._changed ?? []
			this.rows.set(row.id, { ...row, ...Object.fromEntries(changed.map((name) => [name, held[name]])), _changed: changed, _status: held?._status ?? 'synced' })
		}
		for (const id of changes.todos.deleted) this.rows.delete(id)
		this.last = cursor
	}

	async push() {
		const all = [...this.rows.values()]
		const raw = (row) => ({ ...row, _changed: row._changed.join(',') })
		const changes = { todos: {
			created: all.filter(({ _status }) => _status === 'created').map(raw),
			updated: all.filter(({ _status, _changed }) => _status !== 'created' && _changed.length).map(raw),
			deleted: [...this.deleted] } }
		if (!Object.values(changes.todos).flat().length) return
		const answer = await this.call('push_changes', { changes, last_pulled_at: this.last, on_error: 'skip' })
		assert.deepEqual(answer.rejected ?? [], [])
		this.last = answer.cursor
		this.deleted.clear()
		for (const row of all) Object.assign(row, { _changed: [], _status: 'synced' })
	}

	async sync() {
		try {
			await this.pull()
			await this.push()
		} catch (error) {
			if (error.code || error.code === 'ERR_ASSERTION') throw error // else the answer got lost
		}
	}
}

// ---- what there is

const columns = ['name', 'is_done', 'due', 'amount', 'tags', 'deleted_at']

const truth = (user) => JSON.parse(sql(`SELECT coalesce(json_object_agg(id, row_to_json(t)), '{}') FROM (
	SELECT id, ${columns.join(', ')} FROM todos WHERE user_id = :'user') t`, { user }))

const plain = (row) => Object.fromEntries(columns.map((name) => {
	const value = row[name] ?? null
	if (value === null) return [name, null]
	return [name, name === 'due' || name === 'deleted_at' ? +new Date(value) : value]
}))

const plainRows = (rows) => Object.fromEntries(Object.entries(rows).map(([id, row]) => [id, plain(row)]).sort())

// ---- scenarios

async function pairs(user) {
	const [a, b] = [new Device(user, 'a', 'table'), new Device(user, 'b', 'rpc')]
	const values = { name: 'Café "1"\n', is_done: true, due: new Date(1700000000123), amount: 12.5, tags: { x: [1, null, 'y'] } }
	for (const [column, value] of Object.entries(values)) a.save('t1', column, value)
	await a.sync()
	await b.sync()
	assert.deepEqual(plain(b.rows().t1), plain(values))
	assert.deepEqual([a.failed, b.failed], [[], []])

	// NULL, and back; what was empty stays so
	b.save('t1', 'due', null)
	b.save('t1', 'name', '')
	await b.sync()
	await a.sync()
	assert.deepEqual([a.get('t1', 'due'), a.get('t1', 'name')], [null, ''])

	// different fields of a row: both stay; the same field: the later one
	a.save('t1', 'name', 'by a')
	b.save('t1', 'amount', 3)
	const early = a.save('t1', 'is_done', false)
	await until('the clock goes on', () => Date.now() > parse(early.local_timestamp).ms)
	b.save('t1', 'is_done', true)
	await b.sync()
	for (const device of [a, b, a]) await device.sync()
	for (const device of [a, b]) assert.deepEqual(plain(device.rows().t1), plain({ ...values, due: null, name: 'by a', amount: 3 }))

	// answers get lost: what is sent again is done with, and nothing is written
	for (const [device, name] of [[a, 'messages'], [b, 'push_messages']]) {
		device.save('t1', 'name', `once, by ${device.clientId}`)
		device.wire.loses.push(...Array(device === a ? 2 : 1).fill(name)) // a sends it alone then
		await device.push().catch(() => {})
		const version = () => sql(`SELECT server_version FROM todos WHERE id = 't1' AND user_id = :'user'`, { user })
		const stored = version()
		assert.equal(sql(`SELECT name FROM todos WHERE id = 't1' AND user_id = :'user'`, { user }), `once, by ${device.clientId}`)
		assert.ok([...device.messages.values()].some(({ synced }) => !synced))
		await device.push()
		assert.ok([...device.messages.values()].every(({ synced }) => synced))
		assert.equal(version(), stored)
		await device.pull()
	}

	// one that can't be stored doesn't take the others along, but holds up what is later
	for (const device of [a, b]) {
		device.failed = []
		device.save('t1', 'name', `fine, by ${device.clientId}`)
		const bad = device.save('t1', 'no_such_column', 1)
		await device.sync()
		assert.equal(sql(`SELECT name FROM todos WHERE id = 't1' AND user_id = :'user'`, { user }), `fine, by ${device.clientId}`)
		assert.deepEqual([...device.messages.values()].filter(({ synced }) => !synced).map(({ id }) => id), [bad.id])
		assert.equal(device.failed[0].code, '42703')
		device.messages.delete(bad.id)
		device.cells.delete('t1 no_such_column')
		await (device === a ? b : a).sync()
	}
	// as that client's example has it: from -1 on, one by one, and told what it has sent
	const got = await a.request(`messages?select=*&user_id=eq.${user}&server_timestamp=gt.-1&client_id=neq.a`)
	assert.ok(got.length && got.every(({ client_id }) => client_id !== 'a'))
	const { synced, ...alone } = a.save('t1', 'amount', 7)
	const [stored] = await a.request('messages?select=*', { method: 'POST', headers: { Prefer: 'return=representation' }, body: JSON.stringify(alone) })
	assert.deepEqual(stored, { ...alone, server_timestamp: null })
	a.messages.get(alone.id).synced = true
	await b.sync()
	assert.equal(b.get('t1', 'amount'), 7)

	// a device that has lost its database, and kept its name
	const again = new Device(user, 'b', 'rpc')
	await again.sync()
	assert.deepEqual(again.rows(), b.rows())

	// nobody else's
	const stranger = new Device(randomUUID(), 'c', 'table')
	assert.deepEqual(await stranger.pull(), [])
	await assert.rejects(stranger.insert({ ...early, id: randomUUID() }), { code: '42501' })
	stranger.save('t1', 'name', 'mine, too')
	stranger.failed = []
	await stranger.push()
	assert.match(stranger.failed[0].message, /was refused/)
}

// PostgREST fetches no more than 1000 rows here: a device gets whole versions, and comes back for the others.
async function limited(user) {
	const device = new Device(user, 'd', 'table')
	for (let i = 0; i < 5; i++) {
		sql(`INSERT INTO todos (id, user_id, name) SELECT :'i' || '-' || n, :'user', n FROM generate_series(1, 90) n`, { user, i })
	}
	let pulls = 0
	for (let got; !got || got.length; pulls++) {
		got = await device.pull()
		assert.ok(got.length <= 1000)
	}
	assert.ok(pulls > 3)
	assert.equal(Object.keys(device.rows()).length, 450)
	// what belongs together and doesn't fit isn't cut
	sql(`INSERT INTO todos (id, user_id, name) SELECT 'large-' || n, :'user', n FROM generate_series(1, 1000) n`, { user })
	await assert.rejects(device.pull(), { status: 413 })
	device.transport = 'rpc'
	await device.pull()
	assert.deepEqual(plainRows(device.rows()), plainRows(truth(user)))
}

// A number from 0 to n - 1
function dice(seed) {
	let state = seed >>> 0
	return (n) => {
		state = (state + 0x6d2b79f5) >>> 0
		let t = Math.imul(state ^ (state >>> 15), state | 1)
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
		return ((t ^ (t >>> 14)) >>> 0) % n
	}
}

async function game(seed) {
	const user = randomUUID()
	const roll = dice(seed)
	const start = Date.now() - 40 * DAY
	const devices = ['table', 'rpc', 'table'].map((transport, i) => new Device(user, `phone-${i}:${seed}`, transport))
	const [first, , away] = devices
	const records = new Records(user)
	const made = new Map() // cell -> the latest message of it
	const touched = new Set() // by somebody without a clock
	const ids = []
	const values = {
		name: () => ['', 'x', 'ü "', 'long '.repeat(20)][roll(4)] + roll(100),
		is_done: () => roll(2) === 1,
		due: () => (roll(4) ? new Date(1.7e12 + roll(1e6)) : null),
		amount: () => [null, roll(1000), roll(1000) / 8, -0.5][roll(4)],
		tags: () => [null, {}, { a: roll(9) }, { list: [roll(9), 'x', null] }][roll(4)],
		deleted_at: () => (roll(3) ? null : new Date(1.7e12 + roll(1e6))),
	}
	const edit = (device) => {
		const id = ids.length && roll(5) ? ids[roll(ids.length)] : ids[ids.push(`${seed}-${ids.length}`) - 1]
		for (let i = 1 + roll(3); i > 0; i--) {
			const column = columns[roll(columns.length)]
			const message = device.save(id, column, values[column]())
			const cell = `${id} ${column}`
			if (!made.has(cell) || compare(parse(message.local_timestamp), parse(made.get(cell).local_timestamp)) > 0) made.set(cell, message)
		}
	}
	const write = (id, column) => touched.add(`${id} ${column}`)

	let day = 0
	let release // of a transaction that stays open
	for (const device of devices) device.wall = () => Math.floor(start + day * DAY)
	for (let i = 0; i < 5; i++) edit(first)
	for (const device of [...devices, ...devices, records]) await device.sync()
	patient = false
	for (let step = 0; step < 60; step++) {
		day = 5 + step / 2
		const device = devices[roll(3)]
		const held = [...records.rows.keys()]
		switch (roll(10)) {
			case 0: case 1: case 2: case 3:
				edit(device)
				break
			case 4:
				if (!held.length) break
				const [id, column] = [held[roll(held.length)], columns[roll(4)]]
				write(id, column)
				const value = values[column]()
				records.update(id, { [column]: value instanceof Date ? +value : value ?? (column === 'is_done' ? false : null) })
				break
			case 5:
				if (!held.length || roll(3)) break
				const gone = held[roll(held.length)]
				for (const name of columns) write(gone, name)
				records.remove(gone)
				break
			case 9:
				if (release) release = void (await release())
				else release = await hold(`INSERT INTO todos (id, user_id) VALUES ('${seed}-open-${step}', '${user}')`)
				break
			case 6:
				if (!ids.length) break
				write(ids[roll(ids.length)], 'amount')
				for (const name of ids) write(name, 'amount')
				sql(`UPDATE todos SET amount = :'n' WHERE user_id = :'user' AND abs(hashtext(id)) % 7 = 0`, { user, n: roll(50) })
				break
			default:
				// the third one is away for a month
				const who = [first, devices[1], records][roll(3)]
				if (roll(3) === 0) who.wire.loses.push([['messages', 'messages'], ['push_messages', 'pull_messages'], ['push_changes', 'pull_changes']][[first, devices[1], records].indexOf(who)][roll(2)])
				await who.sync()
		}
	}
	await release?.()
	patient = true
	// two rows go for good, while devices hold changes of them
	for (const device of devices) edit(device)
	const gone = sql(`DELETE FROM todos WHERE ctid IN (SELECT ctid FROM todos WHERE user_id = :'user' LIMIT 2) RETURNING id`, { user }).split('\n')
	for (const device of [...devices, records]) device.wire.loses.length = 0
	for (let round = 0; round < 3; round++) for (const device of [...devices, records]) await device.sync()
	const is = plainRows(truth(user))
	for (const device of devices) {
		for (const id of gone) {
			assert.ok(device.get(id, 'deleted_at'), `SEED=${seed}: ${device.clientId} is told of deletions`)
			for (const name of [...columns, 'user_id']) {
				device.cells.delete(`${id} ${name}`)
				write(id, name)
			}
		}
		assert.ok([...device.messages.values()].every(({ synced }) => synced), `SEED=${seed}: ${device.clientId} has more to say`)
		assert.deepEqual(plainRows(device.rows()), is, `SEED=${seed}: ${device.clientId}`)
	}
	const live = Object.fromEntries(Object.entries(is).filter(([, row]) => row.deleted_at === null))
	const recorded = [...records.rows.values()].map((row) => [row.id, { ...row, tags: JSON.parse(row.tags) }]) // JSON is text to it
	assert.deepEqual(plainRows(Object.fromEntries(recorded)), live, `SEED=${seed}: records`)
	// where only clocks were at work, the latest has won
	for (const [cell, message] of made) {
		const [id, column] = cell.split(' ')
		if (touched.has(cell)) continue
		assert.deepEqual(is[id][column], plain({ [column]: deserialize(message.data_type, message.value) })[column], `SEED=${seed}: ${cell}`)
	}
	assert.ok([...away.messages.values()].some(({ client_id }) => client_id === away.clientId))
}

export default async function messages(setup) {
	sql(setup)
	const user = randomUUID()
	await until('the calls are published', () => new Device(user, 'x', 'rpc').pull().then(() => true, (error) => {
		if (error.code !== 'PGRST202') throw error
	}))
	await pairs(user)
	await limited(randomUUID())
	const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: Number(process.env.GAMES ?? 4) }, () => Math.floor(Math.random() * 1e6))
	for (const seed of seeds) await game(seed)
}
