// What README shows is what ran here.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import crdt from './crdt.mjs'
import drift from './drift.mjs'
import pocketbase from './pocketbase.mjs'
import rest from './rest.mjs'
import messages from './messages.mjs'
import { sql } from './server.mjs'

const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8')
const readme = read('README.md')

const tests = {}
export default tests

// The code blocks of a section, in one language
function blocks(title, language) {
	const section = readme.split(/^(?=##+ )/m).find((text) => text.startsWith(`${title}\n`))
	assert.ok(section, `README has a section ${title}`)
	return [...section.matchAll(RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, code]) => code)
}

tests['README shows the code of these devices'] = async () => {
	for (const name of ['recipe.mjs', 'supabase.mjs', 'fetch.mjs', 'websocket.mjs']) assert.ok(readme.includes(`\`\`\`js\n${read(name)}\`\`\`\n`), name)
}

// Both sections run as they stand, in a database of their own, but for the name of the role.
tests["README's minute, and its psql"] = async () => {
	const anna = `anna_${process.env.PGDATABASE}`
	const there = (commands) => sql(`\\connect ${anna}\n${commands.replaceAll('anna', anna)}`)
	const [owner, pushed] = blocks('## A working sync in a minute', 'sql')
	const [answer] = blocks('## A working sync in a minute', 'json').map(JSON.parse)
	const [device] = blocks('### psql', 'sql')
	sql(`CREATE DATABASE ${anna}`)
	try {
		there(owner)
		const [push, pull] = there(`SET ROLE anna; ${pushed}`).split('\n').map(JSON.parse)
		assert.deepEqual(push.applied, { task: { created: 1, updated: 0, deleted: 0 } })
		const { id, owner: whose, title, done } = pull.changes.task.created[0]
		assert.deepEqual({ id, owner: whose, title, done }, { id: 't1', owner: anna, title: 'Buy milk', done: false })
		assert.deepEqual(Object.keys(pull), Object.keys(answer))
		assert.deepEqual(Object.keys(pull.changes.task.created[0]), Object.keys(answer.changes.task.created[0]))
		const told = there(`SET ROLE anna; ${device}\n${device.slice(device.indexOf('SELECT'))}`).split('\n')
		assert.match(told[0], /"Buy milk"/)
		assert.deepEqual(JSON.parse(told[1]).task, { created: [], updated: [], deleted: [] }, 'no echo')
		assert.equal(there('SELECT done FROM task'), 't')
	} finally {
		sql(`DROP DATABASE ${anna}`)
		sql(`DROP ROLE IF EXISTS ${anna}`)
	}
}

// Under another name: a table task is there already.
tests["README's Drift"] = () => drift(blocks('### Drift', 'sql')[0])

tests["README's PocketBase"] = () => pocketbase(blocks('### PocketBase', 'sql')[0], blocks('### PocketBase', 'js')[0])
tests["README's row CRDTs"] = () => crdt(blocks('### Row CRDTs', 'sql')[0])
tests["README's REST cache"] = () => rest(blocks('### A REST cache', 'sql')[0], blocks('### A REST cache', 'nginx')[0])
tests["README's messages"] = () => messages(blocks('### Messages', 'sql')[0])
