// How a row is brought into its state, when its clock starts, and what the
// kernel's rules say of it.
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo, planDeadPeerTimeout } from '../../dist/index.js'
import {
  aheadOfSilence,
  probesForStuckData,
  rtoMaxForStuckData,
} from '../../dist/kernel/closed-window.js'
import { kernelDetectionTime, SWEEP_PERIOD } from '../../dist/kernel/rules.js'
import { systemDefaults } from '../../dist/kernel/system-defaults.js'
import { expiry } from '../../dist/kernel/timers.js'
import { UNTOUCHED } from '../../dist/options/settings.js'
import { apply } from '../../dist/targets/apply.js'
import { unplug } from '../../dist/testing.js'
import { LoopClock } from '../../test/support/loop-clock.cjs'
import { TOO_MUCH } from '../support/namespace.mjs'
import { isStuck, set, until, windowCloses } from '../support/socket.mjs'

/** Survivors are watched for so long, in seconds. */
export const OBSERVED = 100

/** What predictions start from; times in milliseconds. */
function pathOf(socket) {
  const { backoff, rtoUs, rttUs } = getTcpInfo(socket)
  return { backoff, rto: rtoUs / 1000, srtt: rttUs / 1000 }
}

/** Sets what a row asks for; no public function does this one alone. */
function setRow(socket, settings) {
  if (settings.rtoMax) apply(socket, { ...UNTOUCHED, rtoMax: settings.rtoMax })
  else set(socket, settings)
}

function predict(set, path) {
  const { keepalive, userTimeout, rtoMax } = set
  const settings = set.ms
    ? planDeadPeerTimeout(set.ms, { slowReader: set.slowReader })
    : { enabled: false, ...(keepalive && { enabled: true, ...keepalive }), userTimeout, rtoMax }
  return kernelDetectionTime(settings, systemDefaults(), path)
}

async function exchange(socket, peer) {
  const word = Buffer.from('x')
  const heard = new Promise((resolve) => peer.once('data', resolve))
  const answered = new Promise((resolve) => socket.once('data', resolve))
  peer.resume()
  socket.write(word)
  await heard
  peer.write(word)
  await answered
}

/** Writes until the peer, which does not read, has closed its window. */
function closeWindow(socket, peer) {
  peer.pause()
  socket.write(Buffer.alloc(TOO_MUCH))
  return windowCloses(socket)
}

/** One row: { predicted, measured, error }, or { predicted, alive } where it has not ended. */
export async function run(row, ground) {
  if (row.set.rtoMax && systemDefaults().rtoMax === undefined)
    return { skipped: 'skipped: TCP_RTO_MAX_MS is of Linux 6.15 and newer' }
  if (row.port) ground.change(row.port, { delay: row.rtt / 2000, loss: 0 })
  if (row.many) return runMany(row, ground)
  const connecting = row.state === 'connecting'
  if (row.state.startsWith('window closed, data stuck')) return runClosedUponData(row, ground)
  const { socket, peer } = connecting ? { socket: new Socket() } : await ground.connect(row)
  const failed = new Promise((resolve) => {
    socket.once('error', (error) => resolve({ error, at: performance.now() }))
  })
  setRow(socket, row.set)
  if (!connecting) {
    socket.resume()
    await exchange(socket, peer)
  }
  const path = connecting ? {} : pathOf(socket)
  const { start, predicted } = await STATES[row.state]({ row, socket, peer, path, ground })
  const result = await Promise.race([failed, observe(row)])
  if (result) {
    const { error, at } = result
    return {
      predicted,
      measured: at - start,
      late: clock.since(start + predicted),
      error: `${error.code}, ${error.syscall}`,
    }
  }
  const alive = row.state.endsWith('alive') ? await stillWorks(socket, peer) : undefined
  socket.destroy()
  peer?.destroy()
  return { predicted, alive, observed: performance.now() - start }
}

/** What the process is late by because others have the processor is not the kernel's. */
const clock = new LoopClock()

/** When the peer's last segment came: keepalive counts from there. */
function lastHeard(socket) {
  const { lastAckReceivedMs, lastDataReceivedMs } = getTcpInfo(socket)
  return performance.now() - Math.min(lastAckReceivedMs, lastDataReceivedMs)
}

function sendEvery(peer, seconds) {
  const timer = setInterval(() => peer.write('x'), 1000 * seconds)
  peer.once('close', () => clearInterval(timer))
}

const observe = ({ until = OBSERVED }) => sleep(until * 1000, undefined, { ref: false })

/**
 * The slow reader reads at last: everything must arrive, however far retransmissions have backed
 * off: up to two minutes, and the next may be lost.
 */
