/**
 * Every system call of every setter and getter fails on a socket, with every error that
 * it could fail with. What comes of it is documented: which error, and `changed` is what
 * the kernel has. Few processes go through all combinations.
 */
import { describe, expect, test } from 'vitest'
import {
  CODES,
  CONNECTED,
  CONNECTING,
  errnoOf,
  expectTable,
  KEEPALIVE,
  type Row,
  refusing,
  useShim,
  WAITING,
  WRITES,
} from './support/refusals.ts'

useShim()

const TLS = `
  const { connect: connectTls, createServer: createTlsServer } = require('node:tls')
  const psk = Buffer.alloc(16, 7)
  const tlsServer = await listen(createTlsServer({ ciphers: 'PSK', pskCallback: () => psk }))
  const overTls = { ciphers: 'PSK', checkServerIdentity() {}, pskCallback: () => ({ psk, identity: 'test' }) }
`

describe.concurrent('a socket that has a descriptor: thrown', () => {
  const TARGETS: Record<string, string> = {
    'a client': 'const target = client, socket = client',
    'an accepted socket': 'const target = accepted, socket = accepted',
    'a TLS socket': `
      ${TLS}
      const target = connectTls({ port: tlsServer.address().port, ...overTls })
      await once(target, 'secureConnect')
      const socket = target
    `,
    'an http2 session': `
      const http2Server = await listen(require('node:http2').createServer())
      const target = require('node:http2').connect('http://127.0.0.1:' + http2Server.address().port)
      await once(target, 'connect')
      const { socket } = target
    `,
  }

  for (const [target, open] of Object.entries(TARGETS)) {
    test(`${target}: each of eight setters`, async () => {
      const { rows } = await refusing<Row>(`
        ${open}
        const rows = []
        for (const [setter, set] of Object.entries(SETTERS)) {
          reset(socket, setter)
          set(target)
          const wanted = state(socket)
          rows.push(...await refuseEach('setsockopt', (arm) => {
            reset(socket, setter)
            const before = state(socket)
            arm()
            const error = thrownBy(() => set(target))
            obey()
            return error && { setter, error: tell(error), before, after: state(socket), wanted }
          }))
        }
        return rows
      `)
      for (const [setter, writes] of Object.entries(WRITES)) expectTable(rows, setter, writes)
    })
  }
})

describe.concurrent('a socket that waits for its descriptor: destroyed with it', () => {
  const OPENERS: Record<string, string> = {
    'set before it connects': `(set) => {
      const socket = new net.Socket()
      set(socket)
      socket.connect(server.address().port, '127.0.0.1')
    }`,
    'set as it connects': "(set) => set(net.connect(server.address().port, '127.0.0.1'))",
    'set while its name is looked up': `(set) => set(net.connect({
      port: server.address().port,
      host: 'name.invalid',
      autoSelectFamily: true,
      lookup: (name, options, done) => setImmediate(done, null, [{ address: '127.0.0.1', family: 4 }]),
    }))`,
    TLS: "(set) => set(connectTls({ port: tlsServer.address().port, host: '127.0.0.1', ...overTls }))",
  }

  interface WaitingRow extends Row {
    errors: number
    connected: boolean
  }

  for (const [name, opener] of Object.entries(OPENERS)) {
    test(`${name}: three setters`, async () => {
      const { rows, leaked } = await refusing<WaitingRow>(`
        ${name === 'TLS' ? TLS : ''}
        const open = ${opener}
        const before = state((await connected(server)).client)
        const plan = library.planDeadPeerTimeout(20_000)
        const rows = []
        for (const setter of ${JSON.stringify(WAITING)}) {
          let wanted
          const scene = async (arm) => {
            let after, error, socket, isConnected = false, errors = 0
            open((opened) => {
              socket = opened
              // The last moment at which the kernel can be asked.
              socket.destroy = (reason) => {
                if (reason) after ??= state(socket)
                return net.Socket.prototype.destroy.call(socket, reason)
              }
              SETTERS[setter](socket)
              arm()
            })
            socket.on('error', (reason) => { error = reason; errors++ })
            socket.on('connect', () => {
              isConnected = true
              setImmediate(() => { wanted ??= error ? undefined : state(socket); socket.destroy() })
            })
            await closeOf(socket)
            return error && { setter, error: tell(error), errors, connected: isConnected, before, after }
          }
          await scene(() => {})
          const told = await refuseEach('setsockopt', scene)
          for (const row of told) row.wanted = { ...wanted }
          if (setter.startsWith('setDead')) {
            for (const row of told) if (row.nth <= ${CONNECTING.length}) row.wanted.TCP_USER_TIMEOUT = plan.connectTimeout
          }
          rows.push(...told)
        }
        return rows
      `)
      expect(leaked).toBe(0)
      for (const row of rows) expect(row.errors).toBe(1)
      const atOnce = rows.filter(({ nth }) => nth <= CONNECTING.length)
      for (const row of atOnce) expect(row.connected).toBe(false)
      expectTable(rows, 'setKeepalive, three fields', KEEPALIVE)
      expectTable(rows, 'setUserTimeout', ['TCP_USER_TIMEOUT'])
      expectTable(atOnce, "setDeadPeerTimeout, 'keep'", CONNECTING)
      // What bounds the connect is taken back when that is over.
      const later = rows.filter(({ nth }) => nth > CONNECTING.length)
      expect(later.map(({ error }) => [error.code, error.option])).toEqual(
        CODES.flatMap((code) => CONNECTED.map((option) => [code, option])),
      )
    })
  }
})

describe.concurrent('reading: thrown', () => {
  const READS: Record<string, string[]> = {
    getKeepalive: KEEPALIVE,
    getUserTimeout: ['TCP_USER_TIMEOUT'],
    getTcpInfo: ['TCP_INFO'],
    detectionTime: [],
  }

  test('each of four getters', async () => {
    const { rows } = await refusing<Row>(`
      const rows = []
      setKeepalive(client, { idle: 61, interval: 11, count: 4 })
      for (const getter of ['getKeepalive', 'getUserTimeout', 'getTcpInfo', 'detectionTime']) {
        const right = JSON.stringify(library[getter](client))
        rows.push(...await refuseEach('getsockopt', (arm) => {
          arm()
          const error = thrownBy(() => library[getter](client))
          obey()
          return error && { setter: getter, error: tell(error) }
        }))
      }
      return rows
    `)
    for (const [getter, options] of Object.entries(READS)) {
      const these = rows.filter(({ setter }) => setter === getter)
      if (getter !== 'detectionTime') {
        expect(these.map(({ code, error }) => [code, error.option])).toEqual(
          CODES.flatMap((code) => options.map((option) => [code, option])),
        )
      }
      expect(these.length).toBeGreaterThanOrEqual(CODES.length)
      for (const { code, error } of these) {
        expect(error).toMatchObject({
          class: 'SocketOptionError',
          message: expect.stringContaining(`getsockopt ${error.option} ${code}`),
          errno: errnoOf(code),
          syscall: 'getsockopt',
          changed: [],
        })
      }
    }
  })
})
