// The server's side: SQL as the superuser or as a user, sessions that hold
// locks, signed tokens, and the gateway before PostgREST.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import http from 'node:http'
import { createInterface } from 'node:readline'

const env = process.env

export async function until(what, condition) {
	for (const deadline = Date.now() + 30000; Date.now() < deadline; ) {
		if (await condition()) return
		await new Promise((resolve) => setTimeout(resolve, 20))
	}
	assert.fail(`${what}: not after 30 s`)
}

export const ready = () =>
	until('PostgREST is ready', async () =>
		(await fetch(`http://127.0.0.1:${env.E2E_ADMIN_PORT}/ready`).catch(() => ({}))).status === 200)

// ---- SQL

const psql = (variables) =>
	['-XAtq', '-v', 'ON_ERROR_STOP=1', ...Object.entries(variables).flatMap(([name, value]) => ['-v', `${name}=${value}`])]

export const sql = (input, variables = {}) =>
	execFileSync('psql', psql(variables), { input, encoding: 'utf8', maxBuffer: 1 << 30 }).trim()

// A session that stays in a transaction; resolves to what ends it, and undoes it, or does what is given for its end.
export async function hold(text, variables = {}, end = '') {
	const session = spawn('psql', psql(variables), { stdio: ['pipe', 'pipe', 'inherit'] })
	const ended = new Promise((resolve) => session.on('exit', resolve))
	session.stdin.write(`BEGIN; ${text};\n\\echo held\n`)
	for await (const line of createInterface({ input: session.stdout })) {
		if (line === 'held') return () => (session.stdin.end(end && `${end};\n`), ended)
	}
	assert.fail(`not held: ${text}`)
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

// ---- tokens

export const claims = (user) => ({ sub: user, role: 'authenticated' })

export function jwt(payload) {
	const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
	const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ exp: Math.floor(Date.now() / 1000) + 600, ...payload })}`
	return `${body}.${createHmac('sha256', env.E2E_SECRET).update(body).digest('base64url')}`
}

// ---- the gateway: Supabase's prefix, an address for each device, and answers that get lost

const wires = []

function pass(request, response) {
	const [, wire, path] = /^\/(\d+)\/rest\/v1(\/.*)$/.exec(request.url)
	const { calls, loses } = wires[wire]
	const call = { method: request.method, name: /^\/(?:rpc\/)?(\w+)/.exec(path)?.[1] }
	const { host, ...headers } = request.headers
	calls.push(call)
	const onward = http.request({ host: '127.0.0.1', port: env.E2E_PORT, path, method: request.method, headers }, (answer) => {
		call.status = answer.statusCode
		if (loses.includes(call.name)) {
			loses.splice(loses.indexOf(call.name), 1)
			call.lost = true
			answer.resume().on('end', () => request.socket.destroy())
		} else {
			response.writeHead(answer.statusCode, answer.headers)
			answer.pipe(response)
		}
	})
	onward.on('error', () => request.socket.destroy())
	request.pipe(onward)
}

// psql blocks this process for longer than an idle connection would be kept
const gateway = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, pass)
await new Promise((resolve) => gateway.listen(0, '127.0.0.1', resolve))

// calls: what has gone by; loses: names of calls whose next answer gets lost
export function wire() {
	const made = { calls: [], loses: [], url: `http://127.0.0.1:${gateway.address().port}/${wires.length}` }
	wires.push(made)
	return made
}
