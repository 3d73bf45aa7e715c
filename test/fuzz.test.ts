/** Whatever comes: exactly that is in the kernel then, or a documented error is thrown and nothing has changed. */
import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { EventEmitter, once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { createRequire } from 'node:module'
import { connect, createServer, Server, Socket } from 'node:net'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import {
  type DeadPeerOptions,
  type DeadPeerPlan,
  type DefaultsOptions,
  detectionTime,
  getKeepalive,
  getTcpInfo,
  getUserTimeout,
  installDefaults,
  isDeadPeerError,
  type KeepaliveOptions,
  planDeadPeerTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
  systemDefaults,
  type Target,
} from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CASES, SEED } from './support/fuzz.ts'
import { listen } from './support/listen.ts'
import { connectedPair } from './support/pair.ts'
import {
  answer,
  anything,
  make,
  OfTheCaller,
  type Recipe,
  recipe,
  value,
} from './support/whatever.ts'

// ---------------------------------------------------------------- what the kernel has

interface Binding {
  readonly integers: ArrayBuffer
  get(descriptor: number, options: number): number
}
const nodeRequire = createRequire(join(__dirname, 'fuzz.test.ts'))
const binding = nodeRequire('node-gyp-build')(join(__dirname, '..')) as Binding

const FIELDS = ['userTimeout', 'rtoMax', 'idle', 'interval', 'count', 'keepalive'] as const
type State = Partial<Record<(typeof FIELDS)[number], number>>

const host = systemDefaults()
/** Linux before 6.15 has no TCP_RTO_MAX_MS. */
const ASKED = FIELDS.filter((field) => field !== 'rtoMax' || host.rtoMax !== undefined)

const fdOf = (target: object): number =>
  (target as { _handle?: { fd: number; _parent?: { fd: number } } })._handle?.fd ?? -1

/** Of a socket or a listener, not by way of what is tested. */
function stateOf(target: object): State {
  const options = ASKED.reduce((bits, field) => bits | (1 << FIELDS.indexOf(field)), 0)
  expect(binding.get(fdOf(target), options)).toBe(0)
  const integers = new Int32Array(binding.integers)
  return Object.fromEntries(ASKED.map((field) => [field, integers[FIELDS.indexOf(field)]]))
}

