// Each scenario has a user with two devices, one on LokiJS and one on SQLite,
// and another user with a third.  When it has run, all of them sync until
// nothing is left to say, and must hold what SELECT gives their user, and
// WatermelonDB must not have logged a complaint.  It is all played twice: the
// two stores' parts swapped, and `created` records told apart or sent as updates.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { Device, assertEmpty, assertHolds, callOf, complaints, holds, nothing, synchronize } from './device.mjs'
import http from './http.mjs'
import offline from './offline.mjs'
import recipes from './recipes.mjs'
import schemas from './schemas.mjs'
import { jwt, ready, selectAs, sql } from './server.mjs'

const scenarios = {}

// ---- records travel

scenarios['first sync brings the rows that are there'] = async ({ user, a, b }) => {
	sql(
		`INSERT INTO project (owner, name) SELECT :'user', 'Café № ' || n FROM generate_series(1, 20) n;
		INSERT INTO task (project_id, owner, title, done, due, notes, position)
			SELECT p.id, p.owner, E't\\u00e2che \\U0001F349 "' || n || E'"\\n', n % 2 = 0,
				now() + n * interval '1 day', CASE WHEN n % 3 = 0 THEN 'note' END, n / 3.0
			FROM project p, generate_series(1, 50) n WHERE p.owner = :'user'`,
		{ user },
	)
	await a.sync()
	await b.sync()
	assert.equal((await a.rows('project')).length, 20)
	assert.equal((await b.rows('task')).length, 1000)
}

scenarios['a record created on one device arrives on the other'] = async ({ user, a, b }) => {
	await b.sync()
	const project = await a.create('project', { owner: user, name: 'Garden' })
	const task = await a.createTask(project, { title: 'Dig', done: true, due: 1700000000123, position: 1.5 })
	await a.sync()
	await b.sync()
	assert.equal((await b.row('project', project)).name, 'Garden')
	const { title, done, due, notes, position } = await b.row('task', task)
	assert.deepEqual({ title, done, due, notes, position }, { title: 'Dig', done: true, due: 1700000000123, notes: null, position: 1.5 })
}

scenarios['fields that the app leaves unset take the defaults'] = async ({ user, a }) => {
	const project = await a.create('project', { name: 'No owner given' }) // WatermelonDB sends owner ''
	await a.sync()
	assert.equal(sql(`SELECT owner FROM project WHERE id = :'project'`, { project }), user)
	await a.sync()
	assert.equal((await a.row('project', project)).owner, user)
}

scenarios['an update arrives, and spares the digits that a device cannot hold'] = async ({ a, b, shared }) => {
	const { task } = await shared()
	const created = () => sql(`SELECT created_at FROM task WHERE id = :'task'`, { task })
	sql(`UPDATE task SET created_at = '2024-02-29 12:00:00.123456+00' WHERE id = :'task'`, { task })
	const before = created()
	await b.sync()
	await b.update('task', task, { title: 'By B' })
	await b.sync()
	await a.sync()
	assert.equal((await a.row('task', task)).title, 'By B')
	assert.equal(created(), before)
}

scenarios['a deleted record vanishes'] = async ({ a, b, shared }) => {
	const { project, task } = await shared()
	await a.remove('project', project)
	await a.remove('task', task)
	await a.sync()
	assert.equal(sql(`SELECT count(*) FROM project WHERE id = :'project'`, { project }), '0')
	await b.sync()
	assert.deepEqual([await b.row('project', project), await b.row('task', task)], [undefined, undefined])
}

scenarios['what SQL writes arrives, and NULL goes both ways'] = async ({ a, b, shared }) => {
	const { task } = await shared({ notes: 'gone soon', due: Date.now(), position: 2 })
	sql(`UPDATE task SET title = 'By SQL', notes = NULL WHERE id = :'task'`, { task })
	await a.sync()
	const { title, notes } = await a.row('task', task)
	assert.deepEqual({ title, notes }, { title: 'By SQL', notes: null })
	await a.update('task', task, { due: null, position: null, notes: '' })
	await a.sync()
	assert.equal(
		sql(`SELECT due IS NULL, position IS NULL, notes = '' FROM task WHERE id = :'task'`, { task }), 't|t|t')
	await b.sync()
	assert.equal((await b.row('task', task)).due, null)
}

