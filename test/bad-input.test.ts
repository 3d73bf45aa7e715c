/** Wrong arguments: a clear error each, at once, and nothing set. */
import { createSocket } from 'node:dgram'
import EventEmitter, { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import {
  detectionTime,
  getKeepalive,
  getUserTimeout,
  installDefaults,
  type KeepaliveOptions,
  planDeadPeerTimeout,
  SocketOptionError,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
} from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { connectedPair, type Pair } from './support/pair.ts'

const TYPE = { class: TypeError, code: 'ERR_INVALID_ARG_TYPE' }
const VALUE = { class: TypeError, code: 'ERR_INVALID_ARG_VALUE' }
const RANGE = { class: RangeError, code: 'ERR_OUT_OF_RANGE' }
type Kind = typeof TYPE | typeof VALUE | typeof RANGE

/** Runs what must throw, and gives what was thrown. */
function thrownBy(call: () => unknown): Error & { code?: string } {
  try {
    call()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}

function expectError(error: Error & { code?: string }, kind: Kind, words: readonly string[]): void {
  expect(error).toBeInstanceOf(kind.class)
  expect(error.constructor).toBe(kind.class)
  expect(error.code).toBe(kind.code)
  expect(error.name).toBe(kind.class.name)
  for (const word of words) expect(error.message).toContain(word)
}

const stateOf = (socket: Socket) => ({
  ...getKeepalive(socket),
  userTimeout: getUserTimeout(socket),
})

const RANGES = {
  idle: 'a whole number of seconds from 1 to 32767',
  interval: 'a whole number of seconds from 1 to 999',
}
const PROBES = 'a whole number of probes from 1 to 127'
const OFF = 'setKeepalive(socket, false)'

const GOOD = { idle: 60, interval: 10, count: 3 }
const corrected = (fields: object) => {
  const { idle, interval, count } = { ...GOOD, ...fields }
  return `setKeepalive(socket, { idle: ${idle}, interval: ${interval}, count: ${count} })`
}

// value, error, what the message says
const seconds = (range: string): [unknown, Kind, string[]][] => [
  ['60', TYPE, ['a number of seconds', "'60' (string)"]],
  ['', TYPE, ["'' (string)"]],
  [60n, TYPE, ['60n (bigint)']],
  [null, TYPE, ['received null']],
  [true, TYPE, ['true (boolean)']],
  [{}, TYPE, ['{} (object)']],
  [[60], TYPE, ['[ 60 ] (object)']],
  [Symbol('x'), TYPE, ['Symbol(x) (symbol)']],
  [new Number(60), TYPE, ['an instance of Number']],
  [{ valueOf: () => 60 }, TYPE, ['(object)']],
  [Number.NaN, RANGE, [range, 'NaN (number)']],
  [Number.POSITIVE_INFINITY, RANGE, [range, 'Infinity']],
  [0, RANGE, [range, '0 (number)', OFF]],
  [-0, RANGE, [range, '-0 (number)', OFF]],
  [-1, RANGE, [range, '-1 (number)']],
  [2 ** 32 + 3, RANGE, [range, '4294967299']],
  [-(2 ** 32) + 3, RANGE, [range, '-4294967293']],
  [2 ** 53, RANGE, [range, '9007199254740992']],
]

const LARGE = 'The unit is seconds, not milliseconds'
const perSecondsField = (field: 'idle' | 'interval'): [unknown, Kind, string[]][] => [
  ...seconds(RANGES[field]),
  [1.5, RANGE, [RANGES[field], '1.5 (number)', `{ ${field}: 2 }`]],
  [0.5, RANGE, [RANGES[field], `{ ${field}: 1 }`]],
  [32768, RANGE, [RANGES[field], LARGE, `${field}: 33`]],
  // The other fields are GOOD's.
  [60_000, RANGE, [RANGES[field], LARGE, 'For 60000 ms write', corrected({ [field]: 60 })]],
  [10_000, RANGE, [RANGES[field], LARGE, 'For 10000 ms write', corrected({ [field]: 10 })]],
  [30_000, RANGE, [RANGES[field], LARGE, 'For 30000 ms write', corrected({ [field]: 30 })]],
  [32_000, RANGE, [RANGES[field], LARGE, 'For 32000 ms write', corrected({ [field]: 32 })]],
]
const mistakenIntervals: [unknown, Kind, string[]][] = [1000, 1001, 1500, 9999].map((ms) => [
  ms,
  RANGE,
  [RANGES.interval, LARGE, `For ${ms} ms write`, corrected({ interval: Math.round(ms / 1000) })],
])

const probes: [unknown, Kind, string[]][] = [
  ['3', TYPE, ['a number of probes', "'3' (string)"]],
  [3n, TYPE, ['3n (bigint)']],
  [null, TYPE, ['received null']],
  [Number.NaN, RANGE, [PROBES, 'NaN']],
  [2.5, RANGE, [PROBES, '2.5']],
  [0, RANGE, [PROBES, OFF]],
  [-3, RANGE, [PROBES, '-3']],
  [128, RANGE, [PROBES, '128']],
  [2 ** 32 + 3, RANGE, [PROBES, '4294967299']],
]

const MS = "a whole number of milliseconds from 0 (the kernel's default) to 2147483647"
const milliseconds: [unknown, Kind, string[]][] = [
  [
    '90000',
    TYPE,
    ['a number of milliseconds', "'90000' (string)", 'setUserTimeout(socket, 90_000)'],
  ],
  [90_000n, TYPE, ['90000n (bigint)']],
  [null, TYPE, ['received null']],
  [undefined, TYPE, ['received undefined']],
  [true, TYPE, ['true (boolean)']],
  [{ ms: 90_000 }, TYPE, ['(object)']],
  [[], TYPE, ['[] (object)']],
  [Number.NaN, RANGE, [MS, 'NaN']],
  [1500.5, RANGE, [MS, '1500.5']],
  [-1, RANGE, [MS, '-1']],
  [2 ** 31, RANGE, [MS, '2147483648']],
  [2 ** 32 + 3, RANGE, [MS, '4294967299']],
]

const EXAMPLE = '{ idle: 60, interval: 10, count: 3 }'
const options: [unknown, Kind, string[]][] = [
  [null, TYPE, ['true, false or an object', EXAMPLE, 'received null']],
  [undefined, TYPE, [EXAMPLE, 'received undefined']],
  [[], TYPE, [EXAMPLE, '[] (object)']],
  [[60, 10, 3], TYPE, [EXAMPLE, '[ 60, 10, 3 ]']],
  [60, TYPE, [EXAMPLE, '60 (number)']],
  ['on', TYPE, [EXAMPLE, "'on' (string)"]],
  [1n, TYPE, [EXAMPLE, '1n (bigint)']],
  [() => {}, TYPE, [EXAMPLE, '(function)']],
  [new Map([['idle', 60]]), TYPE, [EXAMPLE, 'an instance of Map']],
  [new Boolean(false), TYPE, [EXAMPLE, 'an instance of Boolean']],
  [
    { idle: 30_000, interval: 10_000 },
    RANGE,
    ['options.idle', LARGE, 'setKeepalive(socket, { idle: 30, interval: 10 })'],
  ],
  [
    { idle: 5000, interval: 10_000, count: 3 },
    RANGE,
    ['options.interval', LARGE, 'setKeepalive(socket, { idle: 5, interval: 10, count: 3 })'],
  ],
  [{ idel: 60 }, VALUE, ['options.idel', 'idle (seconds), interval (seconds) and count (probes)']],
  [{ Idle: 60 }, VALUE, ['options.Idle']],
  [{ idle: 60, intervall: 10 }, VALUE, ['options.intervall']],
  [{ idle: 60, userTimeout: 5000 }, VALUE, ['options.userTimeout']],
  [{ unknown: undefined }, VALUE, ['options.unknown']],
  [{ initialDelay: 60_000 }, VALUE, ['options.initialDelay', 'setKeepalive(socket, { idle: 60 })']],
  [{ initialDelay: 500 }, VALUE, ['milliseconds', 'setKeepalive(socket, { idle: 1 })']],
  [{ keepAliveInitialDelay: 30_000 }, VALUE, ['options.keepAliveInitialDelay', '{ idle: 30 }']],
  [
    { keepAlive: true, keepAliveInitialDelay: 30_000 },
    VALUE,
    ['options.keepAlive', '{ idle: 30 }'],
  ],
  [{ enable: true }, VALUE, ['options.enable', 'setKeepalive(socket, true)', 'seconds']],
  [{ enable: false, initialDelay: 5 }, VALUE, ['options.enable', OFF]],
  [
    { enable: true, initialDelay: 60_000, interval: 10_000, count: 3 },
    VALUE,
    [`setKeepalive(socket, ${EXAMPLE})`],
  ],
]

interface BadCall {
  name: string
  call: (socket: Socket) => void
  kind: Kind
  words: string[]
}

const text = (value: unknown) =>
  typeof value === 'string' ? `'${value}'` : typeof value === 'bigint' ? `${value}n` : show(value)
const show = (value: unknown) =>
  Object.is(value, -0)
    ? '-0'
    : typeof value === 'object' && value !== null
      ? `${value.constructor.name} ${JSON.stringify(value)}`
      : String(value)

const badCalls: BadCall[] = [
  ...(['idle', 'interval', 'count'] as const).flatMap((field) =>
    [
      ...(field === 'count' ? probes : perSecondsField(field)),
      ...(field === 'interval' ? mistakenIntervals : []),
    ].map(([value, kind, words]) => ({
      name: `setKeepalive(socket, { ${field}: ${text(value)} })`,
      // The other fields are good and differ from what is there: none of them may get through.
      call: (socket: Socket) =>
        setKeepalive(socket, { ...GOOD, [field]: value } as KeepaliveOptions),
      kind,
      words: [`options.${field}`, ...words],
    })),
  ),
  ...options.map(([value, kind, words]) => ({
    name: `setKeepalive(socket, ${text(value)})`,
    call: (socket: Socket) => setKeepalive(socket, value as KeepaliveOptions),
    kind,
    words,
  })),
  ...milliseconds.map(([value, kind, words]) => ({
    name: `setUserTimeout(socket, ${text(value)})`,
    call: (socket: Socket) => setUserTimeout(socket, value as number),
    kind,
    words,
  })),
]

describe.each(badCalls)('$name', ({ call, kind, words }) => {
  test('is refused, and nothing is set', async () => {
    await using pair = await connectedPair()
    const before = stateOf(pair.client)
    expectError(
      thrownBy(() => call(pair.client)),
      kind,
      words,
    )
    expect(stateOf(pair.client)).toEqual(before)
  })

  test('is refused at once on a socket that is not connected, and nothing is set later', async () => {
    await using pair = await connectedPair({
      prepare: (client) =>
        expectError(
          thrownBy(() => call(client)),
          kind,
          words,
        ),
    })
    expect(getKeepalive(pair.client).enabled).toBe(false)
    expect(stateOf(pair.client)).toEqual(stateOf(pair.accepted))
  })
})

/** What Node's positional form, or a guess, leaves over: [arguments, what the message says]. */
const tooMany: [string, unknown[], string[]][] = [
  ['setKeepalive', [true, 60_000, 10_000, 3], ['received 5', `setKeepalive(socket, ${EXAMPLE})`]],
  ['setKeepalive', [true, 60_000], ['60000 (number)', 'setKeepalive(socket, { idle: 60 })']],
  ['setKeepalive', [true, 7200, 75, 9], ['{ idle: 7200, interval: 75, count: 9 }']],
  ['setKeepalive', [true, 500, 1000], ['{ idle: 500, interval: 1 }']],
  ['setKeepalive', [true, '60s', null], ["'60s' (string), null", 'setKeepalive(socket, true)']],
  ['setKeepalive', [false, 60_000], [OFF]],
  ['setKeepalive', [60, 10, 3], [EXAMPLE]],
  ['setKeepalive', [60_000, 10_000, 3], [EXAMPLE]],
  ['setKeepalive', [{ idle: 60 }, 10, 3], [EXAMPLE, '10 (number), 3 (number)']],
  ['setKeepalive', [{ idle: 60 }, () => {}], [EXAMPLE, '(function)']],
  ['setUserTimeout', [90_000, 3], ['setUserTimeout(target, ms)', '3 (number)', 'milliseconds']],
  ['setUserTimeout', [90_000, undefined, {}], ['received 4', 'undefined, {} (object)']],
  [
    'setDeadPeerTimeout',
    [30_000, { slowReader: 'end' }, 3],
    ['(target, ms, options)', '3 (number)'],
  ],
  ['setDeadPeerTimeout', [30_000, undefined, 'end'], ["{ slowReader: 'keep' }", "'end' (string)"]],
]

describe.each(tooMany)('%s(socket, ...%j)', (name, more, words) => {
  const call = { setKeepalive, setUserTimeout, setDeadPeerTimeout }[name] as (
    ...all: unknown[]
  ) => void

  test('is refused, and nothing is set', async () => {
    await using pair = await connectedPair()
    const before = stateOf(pair.client)
    expectError(
      thrownBy(() => call(pair.client, ...more)),
      VALUE,
      ['no more than', `${name}(target`, ...words],
    )
    expect(stateOf(pair.client)).toEqual(before)
  })

  test('is refused at once on a socket that is not connected, and nothing is set later', async () => {
    await using pair = await connectedPair({
      prepare: (client) =>
        expectError(
          thrownBy(() => call(client, ...more)),
          VALUE,
          words,
        ),
    })
    expect(stateOf(pair.client)).toEqual(stateOf(pair.accepted))
  })
})

test('too many for what has no target', () => {
  const plan = planDeadPeerTimeout as (...all: unknown[]) => unknown
  expectError(
    thrownBy(() => plan(30_000, { slowReader: 'end' }, 3)),
    VALUE,
    ['no more than 2 arguments, planDeadPeerTimeout(ms, options)', '3 (number)'],
  )
  const install = installDefaults as (...all: unknown[]) => unknown
  expectError(
    thrownBy(() => install({ userTimeout: 90_000 }, { scope: 'all' })),
    VALUE,
    ['no more than 1 argument, installDefaults(options)', "scope: 'all'"],
  )
})

test('undefined is no argument too many, nor is what Array.map adds for a getter', async () => {
  await using pair = await connectedPair()
  const more = [undefined, undefined] as unknown as []
  setKeepalive(pair.client, GOOD, ...more)
  setUserTimeout(pair.client, 90_000, ...more)
  expect(stateOf(pair.client)).toEqual({ enabled: true, ...GOOD, userTimeout: 90_000 })
  setDeadPeerTimeout(pair.client, 30_000, undefined, ...more)
  planDeadPeerTimeout(30_000, undefined, ...more)
  installDefaults({ userTimeout: 90_000 }, ...more)()
  expect([pair.client].map(getKeepalive)).toEqual([getKeepalive(pair.client)])
})

test('installDefaults shows its own call', () => {
  const install = (keepalive: object) => () => installDefaults({ keepalive })
  const call = 'installDefaults({ keepalive: { idle: 30, interval: 10 } })'
  expectError(thrownBy(install({ idle: 30_000, interval: 10_000 })), RANGE, [LARGE, call])
  expectError(thrownBy(install({ initialDelay: 30_000, interval: 10_000 })), VALUE, [call])
  expectError(thrownBy(install({ count: 0 })), RANGE, ['installDefaults({ keepalive: false })'])
})

test('every good value is accepted', async () => {
  await using pair = await connectedPair()
  const field = (max: number) => fc.option(fc.integer({ min: 1, max }), { nil: undefined })
  fc.assert(
    fc.property(
      fc.record({
        idle: field(32767).filter((idle = 0) => idle < 10_000 || idle % 1000 !== 0),
        interval: field(999),
        count: field(127),
      }),
      fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      (fields, userTimeout) => {
        const before = stateOf(pair.client)
        setKeepalive(pair.client, fields)
        setUserTimeout(pair.client, userTimeout)
        const given = Object.entries(fields).filter(([, value]) => value !== undefined)
        const expected = { ...before, enabled: true, ...Object.fromEntries(given), userTimeout }
        expect(stateOf(pair.client)).toEqual(expected)
      },
    ),
    { numRuns: 3000 },
  )
})

// ---------------------------------------------------------------- what is no TCP socket

type Call = [name: string, call: (socket: Socket) => unknown]
const setters: Call[] = [
  ['setKeepalive', (socket) => setKeepalive(socket, GOOD)],
  ['setUserTimeout', (socket) => setUserTimeout(socket, 90_000)],
]
const getters: Call[] = [
  ['getKeepalive', getKeepalive],
  ['getUserTimeout', getUserTimeout],
  ['unplug', unplug],
]
const all = [...setters, ...getters]

describe('in place of a socket', () => {
  const datagram = createSocket('udp4')
  const strangers: [string, unknown, string[]][] = [
    ['null', null, ['received null']],
    ['undefined', undefined, ['received undefined']],
    ['a plain object', { fd: 5 }, ['{ fd: 5 } (object)']],
    ['a descriptor', 5, ['5 (number)', 'Descriptors are not accepted: pass the socket']],
    ['a string', '127.0.0.1:80', ["'127.0.0.1:80' (string)"]],
    ['a function', () => {}, ['(function)']],
    ['an array of sockets', [new Socket()], ['(object)']],
    ['a promise', Promise.resolve(), ['an instance of Promise']],
    ['a dgram socket', datagram, ['an instance of Socket', 'A datagram socket has no TCP options']],
    ['a class', Socket, ['(function)']],
    ['a wrapper of a socket', { socket: new Socket() }, ['Pass its socket property']],
    ['a wrapper of a server', { server: createServer() }, ['Pass its server property']],
    [
      'an express app',
      Object.assign(() => {}, { listen() {} }),
      ['Pass what its listen() returns'],
    ],
    ['a WebSocketServer', new WebSocketServer({ noServer: true }), ['request.socket']],
    ['a WebSocket', Object.create(WebSocket.prototype), ["'upgrade'", 'response.socket']],
    ["a driver's pool", new (class BoundPool extends EventEmitter {})(), ['docs/clients.md']],
    [
      'one whose accessors throw',
      Object.defineProperty(new EventEmitter(), 'socket', { get: () => JSON.parse('') }),
      ['an instance of EventEmitter'],
    ],
  ]
  describe.each(strangers)('%s', (_name, stranger, words) => {
    test.each(all)('%s says what it takes', (_name, call) => {
      const error = thrownBy(() => call(stranger as Socket))
      expectError(error, TYPE, ['Expected a net.Socket', ...words])
    })
  })

  test('an http request', () => {
    const pending = request({ host: '127.0.0.1', port: 1 }).on('error', () => {})
    for (const [, call] of all) {
      expectError(
        thrownBy(() => call(pending as unknown as Socket)),
        TYPE,
        ['ClientRequest', "request.on('socket'"],
      )
    }
    pending.destroy()
  })

  test.each(getters)('%s takes sockets only, no server', (_name, call) => {
    const error = thrownBy(() => call(createServer() as unknown as Socket))
    expectError(error, TYPE, ['an instance of Server', "the socket of its 'connection' event"])
  })

  const readers: Call[] = [...getters, ['detectionTime', detectionTime]]
  test.each(readers)('%s takes sockets only, no agent, no pool', (_name, call) => {
    const ofAgent = thrownBy(() => call(new Agent() as unknown as Socket))
    expectError(ofAgent, TYPE, ['an instance of Agent', "a request's 'socket' event"])
    const ofPool = thrownBy(() => call(new EventEmitter() as unknown as Socket))
    expectError(ofPool, TYPE, ['docs/clients.md'])
  })

  test('detectionTime of a server', () => {
    const error = thrownBy(() => detectionTime(createServer() as unknown as Socket))
    expectError(error, TYPE, ['or a net.Socket', "the socket of its 'connection' event"])
  })

  test('a number of arguments too small', () => {
    expect(() => (setKeepalive as unknown as () => void)()).toThrow(TypeError)
    expect(() => (setUserTimeout as unknown as () => void)()).toThrow(TypeError)
    expect(() => (getKeepalive as unknown as () => void)()).toThrow(TypeError)
  })
})

describe('a destroyed socket', () => {
  const closed = { code: 'ERR_SOCKET_CLOSED', message: expect.stringContaining('destroyed') }

  test.each(all)('%s: one that was connected', async (_name, call) => {
    let pair: Pair
    {
      await using ended = await connectedPair()
      pair = ended
      ended.client.destroy()
      expect(thrownBy(() => call(ended.client))).toMatchObject(closed)
    }
    expect(thrownBy(() => call(pair.client))).toMatchObject(closed)
    expect(thrownBy(() => call(pair.accepted))).toMatchObject(closed)
  })

  test.each(all)('%s: one that never was', (_name, call) => {
    expect(thrownBy(() => call(new Socket().destroy()))).toMatchObject(closed)
  })

  test.each(all)('%s: one whose handle is still open', async (_name, call) => {
    class Slow extends Socket {
      override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
        setTimeout(() => super._destroy(error, callback), 50)
      }
    }
    const server = createServer((accepted) => accepted.on('error', () => {}))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const socket = new Slow().connect((server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    expect(thrownBy(() => call(socket))).toMatchObject(closed)
    await once(socket, 'close')
    server.close()
  })

  test.each(all)('%s: under TLS', async (_name, call) => {
    await using pair = await connectedPair({ tls: true })
    pair.client.destroy()
    expect(thrownBy(() => call(pair.client))).toMatchObject(closed)
  })
})

describe('a Unix-domain socket', () => {
  async function unixPair() {
    const folder = mkdtempSync(join(tmpdir(), 'tcp-keepalive-'))
    const server = createServer().listen(join(folder, 'socket'))
    await once(server, 'listening')
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const client = connect(join(folder, 'socket'))
    const [[peer]] = await Promise.all([accepted, once(client, 'connect')])
    return {
      client,
      accepted: peer,
      [Symbol.dispose]() {
        client.destroy()
        peer.destroy()
        server.close()
        rmSync(folder, { recursive: true })
      },
    }
  }

  const options = {
    setKeepalive: 'TCP_KEEPIDLE',
    setUserTimeout: 'TCP_USER_TIMEOUT',
    getKeepalive: 'TCP_KEEPIDLE',
    getUserTimeout: 'TCP_USER_TIMEOUT',
  }

  test.each(all)('%s: ENOTSUP with its option', async (name, call) => {
    using pair = await unixPair()
    for (const socket of [pair.client, pair.accepted]) {
      const error = thrownBy(() => call(socket))
      expect(error).toBeInstanceOf(SocketOptionError)
      expect(error).toMatchObject({
        name: 'SocketOptionError',
        code: 'ENOTSUP',
        errno: -95,
        syscall: name.startsWith('set') ? 'setsockopt' : 'getsockopt',
        changed: [],
        message: expect.stringContaining('not a TCP socket'),
        ...(name in options && { option: options[name as keyof typeof options] }),
      })
    }
  })

  test('SO_KEEPALIVE, which the kernel would accept without effect', async () => {
    using pair = await unixPair()
    for (const on of [true, false]) {
      expect(thrownBy(() => setKeepalive(pair.client, on))).toMatchObject({
        code: 'ENOTSUP',
        option: 'SO_KEEPALIVE',
      })
    }
  })

  test('TLS over it', async () => {
    using pair = await unixPair()
    const over = new TLSSocket(pair.client).on('error', () => {})
    for (const [, call] of all) {
      expect(thrownBy(() => call(over))).toMatchObject({ code: 'ENOTSUP' })
    }
    over.destroy()
  })
})

describe('TLS over a stream', () => {
  const stream = () => new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })

  test.each(all)('%s says to pass the TCP socket', (_name, call) => {
    const socket = new TLSSocket(stream())
    expectError(
      thrownBy(() => call(socket)),
      VALUE,
      ['over a stream', 'Pass the TCP socket'],
    )
    socket.destroy()
  })
})