/** By a process that has nothing of this library. */
function secondOpinion(target: object): State {
  const { status, stdout } = spawnSync(
    'python3',
    [
      '-c',
      `import json, socket
s = socket.socket(fileno=3)
t = socket.IPPROTO_TCP
names = dict(userTimeout=(t, 18), rtoMax=(t, 44), idle=(t, 4), interval=(t, 5), count=(t, 6), keepalive=(1, 9))
print(json.dumps({k: s.getsockopt(*names[k]) for k in ${JSON.stringify(ASKED)}}))`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit', fdOf(target)], encoding: 'utf8' },
  )
  expect(status).toBe(0)
  return JSON.parse(stdout)
}
const PYTHON = process.platform === 'linux' && spawnSync('python3', ['--version']).status === 0

const CODES = [
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_OUT_OF_RANGE',
  'ERR_SOCKET_CLOSED',
  'ERR_SOCKET_NOT_CONNECTED',
  'ENOTSUP',
]

/** Of the documented kind, or thrown by an accessor, a trap or a revoked proxy of the caller's own. */
function expectDocumented(error: unknown): void {
  if (error instanceof OfTheCaller) return
  if (error instanceof TypeError && error.message.includes('proxy that has been revoked')) return
  expect(CODES, String((error as Error).stack)).toContain((error as { code?: string }).code)
}

/** What it returns, or undefined where a documented error was thrown. */
function tried<T>(call: () => T): { returned: T } | undefined {
  try {
    return { returned: call() }
  } catch (error) {
    expectDocumented(error)
    return undefined
  }
}

// ---------------------------------------------------------------- who is set, and who must not be

const open: AsyncDisposable[] = []
async function opened<T extends AsyncDisposable>(opening: Promise<T>): Promise<T> {
  const it = await opening
  open.push(it)
  return it
}
/** Whatever is set, by its kind, and where it is read. */
const subjects: [kind: string, target: Target, read: object][] = []
/** Nobody sets these. */
const controls: object[] = []
let untouched: State[] = []
let port = 0

beforeAll(async () => {
  const control = await opened(connectedPair())
  controls.push(control.client, control.accepted, control.server)
  setKeepalive(control.client, { idle: 61, interval: 11, count: 4 })
  setUserTimeout(control.client, 91_000)
  untouched = controls.map(stateOf)

  for (const family of [4, 6, 'mapped'] as const) {
    const { client, accepted, server } = await opened(connectedPair({ family }))
    subjects.push([`client ${family}`, client, client], [`accepted ${family}`, accepted, accepted])
    subjects.push([`listener ${family}`, server, server])
    subjects.push([`proxy ${family}`, new Proxy(client, {}), client])
  }
  const tls = await opened(connectedPair({ tls: true }))
  subjects.push(['TLS', tls.client, tls.client], ['accepted TLS', tls.accepted, tls.accepted])
  const http2 = await opened(listen(createHttp2Server()))
  const session = connectHttp2(`http://127.0.0.1:${http2.port}`)
  await once(session, 'connect')
  subjects.push(['http2 session', session, session.socket])
  const home = await opened(listen(createServer()))
  port = home.port
})
afterAll(async () => {
  for (const it of open) await it[Symbol.asyncDispose]()
})

function expectControls(): void {
  expect(controls.map(stateOf)).toEqual(untouched)
}

const runs = (share: number) => ({ numRuns: Math.ceil(CASES * share), seed: SEED })
const patience = 30_000 + 3 * CASES

// ---------------------------------------------------------------- options

const keepalive = fc.oneof(
  { weight: 5, arbitrary: recipe({ idle: value, interval: value, count: value }) },
  { weight: 1, arbitrary: fc.boolean() },
  { weight: 1, arbitrary: anything },
)
const slowReader = fc.oneof(fc.constantFrom('keep', 'end', undefined), value)
const deadPeer = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  { weight: 3, arbitrary: recipe({ slowReader }) },
  { weight: 1, arbitrary: anything },
)

const isRecipe = (made: unknown): made is Recipe =>
  typeof made === 'object' && made !== null && Object.hasOwn(made, 'properties')
const argument = (made: unknown): unknown => (isRecipe(made) ? make(made) : made)

const MAX = { idle: 32_767, interval: 32_767, count: 127 }

function afterKeepalive(before: State, options: unknown): State {
  const after: State = { ...before, keepalive: options === false ? 0 : 1 }
  for (const field of ['idle', 'interval', 'count'] as const) {
    const given = isRecipe(options) ? answer(options, field) : undefined
    if (given === undefined) continue
    // Nothing that the kernel would have cut or refused has got through.
    expect(Number.isInteger(given) && Number(given) >= 1 && Number(given) <= MAX[field]).toBe(true)
    after[field] = given as number
  }
  return after
}

function afterDeadPeer(before: State, plan: DeadPeerPlan): State {
  const { idle, interval, count, userTimeout, rtoMax, silence, ms } = plan
  const after: State = {
    ...before,
    idle,
    interval,
    count,
    userTimeout,
    keepalive: ms === 0 ? 0 : 1,
  }
  // While a sweep looks after the connection the bound is the host's until a window closes.
  if (host.rtoMax !== undefined) after.rtoMax = silence > 0 ? host.rtoMax : (rtoMax as number)
  return after
}

const call = fc.oneof(
  fc.record({ name: fc.constant('setKeepalive' as const), options: keepalive }),
  fc.record({ name: fc.constant('setUserTimeout' as const), ms: value }),
  fc.record({ name: fc.constant('setDeadPeerTimeout' as const), ms: value, options: deadPeer }),
)

