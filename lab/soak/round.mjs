// One life of all connections: they open, talk, some die, the rest is asked, all close.
import { setTimeout as sleep } from 'node:timers/promises'
import { TOO_MUCH } from '../support/namespace.mjs'
import { openConnections, peerSays, say } from './connections.mjs'
import { cut, faultOfDead, faultOfLiving, STATES } from './victims.mjs'

/** Of all connections; the rest talks. */
const FATES = [
  { fate: 'dead', share: 0.06 },
  { fate: 'plugged in again', share: 0.04 },
  { fate: 'not reading', share: 0.02 },
]

/** What came of each connection, without the connections themselves. */
export async function round({ count, times, span, random, told }) {
  const { connections, close } = await openConnections(count, times, random)
  allotFates(connections, random)
  const victims = connections.filter(({ state }) => state !== undefined)
  const talkers = connections.filter(({ fate }) => fate !== 'not reading')
  const traffic = talk(talkers, random)
  for (const slow of connections) {
    if (slow.fate !== 'not reading') continue
    slow.peer.pause()
    say(slow, TOO_MUCH)
  }
  await Promise.all(
    victims.map(async (victim) => {
      await sleep(random() * span)
      victim.silent = true
      await cut(victim, random)
    }),
  )
  clearInterval(traffic)
  const results = await Promise.all(connections.map((connection) => outcome(connection, told)))
  await close()
  return results
}

/** Each state as often as the others, on connections chosen at random. */
function allotFates(connections, random) {
  const left = connections.map((connection) => ({ connection, order: random() }))
  left.sort((a, b) => a.order - b.order)
  const states = Object.keys(STATES)
  const { length } = connections
  for (const { fate, share } of FATES) {
    for (let i = 0; i < Math.round(share * length); i++) {
      // What 'end' asks for: a peer that does not read is ended, alive or not.
      const fits = ({ connection }) => fate !== 'not reading' || connection.slowReader === 'keep'
      const [{ connection }] = left.splice(left.findIndex(fits), 1)
      connection.fate = fate
      if (fate !== 'not reading') connection.state = states[i % states.length]
    }
  }
  for (const { connection } of left) connection.fate = 'talking'
}

/** Both ends of random connections say something, for each connection every two seconds or so. */
function talk(talkers, random) {
  const PERIOD = 50
  const each = Math.min(talkers.length / 2, 1000) / (1000 / PERIOD)
  return setInterval(() => {
    for (let i = 0; i < each; i++) {
      const connection = talkers[Math.floor(random() * talkers.length)]
      if (connection.silent) continue
      say(connection, 1 + Math.floor(random() * 4000))
      peerSays(connection, 1 + Math.floor(random() * 4000))
    }
  }, PERIOD)
}

async function outcome(connection, told) {
  const { fate, state, slowReader, set, tls, ms, since, death, own } = connection
  let fault = fate === 'dead' ? faultOfDead(connection) : await faultOfLiving(connection)
  if (fate === 'dead' && !fault && !told.sockets.has(own)) fault = 'not told on the channel'
  const took = death === undefined ? undefined : death.at - since
  return { fate, state, slowReader, set, tls, ms, took, fault }
}
