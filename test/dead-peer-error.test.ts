/** Which errors are the kernel's verdict on a peer, and which only look like it. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type LookupFunction, type Socket } from 'node:net'
import { getSystemErrorMap } from 'node:util'
import { isDeadPeerError, setUserTimeout } from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { describe, expect, test } from 'vitest'
import { runNode } from './support/child.ts'

/** As Node makes the errors of system calls. */
function system(code: string, syscall: string, more: object = {}): Error {
  const errno = [...getSystemErrorMap()].find(([, [name]]) => name === code)?.[0]
  if (errno === undefined) throw new Error(`this system has no ${code}`)
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall }, more)
}

/** As drivers make theirs: a class of their own, a message, fields. */
function own(name: string, message: string, fields: object = {}, cause?: unknown): Error {
  const error = new Error(message, cause === undefined ? {} : { cause })
  Object.defineProperty(error, 'name', { value: name })
  return Object.assign(error, fields)
}

const dead = () => system('ETIMEDOUT', 'read')
const attempt = (
  code: 'ETIMEDOUT' | 'ECONNREFUSED' | 'EHOSTUNREACH' | 'ENETUNREACH' | 'EADDRNOTAVAIL',
) => system(code, 'connect', { address: '203.0.113.1', port: 443 })
const aggregate = (...errors: Error[]) =>
  Object.assign(new AggregateError(errors), { code: (errors[0] as { code?: string })?.code })

/** As the constructor of its FetchError does. */
const nodeFetchError = ({ code, syscall, message }: { code?: string; syscall?: string } & Error) =>
  own('FetchError', `request to http://203.0.113.1/ failed, reason: ${message}`, {
    ...{ type: 'system', code, errno: code, erroredSysCall: syscall },
  })
/** sequelize has the same error under two names. */
const connectionError = (parent: Error) =>
  own('SequelizeConnectionError', parent.message, { parent, original: parent })
const databaseError = (parent: Error) =>
  own('SequelizeDatabaseError', parent.message, { parent, original: parent, sql: 'SELECT 1' })

const VERDICTS: [string, unknown][] = [
  ['Node: read ETIMEDOUT', dead()],
  ['Node: write ETIMEDOUT', system('ETIMEDOUT', 'write')],
  ['Node: connect ETIMEDOUT', attempt('ETIMEDOUT')],
  ['Node: read EHOSTUNREACH', system('EHOSTUNREACH', 'read')],
  ['Node: connect EHOSTUNREACH', attempt('EHOSTUNREACH')],
  ['Node: read EHOSTDOWN', system('EHOSTDOWN', 'read')],
  // A router's or a firewall's ICMP, which the retransmissions of a connection have outlasted.
  ...['ENETUNREACH', 'ECONNREFUSED', 'EACCES', 'ENOPROTOOPT'].flatMap((code) =>
    ['read', 'write'].map((syscall): [string, unknown] => [
      `Node: ${syscall} ${code}`,
      system(code, syscall),
    ]),
  ),
  [
    'Node: an AggregateError of several addresses, all of them silent',
    aggregate(attempt('ETIMEDOUT'), attempt('EHOSTUNREACH')),
  ],
  [
    'Node: an AggregateError, one address silent and no route to the others',
    aggregate(attempt('ENETUNREACH'), attempt('EADDRNOTAVAIL'), attempt('ETIMEDOUT')),
  ],
  ['fetch: TypeError with the cause', new TypeError('fetch failed', { cause: dead() })],
  [
    'fetch: TypeError with an AggregateError as its cause',
    new TypeError('fetch failed', { cause: aggregate(attempt('ETIMEDOUT'), attempt('ETIMEDOUT')) }),
  ],
  ["pg: the socket's error as it is", dead()],
  ['mysql2, mysql: the socket’s error, marked fatal', Object.assign(dead(), { fatal: true })],
  ["ioredis: the socket's error as it is", attempt('ETIMEDOUT')],
  ["redis: the socket's error as it is", dead()],
  ["amqplib: the socket's error as it is", dead()],
  [
    'mongodb: MongoNetworkError with the cause',
    own('MongoNetworkError', 'read ETIMEDOUT', { beforeHandshake: false }, dead()),
  ],
  [
    'mongodb: MongoServerSelectionError, two causes deep',
    own(
      'MongoServerSelectionError',
      'connect ETIMEDOUT 203.0.113.1:27017',
      { reason: { type: 'Unknown', servers: new Map() }, code: undefined },
      own(
        'MongoNetworkError',
        'connect ETIMEDOUT',
        { beforeHandshake: true },
        attempt('ETIMEDOUT'),
      ),
    ),
  ],
  ['sequelize: ConnectionError', connectionError(attempt('ETIMEDOUT'))],
  ['sequelize: DatabaseError', databaseError(dead())],
  [
    'mssql: RequestError over the error of tedious',
    own('RequestError', 'Connection lost - read ETIMEDOUT', {
      code: 'ESOCKET',
      originalError: own('ConnectionError', 'Connection lost', { code: 'ESOCKET' }, dead()),
    }),
  ],
  [
    'cassandra-driver: a request whose connection has ended',
    own('DriverError', 'Socket was closed', {
      isSocketError: true,
      innerError: own('DriverError', 'Socket was closed', { innerError: dead() }),
    }),
  ],
  ['node-fetch 3: the request', nodeFetchError(attempt('ETIMEDOUT'))],
  ['node-fetch 3: the body', nodeFetchError(dead())],
  ['node-fetch 3: read EHOSTUNREACH', nodeFetchError(system('EHOSTUNREACH', 'read'))],
  ['axios: the fields copied to its own error', own('AxiosError', 'read ETIMEDOUT', { ...dead() })],
  ['fields that crossed a worker: no Error any more', { ...attempt('ETIMEDOUT') }],
]

