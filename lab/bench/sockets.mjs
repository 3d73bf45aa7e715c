// Many sockets.
import { once } from 'node:events'
import { connect } from 'node:net'

/** So many connected sockets, over eight addresses, so that ports do not run out. */
export async function open(port, count) {
  const sockets = []
  for (let i = 0; i < count; i++) {
    sockets.push(connect(port, `127.0.0.${1 + (i % 8)}`).on('error', () => {}))
    if (i % 500 === 499) await Promise.all(sockets.slice(-500).map(connected))
  }
  await Promise.all(sockets.map(connected))
  return sockets
}

const connected = (socket) => (socket.connecting ? once(socket, 'connect') : undefined)