scenarios['devices that keep only the number converge too'] = async ({ user, a, shared }) => {
	const { project, task } = await shared()
	const [d, e] = ['loki', 'sqlite'].map((kind) => new Device(kind, user, true, { exact: false }))
	for (const device of [d, e]) await device.sync()
	const own = await d.createTask(project, { title: 'By number' })
	await d.sync()
	await d.update('task', own, { title: 'By number, again' })
	await e.update('task', task, { title: 'By the other' })
	for (const device of [d, e, a]) await device.sync()
	await a.remove('task', task)
	for (const device of [a, d, e]) await device.sync()
	for (const device of [d, e]) await assertHolds(device)
}

scenarios['a damaged device is mended by a digest and its repair'] = async ({ user, a, b, shared }) => {
	const { project } = await shared()
	sql(`INSERT INTO project (owner, name) SELECT :'user', n FROM generate_series(1, 60) n`, { user })
	for (const device of [a, b]) {
		await device.sync()
		// own pushes are held in the version they were made from
		assert.ok((await device.mend())[0] <= 1)
		assert.deepEqual(await device.mend(), [0, 0])
		const ids = (await device.rows('project')).map(({ id }) => id).filter((id) => id !== project)
		await device.damage(ids.slice(0, 3), ids.slice(3, 5), [randomUUID()])
		assert.notDeepEqual(await device.rows('project'), selectAs(user).project)
		assert.deepEqual(await device.mend(), [5, 1])
		assert.deepEqual(await device.rows('project'), selectAs(user).project)
		assert.deepEqual(await device.mend(), [0, 0])
	}
}

// ---- versions of the app

scenarios['an updated app gets the tables and columns that it had no place for'] = async ({ user, stranger, a, shared }) => {
	const { project, task } = await shared({ notes: 'old', done: true })
	await a.createTask(project, { title: 'Not done', position: 0 })
	await a.sync()
	const number = a.me.client_id ? [] : [['loki', false], ['sqlite', false]]
	for (const [kind, exact] of [['loki', true], ['sqlite', true], ...number]) {
		const device = new Device(kind, user, a.createdAsUpdated, { exact, version: 1 })
		await device.sync()
		assert.equal((await device.rows('task')).find(({ id }) => id === task).notes, undefined)
		await device.createTask(project, { title: 'By the old app' })
		await device.sync()
		const own = await device.createTask(project, { title: 'By the old app, and not pushed' })
		await device.update('task', task, { title: 'Edited' })
		sql(`INSERT INTO project (owner, name) VALUES (:'user', 'New'), (:'stranger', 'Another''s');
			INSERT INTO task (project_id, owner, title, notes) VALUES (:'project', :'user', 'New', 'new'), (:'project', :'stranger', 'New', 'new')`,
			{ user, stranger, project })
		await device.updateApp()
		await device.sync()
		await device.sync()
		await assertHolds(device)
		const { title, notes, done } = await device.row('task', task)
		assert.deepEqual({ title, notes, done }, { title: 'Edited', notes: 'old', done: true })
		assert.ok(await device.row('task', own))
		if (exact) assertEmpty(await device.peek(), 'once')
		await a.sync()
		await device.update('task', task, { title: 'Shared' })
		await device.sync()
	}
	const unknown = { from: 1, tables: ['nowhere'], columns: [] }
	const answer = await a.call('pull_changes', { last_pulled_at: await a.cursor(), migration: unknown }).catch((error) => error)
	assert.equal(answer.status, 404, answer.message)
}

// ---- conflicts and echoes

scenarios['the second to push a record is refused, pulls, and both agree'] = async ({ a, b, shared }) => {
	const { project, task } = await shared({ notes: 'first' })
	await a.update('task', task, { title: 'By A', notes: 'by A' })
	await b.update('task', task, { title: 'By B', done: true })
	const another = await b.createTask(project, { title: 'Pushed in the same batch' })
	const stored = () => sql(`SELECT count(*) FROM task WHERE id = :'another'`, { another })
	b.wire.calls.length = 0
	const race = b.sync({ beforePush: () => a.sync() })
	if (b.createdAsUpdated) { // README's: what isn't in dispute is stored, and what is goes through at once
		assert.deepEqual(await race, [])
		assert.equal(b.wire.calls.map(({ name }) => name.slice(0, 4)).join(), 'pull,push,pull,push')
	} else {
		const refusal = await race.then(() => assert.fail('no conflict'), (error) => error)
		assert.equal(refusal.status, 409, refusal.message)
		assert.equal(refusal.code, 'PT409')
		const told = JSON.parse(refusal.details).map(({ collection, id, current }) => [collection, id, current.title])
		assert.deepEqual(told, [['task', task, 'By A']])
		assert.equal(stored(), '0', 'all or nothing')
		await b.sync()
	}
	assert.equal(stored(), '1')
	await a.sync()
	for (const device of [a, b]) {
		const { title, notes, done } = await device.row('task', task)
		assert.deepEqual({ title, notes, done }, { title: 'By B', notes: 'by A', done: true })
		assert.ok(await device.row('task', another))
	}
}

