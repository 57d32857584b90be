export const callThrough = (client) => async (name, args, options) => {
  const { data, error, status } = await client.rpc(name, args, options)
  if (error) throw Object.assign(new Error(error.message), error, { status })
  return data
}
