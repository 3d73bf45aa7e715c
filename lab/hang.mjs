#!/usr/bin/env node
/**
 * Connections that hang in every way there is, as `ss` shows them: docs/how-tcp-notices.md.
 *
 *     npm run lab -- hang 60      after 60 seconds of silence
 *     npm run lab -- hang end     when the kernel has given up the one in flight: a quarter of an hour
 *
 * Nothing is set but what is said: the times are those of this host.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { setKeepalive } from '../dist/index.js'
import { unplug } from '../dist/testing.js'

/** One connection, and its other end, which takes everything unless told otherwise. */
async function open(reads = true) {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect(server.address().port, '127.0.0.1')
  const [[peer]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')])
  peer.on('error', () => {})
  if (reads) peer.resume()
  return [socket, peer]
}

/** More than all buffers of both ends hold. */
function fill(socket) {
  for (let i = 0; i < 200; i++) socket.write(Buffer.alloc(65_536))
}

const cases = {
  async 'in flight, dead'() {
    const [socket] = await open()
    unplug(socket)
    socket.write('select 1'.padEnd(126))
    return socket
  },
  async 'idle, dead, nobody asks'() {
    const [socket] = await open()
    unplug(socket)
    return socket
  },
  async 'idle, dead, keepalive 10/5/9'() {
    const [socket] = await open()
    setKeepalive(socket, { idle: 10, interval: 5, count: 9 })
    unplug(socket)
    return socket
  },
  async 'held back by a live peer that does not read'() {
    const [socket] = await open(false)
    fill(socket)
    return socket
  },
  async 'held back, and then the peer died'() {
    const [socket] = await open(false)
    fill(socket)
    await sleep(1000)
    unplug(socket)
    return socket
  },
  async 'this program does not read'() {
    const [socket, peer] = await open()
    socket.once('readable', () => {})
    fill(peer)
    return socket
  },
}

const begin = performance.now()
const elapsed = () => `${Math.round((performance.now() - begin) / 1000)} s`
const opened = await Promise.all(
  Object.entries(cases).map(async ([name, make]) => [name, await make()]),
)
for (const [name, socket] of opened) {
  socket.on('error', ({ syscall, code }) =>
    console.log(`${name}: ${syscall} ${code} after ${elapsed()}`),
  )
}
const [[, inFlight]] = opened
const until = process.argv[2] ?? '30'
if (until === 'end') await new Promise((resolve) => inFlight.once('close', resolve))
else await sleep(Number(until) * 1000)

console.log(`After ${elapsed()}:`)
for (const [name, socket] of opened) {
  const filter = [
    'sport',
    '=',
    `:${socket.localPort}`,
    'and',
    'dport',
    '=',
    `:${socket.remotePort}`,
  ]
  const shown = socket.destroyed
    ? 'gone'
    : execFileSync('ss', ['-tnoiH', ...filter], { encoding: 'utf8' })
  console.log(`\n${name}\n${shown.replace(/ +/g, ' ').trim()}`)
}
process.exit()
