// How a socket is set, and waiting for what its kernel says.
import { setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo, setDeadPeerTimeout, setKeepalive, setUserTimeout } from '../../dist/index.js'

/** Sets what a row of a table asks for, as a program would; returns what is in force then. */
export function set(socket, { ms, slowReader, keepalive, userTimeout }) {
  if (ms) return setDeadPeerTimeout(socket, ms, { slowReader: slowReader ?? 'keep' })
  if (keepalive) setKeepalive(socket, keepalive)
  if (userTimeout) setUserTimeout(socket, userTimeout)
  return { ...keepalive, userTimeout: userTimeout ?? 0, silence: 0 }
}

export async function until(condition) {
  while (!condition()) await sleep(4)
}

/** Until there is more to send than the peer, which does not read, has room for. */
export function windowCloses(socket) {
  return until(() => {
    if (socket.destroyed) throw new Error('ended before its window was closed')
    const { sendWindowBytes, notSentBytes } = getTcpInfo(socket)
    return sendWindowBytes === 0 && notSentBytes > 0
  })
}

/** Whether its window has closed upon data in flight. */
export function isStuck(socket) {
  if (socket.destroyed) return false
  const { sendWindowBytes, unacknowledgedSegments } = getTcpInfo(socket)
  return sendWindowBytes === 0 && unacknowledgedSegments > 0
}
