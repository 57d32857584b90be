// Row CRDT clients behind README's WebSocket server: frames as such a client sends them, and several with devices of
// pull_changes and push_changes beside, with clocks per field and without, till all hold the same.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { callAt } from './fetch.mjs'
import { claims, jwt, sql, until, wire } from './server.mjs'
import { serve } from './websocket.mjs'

const table = 'crdt_task'
const MINUTE = 60e3
const columns = ['title', 'done']

const clock = (ms, count, node) => `${new Date(ms).toISOString()}-${count.toString(16).toUpperCase().padStart(4, '0')}-${node}`

function parse(text) {
	const [, time, count, node] = /^(.*Z)-([0-9A-F]{4})-(.*)$/.exec(text)
	return { ms: Date.parse(time), count: parseInt(count, 16), node }
}

// ---- the client: rows with hlc, node_id and modified; texts are compared as texts

class CrdtDevice {
	rows = new Map()
	away = 0 // how far its clock is from ours
	ms = 0
	count = 0

	constructor(user) {
		this.node = randomUUID()
		this.call = callAt(wire().url + '/rest/v1', () => jwt(claims(user)), 'public')
	}

	get canonical() {
		return clock(this.ms, this.count, this.node)
	}

	write(id, values, is_deleted = 0) {
		const now = Date.now() + this.away
		if (now > this.ms) [this.ms, this.count] = [now, 0]
		else this.count++
		const before = this.rows.get(id) ?? { id, ...Object.fromEntries(columns.map((name) => [name, null])) }
		this.rows.set(id, { ...before, ...values, is_deleted, hlc: this.canonical, node_id: this.node, modified: this.canonical })
		if (this.socket && !this.silent) this.transmit((row) => row.hlc === this.canonical)
	}

	edit(id, values) {
		this.write(id, values, this.rows.get(id)?.is_deleted)
	}

	remove(id) {
		this.write(id, {}, 1)
	}

	greatest(which) {
		return [...this.rows.values()].filter(which).map((row) => row.modified).sort().at(-1) ?? clock(0, 0, this.node)
	}

	connect() {
		const handlers = {}
		this.silent = true
		const socket = (this.socket = {
			send: (text) => this.socket === socket && this.hear(JSON.parse(text)),
			on: (event, handler) => (handlers[event] = handler),
			close: () => (this.closed ||= this.socket === socket),
		})
		this.wake = serve(socket, (name, args) => this.call(name, args).catch((error) => this.fail(error)))
		this.say = (frame) => handlers.message(JSON.stringify(frame))
		this.say({ node_id: this.node, last_modified: this.greatest((row) => row.node_id !== this.node), data: null })
	}

	disconnect() {
		this.socket = this.wake = null
	}

	transmit(which) {
		const mine = [...this.rows.values()].filter((row) => row.node_id === this.node && which(row))
		if (mine.length) this.say({ [table]: mine })
	}

	fail(error) {
		this.error = error
		throw error
	}

	hear(frame) {
		try {
			this.receive(frame)
		} catch (error) {
			this.fail(error)
		}
	}

	receive(frame) {
		if (this.silent) {
			assert.deepEqual(Object.keys(frame), ['node_id', 'last_modified', 'data'])
			assert.notEqual(frame.node_id, this.node)
			const { ms, count } = parse(frame.last_modified)
			this.silent = false
			return this.transmit((row) => row.modified > clock(ms, count, this.node))
		}
		const [[name, rows], ...others] = Object.entries(frame)
		assert.deepEqual([name, others], [table, []])
		assert.ok(rows.length)
		for (const { hlc } of rows) {
			const { ms, count, node } = parse(hlc)
			assert.notEqual(node, this.node, 'DuplicateNodeException')
			assert.ok(ms - Date.now() - this.away <= MINUTE, 'ClockDriftException')
			if (ms > this.ms || (ms === this.ms && count > this.count)) [this.ms, this.count] = [ms, count]
		}
		for (const row of rows) {
			assert.deepEqual(Object.keys(row), ['id', ...columns, 'is_deleted', 'hlc', 'node_id', 'modified'])
			if (row.hlc > (this.rows.get(row.id)?.hlc ?? '')) this.rows.set(row.id, { ...row, modified: this.canonical })
		}
	}

