// Devices that work offline: what two of them and two users make of each
// other's changes, and what of it survives.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { Device, assertHolds, callOf, holds, nothing } from './device.mjs'
import { sql } from './server.mjs'

const scenarios = {}
export default scenarios

const join = (project, user) => sql(`INSERT INTO member VALUES (:'project', :'user')`, { project, user })
const leave = (project, user) => sql(`DELETE FROM member WHERE project_id = :'project' AND user_id = :'user'`, { project, user })
const titles = (ids) => sql(`SELECT string_agg(title, ', ' ORDER BY title) FROM task WHERE id = ANY (string_to_array(:'ids', ',')::uuid[])`,
	{ ids: ids.join() })

// ---- two devices, two users

scenarios['two users work on a shared project, and stop'] = async ({ user, stranger, a, b, c, shared }) => {
	const { project, task } = await shared()
	const [kept, dropped] = [await a.createTask(project, { title: 'Kept' }), await a.createTask(project, { title: 'Dropped' })]
	await a.sync()
	await c.sync()
	assert.ok(!(await holds(c, project)))
	for (const member of [user, stranger]) join(project, member)
	await c.sync()
	assert.deepEqual(await c.row('task', task), await a.row('task', task))
	// all three offline: created, updated, deleted on each side
	const own = [await a.createTask(project, { title: 'New by A' }), await c.createTask(project, { title: 'New by C' })]
	await a.update('task', task, { title: 'Changed by A' })
	await b.update('task', task, { done: true })
	await c.update('task', task, { notes: 'by C' })
	await c.update('task', kept, { title: 'Kept by C' })
	await c.remove('task', dropped)
	for (const device of [c, b, a, c, b, a]) await device.sync()
	for (const device of [a, b, c]) {
		const { title, done, notes } = await device.row('task', task)
		assert.deepEqual({ title, done, notes }, { title: 'Changed by A', done: true, notes: 'by C' })
		assert.equal((await device.row('task', kept)).title, 'Kept by C')
		for (const id of own) assert.ok(await holds(device, id, 'task'))
		assert.ok(!(await holds(device, dropped, 'task')))
	}
	// who is out loses what isn't theirs, with what they did to it since
	await c.update('task', kept, { title: 'Too late' })
	await c.update('task', own[1], { title: 'Still theirs' })
	leave(project, stranger)
	await c.sync()
	assert.deepEqual((await c.rows('task')).map(({ title }) => title), ['Still theirs'])
	assert.ok(!(await holds(c, project)))
	assert.equal(titles([kept]), 'Kept by C')
	assert.equal(sql(`SELECT owner FROM task WHERE id = :'id'`, { id: own[1] }), stranger)
	await a.sync()
	assert.equal((await a.row('task', own[1])).title, 'Still theirs')
}

// ---- conflicts

scenarios["columns changed on both sides are WatermelonDB's to resolve"] = async ({ a, b, shared }) => {
	const { task } = await shared({ notes: 'milk', due: 1700000000000 })
	await a.update('task', task, { title: 'By A', notes: 'milk, eggs' })
	await b.update('task', task, { title: 'By B', done: true, notes: 'milk, bread' })
	await a.sync()
	const asked = []
	const conflictResolver = (table, local, remote, resolved) => {
		if (local._status !== 'updated') return resolved
		asked.push([table, local.id, local._changed])
		resolved.notes = [...new Set([...remote.notes.split(', '), ...local.notes.split(', ')])].join(', ')
		return resolved
	}
	await b.sync({ conflictResolver })
	assert.deepEqual(asked, [['task', task, 'title,done,notes']])
	await a.sync()
	for (const device of [a, b]) {
		const { title, done, notes, due } = await device.row('task', task)
		assert.deepEqual({ title, done, notes, due }, { title: 'By B', done: true, notes: 'milk, eggs, bread', due: 1700000000000 })
	}
}