scenarios['a push has no echo, and hides nobody else'] = async ({ user, a, b, shared }) => {
	const { project, task } = await shared()
	const other = await b.createTask(project, { title: 'By B in between' })
	await a.createTask(project, { title: 'Own' })
	await a.sync()
	assertEmpty(await a.peek(), 'after a create')
	await a.update('task', task, { title: 'Own again' })
	await a.sync({ beforePush: () => b.sync() })
	const { created, updated, deleted } = (await a.peek()).changes.task
	const lists = [created, updated].map((list) => list.map(({ id }) => id))
	assert.deepEqual([...lists, deleted], a.me.client_id ? [[other], [], []] : [[], [other], []], 'after an update')
	await a.sync()
	await a.remove('task', task)
	await a.sync()
	assertEmpty(await a.peek(), 'after a delete')
}

// ---- access

const gift = 'a record given away leaves its devices, and comes back with its owner'
scenarios[gift] = async (world) => {
	const { user, stranger, a, b, c, shared } = world
	const { project, task } = await shared()
	const give = (owner) =>
		sql(`BEGIN; UPDATE project SET owner = :'owner' WHERE id = :'project';
			UPDATE task SET owner = :'owner' WHERE id = :'task'; COMMIT`, { owner, project, task })
	const has = async (device) => (await holds(device, project)) && (await holds(device, task, 'task'))
	await c.sync()
	give(stranger)
	assert.deepEqual((await a.peek()).changes, {
		project: { ...nothing, deleted: [project] },
		task: { ...nothing, deleted: [task] },
	})
	for (const device of [a, b, c]) await device.sync()
	assert.deepEqual([await has(a), await has(b), await has(c)], [false, false, true])
	give(user)
	for (const device of [a, b, c]) await device.sync()
	assert.deepEqual([await has(a), await has(b), await has(c)], [true, true, false])
}

scenarios['others see nothing: no token, another user, a foreign cursor, a forged token'] = async (world) => {
	const { user, stranger, a, shared } = world
	const { project, task } = await shared()
	const pull = (call, args = {}) => call('pull_changes', args).catch((error) => error)
	const clean = (answer) => !RegExp(`${project}|${task}|${user}`).test(JSON.stringify(answer) + answer.message)
	const anonymous = await pull(callOf(null))
	assert.ok(clean(anonymous))
	if (anonymous instanceof Error) assert.equal(anonymous.status, 401, anonymous.message)
	else assertEmpty(anonymous)
	const other = await pull(callOf(stranger))
	assertEmpty(other)
	const foreign = await pull(callOf(stranger), { last_pulled_at: await a.cursor() })
	assertEmpty(foreign)
	assert.match(JSON.stringify(foreign.experimentalStrategy), /replacement/)
	const token = jwt({ sub: user, role: 'authenticated' })
	for (const bad of [token.replace(/\.[^.]*$/, '.AAAA'), jwt({ sub: user, role: 'authenticated', exp: 1 })]) {
		assert.equal((await pull(callOf(user, bad))).status, 401)
	}
	const changes = { project: { ...nothing, created: [{ id: randomUUID(), owner: user, name: 'Anonymous' }] } }
	const push = await callOf(null)('push_changes', { changes }).catch((error) => error)
	assert.equal(push.status, 401, push.message)
}

