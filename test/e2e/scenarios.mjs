// Each scenario has a user with two devices, one on LokiJS and one on SQLite,
// and another user with a third.  When it has run, all of them sync until
// nothing is left to say, and must hold what SELECT gives their user, and
// WatermelonDB must not have logged a complaint.  It is all played twice: the
// two stores' parts swapped, and `created` records told apart or sent as updates.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { Device, clientOf, complaints, jwt, ready, rpc, selectAs, sql, synchronize } from './device.mjs'
import schemas from './schemas.mjs'

const tables = ['project', 'task']
const nothing = { created: [], updated: [], deleted: [] }
const scenarios = {}

const assertEmpty = (answer, message) =>
	assert.deepEqual(answer.changes, { project: nothing, task: nothing }, message)

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
	const [d, e] = ['loki', 'sqlite'].map((kind) => new Device(kind, user, true, false))
	for (const device of [d, e]) await device.sync()
	const own = await d.createTask(project, { title: 'By number' })
	await d.sync()
	await d.update('task', own, { title: 'By number, again' })
	await e.update('task', task, { title: 'By the other' })
	for (const device of [d, e, a]) await device.sync()
	await a.remove('task', task)
	for (const device of [a, d, e]) await device.sync()
	for (const device of [d, e]) {
		for (const table of tables) assert.deepEqual(await device.rows(table), selectAs(user)[table])
	}
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
		const device = new Device(kind, user, a.createdAsUpdated, exact, 1)
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
		for (const table of tables) assert.deepEqual(await device.rows(table), selectAs(user)[table])
		const { title, notes, done } = await device.row('task', task)
		assert.deepEqual({ title, notes, done }, { title: 'Edited', notes: 'old', done: true })
		assert.ok(await device.row('task', own))
		if (exact) assertEmpty(await device.peek(), 'once')
		await a.sync()
		await device.update('task', task, { title: 'Shared' })
		await device.sync()
	}
	const unknown = { from: 1, tables: ['nowhere'], columns: [] }
	const answer = await rpc(a.client, 'pull_changes', { last_pulled_at: await a.cursor(), migration: unknown }).catch((error) => error)
	assert.equal(answer.status, 404, answer.message)
}

// ---- conflicts and echoes

scenarios['the second to push a record is refused, pulls, and both agree'] = async ({ a, b, shared }) => {
	const { project, task } = await shared({ notes: 'first' })
	await a.update('task', task, { title: 'By A', notes: 'by A' })
	await b.update('task', task, { title: 'By B', done: true })
	const another = await b.createTask(project, { title: 'Pushed in the same batch' })
	const refusal = await b.sync(() => a.sync()).then(() => assert.fail('no conflict'), (error) => error)
	assert.equal(refusal.status, 409, refusal.message)
	assert.equal(refusal.body.code, 'PT409')
	const told = JSON.parse(refusal.body.details).map(({ collection, id, current }) => [collection, id, current.title])
	assert.deepEqual(told, [['task', task, 'By A']])
	assert.equal(sql(`SELECT count(*) FROM task WHERE id = :'another'`, { another }), '0', 'all or nothing')
	await b.sync()
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
	await a.sync(() => b.sync())
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
	const holds = async (device) => Boolean((await device.row('project', project)) && (await device.row('task', task)))
	await c.sync()
	give(stranger)
	assert.deepEqual((await a.peek()).changes, {
		project: { ...nothing, deleted: [project] },
		task: { ...nothing, deleted: [task] },
	})
	for (const device of [a, b, c]) await device.sync()
	assert.deepEqual([await holds(a), await holds(b), await holds(c)], [false, false, true])
	give(user)
	for (const device of [a, b, c]) await device.sync()
	assert.deepEqual([await holds(a), await holds(b), await holds(c)], [true, true, false])
}

scenarios['others see nothing: no token, another user, a foreign cursor, a forged token'] = async (world) => {
	const { user, stranger, a, shared } = world
	const { project, task } = await shared()
	const pull = (client, args = {}) => rpc(client, 'pull_changes', args).catch((error) => error)
	const clean = (answer) => !RegExp(`${project}|${task}|${user}`).test(JSON.stringify(answer.body ?? answer))
	const anonymous = await pull(clientOf(null))
	assert.ok(clean(anonymous))
	if (anonymous instanceof Error) assert.equal(anonymous.status, 401, anonymous.message)
	else assertEmpty(anonymous)
	const other = await pull(clientOf(stranger))
	assertEmpty(other)
	const foreign = await pull(clientOf(stranger), { last_pulled_at: await a.cursor() })
	assertEmpty(foreign)
	assert.match(JSON.stringify(foreign.experimentalStrategy), /replacement/)
	const token = jwt({ sub: user, role: 'authenticated' })
	for (const bad of [token.replace(/\.[^.]*$/, '.AAAA'), jwt({ sub: user, role: 'authenticated', exp: 1 })]) {
		const client = clientOf(null)
		client.headers.set('Authorization', `Bearer ${bad}`)
		assert.equal((await pull(client)).status, 401)
	}
	const changes = { project: { ...nothing, created: [{ id: randomUUID(), owner: user, name: 'Anonymous' }] } }
	const push = await rpc(clientOf(null), 'push_changes', { changes }).catch((error) => error)
	assert.equal(push.status, 401, push.message)
}

