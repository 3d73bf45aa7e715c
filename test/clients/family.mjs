/**
 * One family of drivers (a file of drivers/), side by side, in one way: `register`, `option` or
 * `without`. Prints what each did as JSON. What is judged is in run.mjs.
 *
 * A driver is an entry of the file's `drivers`:
 *   server    whose port it gets: one of servers.mjs or of local-servers.mjs; none if it is one itself
 *   open      opens it: `{ port, ports, guard, onError }` → `{ query }`, its smallest query. `guard` sets a
 *             socket (or an agent) through the driver's own option; without it the driver is left alone.
 *             `onError` takes what the driver emits. `ports` has all of them, by name
 *   option    the driver's option, event or property that gives access to its socket, if it has one
 *   pause     how much later, in milliseconds, because the driver waits before it sends again; 0 unless said
 *   optionsOnly   no query: what the kernel has is all that is looked at
 *   story     instead of `open`: one sequence with a death in it, `{ port, ports, guard, cut, onError }` →
 *             what came of it in words. `cut()` silences every connection that it has opened,
 *             `cut({ forGood: true })` also those that it opens later: the server does not come back
 *   expects   what comes of the story with the library: the words, 'rejects' or 'stuck'
 *   uncaught  the exception that the driver leaves uncaught in this story: without a handler it ends the process
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  getKeepalive,
  getUserTimeout,
  isDeadPeerError,
  onDeadPeer,
  setDeadPeerTimeout,
} from '../../dist/index.js'
import { unplug } from '../../dist/testing.js'
import { localServers } from './local-servers.mjs'

const { family, way, ms, wait, load, ports } = JSON.parse(process.argv[2])
const { drivers } = await import(`./drivers/${family}.mjs`)

// The first use asks Node for its internals with a socket that goes nowhere: not in a driver's name.
setDeadPeerTimeout(new Socket(), ms)

/** Which test opens a socket; reconnects inherit it. */
const opening = new AsyncLocalStorage()
/** The tests whose server does not come back. */
const silenced = new WeakSet()
const { connect } = Socket.prototype
Socket.prototype.connect = function (...args) {
  const sockets = opening.getStore()
  sockets?.push(this)
  // Before what the driver writes at 'connect'.
  this.prependOnceListener('connect', () => {
    if (silenced.has(sockets)) unplug(this)
  })
  return Reflect.apply(connect, this, args)
}

/** An HTTP server for each opening: Node's own fetch has one pool for all, and an origin of its own keeps the tests apart. */
async function portFor(server) {
  if (server === undefined) return undefined
  if (server === 'http') return localServers.http()
  if (ports[server] === undefined) ports[server] = localServers[server]()
  return ports[server]
}

const guard = (target) => setDeadPeerTimeout(target, ms)
const describe = (error) =>
  error instanceof Error
    ? `${error.name}: ${error.code ?? ''} ${error.message}`.replaceAll('\n', ' ').slice(0, 120)
    : String(error)
const optionsOf = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })
const live = (sockets) => sockets.filter((socket) => !socket.destroyed && !socket.connecting)

/** What a promise comes to, and when; `undefined` when it has not within the time. */
async function settled(promise, within) {
  const start = performance.now()
  const outcome = promise.then(
    (value) => ({ resolved: true, value }),
    (error) => ({ resolved: false, error: describe(error), deadPeer: isDeadPeerError(error) }),
  )
  const result = await Promise.race([outcome, sleep(within, undefined, { ref: false })])
  return result && { ...result, after: Math.round(performance.now() - start) }
}

/** Opens a driver anew, with the sockets that it opens. */
async function open({ open, option, server }) {
  const sockets = []
  const emitted = []
  const onError = (error) => emitted.push(describe(error))
  const port = await portFor(server)
  const given = { port, ports, onError, ...(way === 'option' && option && { guard }) }
  return opening.run(sockets, async () => {
    const { query } = await open(given)
    return { query: query && (() => opening.run(sockets, async () => query())), sockets, emitted }
  })
}

/** Runs a driver's story: one sequence with a death in it. */
async function tell({ story, option, server }) {
  const sockets = []
  const emitted = []
  const onError = (error) => emitted.push(describe(error))
  const port = server && (await portFor(server))
  const silent = []
  const cut = ({ forGood = false } = {}) => {
    if (forGood) silenced.add(sockets)
    for (const socket of live(sockets)) {
      unplug(socket)
      silent.push(socket)
    }
  }
  const given = { port, ports, cut, onError, ...(way === 'option' && option && { guard }) }
  const running = opening.run(sockets, () => story(given))
  const outcome = await settled(running, 2 * wait)
  const died = silent.length > 0 && silent.every(({ destroyed }) => destroyed)
  return { outcome, died, emitted }
}

