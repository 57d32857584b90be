// Two devices of a Drift app: what its client in Dart does, with README's tables, through PostgREST.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { callAt } from './fetch.mjs'
import { claims, jwt, sql, until, wire } from './server.mjs'

const table = 'public.drift_task'

// A clock in some zone, as DateTime.now().toIso8601String() has it
const local = (time, hours) => new Date(time + hours * 3600e3).toISOString().slice(0, -1)

class Device {
	rows = new Map()
	instance = randomUUID()
	last = Date.UTC(2000, 0)

	constructor(user, hours) {
		Object.assign(this, { user, hours, wire: wire() })
		this.call = callAt(this.wire.url + '/rest/v1', () => jwt(claims(user)), 'public')
	}

	create(name) {
		const at = local(Date.now(), this.hours)
		const row = { id: randomUUID(), name, created_at: at, updated_at: at, deleted_at: null, user_id: this.user, isRemote: false }
		this.rows.set(row.id, row)
		return row.id
	}

	update(id, values) {
		Object.assign(this.rows.get(id), values, { updated_at: local(Date.now(), this.hours), isRemote: false })
	}

	remove(id) {
		this.update(id, { deleted_at: local(Date.now(), this.hours) })
	}

	// DateTime.parse
	parse(text) {
		assert.match(text, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z?$/)
		return text.endsWith('Z') ? Date.parse(text) : Date.parse(text + 'Z') - this.hours * 3600e3
	}

	async sync() {
		const now = Date.now()
		const last = this.last
		const { changes } = await this.call('pull_changes', { collections: [table], last_pulled_at: new Date(last).toISOString() })
		const { created, updated, deleted } = changes[table]
		for (const { id, name, created_at, updated_at, deleted_at, user_id } of created.concat(updated)) {
			const held = this.rows.get(id)
			if (held && this.parse(updated_at) <= this.parse(held.updated_at)) continue
			this.rows.set(id, { id, name, created_at, updated_at, deleted_at, user_id, isRemote: true })
		}
		for (const id of deleted) this.rows.delete(id)
		const since = (text) => text && this.parse(text) >= last
		const mine = [...this.rows.values()].filter((row) => !row.isRemote)
		const toJson = ({ isRemote, ...row }) => ({ ...row, instance_id: this.instance })
		const lists = {
			created: mine.filter((row) => since(row.created_at)).map(toJson),
			updated: mine.filter((row) => since(row.updated_at) && !since(row.created_at)).map(toJson),
			deleted: mine.filter((row) => since(row.deleted_at)).map((row) => row.id),
		}
		if (!Object.values(lists).flat().length) return void (this.last = now - 120e3)
		const answer = await this.call('push_changes', { _changes: { [table]: lists }, last_pulled_at: local(now, this.hours) })
		this.last = this.parse(answer)
	}

	names() {
		return [...this.rows.values()].filter((row) => !row.deleted_at).map((row) => row.name).sort()
	}
}

export default async function drift(setup) {
	sql(setup.replaceAll(/\btask\b/g, 'drift_task'))
	const user = randomUUID()
	const [a, b] = [new Device(user, 2), new Device(user, -9.5)]
	const agree = async (names) => {
		for (const device of [a, b, a, b]) await device.sync()
		assert.deepEqual([a.names(), b.names()], [names, names])
	}
	await until('the functions are published', () => a.sync().then(() => true, (error) => {
		if (error.code !== 'PGRST202') throw error
	}))
	const [milk, bread] = [a.create('Milk'), b.create('Bread')]
	await agree(['Bread', 'Milk'])
	assert.equal(sql(`SELECT count(*) FROM drift_task WHERE user_id = :'user'`, { user }), '2')

	// the later change wins, wherever it was made
	a.update(milk, { name: 'Oats' })
	await new Promise((resolve) => setTimeout(resolve, 5))
	b.update(milk, { name: 'Soy' })
	await b.sync()
	await agree(['Bread', 'Soy'])
	assert.equal(sql(`SELECT instance_id FROM drift_task WHERE id = :'milk'`, { milk }), b.instance)

	// an answer gets lost, and all is sent again
	a.create('Tea')
	a.wire.loses.push('push_changes')
	await assert.rejects(a.sync())
	const version = () => sql(`SELECT server_version FROM drift_task WHERE name = 'Tea'`)
	const stored = version()
	await agree(['Bread', 'Soy', 'Tea'])
	assert.equal(version(), stored)

	// deletions, and a change by neither
	a.remove(bread)
	await agree(['Soy', 'Tea'])
	sql(`UPDATE drift_task SET name = 'Rice' WHERE id = :'milk'`, { milk })
	await agree(['Rice', 'Tea'])
}
