/**
 * The kernel refuses what was set on a server, an agent or by installDefaults: every call
 * of these, with every error.
 */
import { describe, expect, test } from 'vitest'
import {
  CODES,
  CONNECTED,
  CONNECTING,
  expectTable,
  KEEPALIVE,
  type Row,
  refusing,
  type State,
  useShim,
  WAITING,
  WRITES,
} from './support/refusals.ts'

useShim()

describe.concurrent('a server', () => {
  test('that listens: thrown, and what it accepts has what `changed` says', async () => {
    const { rows, leaked } = await refusing<Row>(`
      const before = state(accepted)
      const rows = []
      for (const setter of ${JSON.stringify(WAITING)}) {
        const scene = async (arm) => {
          const target = await listen()
          arm()
          const error = thrownBy(() => SETTERS[setter](target))
          obey()
          const ends = await connected(target)
          const after = state(ends.accepted)
          ends.client.destroy()
          await closeOf(target.close())
          return error === undefined ? after : { setter, error: tell(error), before, after }
        }
        const wanted = await scene(() => {})
        const told = await refuseEach('setsockopt', async (arm) => {
          const row = await scene(arm)
          return row.error && { ...row, wanted }
        })
        rows.push(...told)
      }
      return rows
    `)
    expect(leaked).toBe(0)
    for (const setter of WAITING) expectTable(rows, setter, WRITES[setter] as string[])
  })

  test("that was set before it listens: its 'error', and it does not listen", async () => {
    const { rows, leaked } = await refusing<Row & { listening: boolean; listened: boolean }>(`
      const rows = []
      for (const setter of ${JSON.stringify(WAITING)}) {
        rows.push(...await refuseEach('setsockopt', async (arm) => {
          const target = net.createServer()
          SETTERS[setter](target)
          let listened = false, error
          target.on('listening', () => { listened = true })
          target.on('error', (reason) => { error = reason })
          arm()
          target.listen(0, '127.0.0.1')
          await new Promise(setImmediate)
          const { listening } = target
          if (listening) await closeOf(target.close())
          return error && { setter, error: tell(error), listening, listened }
        }))
      }
      return rows
    `)
    expect(leaked).toBe(0)
    for (const setter of WAITING) {
      const writes = WRITES[setter] as string[]
      const these = rows.filter((row) => row.setter === setter)
      expect(these.map(({ code, error }) => [code, error.option, error.changed])).toEqual(
        CODES.flatMap((code) => writes.map((option, at) => [code, option, writes.slice(0, at)])),
      )
      for (const { error, listening, code } of these) {
        expect(error).toMatchObject({ class: 'SocketOptionError', code, syscall: 'setsockopt' })
        expect(listening).toBe(false)
      }
    }
  })

  test('whose connections are older than its settings: each is destroyed with it', async () => {
    const { rows, leaked } = await refusing<Row>(`
      const before = state(accepted)
      const setter = 'setKeepalive, three fields'
      SETTERS[setter](accepted)
      const wanted = state(accepted)
      return refuseEach('setsockopt', async (arm) => {
        const target = await listen()
        const far = net.connect(target.address().port, '127.0.0.1').on('error', () => {})
        // It waits in the queue, as this loop does not turn.
        await new Promise(process.nextTick)
        SETTERS[setter](target)
        arm()
        let after, error
        target.on('connection', (socket) => {
          socket.destroy = (reason) => {
            if (reason) after ??= state(socket)
            return net.Socket.prototype.destroy.call(socket, reason)
          }
          socket.on('error', (reason) => { error = reason })
          setImmediate(() => socket.destroy())
        })
        await closeOf(far)
        await closeOf(target.close())
        return error && { setter, error: tell(error), before, after, wanted }
      })
    `)
    expect(leaked).toBe(0)
    expectTable(rows, 'setKeepalive, three fields', KEEPALIVE)
  })

  test('that does not report how many wait to be accepted: each of the next is set individually', async () => {
    const { rows } = await refusing<State[]>(`
      const target = await listen()
      const older = net.connect(target.address().port, '127.0.0.1').on('error', () => {})
      await new Promise(process.nextTick)
      refuse('getsockopt', 'EPERM')
      SETTERS['setKeepalive, three fields'](target)
      obey()
      const [first] = await once(target, 'connection')
      const second = (await connected(target)).accepted
      return [[state(first), state(second)]]
    `)
    const set = { TCP_KEEPIDLE: 60, TCP_KEEPINTVL: 10, TCP_KEEPCNT: 3, SO_KEEPALIVE: 1 }
    expect(rows[0]).toMatchObject([set, set])
  })
})

