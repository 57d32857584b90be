// The apps' schemas, as offsync.client_schema writes them for the role of the users.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

// An app keeps what it is given in a file, and so does this.
export function generated(file, args) {
	const path = new URL(file, import.meta.url)
	const input = `SET ROLE authenticated; SELECT offsync.client_schema(${args});`
	writeFileSync(path, execFileSync('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1'], { input, encoding: 'utf8' }))
	return path
}

const { default: newest } = await import(generated('./app-schema.mjs', `'watermelondb', '{project,task}', 2`))
export { newest }

// An older version of the app knew less.
export function without(version, schema, hidden) {
	const known = Object.values(schema.tables).filter(({ name }) => hidden[name] !== true)
	return {
		version,
		tables: known.map(({ name, columnArray }) => ({
			name,
			columns: columnArray.filter((column) => !hidden[name]?.includes(column.name)),
		})),
	}
}
