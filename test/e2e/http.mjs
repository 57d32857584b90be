// What happens on the way: answers that get lost, tokens that expire, missing
// grants, timeouts, GET, and calls that are refused.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { Device, assertHolds, callOf, holds, nothing } from './device.mjs'
import { claims, hold, jwt, sql, until } from './server.mjs'

const scenarios = {}
export default scenarios

const failure = (promise) => promise.then(() => assert.fail('no error'), (error) => error)
const versions = (user) => sql(`SELECT json_agg((id, server_version) ORDER BY id) FROM task WHERE owner = :'user'`, { user })

scenarios['answers get lost on their way'] = async ({ user, a, b, shared }) => {
	const { project, task } = await shared()
	const gone = await a.createTask(project, { title: 'Deleted soon' })
	await a.sync()
	const made = await a.createTask(project, { title: 'New' })
	await a.update('task', task, { title: 'Changed' })
	await a.remove('task', gone)
	const lose = async (name) => {
		a.wire.loses.push(name)
		await failure(a.sync())
		assert.ok(a.wire.calls.at(-1).lost)
	}
	await lose('pull_changes')
	assert.equal(sql(`SELECT count(*) FROM task WHERE id = :'made'`, { made }), '0', 'a device that heard nothing pushes nothing')
	await lose('push_changes')
	const stored = versions(user)
	assert.match(stored, RegExp(made))
	assert.doesNotMatch(stored, RegExp(gone))
	await lose('push_changes')
	await a.sync()
	assert.equal(versions(user), stored, 'what is sent again is stored once')
	await assertHolds(a)
	// others write in between
	await a.createTask(project, { title: 'New, too' })
	await lose('push_changes')
	await b.sync()
	await b.update('task', made, { notes: 'by B' })
	await b.sync()
	await a.update('task', made, { title: 'New again' })
	await a.sync()
	const { title, notes } = await a.row('task', made)
	assert.deepEqual({ title, notes }, { title: 'New again', notes: 'by B' })
}

scenarios['a push that is sent again with its push_id gets the same answer'] = async ({ user, a, shared }) => {
	const { project } = await shared()
	const id = randomUUID()
	const changes = { task: { ...nothing, created: [{ id, project_id: project, title: 'Once' }] } }
	const push = () => a.call('push_changes', { changes, client_id: 'phone', push_id: 'one' })
	a.wire.loses.push('push_changes')
	await failure(push())
	sql(`UPDATE task SET title = 'Changed since' WHERE id = :'id'`, { id })
	const { applied } = await push()
	assert.deepEqual(applied.task, { created: 1, updated: 0, deleted: 0 })
	assert.equal(sql(`SELECT title FROM task WHERE id = :'id'`, { id }), 'Changed since')
	assert.equal(sql(`SELECT owner FROM task WHERE id = :'id'`, { id }), user)
}

scenarios['a device with an expired token goes on with a fresh one'] = async ({ user, a, shared }) => {
	const { project, task } = await shared()
	const fresh = a.token
	const expired = () => jwt({ ...claims(user), exp: 1 })
	const made = await a.createTask(project, { title: 'New' })
	await a.update('task', task, { title: 'Changed' })
	// expired before the pull, and between pull and push
	for (const calls of [0, 1]) {
		let left = calls
		a.token = () => (left-- > 0 ? fresh() : expired())
		const error = await failure(a.sync())
		assert.deepEqual([error.status, error.code], [401, 'PGRST301'], error.message)
		assert.equal(a.wire.calls.at(-1).name, ['pull_changes', 'push_changes'][calls])
	}
	assert.equal(sql(`SELECT title FROM task WHERE id = :'task'`, { task }), 'Shared')
	a.token = fresh
	await a.sync()
	assert.equal(sql(`SELECT string_agg(title, ' ' ORDER BY title) FROM task WHERE id IN (:'task', :'made')`, { task, made }), 'Changed New')
}

scenarios['a missing grant is 403, and what was refused goes through once it is given'] = async ({ a, shared, expect }) => {
	expect('a replacement') // grants are part of what a cursor stands for
	const { project, task } = await shared()
	await a.update('project', project, { name: 'Allowed' })
	await a.update('task', task, { title: 'Forbidden' })
	const made = await a.createTask(project, { title: 'Forbidden' })
	const pull = () => a.call('pull_changes', {})
	sql('REVOKE INSERT, UPDATE ON task FROM authenticated')
	try {
		if (a.createdAsUpdated) {
			const refused = await a.sync()
			assert.deepEqual(refused.map(({ collection, id, code }) => `${code} ${collection} ${id}`).sort(),
				[made, task].map((id) => `42501 task ${id}`).sort())
			assert.equal(sql(`SELECT name FROM project WHERE id = :'project'`, { project }), 'Allowed', 'the rest is stored')
		} else {
			const error = await failure(a.sync())
			assert.deepEqual([error.status, error.code], [403, '42501'])
		}
		sql('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA api FROM public, authenticated')
		const error = await failure(pull())
		assert.deepEqual([error.status, error.code], [403, '42501'])
	} finally {
		sql(`GRANT INSERT, UPDATE ON task TO authenticated; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA api TO public`)
	}
	await pull()
	await a.sync()
	assert.equal(sql(`SELECT count(*) FROM task WHERE id IN (:'task', :'made') AND title = 'Forbidden'`, { task, made }), '2')
}