// Only what _changed names is written: a resolver that sets more, and doesn't say so, gets the server's values back.
scenarios['a resolver that touches other columns says so in _changed'] = async ({ a, b, shared }) => {
	const { task } = await shared({ notes: 'old' })
	for (const [_changed, notes] of [['title', 'old'], ['title,notes', 'resolved']]) {
		await a.update('task', task, { done: notes === 'resolved', position: Math.random() })
		await b.update('task', task, { title: `Resolved to ${notes}` })
		await a.sync()
		await b.sync({ conflictResolver: (table, local, remote, resolved) =>
			local._status === 'updated' ? Object.assign(resolved, { notes: 'resolved', _changed }) : resolved })
		for (const device of [b, a]) await device.sync()
		for (const device of [a, b]) assert.equal((await device.row('task', task)).notes, notes)
	}
}

scenarios['a deletion and a change of the same record meet'] = async ({ user, a, b, shared }) => {
	// deleted first: the change goes with the record
	const { project, task } = await shared()
	await a.remove('task', task)
	await b.update('task', task, { title: 'Too late' })
	await a.sync()
	await b.sync()
	assert.ok(!(await holds(b, task, 'task')))
	// changed first: the deletion was meant for it all the same
	const other = await a.createTask(project, { title: 'Other' })
	await a.sync()
	await b.sync()
	await a.update('task', other, { title: 'Changed' })
	await b.remove('task', other)
	await a.sync()
	await b.sync()
	assert.equal(titles([other]), '')
	// in the very moment: who deletes is told first, and deletes then
	const third = await a.createTask(project, { title: 'Third' })
	await a.sync()
	await b.sync()
	await b.remove('task', third)
	await a.update('task', third, { title: 'Changed' })
	const race = b.sync({ beforePush: () => a.sync() })
	if (b.createdAsUpdated) assert.deepEqual(await race, [])
	else assert.equal((await race.catch((error) => error)).code, 'PT409')
	await b.sync()
	assert.equal(titles([third]), '')
	assert.equal(sql(`SELECT count(*) FROM task WHERE owner = :'user'`, { user }), '0')
}

// ---- refused records

scenarios['refused records stay on the device until they can go'] = async ({ a, b, shared }) => {
	const { project, task } = await shared({ notes: 'fine' })
	const other = await a.createTask(project, { title: 'Other' })
	await a.sync()
	const made = await a.createTask(project, { title: 'unheard of' }) // a CHECK
	const fine = await a.createTask(project, { title: 'Fine' })
	await a.update('task', task, { title: 'unheard of', notes: 'changed' })
	await a.remove('project', project) // it has tasks
	await a.remove('task', other)
	const refused = await a.sync({ on_error: 'skip' })
	assert.deepEqual(refused.map(({ collection, id, code }) => `${code} ${collection} ${id}`).sort(),
		[`23503 project ${project}`, `23514 task ${made}`, `23514 task ${task}`].sort())
	assert.deepEqual(refused.find(({ id }) => id === task).current.title, 'Shared')
	assert.equal(titles([made, fine, task, other]), 'Fine, Shared')
	// the next push has just what was refused
	const pushed = []
	const { call } = a
	a.call = async (name, args) => {
		if (name === 'push_changes') pushed.push(args.changes)
		return call(name, args)
	}
	await a.sync({ on_error: 'skip' })
	const [{ project: { deleted }, task: { created, updated } }] = pushed
	assert.deepEqual([deleted, created, updated].map((list) => list.map((row) => row.id ?? row)), [[project], [made], [task]])
	a.call = call
	// what stands in the way is taken away
	await a.update('task', task, { title: 'Heard of' })
	await a.update('task', made, { title: 'Heard of, too' })
	assert.deepEqual((await a.sync({ on_error: 'skip' })).map(({ id }) => id), [project])
	assert.equal(titles([made, fine, task]), 'Fine, Heard of, Heard of, too')
	await b.sync()
	for (const id of [made, fine, task]) await b.remove('task', id)
	await b.sync()
	assert.deepEqual(await a.sync({ on_error: 'skip' }), [])
	assert.equal(sql(`SELECT count(*) FROM project WHERE id = :'project'`, { project }), '0')
}

