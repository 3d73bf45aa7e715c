// Connections that the kernel ends, each in its own way; what TCP_INFO still has of each, beside
// SO_ERROR. In a network namespace of its own; the connections are set without this library.
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasTimedOut } from '../../dist/connection/timed-out.js'
import { getKeepalive, getTcpInfo, getUserTimeout, systemDefaults } from '../../dist/index.js'
import { openGround } from '../../lab/support/ground.mjs'

const root = join(import.meta.dirname, '..', '..')
const binding = createRequire(import.meta.url)('node-gyp-build')(root)
const integers = new Int32Array(binding.integers)

const keepalive = { idle: 1, interval: 1, count: 3, keepalive: 1 }
const SETS = {
  keepalive,
  'user timeout': { userTimeout: 2000 },
  // So that it cuts the last interval of retransmissions to less than a round trip's room.
  'a user timeout that ends right after a retransmission': { userTimeout: 1400 },
  both: { ...keepalive, userTimeout: 3000 },
}
const STATES = {
  idle: () => {},
  'in flight': (socket) => socket.write('x'),
  'zero window': () => {},
}
const EVENTS = {
  'the peer is silent': { loss: 1 },
  'the next question is answered with a reset': { answer: 'rst' },
  'the second question is answered with a reset': { loss: 1 },
  'the peer resets': {},
}

/** Never ends within the time of a test. */
const isEndless = (set, state, event) =>
  (set === 'keepalive' && state !== 'idle' && event === 'the peer is silent') ||
  (set.includes('user timeout') && state === 'idle' && event !== 'the peer resets')

async function end(ground, port, set, state, event) {
  ground.change(port, { delay: 0.01, loss: 0 })
  const { socket, peer } = await ground.connect({ family: 4, port })
  // Not read, so that Node leaves the error where it is.
  socket.on('error', () => {}).pause()
  peer.write(Buffer.alloc(300_000))
  peer.resume()
  while (socket._handle.reading) await sleep(4)
  if (state === 'zero window') {
    peer.pause()
    // No more than the kernel takes: with a write under way Node would find the error.
    for (let window = 1, unsent = 0; window > 0 || unsent === 0; await sleep(10)) {
      if (unsent < 8000) socket.write(Buffer.alloc(4000))
      ;({ sendWindowBytes: window, notSentBytes: unsent } = getTcpInfo(socket))
    }
  } else while (getTcpInfo(socket).unacknowledgedSegments > 0) await sleep(4)
  const { _handle: handle } = socket
  const names = ['userTimeout', 'rtoMax', 'idle', 'interval', 'count', 'keepalive']
  for (const [index, name] of names.entries()) integers[index] = SETS[set][name] ?? -1
  binding.set(handle.fd)
  ground.change(port, EVENTS[event])
  STATES[state](socket)
  if (event === 'the peer resets') {
    await sleep(300)
    peer.resetAndDestroy()
  }
  if (event.startsWith('the second')) {
    const asked = ({ probes, retransmits }) => probes + retransmits
    while (asked(getTcpInfo(socket)) === 0) await sleep(4)
    ground.change(port, { loss: 0, answer: 'rst' })
  }
  let info = getTcpInfo(socket)
  while (info.state !== 'CLOSE') {
    await sleep(2)
    info = getTcpInfo(socket)
  }
  const ended = {
    retransmits: info.retransmits,
    probes: info.probes,
    rtt: info.rttUs / 1000,
    rttVariation: info.rttVarianceUs / 1000,
    rto: info.rtoUs / 1000,
    sinceDataSent: info.lastDataSentMs,
    sinceSegment: Math.min(info.lastDataReceivedMs, info.lastAckReceivedMs),
    sendWindow: info.sendWindowBytes,
  }
  const inForce = { ...getKeepalive(socket), userTimeout: getUserTimeout(socket), rtoMax: 120_000 }
  const concluded = hasTimedOut(ended, inForce, systemDefaults())
  const error = binding.takeError(handle.fd)
  socket.destroy()
  peer.destroy()
  const [code] = Object.entries(constants.errno).find(([, errno]) => errno === error) ?? [error]
  return { set, state, event, concluded, code, ended }
}

const ground = await openGround()
const cells = Object.keys(SETS).flatMap((set) =>
  Object.keys(STATES).flatMap((state) =>
    Object.keys(EVENTS)
      .filter((event) => !isEndless(set, state, event))
      .map((event) => [set, state, event]),
  ),
)
const rows = await Promise.all(cells.map((cell, index) => end(ground, 21_000 + index, ...cell)))
await ground.close()
console.log(JSON.stringify(rows))
process.exit()