scenarios['a push onto a hidden id tells nothing of it'] = async ({ user, stranger, a, shared }) => {
	const { project } = await shared()
	const absent = randomUUID()
	const push = (changes) =>
		rpc(clientOf(stranger), 'push_changes', { changes: { project: { ...nothing, ...changes } } }).catch((error) => error)
	const told = ({ status, body }, id) => [status, JSON.stringify(body)?.replaceAll(id, 'ID')]
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

// ---- HTTP

scenarios['GET pulls what POST does'] = async ({ a, b, shared }) => {
	const { task } = await shared()
	await b.update('task', task, { title: 'For GET' })
	await b.sync()
	for (const args of [{}, { last_pulled_at: await a.cursor() }]) {
		const [got, posted] = [await rpc(a.client, 'pull_changes', args, { get: true }), await rpc(a.client, 'pull_changes', args)]
		assert.deepEqual(got.changes, posted.changes)
		assert.match(JSON.stringify(got.changes), /For GET/)
	}
}

scenarios['bad calls get their status'] = async ({ user, a, shared }) => {
	await shared()
	const cursor = await a.cursor()
	const damaged = cursor.slice(0, -3) + (cursor.at(-3) === 'A' ? 'B' : 'A') + cursor.slice(-2)
	const unknown = { changes: { nowhere: { ...nothing, created: [{ id: randomUUID() }] } } }
	const wrongType = { changes: { project: { ...nothing, created: [{ id: 'no uuid', owner: user, name: '' }] } } }
	for (const [name, args, status, code] of [
		['pull_changes', { collections: ['nowhere'] }, 404, 'PT404'],
		['push_changes', unknown, 404, 'PT404'],
		['pull_changes', { last_pulled_at: 'yesterday or so' }, 400, 'PT400'],
		['pull_changes', { last_pulled_at: damaged }, 400, 'PT400'],
		['push_changes', { changes: {}, last_pulled_at: damaged }, 400, 'PT400'],
		['push_changes', { changes: [] }, 400, 'PT400'],
		['push_changes', wrongType, 400],
	]) {
		const answer = await rpc(a.client, name, args).then(JSON.stringify, (error) => error)
		assert.equal(answer.status, status, `${name} ${JSON.stringify(args)}: ${answer.message ?? answer}`)
		if (code) assert.equal(answer.body.code, code)
	}
}

// ---- the runner

let number = 0
let failed = 0

async function test(name, run) {
	const error = await run().then(() => null, (error) => error)
	if (error) failed++
	console.log(`${error ? 'not ok' : 'ok'} ${++number} - ${name}`)
	if (error) console.log(String(error.stack ?? error).replace(/^/gm, '# '))
}

async function play(scenario, kinds, createdAsUpdated) {
	const [user, stranger] = [randomUUID(), randomUUID()]
	const [a, b, c] = [[kinds[0], user], [kinds[1], user], [kinds[0], stranger]].map(
		([kind, whose]) => new Device(kind, whose, createdAsUpdated))

	// A project and a task in it, held by both devices.
	async function shared(values = {}) {
		const project = await a.create('project', { owner: user, name: 'Shared' })
		const task = await a.createTask(project, { title: 'Shared', ...values })
		await a.sync()
		await b.sync()
		return { project, task }
	}

	await scenario({ user, stranger, a, b, c, shared })

	for (const device of [a, b, c, a, b, c]) await device.sync()
	for (const device of [a, b, c]) {
		const rows = selectAs(device.user)
		for (const table of tables) assert.deepEqual(await device.rows(table), rows[table])
		const quiet = await device.peek()
		assertEmpty(quiet, 'pulled again when all is quiet')
		assert.equal(quiet.experimentalStrategy, undefined)
	}
	assert.deepEqual(complaints, [])
}

await ready()
for (const [kinds, createdAsUpdated] of [[['loki', 'sqlite'], false], [['sqlite', 'loki'], true]]) {
	const how = `${kinds.join(' and ')}${createdAsUpdated ? ', created as updated' : ''}`
	for (const [name, scenario] of Object.entries(scenarios)) {
		complaints.length = 0
		await test(`${name} (${how})`, () => play(scenario, kinds, createdAsUpdated))
	}
}
await test("WatermelonDB's complaints are heard", async () => {
	const pullChanges = async () => ({ changes: { nowhere: nothing }, timestamp: 1 })
	await synchronize({ database: new Device('loki', randomUUID()).db, pullChanges })
	assert.match(complaints.join(), /nowhere/)
})
for (const [name, check] of Object.entries(schemas)) await test(name, check)
console.log(`1..${number}`)
process.exit(failed ? 1 : 0) // WatermelonDB keeps timers