test(
  'setters on everything that can be set: what is passed is in the kernel, or nothing has changed',
  () => {
    let accepted = 0
    let cases = 0
    fc.assert(
      fc.property(fc.nat({ max: subjects.length - 1 }), call, (index, given) => {
        const [, target, read] = subjects[index] as (typeof subjects)[number]
        const others = subjects
          .map(([, , other]) => other)
          .filter((other) => fdOf(other) !== fdOf(read))
        const neighbour = others[cases % others.length] as object
        const [before, beside] = [stateOf(read), stateOf(neighbour)]
        let after = before
        if (given.name === 'setKeepalive') {
          const options = argument(given.options) as KeepaliveOptions
          if (tried(() => setKeepalive(target, options)))
            after = afterKeepalive(before, given.options)
        } else if (given.name === 'setUserTimeout') {
          const ms = given.ms as number
          if (tried(() => setUserTimeout(target, ms))) after = { ...before, userTimeout: ms + 0 }
        } else {
          const options = argument(given.options) as DeadPeerOptions
          const done = tried(() => setDeadPeerTimeout(target, given.ms as number, options))
          if (done) after = afterDeadPeer(before, done.returned)
          if (done) expect(done.returned.ms).toBe((given.ms as number) + 0)
        }
        if (after !== before) accepted++
        const state = stateOf(read)
        expect(state).toEqual(after)
        expect(stateOf(neighbour)).toEqual(beside)
        expectControls()
        if (read instanceof Socket) {
          const { enabled, ...rest } = getKeepalive(read)
          expect({ keepalive: Number(enabled), ...rest }).toMatchObject(
            (({ idle, interval, count, keepalive }) => ({ idle, interval, count, keepalive }))(
              state,
            ),
          )
          expect(getUserTimeout(read)).toBe(state.userTimeout)
        }
        if (PYTHON && cases++ % 500 === 0) expect(secondOpinion(read)).toEqual(state)
      }),
      runs(0.5),
    )
    // Neither everything nor nothing gets through.
    expect(accepted).toBeGreaterThan(CASES / 20)
    expect(accepted).toBeLessThan(CASES / 2)
  },
  patience,
)

// ---------------------------------------------------------------- what is no target

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
  'a socket whose handle is a number': () => forged({ _handle: fdOf(controls[0] as object) }),
  'a socket whose handle is text': () => forged({ _handle: 'handle' }),
  'a socket with a handle of its own making': () =>
    forged({ _handle: { fd: fdOf(controls[0] as object) } }),
  'a socket whose handle throws': () =>
    Object.defineProperty(new Socket(), '_handle', { get: fail }),
  'a socket over a handle of its own making': () =>
    forged({ _handle: { fd: -1, _parent: { fd: fdOf(controls[0] as object) } } }),
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
  'a wrapper': () => ({ socket: controls[0] }),
  'a descriptor': () => fdOf(controls[0] as object),
  'a proxy of nothing': () => new Proxy({}, {}),
  'a proxy whose traps throw': () => new Proxy(new Socket(), { get: fail, getPrototypeOf: fail }),
}
function fail(): never {
  throw new OfTheCaller()
}

const datagram = createSocket('udp4').unref()
const overStream = new TLSSocket(new Duplex({ read() {}, write() {} })).on('error', () => {})
const pending = request({ host: '127.0.0.1', port: 1 }).on('error', () => {})
let unix: Socket
let overUnix: TLSSocket

beforeAll(async () => {
  // A socketpair of Unix-domain sockets, which needs no path.
  const { spawn } = await import('node:child_process')
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  unix = child.stdin as Socket
  overUnix = new TLSSocket(unix).on('error', () => {})
  open.push({
    async [Symbol.asyncDispose]() {
      child.kill()
    },
  })
})
afterAll(() => {
  datagram.close()
  overStream.destroy()
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
        expectControls()
      }),
      runs(0.2),
    )
    expect(refused).toBeGreaterThan(CASES / 10)
  },
  patience,
)

// ---------------------------------------------------------------- what only computes

function expectTimes(times: unknown): void {
  expect(Object.keys(times as object)).toEqual([
    'idle',
    'unacknowledged',
    'zeroWindow',
    'connecting',
    'worst',
  ])
  for (const time of Object.values(times as object)) {
    if (time !== null) expect(Number.isFinite(time) && time >= 0, JSON.stringify(times)).toBe(true)
  }
}