// PostgREST takes over the role's statement_timeout; PostgreSQL answers 57014.
scenarios['a statement timeout leaves nothing half done'] = async ({ user, a, shared }) => {
	const { project, task } = await shared()
	const token = () => jwt({ ...claims(user), role: process.env.E2E_HURRIED })
	const device = new Device('sqlite', user, a.createdAsUpdated)
	device.token = token
	await device.sync()
	const timeout = async (promise) => {
		const { status, code } = await failure(promise)
		assert.deepEqual([status, code], [500, '57014'])
	}
	// a pull
	await a.update('task', task, { title: 'By A' })
	await a.sync()
	const before = [await device.rows('task'), await device.cursor()]
	let release = await hold('LOCK TABLE task')
	await timeout(device.sync())
	assert.deepEqual([await device.rows('task'), await device.cursor()], before)
	await release()
	await device.sync()
	assert.equal((await device.row('task', task)).title, 'By A')
	// a push
	const made = await device.createTask(project, { title: 'New' })
	await device.update('task', task, { title: 'Changed' })
	const count = () => sql(`SELECT count(*) FROM task WHERE id = :'made' OR title = 'Changed' AND id = :'task'`, { made, task })
	release = await hold(`SELECT FROM task WHERE id = :'task' FOR UPDATE`, { task })
	await timeout(device.sync())
	await release()
	assert.equal(count(), '0')
	await device.sync()
	assert.equal(count(), '2')
	await assertHolds(device)
	// a push that says which it is
	const id = randomUUID()
	const changes = { task: { created: [{ id, project_id: project, title: 'Once' }], updated: [{ id: task, title: 'Once' }], deleted: [made] } }
	const { cursor: last_pulled_at } = await device.call('pull_changes', {})
	const push = () => device.call('push_changes', { changes, last_pulled_at, client_id: 'phone', push_id: 'one' })
	const told = () => sql(`SELECT string_agg(title, ' ' ORDER BY title) FROM task WHERE id IN (:'id', :'task', :'made')`, { id, task, made })
	release = await hold(`SELECT FROM task WHERE id = :'task' FOR UPDATE`, { task })
	await timeout(push())
	await release()
	assert.equal(told(), 'Changed New')
	const answer = await push()
	assert.equal(told(), 'Once Once')
	assert.deepEqual(await push(), answer)
}

scenarios["a function's own statement_timeout counts for the call"] = async ({ user, shared }) => {
	const { task } = await shared()
	const call = callOf(user, jwt({ ...claims(user), role: process.env.E2E_HURRIED }))
	const { cursor: last_pulled_at } = await call('pull_changes', {})
	const changes = { task: { ...nothing, updated: [{ id: task, title: 'In time' }] } }
	const waiting = () => sql(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'push_changes')`) === 't'
	const limit = (how) => sql(`ALTER FUNCTION api.push_changes ${how}; NOTIFY pgrst, 'reload schema'`)
	limit(`SET statement_timeout = '1min'`)
	const release = await hold(`SELECT FROM task WHERE id = :'task' FOR UPDATE`, { task })
	try {
		// PostgREST reads its schema anew in its own time
		let patient
		await until('a push outlasts the call that came behind it', async () => {
			let ended = false
			patient = call('push_changes', { changes, last_pulled_at }).catch((error) => error).finally(() => { ended = true })
			await until('the push waits', () => ended || waiting())
			if (!ended) assert.equal((await failure(call('sync_changes', { changes, last_pulled_at }))).code, '57014')
			return !ended && waiting()
		})
		await release()
		assert.equal((await patient).applied?.task.updated, 1)
	} finally {
		await release()
		limit('RESET statement_timeout')
	}
}

scenarios["the role's statement_timeout counts once PostgREST has heard of it"] = async ({ user }) => {
	const role = process.env.E2E_HURRIED
	const call = callOf(user, jwt({ ...claims(user), role }))
	const is = (limit) => until(limit, async () => (await call('shown', {}).catch(() => null)) === limit)
	const set = (limit) => sql(`ALTER ROLE ${role} SET statement_timeout = '${limit}'; NOTIFY pgrst, 'reload config'`)
	sql(`CREATE FUNCTION api.shown() RETURNS text STABLE LANGUAGE sql AS $$SELECT current_setting('statement_timeout')$$;
		NOTIFY pgrst, 'reload schema'`)
	try {
		await is('1s')
		set('2min')
		await is('2min')
	} finally {
		set('1s')
		await is('1s')
		sql('DROP FUNCTION api.shown')
	}
}

scenarios['GET pulls what POST does'] = async ({ user, a, b, shared }) => {
	const { task } = await shared()
	await b.update('task', task, { title: 'For GET' })
	await b.sync()
	for (const args of [{}, { last_pulled_at: await a.cursor(), collections: ['project', 'task'], schema_version: 2 }]) {
		const [got, posted] = [await a.call('pull_changes', args, { get: true }), await a.call('pull_changes', args)]
		assert.deepEqual(got.changes, posted.changes)
		assert.match(JSON.stringify(got.changes), /For GET/)
	}
	// a device's every pull; supabase-js writes null as "null" in an address
	const device = new Device('loki', user, a.createdAsUpdated, { transport: 'supabase' })
	const post = device.call
	device.call = (name, args) => name === 'pull_changes'
		? post(name, Object.fromEntries(Object.entries(args).filter(([, value]) => value !== null)), { get: true })
		: post(name, args)
	await device.sync()
	await device.update('task', task, { title: 'By GET' })
	await device.sync()
	// a GET whose answer gets lost the client repeats by itself
	device.wire.loses.push('pull_changes')
	await device.sync()
	await assertHolds(device)
	const pulls = device.wire.calls.filter(({ name }) => name === 'pull_changes')
	assert.deepEqual(pulls.map(({ method, status }) => `${method} ${status}`), Array(4).fill('GET 200'))
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
		const answer = await a.call(name, args).then(JSON.stringify, (error) => error)
		assert.equal(answer.status, status, `${name} ${JSON.stringify(args)}: ${answer.message ?? answer}`)
		if (code) assert.equal(answer.code, code)
	}
}
