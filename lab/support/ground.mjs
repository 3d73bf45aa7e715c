// Where the connections are made: a network namespace of its own with loopback
// and a path whose delay and loss can be chosen (link.py).
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

const INSIDE = 'TCP_KEEPALIVE_CONFORMANCE'

/** Runs this program again inside a namespace; true where it is inside already. */
export function insideNamespace() {
  if (process.env[INSIDE]) return true
  const flags = process.getuid() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net']
  const { status } = spawnSync(
    'unshare',
    [...flags, process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } },
  )
  process.exitCode = status ?? 1
  return false
}

const OURS = { 4: '10.77.0.1', 6: 'fd77::1' }
const THEIRS = { 4: '10.77.0.2', 6: 'fd77::2' }
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' }

/** Everything lost: nobody answers. */
const SILENT = 20_099

export async function openGround() {
  const python = process.env.PYTHON ?? 'python3'
  const script = fileURLToPath(new URL('link.py', import.meta.url))
  const link = spawn(python, [script, 'tun0', OURS[4], THEIRS[4], OURS[6], THEIRS[6]], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await Promise.race([
    once(link.stdout, 'data'),
    once(link, 'exit').then(() => Promise.reject(new Error(`${python} ${script} has ended`))),
  ])
  // Small buffers, so that a window closes within milliseconds and not after megabytes.
  writeFileSync('/proc/sys/net/ipv4/tcp_rmem', '4096 65536 65536')
  writeFileSync('/proc/sys/net/ipv4/tcp_wmem', '4096 65536 131072')

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