const LOOK_ALIKES: [string, unknown][] = [
  ['Node: ECONNRESET, the peer is there', system('ECONNRESET', 'read')],
  ['Node: EPIPE', system('EPIPE', 'write')],
  ['Node: connect ECONNREFUSED, the peer is there', attempt('ECONNREFUSED')],
  ['Node: connect ENETUNREACH, this host has no route', attempt('ENETUNREACH')],
  ['Node: connect EADDRNOTAVAIL, this host has no IPv6', attempt('EADDRNOTAVAIL')],
  ['Node: connect EACCES, a route or a firewall of this host', system('EACCES', 'connect')],
  ['Node: connect ENOPROTOOPT', system('ENOPROTOOPT', 'connect')],
  ['Node: EPROTO, as OpenSSL names its own', system('EPROTO', 'write')],
  ['a file that may not be opened', system('EACCES', 'open')],
  [
    'Node: an AggregateError, no route to any address',
    aggregate(attempt('ENETUNREACH'), attempt('EADDRNOTAVAIL')),
  ],
  ['fetch: no route', new TypeError('fetch failed', { cause: attempt('ENETUNREACH') })],
  ['sequelize: refused', connectionError(attempt('ECONNREFUSED'))],
  ['sequelize: no route', connectionError(attempt('ENETUNREACH'))],
  ['node-fetch 3: refused', nodeFetchError(attempt('ECONNREFUSED'))],
  ['node-fetch 3: no route', nodeFetchError(attempt('ENETUNREACH'))],
  ['node-fetch 3: a look-up that timed out', nodeFetchError(system('ETIMEDOUT', 'getaddrinfo'))],
  // It keeps the code alone: its errors and those of timers cannot be told apart.
  [
    'node-fetch 2',
    own('FetchError', 'request to http://203.0.113.1/ failed, reason: connect ETIMEDOUT', {
      ...{ type: 'system', code: 'ETIMEDOUT', errno: 'ETIMEDOUT' },
    }),
  ],
  ['Node: ECONNABORTED', system('ECONNABORTED', 'read')],
  ['Node: ENETDOWN, the trouble is at this end', system('ENETDOWN', 'connect')],
  ['Node: socket hang up', own('Error', 'socket hang up', { code: 'ECONNRESET' })],
  [
    "Node: the attempts' own timeout",
    own('Error', 'Socket connection timeout', { code: 'ERR_SOCKET_CONNECTION_TIMEOUT' }),
  ],
  [
    'Node: an AggregateError, one of them refused',
    aggregate(attempt('ETIMEDOUT'), attempt('ECONNREFUSED')),
  ],
  ['Node: an AggregateError of nothing', aggregate()],
  ['Node: AbortSignal.timeout()', new DOMException('aborted due to timeout', 'TimeoutError')],
  [
    'Node: getaddrinfo ENOTFOUND',
    own('Error', 'getaddrinfo ENOTFOUND db.test', {
      errno: -3008,
      code: 'ENOTFOUND',
      syscall: 'getaddrinfo',
      hostname: 'db.test',
    }),
  ],
  [
    'Node: getaddrinfo EAI_AGAIN',
    own('Error', 'getaddrinfo EAI_AGAIN', {
      errno: -3001,
      code: 'EAI_AGAIN',
      syscall: 'getaddrinfo',
    }),
  ],
  ['Node: a look-up that timed out', system('ETIMEDOUT', 'getaddrinfo')],
  [
    'Node: dns.resolve, ETIMEOUT',
    own('Error', 'queryA ETIMEOUT db.test', {
      errno: undefined,
      code: 'ETIMEOUT',
      syscall: 'queryA',
    }),
  ],
  ['Node: a datagram that could not be sent', system('EHOSTUNREACH', 'send')],
  ['Node: bind', system('ETIMEDOUT', 'bind')],
  [
    'fetch: undici’s connect timeout',
    new TypeError('fetch failed', {
      cause: own('ConnectTimeoutError', 'Connect Timeout Error', {
        code: 'UND_ERR_CONNECT_TIMEOUT',
      }),
    }),
  ],
  [
    'fetch: undici’s headers timeout',
    new TypeError('fetch failed', {
      cause: own('HeadersTimeoutError', 'Headers Timeout Error', {
        code: 'UND_ERR_HEADERS_TIMEOUT',
      }),
    }),
  ],
  [
    'fetch: the other side closed',
    new TypeError('fetch failed', {
      cause: own('SocketError', 'other side closed', { code: 'UND_ERR_SOCKET', socket: {} }),
    }),
  ],
  ['pg: connectionTimeoutMillis', own('Error', 'timeout expired')],
  ['pg: query_timeout', own('Error', 'Query read timeout')],
  ['pg: the server closed', own('Error', 'Connection terminated unexpectedly')],
  [
    'pg-pool: connectionTimeoutMillis',
    own(
      'Error',
      'Connection terminated due to connection timeout',
      {},
      own('Error', 'timeout expired'),
    ),
  ],
  // `errorno` is theirs; `errno` stays undefined.
  ...['mysql2', 'mysql', 'ioredis'].map((driver): [string, unknown] => [
    `${driver}: connectTimeout, which calls itself ETIMEDOUT`,
    own('Error', 'connect ETIMEDOUT', {
      errorno: 'ETIMEDOUT',
      code: 'ETIMEDOUT',
      syscall: 'connect',
    }),
  ]),
  [
    'mysql2: the timeout of a query',
    own('Error', 'Query inactivity timeout', {
      errorno: 'PROTOCOL_SEQUENCE_TIMEOUT',
      code: 'PROTOCOL_SEQUENCE_TIMEOUT',
      syscall: 'query',
    }),
  ],
  [
    "mysql2: the server's own error has a positive errno",
    own('Error', 'Lock wait timeout exceeded', { errno: 1205, code: 'ER_LOCK_WAIT_TIMEOUT' }),
  ],
  [
    'ioredis: socketTimeout',
    own('Error', "Socket timeout. Expecting data, but didn't receive any in 5000ms."),
  ],
  [
    'ioredis: MaxRetriesPerRequestError',
    own('MaxRetriesPerRequestError', 'Reached the max retries per request limit (which is 20).'),
  ],
  ['redis: ConnectionTimeoutError', own('Error', 'Connection timeout')],
  ['redis: SocketClosedUnexpectedlyError', own('Error', 'Socket closed unexpectedly')],
  [
    'mongodb: MongoNetworkTimeoutError, its own timer',
    own('MongoNetworkTimeoutError', 'connection 1 to 203.0.113.1:27017 timed out', {
      beforeHandshake: false,
    }),
  ],
  [
    'mongodb: MongoNetworkError, the server closed',
    own('MongoNetworkError', 'connection 1 to 203.0.113.1:27017 closed', {
      beforeHandshake: false,
    }),
  ],
  [
    'mongodb: MongoNetworkError, reset',
    own('MongoNetworkError', 'read ECONNRESET', {}, system('ECONNRESET', 'read')),
  ],
  // kafkajs keeps the code, but neither errno nor cause: its own timers cannot be told apart.
  [
    'kafkajs: KafkaJSConnectionError',
    own('KafkaJSConnectionError', 'Connection error: read ETIMEDOUT', {
      retriable: true,
      helpUrl: undefined,
      cause: undefined,
      broker: '203.0.113.1:9092',
      code: 'ETIMEDOUT',
    }),
  ],
  ['amqplib: timeout', own('Error', 'connect ETIMEDOUT')],
  ['amqplib: heartbeat', own('Error', 'Heartbeat timeout')],
  [
    'an errno that is a string',
    own('Error', 'read ETIMEDOUT', { errno: 'ETIMEDOUT', code: 'ETIMEDOUT', syscall: 'read' }),
  ],
  [
    "an errno with the kernel's own sign",
    own('Error', 'read ETIMEDOUT', { errno: 110, code: 'ETIMEDOUT', syscall: 'read' }),
  ],
  // What libuv makes of WSAENETRESET and WSAECONNABORTED on Windows.
  ['Windows: an unknown code', system('UNKNOWN', 'read')],
  ['Windows: a write that was aborted', system('ECANCELED', 'write')],
  ['no syscall', own('Error', 'read ETIMEDOUT', { errno: -110, code: 'ETIMEDOUT' })],
]

