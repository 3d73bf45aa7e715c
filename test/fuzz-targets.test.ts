/** Whatever is passed as a target: a documented error, and no socket is touched. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { EventEmitter } from 'node:events'
import { Agent, request } from 'node:http'
import { createServer, Server, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import {
  detectionTime,
  getKeepalive,
  getTcpInfo,
  getUserTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
  type Target,
} from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CASES, expectTimes, PATIENCE, runs, tried } from './support/fuzz.ts'
import { type Bystanders, bystanders, fdOf } from './support/kernel-state.ts'
import { anything, make, OfTheCaller, recipe, value } from './support/whatever.ts'

class ClientHttp2Session extends EventEmitter {}
const forged = (properties: object) => Object.assign(new Socket(), properties)

/** Made anew for each case, as some are changed by being set. */
const STRANGERS: Record<string, () => unknown> = {
  'a destroyed socket': () => new Socket().destroy(),
  'a socket that is not connected': () => new Socket(),
  'a server that does not listen': () => createServer(),
  'an agent': () => new Agent(),
  'a datagram socket': () => datagram,
  'a Unix-domain socket': () => unix,
  'TLS over a stream': () => overStream,
  'TLS over a Unix-domain socket': () => overUnix,
  'a request': () => pending,
  'the class': () => Socket,
  'its prototype': () => Socket.prototype,
  'an object that inherits from it': () => Object.create(Socket.prototype),
  'a server without a constructor': () => Object.create(Server.prototype),
  'a socket whose handle is a number': () => forged({ _handle: fdOf(beside.sockets[0] as object) }),
  'a socket whose handle is text': () => forged({ _handle: 'handle' }),
  'a socket with a handle of its own making': () =>
    forged({ _handle: { fd: fdOf(beside.sockets[0] as object) } }),
  'a socket whose handle throws': () =>
    Object.defineProperty(new Socket(), '_handle', { get: fail }),
  'a socket over a handle of its own making': () =>
    forged({ _handle: { fd: -1, _parent: { fd: fdOf(beside.sockets[0] as object) } } }),
  'a socket whose handle inherits from a real one': () =>
    forged({
      _handle: Object.create(
        Object.getPrototypeOf((unix as unknown as { _handle: object })._handle),
      ),
    }),
  'a session by name': () => new ClientHttp2Session(),
  'a session by name, with a socket': () => Object.assign(new ClientHttp2Session(), { socket: {} }),
  'an emitter without a constructor': () =>
    Object.assign(new EventEmitter(), { constructor: undefined }),
  'an emitter whose constructor throws': () =>
    Object.defineProperty(new EventEmitter(), 'constructor', { get: fail }),
  'an object whose constructor throws': () =>
    Object.defineProperty({}, 'constructor', { get: fail }),
  'an object whose socket throws': () => Object.defineProperty({}, 'socket', { get: fail }),
  'a wrapper': () => ({ socket: beside.sockets[0] }),
  'a descriptor': () => fdOf(beside.sockets[0] as object),
  'a proxy of nothing': () => new Proxy({}, {}),
  'a proxy whose traps throw': () => new Proxy(new Socket(), { get: fail, getPrototypeOf: fail }),
}
function fail(): never {
  throw new OfTheCaller()
}

const datagram = createSocket('udp4').unref()
const overStream = new TLSSocket(new Duplex({ read() {}, write() {} })).on('error', () => {})
const pending = request({ host: '127.0.0.1', port: 1 }).on('error', () => {})
let beside: Bystanders
let child: ChildProcess
let unix: Socket
let overUnix: TLSSocket

beforeAll(async () => {
  beside = await bystanders()
  // A socketpair of Unix-domain sockets, which needs no path.
  child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  unix = child.stdin as Socket
  overUnix = new TLSSocket(unix).on('error', () => {})
})
afterAll(async () => {
  child.kill()
  datagram.close()
  overStream.destroy()
  await beside[Symbol.asyncDispose]()
})

const stranger = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...Object.keys(STRANGERS)) },
  { weight: 1, arbitrary: fc.record({ other: anything }) },
  { weight: 1, arbitrary: recipe({ socket: anything, destroyed: value, _handle: anything }) },
)

const GETTERS = { getKeepalive, getUserTimeout, getTcpInfo, unplug, detectionTime }
const SETTERS = {
  setKeepalive: (target: Target) => setKeepalive(target, { idle: 7 }),
  setUserTimeout: (target: Target) => setUserTimeout(target, 7000),
  setDeadPeerTimeout: (target: Target) => setDeadPeerTimeout(target, 7000),
}
/** Set now, in force once there is a descriptor. */
const FOR_LATER =
  /not connected|not listen|an agent|inherits from it|without a constructor$|prototype/

test(
  'what is no target: a documented error, and no socket is touched',
  () => {
    let refused = 0
    const names = fc.constantFrom(...Object.keys({ ...GETTERS, ...SETTERS }))
    fc.assert(
      fc.property(stranger, names, (strange, name) => {
        const target =
          typeof strange === 'string'
            ? STRANGERS[strange]?.()
            : 'other' in strange
              ? strange.other
              : make(strange)
        const called = { ...GETTERS, ...SETTERS }[name] as (target: unknown) => unknown
        const done = tried(() => called(target))
        if (done === undefined) refused++
        else if (name === 'detectionTime') expectTimes(done.returned)
        else expect([name in SETTERS, strange]).toEqual([true, expect.stringMatching(FOR_LATER)])
        beside.expectUntouched()
      }),
      runs(0.17),
    )
    expect(refused).toBeGreaterThan(CASES / 10)
  },
  PATIENCE,
)
