// Where the connections are made: a network namespace of its own with loopback
// and a path whose delay and loss can be chosen (link.py).
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { smallBuffers } from './namespace.mjs'

const OURS = { 4: '10.77.0.1', 6: 'fd77::1' }
const THEIRS = { 4: '10.77.0.2', 6: 'fd77::2' }
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' }

/** Everything lost: nobody answers. */
const SILENT = 20_099

export async function openGround() {
  const python = process.env.PYTHON ?? 'python3'
  const script = join(import.meta.dirname, 'link.py')
  const link = spawn(python, [script, 'tun0', OURS[4], THEIRS[4], OURS[6], THEIRS[6]], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await Promise.race([
    once(link.stdout, 'data'),
    once(link, 'exit').then(() => Promise.reject(new Error(`${python} ${script} has ended`))),
  ])
  smallBuffers()

  const servers = new Map()
  const peers = new Map()
  // The two ends find each other by their ports, whichever comes first.
  const meeting = (key) => {
    if (!peers.has(key)) peers.set(key, withResolvers())
    return peers.get(key)
  }

  async function listen(port) {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (peer) => {
      peer.on('error', () => {})
      const family = peer.remoteAddress.includes('.') ? 4 : 6
      meeting(`${family} ${peer.localPort} ${peer.remotePort}`).resolve(peer)
    })
    server.listen({ port, host: '::', backlog: 2000 })
    await once(server, 'listening')
    return server.address().port
  }

  /** Where a connect over such a path goes; a path is the listening port's. */
  async function address({ family, rtt, loss, port: own }) {
    if (own !== undefined && !servers.has(own)) servers.set(own, listen(own))
    if (own !== undefined) return { host: THEIRS[family], port: await servers.get(own) }
    const port = rtt === 0 && loss === 0 ? 0 : 20_000 + (rtt / 20) * 100 + loss
    if (!servers.has(port)) servers.set(port, listen(port))
    return { host: (port === 0 ? LOOPBACK : THEIRS)[family], port: await servers.get(port) }
  }

  return {
    /** Nobody answers there. */
    silent: ({ family }) => ({ host: THEIRS[family], port: SILENT }),
    /** A row with a port of its own (from 20000 on): what its path is like from now on, as link.py has it. */
    change(port, path) {
      link.stdin.write(`${JSON.stringify({ port, ...path })}\n`)
    },
    /** A connection: our end, which is set, and the peer's. */
    async connect(row) {
      const socket = connect({ ...(await address(row)), allowHalfOpen: true, noDelay: true })
      await once(socket, 'connect')
      const key = `${row.family} ${socket.remotePort} ${socket.localPort}`
      const peer = await meeting(key).promise
      peers.delete(key)
      return { socket, peer }
    },
    /** How well the link kept up (link.py). */
    async close() {
      const said = once(link.stdout, 'data')
      link.stdin.end()
      return JSON.parse((await said)[0])
    },
  }
}

function withResolvers() {
  const result = {}
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }))
  return result
}
