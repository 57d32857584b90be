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
        const answer = await call('pull_changes', { last_pulled_at: (await cursor()) ?? lastPulledAt,
          collections: Object.keys(database.schema.tables), schema_version: schemaVersion, migration })
        for (const table of Object.values(answer.changes)) {
          table.updated = table.created.concat(table.updated)   // what comes as created comes back to life
          table.created = []
        }
        return answer
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