async function stillWorks(socket, peer) {
  let read = peer.bytesRead
  peer.resume()
  const all = socket.bytesWritten
  for (let i = 0; i < 3000 && read < all && !socket.destroyed; i++) {
    await sleep(100)
    read = peer.bytesRead
  }
  return read === all && !socket.destroyed
}

const STATES = {
  async idle({ row, socket, path }) {
    unplug(socket)
    return { start: lastHeard(socket), predicted: predict(row.set, path).idle }
  },

  async 'in flight'({ row, socket, path }) {
    unplug(socket)
    socket.write('x')
    return { start: performance.now(), predicted: predict(row.set, path).unacknowledged }
  },

  async 'written into silence'({ row, socket, path }) {
    const { idle, unacknowledged } = predict(row.set, path)
    const start = performance.now()
    unplug(socket)
    await sleep(row.part * idle)
    const written = performance.now() - start
    socket.write('x')
    return { start, predicted: written + unacknowledged }
  },

  async 'we have ended, idle'({ row, socket, path }) {
    socket.end()
    await until(() => getTcpInfo(socket).state === 'FIN_WAIT2')
    unplug(socket)
    return { start: lastHeard(socket), predicted: predict(row.set, path).idle }
  },

  async 'our end in flight'({ row, socket, path }) {
    unplug(socket)
    socket.end()
    return { start: performance.now(), predicted: predict(row.set, path).unacknowledged }
  },

  async 'they have ended, idle'({ row, socket, peer, path }) {
    await theyEnd(socket, peer)
    unplug(socket)
    return { start: lastHeard(socket), predicted: predict(row.set, path).idle }
  },

  async 'they have ended, in flight'({ row, socket, peer, path }) {
    await theyEnd(socket, peer)
    unplug(socket)
    socket.write('x')
    return { start: performance.now(), predicted: predict(row.set, path).unacknowledged }
  },

  async 'zero window, dead'({ row, socket, peer }) {
    await closeWindow(socket, peer)
    const closed = performance.now()
    await sleep(row.closedFor * 1000)
    // From the last answer on, which is the last sign of life.
    await until(() => getTcpInfo(socket).lastAckReceivedMs < 50)
    const path = pathOf(socket)
    const { lastAckReceivedMs } = getTcpInfo(socket)
    unplug(socket)
    const { zeroWindow } = predict(row.set, path)
    const fromClosing = row.set.userTimeout || row.set.slowReader === 'end'
    return {
      start: fromClosing ? closed : performance.now() - lastAckReceivedMs,
      predicted: zeroWindow,
    }
  },

  async 'zero window, alive'({ row, socket, peer, path }) {
    await closeWindow(socket, peer)
    const ends = row.set.userTimeout || row.set.slowReader === 'end'
    return {
      start: performance.now(),
      predicted: ends ? predict(row.set, path).zeroWindow : null,
    }
  },

  /** Segments of the peer's arrive, or try to; of ours what the path lets through. */
  async 'in flight, the peer sends'({ row, socket, peer, path, ground }) {
    sendEvery(peer, row.every)
    ground.change(row.port, row.path)
    // Until a look has found that nothing waits.
    await sleep(2 * SWEEP_PERIOD)
    socket.write(Buffer.alloc(row.bytes ?? 1))
    return { start: performance.now(), predicted: predict(row.set, path).unacknowledged }
  },

  async connecting({ row, socket, ground }) {
    socket.connect(ground.silent(row))
    // Node sends the SYN in the next tick, which is late where many rows begin at once.
    await new Promise((resolve) => process.nextTick(resolve))
    return { start: performance.now(), predicted: predict(row.set).connecting }
  },
}

/**
 * A window that closes on data in flight cannot be ordered; on a lossy path a few
 * of many slow readers come into that state. The first one's cable is pulled.
 */
async function runClosedUponData(row, ground) {
  const candidates = []
  const add = async () => {
    const { socket, peer } = await ground.connect(row)
    const failed = new Promise((resolve) => {
      socket.once('error', (error) => resolve({ error, at: performance.now() }))
    })
    setRow(socket, row.set)
    socket.resume()
    socket.write(Buffer.alloc(TOO_MUCH))
    candidates.push({ socket, peer, failed, since: performance.now() })
  }
  const inState = ({ socket, since }) => {
    if (socket.destroyed || performance.now() - since < 3000) return false
    return isStuck(socket) && getTcpInfo(socket).lastAckReceivedMs < 50
  }
  for (let i = 0; i < 60; i++) await add()
  let found
  const deadline = performance.now() + 60_000
  while (!found && performance.now() < deadline) {
    await sleep(10)
    found = candidates.find(inState)
  }
  for (const { socket, peer } of candidates) {
    if (socket === found?.socket) continue
    socket.destroy()
    peer.destroy()
  }
  if (!found) throw new Error('no connection came into that state within a minute')
  const { rto, srtt } = pathOf(found.socket)
  const start = performance.now() - getTcpInfo(found.socket).lastAckReceivedMs
  const stuck = start - found.since
  unplug(found.socket)
  const { error, at } = (await Promise.race([found.failed, observe(row)])) ?? {}
  const { ms, rtoMax } = row.set
  const predicted = ms ? stuckTime(ms, stuck, rto, srtt) : twiceTheBound(rtoMax, row.rtt)
  if (!error) return { predicted, observed: performance.now() - start }
  return {
    predicted,
    measured: at - start,
    late: clock.since(start + predicted),
    error: `${error.code}, ${error.syscall}`,
  }
}