	async settle() {
		for (let rounds = 0; rounds < 3; rounds++) await this.wake()
		assert.ok(!this.closed, `the server has closed the socket: ${this.error?.stack}`)
	}

	async sync() {
		if (!this.socket) this.connect()
		await this.settle()
	}

	alive() {
		return [...this.rows.values()].filter((row) => !row.is_deleted)
	}
}

// ---- a device of the two calls: it sends what it has changed, with the clock of each field or without any

class RecordDevice {
	rows = new Map()
	changed = new Map() // id -> column -> clock
	away = 0
	ms = 0
	count = 0
	cursor = null

	constructor(user, clocked) {
		this.node = clocked ? randomUUID() : null
		this.call = callAt(wire().url + '/rest/v1', () => jwt(claims(user)))
	}

	tick() {
		const now = Date.now() + this.away
		if (now > this.ms) [this.ms, this.count] = [now, 0]
		else this.count++
		return `${this.ms}:${this.count.toString(36)}:${this.node}`
	}

	edit(id, values) {
		const at = this.node && this.tick()
		this.rows.set(id, { id, title: null, done: null, deleted_at: null, ...this.rows.get(id), ...values })
		this.changed.set(id, { ...this.changed.get(id), ...Object.fromEntries(Object.keys(values).map((name) => [name, at])) })
	}

	remove(id) {
		this.edit(id, { deleted_at: Date.now() })
	}

	async sync() {
		if (this.changed.size) {
			const records = [...this.changed].map(([id, clocks]) => ({
				id, _changed: Object.keys(clocks).join(), ...Object.fromEntries(Object.keys(clocks).map((name) => [name, this.rows.get(id)[name]])),
				...(this.node ? { _clocks: clocks } : {}),
			}))
			const answer = await this.call('push_changes', { changes: { [table]: { updated: records } }, last_pulled_at: this.cursor })
			if (answer.cursor) this.cursor = answer.cursor
			this.changed.clear()
		}
		const { changes, cursor, experimentalStrategy } = await this.call('pull_changes', { last_pulled_at: this.cursor, collections: [table] })
		if (experimentalStrategy) this.rows.clear()
		for (const { id, title, done } of [...changes[table].created, ...changes[table].updated]) this.rows.set(id, { id, title, done, deleted_at: null })
		for (const id of changes[table].deleted) this.rows.delete(id)
		// whoever has seen the others' clocks goes on from there
		this.ms = Math.max(this.ms, Date.now() + MINUTE / 2)
		this.cursor = cursor
	}

	alive() {
		return [...this.rows.values()].filter((row) => row.deleted_at === null)
	}
}

// ---- frames as they went over the wire