const NOTHING: [string, unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ['a string', 'read ETIMEDOUT'],
  ['a number', -110],
  ['a function', Object.assign(() => {}, { errno: -110, syscall: 'read' })],
  ['a plain error', new Error('read ETIMEDOUT')],
  ['an object', {}],
  ['a cause that is a string', new Error('failed', { cause: 'ETIMEDOUT' })],
]

describe('the kernel gave the peer up', () => {
  test.each(VERDICTS)('%s', (_name, error) => expect(isDeadPeerError(error)).toBe(true))
})

describe('it only looks like it', () => {
  test.each([...LOOK_ALIKES, ...NOTHING])('%s', (_name, error) =>
    expect(isDeadPeerError(error)).toBe(false),
  )

  test('causes that go round in circles', () => {
    const error = new Error('round')
    error.cause = new Error('and round', { cause: error })
    expect(isDeadPeerError(error)).toBe(false)
    const many = new AggregateError([])
    many.errors.push(many, many)
    expect(isDeadPeerError(many)).toBe(false)
  })

  test('a circle that a verdict hangs on', () => {
    const error: Record<string, unknown> = { original: { cause: {} }, parent: dead() }
    error.original = { parent: error }
    expect(isDeadPeerError(error)).toBe(true)
  })

  test('the same error in several places counts in each', () => {
    const one = dead()
    expect(isDeadPeerError(new AggregateError([one, connectionError(one), one]))).toBe(true)
  })

  const WRAPPERS = ['cause', 'original', 'parent', 'originalError', 'innerError']

  test('five ways on from each of a hundred levels: each object is looked at once', () => {
    let looks = 0
    let inner: object = {}
    for (let level = 0; level < 100; level++) {
      const next = inner
      inner = Object.fromEntries(WRAPPERS.map((name) => [name, next]))
      Object.defineProperty(inner, 'errno', { get: () => void looks++ })
    }
    expect(isDeadPeerError(inner)).toBe(false)
    expect(looks).toBe(100)
  })

  test('five ways on for ever, each to a new object: it comes to an end', () => {
    let looks = 0
    const endless = (): object =>
      Object.defineProperties(
        {},
        Object.fromEntries(
          WRAPPERS.map((name) => [
            name,
            {
              get() {
                looks++
                return endless()
              },
            },
          ]),
        ),
      )
    expect(isDeadPeerError(endless())).toBe(false)
    expect(looks).toBeLessThan(10_000)
  })
})

