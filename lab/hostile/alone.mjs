// One connection whose peer becomes unreachable in one of many ways: when, and with what error.
import { setTimeout as sleep } from 'node:timers/promises'
import { detectionTime, getTcpInfo } from '../../dist/index.js'
import { TOO_MUCH } from '../support/namespace.mjs'
import { set, windowCloses } from '../support/socket.mjs'

/** Brings the socket into the state: `before` the path changes, or `after` it. */
const STATES = {
  idle: {},
  'in flight': { after: (socket) => socket.write('x') },
  'zero window': {
    before(socket, peer) {
      peer.pause()
      socket.write(Buffer.alloc(TOO_MUCH))
      return windowCloses(socket)
    },
  },
}

const CLOCKS = { idle: 'idle', 'in flight': 'unacknowledged', 'zero window': 'zeroWindow' }

/** `happen()` makes the peer unreachable. */
export async function alone({ set: settings, state, wait = 20_000 }, { socket, peer }, happen) {
  const failed = new Promise((resolve) => {
    socket.once('error', (error) => resolve({ error, at: performance.now() }))
  })
  const plan = set(socket, settings)
  socket.resume()
  peer?.resume()
  socket.write('x')
  while (getTcpInfo(socket).unacknowledgedSegments > 0) await sleep(5)
  const { before, after } = STATES[state]
  await before?.(socket, peer)
  // Without a delay between: with 'end' the clock began when the window closed.
  const predicted = detectionTime(socket)[CLOCKS[state]]
  happen()
  const start = performance.now()
  await after?.(socket)
  const result = await Promise.race([failed, sleep(wait, undefined, { ref: false })])
  socket.destroy()
  peer?.destroy()
  return { plan, predicted, measured: result && result.at - start, error: result?.error }
}