// ---- replacements

// By WatermelonDB's rules a replacement leaves records that were created here, keeps the columns that were changed here
// of records that the server still has, and the deletions of them; what was changed or deleted here of records that
// the server hasn't any more goes.
scenarios['a table is replaced, and what was done offline survives as far as it can'] = async ({ user, a, shared, expect }) => {
	expect('a replacement')
	const { project, task } = await shared({ notes: 'old' })
	const [gone, changed, deleted] = await Promise.all(['Gone', 'Gone, changed here', 'Deleted here']
		.map((title) => a.createTask(project, { title })))
	await a.sync()
	const created = await a.createTask(project, { title: 'Created here' })
	await a.update('task', task, { title: 'Changed here' })
	await a.update('project', project, { name: 'Changed here' })
	await a.update('task', changed, { title: 'Changed here, too' })
	await a.remove('task', deleted)
	const fresh = sql(`BEGIN;
		DELETE FROM task WHERE id IN (:'gone', :'changed');
		UPDATE task SET notes = 'new' WHERE id = :'task';
		INSERT INTO task (project_id, owner, title) VALUES (:'project', :'user', 'Fresh') RETURNING id;
		SELECT offsync.reset('task') \\g /dev/null
		COMMIT`, { user, project, task, gone, changed })
	const answer = await a.peek()
	assert.deepEqual(answer.experimentalStrategy, { default: 'incremental', override: { task: 'replacement' } })
	assert.deepEqual([answer.changes.project, answer.changes.task.deleted], [nothing, []])
	let pushed
	await a.sync({ beforePush: async () => { pushed = await a.rows('task') } })
	assert.deepEqual(pushed.map(({ title, notes }) => `${title} ${notes}`).sort(),
		['Changed here new', 'Created here null', 'Fresh null'])
	assert.equal(titles([created, task, fresh]), 'Changed here, Created here, Fresh')
	assert.equal(titles([gone, changed, deleted]), '')
	assert.equal((await a.row('project', project)).name, 'Changed here')
	await assertHolds(a)
}

// ---- what is deleted stays deleted

scenarios['a record deleted here that is sent again is not resurrected'] = async ({ a, b, shared, expect }) => {
	expect('a replacement')
	const { project, task } = await shared()
	const made = await a.createTask(project, { title: 'New' })
	a.wire.loses.push('push_changes')
	await assert.rejects(a.sync()) // stored, and not heard of
	await a.remove('task', made)
	await a.remove('task', task)
	sql(`UPDATE task SET notes = 'touched' WHERE id IN (:'task', :'made')`, { task, made })
	const { changes } = await a.peek()
	const ids = [...changes.task.created, ...changes.task.updated].map(({ id }) => id)
	assert.deepEqual(ids.sort(), [made, task].sort(), 'both are sent')
	// and again, with everything else
	const hidden = async () => assert.deepEqual([await holds(a, made, 'task'), await holds(a, task, 'task')], [false, false])
	await a.sync({ beforePush: hidden })
	await hidden()
	assert.equal(titles([made, task]), '')
	await b.sync()
	const last = await b.createTask(project, { title: 'Last' })
	await b.sync()
	await a.sync()
	await a.remove('task', last)
	sql(`SELECT offsync.reset('task') \\g /dev/null`)
	await a.sync({ beforePush: async () => assert.ok(!(await holds(a, last, 'task'))) })
	assert.equal(titles([last]), '')
}