/**
 * tcp_rtx_probe0_timed_out(): the first of the retransmissions, each as late as the
 * timer wheel has it, by which the last answer is more than twice the bound ago. That
 * came an RTT after the retransmission it answered.
 */
function twiceTheBound(rtoMax, rtt) {
  const interval = expiry(0, rtoMax, 250)
  for (let elapsed = interval - rtt; ; elapsed += interval) {
    if (elapsed > 2 * rtoMax) return elapsed
  }
}

/**
 * The sweep, with stuck data: the retransmissions that must be unanswered are the farther apart
 * the longer it had been stuck, and the longer the silence lasts. The first is under way.
 */
function stuckTime(ms, stuck, rto, srtt) {
  const { silence } = planDeadPeerTimeout(ms)
  const rtoMax = rtoMaxForStuckData(silence, stuck, systemDefaults().retries2)
  let elapsed = expiry(0, rto, 250)
  for (let asked = 1; asked < probesForStuckData(silence); asked++)
    elapsed = expiry(elapsed, aheadOfSilence(rtoMax, elapsed - SWEEP_PERIOD / 2), 250)
  return Math.max(silence, elapsed + srtt + 200) + SWEEP_PERIOD
}

async function theyEnd(socket, peer) {
  const ended = new Promise((resolve) => socket.once('end', resolve))
  peer.end()
  await ended
}

/** Many live connections: how many have ended, and how many still work at the end. */
async function runMany(row, ground) {
  if (row.port) ground.change(row.port, row.path)
  const outcomes = await Promise.all(Array.from({ length: row.many }, () => live(row, ground)))
  const errors = outcomes.flatMap(({ error }) => error ?? [])
  return {
    predicted: null,
    observed: Math.min(...outcomes.map(({ observed }) => observed)),
    alive: outcomes.every(({ works }) => works),
    working: outcomes.filter(({ works }) => works).length,
    error: errors.length > 0 ? `${errors.length} ended: ${[...new Set(errors)]}` : undefined,
  }
}

async function live(row, ground) {
  const { socket, peer } = await ground.connect(row)
  let error
  let silence = 0
  const listening = setInterval(() => {
    if (!socket.destroyed) silence = getTcpInfo(socket).lastAckReceivedMs
  }, 250)
  socket.on('close', () => clearInterval(listening))
  socket.on('error', ({ code, syscall }) => {
    error = `${code}, ${syscall}, after ${(silence / 1000).toFixed(1)} s without an answer`
  })
  setRow(socket, row.set)
  socket.resume()
  await exchange(socket, peer)
  const start = performance.now()
  const works = await LIVES[row.state](
    socket,
    peer,
    () => performance.now() - start < OBSERVED * 1000,
    row,
  )
  const observed = performance.now() - start
  socket.destroy()
  peer.destroy()
  return { works, error, observed }
}

const LIVES = {
  async 'alive, quiet'(socket, peer, time) {
    while (time() && !socket.destroyed) await sleep(500)
    if (socket.destroyed || getTcpInfo(socket).state !== 'ESTABLISHED') return false
    await exchange(socket, peer)
    return true
  },

  async 'alive, talking'(socket, peer, time) {
    peer.on('data', (data) => peer.write(data))
    peer.resume()
    while (time() && !socket.destroyed) {
      socket.write(Buffer.alloc(100))
      await sleep(1000 * Math.random())
    }
    return !socket.destroyed && (await stillWorks(socket, peer))
  },

  async 'alive, the peer sends'(socket, peer, time, { every }) {
    peer.resume()
    sendEvery(peer, every)
    while (time() && !socket.destroyed) {
      socket.write(Buffer.alloc(5000))
      await sleep(2000 * Math.random())
    }
    return !socket.destroyed && (await stillWorks(socket, peer))
  },

  async 'alive, slow reader'(socket, peer, time) {
    await closeWindow(socket, peer)
    while (time() && !socket.destroyed) await sleep(500)
    return stillWorks(socket, peer)
  },
}
