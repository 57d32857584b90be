export const callAt = (url, token, schema = 'api') => async (name, args) => {
  const response = await fetch(`${url}/rpc/${name}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Content-Profile': schema, Authorization: `Bearer ${await token()}` },
    body: JSON.stringify(args),
  })
  const answer = await response.json()
  if (!response.ok) throw Object.assign(new Error(answer.message), answer, { status: response.status })
  return answer
}
