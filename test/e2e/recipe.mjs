import { synchronize } from '@nozbe/watermelondb/sync'

const CURSOR = 'offsync_cursor'

// call(name, args): the answer of an RPC, or its error with PostgREST's code.  Resolves to the records that the server
// refused, which stay to be pushed.
export async function sync(database, call, options = {}) {
  const cursor = () => database.localStorage.get(CURSOR)
  const keep = (text) => database.localStorage.set(CURSOR, text)
  const once = async () => {
    let refused = []
    await synchronize({
      database,
      sendCreatedAsUpdated: true,
      pullChanges: async ({ lastPulledAt, schemaVersion, migration }) => {
        const asked = { collections: Object.keys(database.schema.tables), schema_version: schemaVersion, migration, max_rows: 5000 }
        const changes = {}
        let page, since = (await cursor()) ?? lastPulledAt
        do {
          page = await call('pull_changes', { ...asked, last_pulled_at: since })
          for (const [table, { created, updated, deleted }] of Object.entries(page.changes)) {
            const all = changes[table] ??= { created: [], updated: [], deleted: [] }
            all.updated.push(...created, ...updated)   // what comes as created may come back to life
            all.deleted.push(...deleted)
          }
          since = page.cursor
        } while (page.hasMore)
        return { ...page, changes }
      },
      onDidPullChanges: (answer) => keep(answer.cursor),
      pushChanges: async ({ changes }) => {
        const answer = await call('push_changes', { changes, last_pulled_at: await cursor(), on_error: 'skip' })
        await keep(answer.cursor)
        refused = answer.rejected ?? []
        return { experimentalRejectedIds: answer.experimentalRejectedIds }
      },
      ...options,
    })
    return refused
  }
  const conflict = ({ code }) => code === 'PT409'
  const refused = await once().catch((error) => { if (conflict(error)) return [error]; throw error })
  return refused.some(conflict) ? once() : refused   // pulls what others wrote, and pushes again
}
