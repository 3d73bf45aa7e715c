// Many live connections on a bad path: how many are given up, and with what.
import { setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo } from '../../dist/index.js'
import { TOO_MUCH } from '../support/namespace.mjs'
import { isStuck, set } from '../support/socket.mjs'
import { transferLoss } from './theory.mjs'

/**
 * `row.many` connections over a clean path, which then becomes `row.path` for `row.seconds`
 * (a function instead of an object makes it come and go). Whoever is left must work.
 */
export async function crowd(row, ground) {
  const ends = []
  ground.change(row.port, { delay: row.rtt / 2000, loss: 0 })
  while (ends.length < row.many) {
    const some = Array.from({ length: Math.min(50, row.many - ends.length) }, () =>
      ground.connect(row),
    )
    ends.push(...(await Promise.all(some)))
  }
  const errors = []
  let plan
  for (const { socket, peer } of ends) {
    socket.on('error', (error) => errors.push(error))
    plan = set(socket, row.set)
    socket.resume()
    peer.resume()
  }
  await Promise.all(ends.map(warm))
  const told = { row, plan, transfers: 0, expected: 0 }
  const start = performance.now()
  const time = () => performance.now() - start < row.seconds * 1000
  const lives = ends.map((end) => LIVES[row.state](end, time, told))
  const weather = typeof row.path === 'function' ? row.path : (change) => change(row.path)
  await Promise.all([weather((path) => ground.change(row.port, path), time), ...lives])
  told.stuck = ends.filter(({ socket }) => isStuck(socket)).length
  ground.change(row.port, { ...CLEAN, delay: row.rtt / 2000 })
  const working = await Promise.all(ends.map(stillWorks))
  for (const { socket, peer } of ends) {
    socket.destroy()
    peer.destroy()
  }
  return { ...told, errors, working: working.filter(Boolean).length }
}

const CLEAN = { jitter: 0, loss: 0, ours: 0, theirs: 0, duplicate: 0 }

async function warm({ socket, peer }) {
  for (let i = 0; i < 5; i++) {
    socket.write('x')
    await heard(socket, peer)
  }
}

/** Until the peer's kernel has acknowledged everything. */
async function heard(socket) {
  while (!socket.destroyed) {
    const { unacknowledgedSegments, notSentBytes } = getTcpInfo(socket)
    if (unacknowledgedSegments === 0 && notSentBytes === 0) return true
    await sleep(20)
  }
  return false
}

const LIVES = {
  async idle({ socket }, time) {
    while (time() && !socket.destroyed) await sleep(200)
  },

  /** One segment after the other, each acknowledged before the next. */
  async transfers({ socket }, time, told) {
    while (time() && !socket.destroyed) {
      const { rttUs, rtoUs } = getTcpInfo(socket)
      const path = { srtt: rttUs / 1000, rto: rtoUs / 1000 }
      told.expected += transferLoss(told.plan, path, told.row.path)
      told.transfers++
      socket.write('x'.repeat(100))
      await heard(socket)
      await sleep(200)
    }
  },

  /** Both ends, whenever they like. */
  async talking({ socket, peer }, time) {
    while (time() && !socket.destroyed) {
      socket.write(Buffer.alloc(3000))
      peer.write(Buffer.alloc(3000))
      await sleep(1000 * Math.random())
    }
  },

  async 'slow reader'({ socket, peer }, time) {
    peer.pause()
    socket.write(Buffer.alloc(TOO_MUCH))
    while (time() && !socket.destroyed) await sleep(200)
  },
}

/** Everything that was written arrives, and one word more. */
async function stillWorks({ socket, peer }) {
  if (socket.destroyed) return false
  peer.resume()
  socket.write('x')
  // The next retransmission of what was stuck may be two minutes away.
  const deadline = performance.now() + 150_000
  while (peer.bytesRead < socket.bytesWritten || socket.bytesRead < peer.bytesWritten) {
    if (socket.destroyed || performance.now() > deadline) return false
    await sleep(50)
  }
  return true
}