describe.concurrent("an agent: the request's 'error'", () => {
  interface AgentRow extends Row {
    reused: boolean
  }
  for (const reused of [false, true]) {
    test(reused ? 'on a connection that it reuses' : 'on a connection that it opens', async () => {
      const { rows, leaked } = await refusing<AgentRow>(`
        const http = require('node:http')
        const web = await listen(http.createServer((request, response) => response.end('here')))
        const setter = 'setKeepalive, three fields'
        const get = (agent) => new Promise((resolve) => {
          const request = http.get({ agent, port: web.address().port, host: '127.0.0.1' }, (response) => {
            response.resume().on('end', () => setImmediate(() => resolve({ reused: request.reusedSocket })))
          })
          request.on('error', (error) => resolve({ error: tell(error), reused: request.reusedSocket }))
        })
        return refuseEach('setsockopt', async (arm) => {
          const agent = new http.Agent({ keepAlive: true })
          if (${reused}) await get(agent)
          SETTERS[setter](agent)
          arm()
          const { error, reused } = await get(agent)
          agent.destroy()
          return error && { setter, error, reused }
        })
      `)
      expect(leaked).toBe(0)
      expect(rows.map(({ code, error }) => [code, error.option, error.changed])).toEqual(
        CODES.flatMap((code) => KEEPALIVE.map((name, at) => [code, name, KEEPALIVE.slice(0, at)])),
      )
      for (const { error, code, ...row } of rows) {
        expect(error).toMatchObject({ class: 'SocketOptionError', code, syscall: 'setsockopt' })
        expect(row.reused).toBe(reused)
      }
    })
  }
})

describe.concurrent('installDefaults never ends a connection', () => {
  interface DefaultsRow extends Row {
    echo: string
    published: number
    errors: number
  }

  for (const scope of ['client', 'server'] as const) {
    test(`${scope}: it goes on, each refusal is published, one warning per code`, async () => {
      const { rows, leaked } = await refusing<DefaultsRow | { warnings: string[] }>(`
        const setter = 'installDefaults'
        const before = state((await connected(server)).client)
        const refused = []
        require('node:diagnostics_channel').subscribe('tcp-keepalive:refused', ({ error }) => refused.push(error))
        const warnings = []
        process.on('warning', ({ code, message }) => warnings.push(code + ' ' + message.match(/setsockopt \\w+ (\\w+)/)[1]))
        const scene = async (arm) => {
          refused.length = 0
          const undo = library.installDefaults({ deadPeerTimeout: 20_000, scope: '${scope}' })
          arm()
          const echoing = await listen(net.createServer((socket) => socket.pipe(socket)))
          const ends = await connected(echoing)
          const socket = '${scope}' === 'client' ? ends.client : ends.accepted
          let errors = 0
          ends.client.on('error', () => errors++)
          ends.client.write('still here')
          const [echo] = await once(ends.client, 'data')
          obey()
          undo()
          const after = state(socket)
          ends.client.destroy()
          await closeOf(echoing.close())
          const [error] = refused
          return { setter, error: error && tell(error), published: refused.length, errors, echo: String(echo), before, after }
        }
        const { after: wanted } = await scene(() => {})
        const rows = await refuseEach('setsockopt', async (arm) => {
          const row = await scene(arm)
          return row.error && { ...row, wanted }
        })
        return [...rows, { warnings }]
      `)
      expect(leaked).toBe(0)
      const { warnings } = rows.pop() as { warnings: string[] }
      expect(warnings).toEqual(CODES.map((code) => `TCP_KEEPALIVE_REFUSED ${code}`))
      const told = rows as DefaultsRow[]
      for (const { echo, published, errors } of told) {
        expect({ echo, published, errors }).toEqual({ echo: 'still here', published: 1, errors: 0 })
      }
      if (scope === 'server') {
        expectTable(told, 'installDefaults', CONNECTING)
        return
      }
      expect(told.map(({ code, error }) => [code, error.option])).toEqual(
        CODES.flatMap((code) => [...CONNECTING, ...CONNECTED].map((option) => [code, option])),
      )
      for (const { nth, error, before, after, wanted } of told) {
        const isConnecting = nth <= CONNECTING.length
        // What bounded the connect does not stay: it would end a peer that only is slow.
        if (nth !== CONNECTING.length + 1) expect(after.TCP_USER_TIMEOUT).toBe(0)
        for (const option of KEEPALIVE) {
          const has = !isConnecting || error.changed.includes(option)
          expect(after[option]).toBe(has ? wanted[option] : before[option])
        }
      }
    })
  }
})

test.concurrent("if defaults are refused, their connect timeout is undone, and the socket's own settings remain", async () => {
  const { rows } = await refusing<State>(`
    const undo = library.installDefaults({ deadPeerTimeout: 20_000 })
    const socket = new net.Socket()
    setUserTimeout(socket, 50_000)
    refuse('setsockopt', 'EPERM', 2)
    socket.connect(server.address().port, '127.0.0.1')
    await once(socket, 'connect')
    obey()
    undo()
    return [state(socket)]
  `)
  expect(rows[0]).toMatchObject({ TCP_USER_TIMEOUT: 50_000, SO_KEEPALIVE: 0 })
})
