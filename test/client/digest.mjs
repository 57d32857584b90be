const mix = (h) => {
  h = Math.imul(h ^ h >>> 16, 0x45d9f3b)
  h = Math.imul(h ^ h >>> 16, 0x45d9f3b)
  return (h ^ h >>> 16) >>> 0
}
const hash = (text) => {
  let a = 0x811c9dc5, b = a
  for (const character of text) {
    a = Math.imul(a ^ character.codePointAt(0), 0x01000193)
    b = Math.imul(b ^ character.codePointAt(0), 0x5f356495)
  }
  return [mix(a), mix(b)]
}
const bucketOf = (id, buckets) => hash(id)[0] & (buckets - 1)

export function digest(rows, buckets = 1, versions = true) {
  const sums = Array.from({ length: buckets }, () => [0, 0, 0])
  for (const { id, server_version } of rows) {
    const sum = sums[bucketOf(id, buckets)], [a, b] = hash(versions ? `${id}:${server_version}` : id)
    sum[0] += 1
    sum[1] = (sum[1] + a) >>> 0
    sum[2] = (sum[2] + b) >>> 0
  }
  return sums
}

// rows: { task: [{ id, server_version }, …], … }; filters: those of the device's pulls
export async function repair(call, rows, cursor = null, filters = {}) {
  const device = {}
  const filtersOf = (names) => Object.fromEntries(names.filter((name) => name in filters).map((name) => [name, filters[name]]))
  const most = Math.max(...Object.values(rows).map((own) => own.length))
  const buckets = 2 ** Math.min(14, Math.ceil(Math.log2(most + 1) / 2))
  const collections = Object.keys(rows)
  const theirs = await call('digest', { collections, buckets, filters: filtersOf(collections) })
  for (const [name, { versions, buckets: sums }] of Object.entries(theirs)) {
    const mine = digest(rows[name], buckets, versions)
    const differ = sums.flatMap((sum, i) => `${sum}` === `${mine[i]}` ? [] : [i]), asked = new Set(differ)
    const records = Object.fromEntries(rows[name].filter((row) => asked.has(bucketOf(row.id, buckets)))
      .map((row) => [row.id, row.server_version ?? null]))
    if (differ.length > 0) device[name] = { buckets, differ, records }
  }
  if (Object.keys(device).length === 0) return { changes: {} }
  return call('reconcile', { device, last_pulled_at: cursor, filters: filtersOf(Object.keys(device)) })
}