scenarios['a push onto a hidden id tells nothing of it'] = async ({ user, stranger, a, shared }) => {
	const { project } = await shared()
	const absent = randomUUID()
	const push = (changes) =>
		callOf(stranger)('push_changes', { changes: { project: { ...nothing, ...changes } } }).catch((error) => error)
	const told = (error, id) => (JSON.stringify(error) + error.message).replaceAll(id, 'ID')
	for (const list of ['created', 'updated']) {
		// One that exists and is hidden, against one that doesn't and may not be inserted.
		const hidden = await push({ [list]: [{ id: project, owner: stranger, name: 'Mine now' }] })
		const barred = await push({ [list]: [{ id: absent, owner: user, name: 'Not mine' }] })
		assert.equal(hidden.status, 403, hidden.message)
		assert.deepEqual(told(hidden, project), told(barred, absent))
	}
	const deletions = [await push({ deleted: [project] }), await push({ deleted: [absent] })]
	for (const answer of deletions) assert.ok(!(answer instanceof Error), answer.message)
	assert.deepEqual(deletions[0].applied, deletions[1].applied)
	assert.equal(sql(`SELECT name FROM project WHERE id = :'project'`, { project }), 'Shared')
}

// ---- the runner

let number = 0
let failed = 0

async function test(name, run) {
	complaints.length = 0
	let clock
	const limit = new Promise((_, reject) => { clock = setTimeout(reject, 120000, new Error('not finished after 2 minutes')) })
	const error = await Promise.race([run(), limit]).then(() => null, (error) => error)
	clearTimeout(clock)
	if (error) failed++
	console.log(`${error ? 'not ok' : 'ok'} ${++number} - ${name}`)
	if (error) console.log(String(error.stack ?? error).replace(/^/gm, '# '))
}

// What WatermelonDB may say, in the scenarios that name it, where new records are told apart.
const lines = {
	// What a device holds of a collection that must be replaced isn't known: all of it comes as updated.
	'a replacement': /Server wants client to update record (project|task)#[-0-9a-f]+, but it doesn't exist locally/,
	// A first sync was stored, and the app died before it had noted so: it comes once more, as created.
	'a first sync again': /Server wants client to create record (project|task)#[-0-9a-f]+, but it already exists locally\. This may/,
}

async function play(scenario, kinds, createdAsUpdated) {
	const [user, stranger] = [randomUUID(), randomUUID()]
	const [a, b, c] = ['supabase', 'fetch', 'postgrest'].map(
		(transport, i) => new Device(kinds[i % 2], i < 2 ? user : stranger, createdAsUpdated, { transport }))

	// A project and a task in it, held by both devices.
	async function shared(values = {}) {
		const project = await a.create('project', { owner: user, name: 'Shared' })
		const task = await a.createTask(project, { title: 'Shared', ...values })
		await a.sync()
		await b.sync()
		return { project, task }
	}

	const expected = []
	await scenario({ user, stranger, a, b, c, shared, expect: (line) => expected.push(lines[line]) })

	for (const device of [a, b, c, a, b, c]) assert.deepEqual(await device.sync(), [])
	for (const device of [a, b, c]) {
		await assertHolds(device)
		const quiet = await device.peek()
		assertEmpty(quiet, 'pulled again when all is quiet')
		assert.equal(quiet.experimentalStrategy, undefined)
	}
	// README's sync makes WatermelonDB say nothing at all
	assert.deepEqual(complaints.filter((text) => createdAsUpdated || !expected.some((line) => line.test(text))), [])
}

await ready()
const only = process.argv[2] ?? '' // scenarios whose names hold this
const played = Object.entries({ ...scenarios, ...offline, ...http }).filter(([name]) => name.includes(only))
for (const [kinds, createdAsUpdated] of [[['loki', 'sqlite'], false], [['sqlite', 'loki'], true]]) {
	const how = `${kinds.join(' and ')}${createdAsUpdated ? ', created as updated' : ''}`
	for (const [name, scenario] of played) await test(`${name} (${how})`, () => play(scenario, kinds, createdAsUpdated))
}
for (const [name, recipe] of Object.entries(recipes).filter(([name]) => name.includes(only))) await test(name, recipe)
await test("WatermelonDB's complaints are heard", async () => {
	const pullChanges = async () => ({ changes: { nowhere: nothing }, timestamp: 1 })
	await synchronize({ database: new Device('loki', randomUUID()).db, pullChanges })
	assert.match(complaints.join(), /nowhere/)
})
for (const [name, check] of Object.entries(schemas)) await test(name, check)
console.log(`1..${number}`)
process.exit(failed ? 1 : 0) // WatermelonDB keeps timers