test(
  'planDeadPeerTimeout: a plan that the kernel takes, or a documented error',
  () => {
    fc.assert(
      fc.property(value, deadPeer, (ms, given) => {
        const done = tried(() =>
          planDeadPeerTimeout(ms as number, argument(given) as DeadPeerOptions),
        )
        if (done === undefined) return
        const {
          slowReader,
          idle,
          interval,
          count,
          userTimeout,
          connectTimeout,
          rtoMax,
          silence,
          detection,
        } = done.returned
        expect(done.returned.ms).toBe((ms as number) + 0)
        expect(slowReader).toBe(
          (isRecipe(given) ? answer(given, 'slowReader') : undefined) ?? 'keep',
        )
        const within = (least: number, most: number, ...numbers: number[]) => {
          for (const number of numbers)
            expect(Number.isInteger(number) && number >= least && number <= most).toBe(true)
        }
        within(1, 32_767, idle, interval)
        within(1, 127, count)
        within(0, 2 ** 31 - 1, userTimeout, connectTimeout, silence)
        if (rtoMax !== null) within(1000, 120_000, rtoMax)
        expectTimes(detection)
      }),
      runs(0.08),
    )
  },
  patience,
)

test(
  'detectionTime: milliseconds or null in each field, or a documented error',
  () => {
    const settings = recipe({
      ...{ enabled: value, idle: value, interval: value, count: value, userTimeout: value },
      ...{ connectTimeout: value, rtoMax: value, silence: value, ms: value, slowReader },
    })
    fc.assert(
      fc.property(
        fc.oneof({ weight: 4, arbitrary: settings }, { weight: 1, arbitrary: anything }),
        (given) => {
          const done = tried(() => detectionTime(argument(given) as object))
          if (done !== undefined) expectTimes(done.returned)
        },
      ),
      runs(0.08),
    )
  },
  patience,
)

const verdict = fc.oneof(
  fc.constantFrom(
    -110,
    -113,
    -112,
    -101,
    -104,
    -32,
    110,
    -(2 ** 53),
    Number.MIN_SAFE_INTEGER,
    'ETIMEDOUT',
  ),
  value,
)
const syscall = fc.oneof(fc.constantFrom('read', 'write', 'connect', 'getaddrinfo'), value)
const leaf = recipe({ errno: verdict, syscall, code: fc.constant('ETIMEDOUT'), cause: anything })
interface Made {
  of: unknown
  in?: 'cause' | 'errors'
}
const { error } = fc.letrec<{ error: Made }>((tie) => ({
  error: fc.oneof(
    { maxDepth: 4 },
    fc.record({ of: leaf }),
    fc.record({ of: anything }),
    fc.record({ of: tie('error'), in: fc.constant('cause' as const) }),
    fc.record({
      of: fc.oneof(fc.array(tie('error')), fc.sparseArray(tie('error'), { maxLength: 20 })),
      in: fc.constant('errors' as const),
    }),
  ),
}))
/** Anew for each look at it: an accessor may change its answer. */
function makeError(made: Made): unknown {
  if (made.in === 'cause') return { cause: makeError(made.of as Made) }
  if (made.in === 'errors') return { errors: (made.of as Made[]).map(makeError) }
  return argument(made.of)
}

/** By its definition, without its code. */
function isVerdict(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { errno, syscall, errors, cause } = error as Record<string, unknown>
  const dead = [-110, -113, -112, -101].includes(errno as number)
  if (dead && ['read', 'write', 'connect'].includes(syscall as string)) return true
  if (Array.isArray(errors)) return errors.length > 0 && [...errors].every(isVerdict)
  return isVerdict(cause)
}

test.skipIf(process.platform !== 'linux')(
  'isDeadPeerError (with the numbers of Linux): true or false, as its definition says',
  () => {
    let verdicts = 0
    fc.assert(
      fc.property(error, (given) => {
        const done = tried(() => isDeadPeerError(makeError(given)))
        expect(done).toEqual(tried(() => isVerdict(makeError(given))))
        if (done?.returned === true) verdicts++
      }),
      runs(0.1),
    )
    expect(verdicts).toBeGreaterThan(0)
  },
  patience,
)

