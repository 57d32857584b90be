// A client's socket; call(name, args) is an RPC as its user.  Resolves to what is to be called when others have written.
export function serve(socket, call) {
  let node, cursor, turn = Promise.resolve()
  const send = async (since) => {
    const answer = await call('crdt_changeset', { since, node_id: node })
    cursor = answer.cursor
    if (Object.keys(answer.changeset).length) socket.send(JSON.stringify(answer.changeset))
  }
  const take = async (frame) => {
    if (node) {
      await call('crdt_merge', { node_id: node, changeset: frame })
      return send(cursor)                          // what the server has made of it
    }
    node = frame.node_id
    socket.send(JSON.stringify(await call('crdt_hello', { node_id: node })))
    return send(frame.last_modified)
  }
  const inTurn = (work) => {
    turn = turn.then(work)                         // behind what fails nothing is stored: the client would take both for stored
    return turn.catch(() => socket.close())        // it connects again, and sends both
  }
  socket.on('message', (text) => inTurn(() => take(JSON.parse(text))))
  return () => inTurn(() => node && send(cursor))
}