scenarios['an app that dies before it has noted how far it came goes on from there'] = async ({ user, a, b, shared, expect }) => {
	const { project, task } = await shared()
	const die = () => { throw new Error('killed') }
	for (const kind of ['loki', 'sqlite']) {
		const device = new Device(kind, user, a.createdAsUpdated)
		await assert.rejects(device.sync({ onDidPullChanges: die }), /killed/)
		expect('a first sync again')
		await device.sync()
		await assertHolds(device)
		const made = await a.createTask(project, { title: kind })
		await a.update('task', task, { title: kind })
		await a.sync()
		await assert.rejects(device.sync({ onDidPullChanges: die }), /killed/)
		// told apart, new records must be kept in one transaction with the cursor, which WatermelonDB can't
		if (device.createdAsUpdated) await device.remove('task', made)
		await device.sync()
		await assertHolds(device)
	}
}

// ---- the first answer

// What Turbo's parser takes (it needs JSI, which Node hasn't): in a table these three lists alone, nothing deleted, each
// id once and text, and values of the column's JSON type.
scenarios["a first answer has Turbo's shape"] = async ({ user, a, shared }) => {
	const { project } = await shared({ notes: 'note', due: 1700000000123, position: 1.5 })
	await a.createTask(project, { title: 'Made and gone' })
	await a.sync()
	sql(`UPDATE task SET title = 'Changed' WHERE title = 'Shared' AND owner = :'user';
		DELETE FROM task WHERE title = 'Made and gone' AND owner = :'user'`, { user })
	const types = {
		project: { id: 'string', owner: 'string', name: 'string', server_version: 'number', server_created_at: 'number', server_updated_at: 'number' },
	}
	const { id, owner, name, ...stamps } = types.project
	types.task = { id, owner, ...stamps, project_id: 'string', title: 'string', done: 'boolean', due: 'number', notes: 'string', position: 'number', created_at: 'number' }
	for (const args of [{}, { created_as_updated: true }, { last_pulled_at: 0 }]) {
		const { changes, timestamp, ...rest } = await callOf(user)('pull_changes', { collections: ['project', 'task'], ...args })
		assert.equal(rest.experimentalStrategy, undefined, 'Turbo reads none')
		assert.ok(Number.isSafeInteger(timestamp) && timestamp > 0)
		assert.equal(typeof rest.cursor, 'string')
		assert.deepEqual(Object.keys(changes), ['project', 'task'])
		for (const [table, lists] of Object.entries(changes)) {
			assert.deepEqual(Object.keys(lists).sort(), ['created', 'deleted', 'updated'])
			assert.deepEqual(lists.deleted, [])
			const rows = [...lists.created, ...lists.updated]
			assert.equal(rows.length, 1)
			assert.equal(new Set(rows.map((row) => row.id)).size, rows.length)
			for (const row of rows) {
				assert.deepEqual(Object.fromEntries(Object.entries(row).map(([key, value]) => [key, typeof value]).sort()),
					Object.fromEntries(Object.entries(types[table]).sort()))
			}
		}
	}
}

// ---- size

scenarios['a first sync of 100,000 rows'] = async ({ user, a }) => {
	sql(`WITH p AS (INSERT INTO project (owner, name) VALUES (:'user', 'Large') RETURNING id)
		INSERT INTO task (project_id, owner, title, done, due, notes, position)
		SELECT p.id, :'user', 'Task ' || n, n % 2 = 0, now(), 'note ' || n, n / 7.0 FROM p, generate_series(1, 100000) n`, { user })
	const device = new Device(a.kind, user, a.createdAsUpdated, { transport: 'supabase' })
	await device.sync()
	assert.equal(await device.db.get('task').query().fetchCount(), 100000)
	await assertHolds(device)
	await device.sync()
	sql(`SET session_replication_role = replica; DELETE FROM task WHERE owner = :'user'; RESET session_replication_role;
		SELECT offsync.reset('task') \\g /dev/null`, { user })
	sql(`DELETE FROM project WHERE owner = :'user'`, { user })
}
