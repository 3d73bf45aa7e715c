// How a connection is brought into a state, its cable pulled, and when its error is due.
import { setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo, isDeadPeerError } from '../../dist/index.js'
import { unplug } from '../../dist/testing.js'
import { TOO_MUCH } from '../support/namespace.mjs'
import { until, windowCloses } from '../support/socket.mjs'
import { peerSays, quiet, say } from './connections.mjs'

const now = () => performance.now()

/** When the peer was last heard of. */
function lastSign({ own }) {
  const { lastAckReceivedMs, lastDataReceivedMs, receivedBytes } = getTcpInfo(own)
  const data = receivedBytes > 0 ? lastDataReceivedMs : Number.POSITIVE_INFINITY
  return now() - Math.min(lastAckReceivedMs, data)
}

/** Nothing under way, so that a state is nothing but itself. */
async function settled(connection) {
  while (!quiet(connection) || getTcpInfo(connection.own).unacknowledgedSegments > 0) await sleep(5)
}

/** Every state: pulls the cable, and says since when the peer is silent and what RTT adds. */
export const STATES = {
  idle(connection) {
    const since = lastSign(connection)
    return { plugIn: unplug(connection.own), since, added: 0 }
  },

  'in flight'(connection) {
    const { rttUs, rtoUs } = getTcpInfo(connection.own)
    const plugIn = unplug(connection.own)
    say(connection, 100)
    return { plugIn, since: now(), added: (2 * rttUs + rtoUs) / 1000 }
  },

  async 'zero window'(connection) {
    connection.peer.pause()
    say(connection, TOO_MUCH)
    await windowCloses(connection.own)
    const closed = now()
    const { rttUs, rtoUs } = getTcpInfo(connection.own)
    const since = connection.slowReader === 'end' ? closed : lastSign(connection)
    return {
      plugIn: unplug(connection.own),
      since,
      added: (2 * rttUs + rtoUs) / 1000,
      undo: () => connection.peer.resume(),
    }
  },

  async 'reading stopped'(connection) {
    connection.own.pause()
    peerSays(connection, TOO_MUCH)
    await windowCloses(connection.peer)
    const since = lastSign(connection)
    return { plugIn: unplug(connection.own), since, added: 0, undo: () => connection.own.resume() }
  },

  async 'we have ended'(connection) {
    connection.own.end()
    connection.saidAll = true
    await until(() => getTcpInfo(connection.own).state === 'FIN_WAIT2')
    const since = lastSign(connection)
    return { plugIn: unplug(connection.own), since, added: 0 }
  },

  async 'they have ended'(connection) {
    connection.peer.end()
    connection.peerSaidAll = true
    await until(() => connection.own.readableEnded)
    const since = lastSign(connection)
    return { plugIn: unplug(connection.own), since, added: 0 }
  },
}

/** States in which nothing waits to be acknowledged: keepalive asks. */
const PROBED = new Set(['idle', 'reading stopped', 'we have ended', 'they have ended'])

/**
 * An outage that the settings leave room for: keepalive's probes all fit into one that
 * lasts (count − 1) intervals; retransmissions double, so that the first after the outage may
 * come as late again.
 */
function endurable({ plan: { idle, interval, count }, ms, state, since }) {
  if (!PROBED.has(state)) return 0.4 * ms - 200
  const silent = now() - since
  return Math.max((count - 1) * interval * 1000, idle * 1000 - silent) * 0.9
}

/**
 * Pulls the cable in `state` and, where it is to be plugged in again, does that in time.
 * The outcome is on the connection: `since`, `due` and, after an error, `death`.
 */
export async function cut(connection, random) {
  await settled(connection)
  const { plugIn, since, added, undo } = await STATES[connection.state](connection)
  const { ms } = connection
  Object.assign(connection, {
    since,
    earliest: since + 0.7 * ms,
    latest: since + ms + 1000 + added,
  })
  if (connection.fate === 'plugged in again') {
    await sleep(random() * endurable(connection))
    plugIn()
    undo?.()
  } else {
    while (connection.death === undefined && now() < connection.latest + 1000) await sleep(20)
    undo?.()
  }
}

/** What is wrong with a connection whose peer was to die; nothing where all is well. */
export function faultOfDead({ death, earliest, latest, ms, since }) {
  if (death === undefined) return `no error ${((now() - since) / 1000).toFixed(1)} s after ${ms} ms`
  const { error, at } = death
  if (!isDeadPeerError(error) || error.errno !== -110 || error.syscall !== 'read') {
    return `${error.message} instead of read ETIMEDOUT`
  }
  if (at < earliest) return `${(earliest - at).toFixed(0)} ms too early`
  if (at > latest) return `${(at - latest).toFixed(0)} ms too late`
}

/** What is wrong with a connection that was to live, after one last exchange. */
export async function faultOfLiving(connection) {
  const { own, peer, saidAll, peerSaidAll } = connection
  const expected = [saidAll && 'peer end', peerSaidAll && 'own end'].filter(Boolean).join()
  if (connection.touched.join() !== expected) return connection.touched.join(', ')
  own.resume()
  peer.resume()
  if (!saidAll) say(connection, 10)
  if (!peerSaidAll) peerSays(connection, 10)
  const deadline = now() + 20_000
  while (!quiet(connection) && now() < deadline && !own.destroyed) await sleep(20)
  if (!quiet(connection)) return 'not everything arrives any more'
  if (connection.touched.join() !== expected) return connection.touched.join(', ')
}