test('systemDefaults takes no notice of what is passed', () => {
  fc.assert(
    fc.property(fc.array(anything, { maxLength: 3 }), (others) => {
      expect((systemDefaults as (...others: unknown[]) => unknown)(...others)).toEqual(host)
    }),
    runs(0.01),
  )
})

// ---------------------------------------------------------------- what is set later

/** Without accessors, as it is made several times and must be the same each time. */
const plain = (fields: Parameters<typeof recipe>[0]) =>
  recipe(fields).map(({ base, properties }) => ({
    base,
    properties: properties.map((property) => ({ ...property, way: 'data' as const })),
  }))
const defaults = fc.record(
  {
    keepalive: fc.oneof(plain({ idle: value, interval: value, count: value }), fc.boolean(), value),
    userTimeout: value,
    deadPeerTimeout: fc.oneof(value, plain({ ms: value, slowReader })),
    scope: fc.oneof(fc.constantFrom('client', 'server', 'all', undefined), value),
    filter: fc.oneof(
      { weight: 4, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: value },
    ),
  },
  { requiredKeys: [] },
)

/** What a socket that connects then has. */
async function connectedState(
  open: () => Socket = () => connect(port, '127.0.0.1'),
  before: (socket: Socket) => void = () => {},
): Promise<State> {
  const socket = open()
  before(socket)
  if (socket.pending && !socket.connecting) socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const state = stateOf(socket)
  socket.destroy()
  return state
}

/** As the setters have it on a socket of its own, in the order in which defaults add up. */
function setEach(
  target: Target,
  { keepalive, userTimeout, deadPeerTimeout }: DefaultsOptions,
): void {
  if (typeof deadPeerTimeout === 'number') setDeadPeerTimeout(target, deadPeerTimeout)
  else if (deadPeerTimeout) {
    const { ms, ...options } = deadPeerTimeout
    setDeadPeerTimeout(target, ms, options)
  }
  if (keepalive !== undefined) setKeepalive(target, keepalive)
  if (userTimeout !== undefined) setUserTimeout(target, userTimeout)
}

test(
  'installDefaults, a socket that is not connected, an agent: each as the setters, or as if nothing had been called',
  async () => {
    const bare = await connectedState()
    let installed = 0
    const makeOptions = (given: Record<string, unknown>) =>
      Object.fromEntries(
        Object.entries(given).map(([key, made]) => [key, argument(made)]),
      ) as DefaultsOptions
    await fc.assert(
      fc.asyncProperty(defaults, async (given) => {
        const done = tried(() => installDefaults(makeOptions(given)))
        const options = makeOptions({ ...given, scope: undefined, filter: undefined })
        try {
          if (done === undefined) {
            expect(await connectedState()).toEqual(bare)
            // Of three settings the good ones may have been set: only the first can tell.
            if (tried(() => setEach(new Socket(), options)) === undefined) return
          } else installed++
          const expected = await connectedState(undefined, (socket) => {
            socket.once('connect', () => setEach(socket, options))
          })
          const client = given.scope === undefined || given.scope !== 'server'
          if (done !== undefined && given.filter === undefined)
            expect(await connectedState()).toEqual(client ? expected : bare)
          done?.returned()
          const waiting = new Socket()
          expect(
            await connectedState(
              () => waiting,
              (socket) => setEach(socket, options),
            ),
          ).toEqual(expected)
          const agent = new Agent()
          setEach(agent, options)
          const { createConnection } = agent as unknown as {
            createConnection(options: { port: number; host: string }): Socket
          }
          const pooled = () => createConnection.call(agent, { port, host: '127.0.0.1' })
          expect(await connectedState(pooled)).toEqual(expected)
        } finally {
          done?.returned()
        }
        expect(await connectedState()).toEqual(bare)
        expectControls()
      }),
      runs(0.02),
    )
    expect(installed).toBeGreaterThan(0)
  },
  patience,
)