async function connectedSockets(sockets) {
  for (let i = 0; i < 100 && live(sockets).length === 0; i++) await sleep(50)
  return live(sockets)
}

/** Under TLS over a socket, the socket above it gets the error: by the local port. */
const overTls = new Map()
onDeadPeer(({ localPort, error }) => overTls.set(localPort, error))

/** Follows the sockets to their errors. */
function deaths(sockets) {
  const start = performance.now()
  return sockets.map((socket) => {
    const death = {}
    const port = socket.localPort
    // Not at 'close': mariadb and basic-ftp remove every listener.
    const timer = setInterval(() => {
      if (!socket.destroyed) return
      clearInterval(timer)
      const error = socket.errored ?? overTls.get(port)
      death.after = Math.round(performance.now() - start)
      death.deadPeer = isDeadPeerError(error)
      death.error = describe(error)
    }, 20)
    return death
  })
}

async function healthy(client) {
  const { query, sockets } = await open(client)
  await query()
  const before = live(sockets)
  // Such as one that asked for the server's version.
  const closedBefore = sockets.filter(({ destroyed }) => destroyed)
  const options = before.map(optionsOf)
  const end = performance.now() + load
  let queries = 0
  while (performance.now() < end) {
    await query()
    queries++
    // Busy, but not so that all drivers together starve what is timed beside them.
    await sleep(10)
  }
  // More may have been opened, as undici does; none may have gone.
  const gone = sockets
    .filter((socket) => socket.destroyed && !closedBefore.includes(socket))
    .map(({ errored }) => describe(errored))
  const optionsAfter = live(before).map(optionsOf)
  return { options, optionsAfter, queries, connections: before.length, gone }
}

const copyOf = (died) => died.map((death) => ({ ...death }))

async function inFlight(client) {
  const { query, sockets, emitted } = await open(client)
  await query()
  // Until the connection is back in its pool: undici would open another one.
  await sleep(300)
  const cut = live(sockets)
  for (const socket of cut) unplug(socket)
  const died = deaths(cut)
  const outcome = await settled(query(), wait + (client.pause ?? 0))
  const end = performance.now() + (client.pause ?? 0)
  do await sleep(100)
  while (performance.now() < end && died.some(({ after }) => after === undefined))
  return { outcome, died: copyOf(died), emitted }
}

async function idle(client) {
  const { query, sockets, emitted } = await open(client)
  await query()
  const cut = live(sockets)
  // What the query leaves unacknowledged is not idle.
  await sleep(300)
  for (const socket of cut) unplug(socket)
  const died = deaths(cut)
  for (const end = performance.now() + wait; performance.now() < end; await sleep(20)) {
    if (died.every(({ after }) => after !== undefined)) break
  }
  const dead = died.every(({ after }) => after !== undefined)
  return { died: copyOf(died), emitted, next: dead ? await settled(query(), 3000) : undefined }
}

const guarded = async (action) => {
  try {
    return await action()
  } catch (error) {
    return { failed: error.stack }
  }
}

const results = {}
const uncaught = []
process.on('uncaughtException', (error) => uncaught.push(describe(error)))
await Promise.all(
  Object.entries(drivers).map(async ([name, client]) => {
    if (way === 'option' && client.option === undefined) return
    if (client.story) {
      results[name] = { story: await guarded(() => tell(client)), expects: client.expects }
      return
    }
    if (client.optionsOnly) {
      const opened = await open(client)
      const sockets = await connectedSockets(opened.sockets)
      // After the driver's own calls.
      await sleep(100)
      results[name] = { options: live(sockets).map(optionsOf), optionsAfter: [] }
      return
    }
    const parts = [healthy, inFlight, idle].map((part) => guarded(() => part(client)))
    const [load, flight, quiet] = await Promise.all(parts)
    results[name] = { load, flight, quiet, options: load.options, optionsAfter: load.optionsAfter }
  }),
)
const ordered = Object.fromEntries(Object.keys(drivers).map((name) => [name, results[name]]))
process.stdout.write(`\n${JSON.stringify({ results: ordered, uncaught })}`, () => process.exit())
