// Many sockets, and their other ends (peers.mjs).
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'

const PEERS = join(import.meta.dirname, 'peers.mjs')

export async function peers(way) {
  const child = fork(PEERS, way ? [way] : [], { execArgv: [] })
  const [port] = await once(child, 'message')
  return { child, port }
}

/** What the other end's process knows a socket by. */
export const keyOf = ({ localPort, remoteAddress }) => `${localPort} ${remoteAddress}`

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
