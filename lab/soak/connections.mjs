// The connections of a soak: one end is set, by itself or by its server; both talk.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { setDeadPeerTimeout } from '../../dist/index.js'
import { TOO_MUCH } from '../support/namespace.mjs'

/** How many of a hundred connections are which. */
const KINDS = [
  { share: 30, set: 'client', slowReader: 'keep', tls: false },
  { share: 15, set: 'client', slowReader: 'end', tls: false },
  { share: 25, set: 'accepted', slowReader: 'keep', tls: false },
  { share: 10, set: 'accepted', slowReader: 'end', tls: false },
  { share: 10, set: 'client', slowReader: 'keep', tls: true },
  { share: 10, set: 'accepted', slowReader: 'keep', tls: true },
]

// A shared key is enough to have real TLS without certificates.
const psk = Buffer.alloc(16, 7)
const TLS_SERVER = { ciphers: 'PSK', pskCallback: () => psk }
const TLS_CLIENT = {
  ciphers: 'PSK',
  checkServerIdentity: () => undefined,
  pskCallback: () => ({ psk, identity: 'soak' }),
}

/** So many connect at the same time. */
const AT_ONCE = 100

/**
 * `count` connections whose set end has one of these times (ms), and the function
 * that closes what is left of them.
 */
export async function openConnections(count, times, random) {
  const servers = new Map()
  const connections = []
  const describe = () => {
    let share = random() * 100
    const kind = KINDS.find((each) => {
      share -= each.share
      return share < 0
    })
    return { ...kind, ms: times[Math.floor(random() * times.length)] }
  }
  const wanted = Array.from({ length: count }, describe)
  while (wanted.length > 0) {
    const some = wanted.splice(0, AT_ONCE)
    connections.push(...(await Promise.all(some.map((kind) => open(kind, servers)))))
  }
  const close = async () => {
    const ends = connections.flatMap(({ own, peer }) => [own, peer])
    const closed = ends.filter((end) => !end.closed).map((end) => once(end, 'close'))
    for (const end of ends) end.destroy()
    for (const { server } of servers.values()) closed.push(once(server.close(), 'close'))
    await Promise.all(closed)
  }
  return { connections, close }
}

async function open(kind, servers) {
  const { set, slowReader, tls, ms } = kind
  const { port, accepted } = await listening(kind, servers)
  const where = { port, host: '127.0.0.1', allowHalfOpen: true }
  const client = tls ? connectTls({ ...TLS_CLIENT, ...where }) : connect(where)
  let plan
  if (set === 'client') plan = setDeadPeerTimeout(client, ms, { slowReader })
  await once(client, tls ? 'secureConnect' : 'connect')
  const other = await accepted(client.localPort)
  const [own, peer] = set === 'client' ? [client, other.socket] : [other.socket, client]
  return talking({ ...kind, own, peer, plan: plan ?? other.plan })
}

/** A server of that kind; only an accepted end's server is set, and before it listens. */
async function listening(kind, servers) {
  const { set, slowReader, tls, ms } = kind
  const name = set === 'client' ? `unset ${tls}` : `${slowReader} ${tls} ${ms}`
  let entry = servers.get(name)
  if (entry === undefined) {
    const server = tls
      ? createTlsServer({ ...TLS_SERVER, allowHalfOpen: true })
      : createServer({ allowHalfOpen: true })
    const arrived = new Map()
    const plan = set === 'accepted' ? setDeadPeerTimeout(server, ms, { slowReader }) : undefined
    server.on(tls ? 'secureConnection' : 'connection', (socket) => {
      meet(arrived, socket.remotePort).resolve({ socket, plan })
    })
    server.listen(0, '127.0.0.1')
    entry = { server, arrived, ready: once(server, 'listening') }
    servers.set(name, entry)
  }
  await entry.ready
  const accepted = async (port) => {
    const result = await meet(entry.arrived, port).promise
    entry.arrived.delete(port)
    return result
  }
  return { port: entry.server.address().port, accepted }
}

/** Whichever end comes first. */
function meet(arrived, port) {
  if (!arrived.has(port)) {
    const meeting = {}
    meeting.promise = new Promise((resolve) => {
      meeting.resolve = resolve
    })
    arrived.set(port, meeting)
  }
  return arrived.get(port)
}

/** Counts what each end has said and heard, and what has happened to it. */
function talking(connection) {
  const { own, peer } = connection
  Object.assign(connection, { said: 0, heard: 0, peerSaid: 0, peerHeard: 0, touched: [] })
  own.on('data', ({ length }) => {
    connection.heard += length
  })
  peer.on('data', ({ length }) => {
    connection.peerHeard += length
  })
  for (const [name, end] of [
    ['own', own],
    ['peer', peer],
  ]) {
    end.on('error', (error) => {
      connection.touched.push(`${name} ${error.code}`)
      if (end === own) connection.death ??= { error, at: performance.now() }
    })
    end.on('end', () => connection.touched.push(`${name} end`))
    end.on('close', () => connection.touched.push(`${name} close`))
  }
  return connection
}

// Shared, so that the soak's own buffers do not hide what a connection leaves behind.
const PAYLOAD = Buffer.alloc(TOO_MUCH)

export function say(connection, length) {
  connection.own.write(PAYLOAD.subarray(0, length))
  connection.said += length
}

export function peerSays(connection, length) {
  connection.peer.write(PAYLOAD.subarray(0, length))
  connection.peerSaid += length
}

/** Whether everything that was said has been heard. */
export const quiet = ({ said, heard, peerSaid, peerHeard }) =>
  said === peerHeard && peerSaid === heard