async function replay(user) {
	const call = callAt(wire().url + '/rest/v1', () => jwt(claims(user)), 'public')
	const [a, b] = ['8b2a4f1e-0000-4000-8000-00000000000a', '8b2a4f1e-0000-4000-8000-00000000000b']
	const at = '2024-11-02T09:16:39.123Z-0000-' + a
	const row = { id: `${user}-1`, title: 'Milk', done: 0, is_deleted: 0, hlc: at, node_id: a, modified: at }
	const zero = (node) => `1970-01-01T00:00:00.000Z-0000-${node}`
	const pull = async (since, node) => (await call('crdt_changeset', { since, node_id: node })).changeset
	assert.deepEqual(await call('crdt_hello', { node_id: a }), { node_id: 'server', last_modified: zero('server'), data: null })
	assert.deepEqual(await pull(zero(a), a), {})
	await call('crdt_merge', { node_id: a, changeset: { [table]: [row] } })
	assert.equal((await call('crdt_hello', { node_id: a })).last_modified, at)
	assert.deepEqual(await pull(zero(a), a), {}, 'no echo')
	assert.deepEqual(await pull(zero(b), b), { [table]: [row] })

	// b was connected all the time, and has seen later clocks: what is old comes all the same
	const now = clock(Date.now(), 0, b)
	const old = { ...row, id: `${user}-2`, hlc: '2020-01-01T00:00:00.000001Z-00FF-' + a, modified: now }
	await call('crdt_merge', { node_id: a, changeset: { [table]: [old] } })
	assert.deepEqual((await pull(now, b))[table].map(({ id, hlc }) => [id, hlc]), [[row.id, row.hlc], [old.id, old.hlc]])

	// as numbers: microseconds are later than their millisecond, whatever their texts say
	const fine = { ...row, title: 'Oats', hlc: '2024-11-02T09:16:39.123456Z-0000-' + b, node_id: b }
	await call('crdt_merge', { node_id: b, changeset: { [table]: [fine] } })
	assert.equal(sql(`SELECT title FROM ${table} WHERE id = '${row.id}'`), 'Oats')
	await call('crdt_merge', { node_id: b, changeset: { [table]: [{ ...row, title: 'Late', node_id: b }] } })
	assert.equal(sql(`SELECT title FROM ${table} WHERE id = '${row.id}'`), 'Oats')

	// deleted, and back
	await call('crdt_merge', { node_id: a, changeset: { [table]: [{ ...row, is_deleted: 1, hlc: '2024-11-02T09:17:00.000Z-0000-' + a }] } })
	assert.equal((await pull(zero(b), b))[table].find(({ id }) => id === row.id).is_deleted, 1)
	await call('crdt_merge', { node_id: a, changeset: { [table]: [{ ...row, hlc: '2024-11-02T09:18:00.000Z-0000-' + a }] } })
	assert.equal((await pull(zero(b), b))[table].find(({ id }) => id === row.id).is_deleted, 0)

	const refused = (frame, code, message, node = a) => assert.rejects(call('crdt_merge', { node_id: node, changeset: frame }), (error) => {
		assert.equal(error.code, code, error.message)
		assert.match(error.message, message)
		return true
	})
	const ahead = { ...row, id: `${user}-3`, hlc: clock(Date.now() + 2 * MINUTE, 0, a) }
	await refused({ [table]: [{ ...row, id: `${user}-4` }, ahead] }, 'PT400', /clock ahead/)
	assert.equal(sql(`SELECT count(*) FROM ${table} WHERE id IN ('${user}-3', '${user}-4')`), '0', 'nothing of it is stored')
	await refused({}, 'PT409', /duplicate node_id/, 'server')
	await refused({ nothing: [] }, 'PT404', /unknown collection/)
	await refused({ [table]: [{ ...row, 'done" = 1; --': 1 }] }, 'PT400', /unknown column/)
	await refused({ [table]: [{ ...row, server_clocks: '{}' }] }, 'PT400', /unknown column/)
	await refused({ [table]: [{ ...row, hlc: 'now' }] }, 'PT400', /is no clock/)
	await refused({ [table]: [{ title: 'nameless', hlc: at }] }, 'PT400', /key column "id" is missing/)
	assert.equal((await call('crdt_hello', { node_id: a })).last_modified, '2024-11-02T09:18:00.000Z-0000-' + a)
}

// ---- a frame that fails, and another one behind it that is already there