describe.concurrent('real ones', () => {
  const addresses =
    (...list: string[]): LookupFunction =>
    (_host, _options, callback) =>
      process.nextTick(
        callback,
        null,
        list.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      )
  const errorOf = async (emitter: NodeJS.EventEmitter): Promise<Error> =>
    (await once(emitter, 'error'))[0]

  test('several addresses, and none answers', async () => {
    const silent = await silentPort()
    const socket = connect({
      port: silent.port,
      host: 'a.test',
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: 300,
      lookup: addresses('127.0.0.1', '::ffff:127.0.0.1'),
    })
    setUserTimeout(socket, 1500)
    const error = await errorOf(socket)
    expect(error).toBeInstanceOf(AggregateError)
    expect(isDeadPeerError(error)).toBe(true)
    await silent.close()
  })

  test('several addresses, and the last one refuses', async () => {
    const silent = await silentPort()
    const socket = connect({
      port: silent.port,
      host: 'a.test',
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: 300,
      lookup: addresses('127.0.0.1', '127.0.0.2'),
    })
    setUserTimeout(socket, 1500)
    const error = await errorOf(socket)
    expect(error).toBeInstanceOf(AggregateError)
    expect((error as AggregateError).errors).toMatchObject([
      { code: 'ETIMEDOUT' },
      { code: 'ECONNREFUSED' },
    ])
    expect(isDeadPeerError(error)).toBe(false)
    await silent.close()
  })

  test('http.request', async () => {
    const silent = await silentPort()
    const pending = request({ host: '127.0.0.1', port: silent.port, agent: false })
    pending.on('socket', (socket) => setUserTimeout(socket, 1500))
    const error = await errorOf(pending.end())
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
    expect(isDeadPeerError(error)).toBe(true)
    await silent.close()
  })

  test('fetch', async () => {
    const silent = await silentPort()
    const set = (message: unknown) => {
      const { socket } = message as { socket: Socket }
      const { _host: host } = socket as unknown as { _host?: string }
      if (host === undefined || host === null) setUserTimeout(socket, 1500)
    }
    subscribe('net.client.socket', set)
    const error = await fetch(`http://127.0.0.1:${silent.port}`).catch((reason) => reason)
    unsubscribe('net.client.socket', set)
    expect(error).toBeInstanceOf(TypeError)
    expect(error.cause).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
    expect(isDeadPeerError(error)).toBe(true)
    await silent.close()
  })
})

describe('an error handler can always call it', () => {
  test('about what throws when it is looked at', () => {
    const { proxy, revoke } = Proxy.revocable([], {})
    revoke()
    const thrower = {
      get errno() {
        throw new Error('not yours')
      },
    }
    for (const error of [proxy, { errors: proxy }, thrower, { cause: thrower }]) {
      expect(isDeadPeerError(error)).toBe(false)
    }
  })

  test('for the first time when no file can be opened', async () => {
    const source = `
      const { openSync } = require('node:fs')
      const { isDeadPeerError } = require('tcp-keepalive')
      let error
      while (error === undefined) try { openSync('/dev/null') } catch (full) { error = full }
      const answer = isDeadPeerError(error)
      process.exitCode = error.code === 'EMFILE' && answer === false ? 7 : 1`
    const wrapper = ['sh', '-c', 'ulimit -n 100; exec "$0" "$@"']
    expect(await runNode(source, { wrapper })).toMatchObject({ code: 7, stderr: '' })
  })
})