async function overtaken(user) {
	const rpc = callAt(wire().url + '/rest/v1', () => jwt(claims(user)), 'public')
	const node = randomUUID()
	const row = (count) => ({ id: `${user}-${count}`, title: 'Milk', done: 0, is_deleted: 0, hlc: clock(Date.now() - MINUTE, count, node), node_id: node })
	let failures = 0
	let closed = false
	let hear
	const heard = []
	const socket = { on: (_, handler) => (hear = handler), send: (text) => heard.push(JSON.parse(text)), close: () => (closed = true) }
	const wake = serve(socket, (name, args) => {
		if (name === 'crdt_merge' && failures++ === 0) return Promise.reject(new Error('Bad Gateway'))
		return rpc(name, args)
	})
	for (const frame of [{ node_id: node, last_modified: clock(0, 0, node), data: null }, { [table]: [row(1)] }, { [table]: [row(2)] }]) hear(JSON.stringify(frame))
	await wake()
	assert.ok(closed)
	assert.equal(sql(`SELECT count(*) FROM ${table} WHERE owner = '${user}'`), '0', 'nothing overtakes what failed')
	assert.equal((await rpc('crdt_hello', { node_id: node })).last_modified, clock(0, 0, 'server'), 'the client is asked for all of it again')
	assert.equal(heard.length, 1)
}

// ---- devices of all kinds

function dice(seed) {
	let state = seed >>> 0
	return (n) => {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0
		return Math.floor((state / 2 ** 32) * n)
	}
}

async function converge(user, seed) {
	const roll = dice(seed)
	const crdts = [new CrdtDevice(user), new CrdtDevice(user), new CrdtDevice(user)]
	const devices = [...crdts, new RecordDevice(user, true), new RecordDevice(user, false)]
	const pick = (list) => list[roll(list.length)]
	crdts[1].away = -20e3
	crdts[2].away = 20e3
	let texts = 0
	function act(device) {
		const ids = device.alive().map(({ id }) => id)
		const what = ids.length ? roll(6) : 0
		if (what < 2) device.edit(randomUUID(), { title: `new ${++texts}`, done: roll(2) })
		else if (what < 5) device.edit(pick(ids), roll(2) ? { title: roll(4) ? `text ${++texts}` : null } : { done: roll(2) })
		else device.remove(pick(ids))
	}
	for (let step = 0; step < 60; step++) {
		const device = pick(devices)
		if (roll(12) === 0 && !device.socket) {
			// what it wrote a month ago, and nobody has heard of
			const away = device.away
			if (device.ms === 0) device.away = -30 * 24 * 60 * MINUTE
			act(device)
			device.away = away
		} else act(device)
		if (roll(3) === 0) await device.sync()
		if (device.socket && roll(3) === 0) {
			if (roll(2)) act(device) // the frame is on its way ...
			device.disconnect() // ... and the answer gets lost
		}
		if (roll(8) === 0) sql(`UPDATE ${table} SET title = 'by SQL ${++texts}' WHERE id = (SELECT max(id) FROM ${table} WHERE owner = '${user}')`)
		for (const crdt of crdts) if (crdt.socket && roll(4) === 0) await crdt.wake()
	}
	for (let round = 0; round < 3; round++) for (const device of devices) await device.sync()
	const shown = (rows) => rows.map(({ id, title, done }) => ({ id, title, done })).sort((a, b) => (a.id < b.id ? -1 : 1))
	const want = JSON.parse(sql(`SELECT coalesce(json_agg(t ORDER BY id COLLATE "C"), '[]') FROM (SELECT id, title, done FROM ${table}
		WHERE owner = '${user}' AND deleted_at IS NULL) t`))
	for (const device of devices) assert.deepEqual(shown(device.alive()), want, `SEED=${seed}: device ${devices.indexOf(device)}`)
	assert.ok(want.length > 3)
}

export default async function crdt(setup) {
	sql(setup.replaceAll(/\btask\b/g, table))
	const call = callAt(wire().url + '/rest/v1', () => jwt(claims(randomUUID())), 'public')
	await until('the functions are published', () => call('crdt_hello', { node_id: 'n' }).then(() => true, (error) => {
		if (error.code !== 'PGRST202') throw error
	}))
	await replay(randomUUID())
	await overtaken(randomUUID())
	const seed = Number(process.env.SEED) || Math.floor(Math.random() * 1e6)
	for (let run = 0; run < 4; run++) await converge(randomUUID(), seed + run)
}
