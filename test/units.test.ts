/** Values that are allowed, but most often mean another unit: set as told, and warned about once. */
import { describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'

interface Answer {
  warnings: { name: string; code: string; message: string }[]
  state: { idle: number; interval: number; userTimeout: number }
}

/** Runs calls on a connected socket of a fresh process, and gives its warnings. */
const warningsOf = (...calls: string[]) =>
  answerOf<Answer>(`
    const { connect, createServer } = require('node:net')
    const { setKeepalive, setUserTimeout, getKeepalive, getUserTimeout } = require('tcp-keepalive')
    const warnings = []
    process.on('warning', ({ name, code, message }) => warnings.push({ name, code, message }))
    const server = createServer().listen(0, '127.0.0.1', () => {
      const socket = connect(server.address().port, '127.0.0.1', () => {
        ${calls.join('\n')}
        const state = { ...getKeepalive(socket), userTimeout: getUserTimeout(socket) }
        setImmediate(() => {
          console.log(JSON.stringify({ warnings, state }))
          process.exit()
        })
      })
    })
  `)

const warning = (...words: string[]) => ({
  name: 'Warning',
  code: 'TCP_KEEPALIVE_UNIT',
  message: expect.stringMatching(new RegExp(`^tcp-keepalive: .*${words.join('.*')}`)),
})

describe.concurrent('a value that looks like the wrong unit is set as given, with a warning', () => {
  test('idle: 1000 to 9999 that 1000 divides', async () => {
    const { warnings, state } = await warningsOf('setKeepalive(socket, { idle: 3000 })')
    expect(state.idle).toBe(3000)
    expect(warnings).toEqual([
      warning('idle: 3000 is 3000 seconds', '50 minutes', 'first probe', '{ idle: 3 }'),
    ])
  })

  test('a user timeout of 1 to 999', async () => {
    const { warnings, state } = await warningsOf('setUserTimeout(socket, 30)')
    expect(state.userTimeout).toBe(30)
    expect(warnings).toEqual([warning('30 milliseconds', 'For 30 seconds, write 30000')])
  })

  test('the limits: 1000 and 9000 for idle, 999 for the user timeout', async () => {
    expect((await warningsOf('setKeepalive(socket, { idle: 1000 })')).warnings).toHaveLength(1)
    expect((await warningsOf('setKeepalive(socket, { idle: 9000 })')).warnings).toHaveLength(1)
    expect((await warningsOf('setUserTimeout(socket, 999)')).warnings).toHaveLength(1)
  })
})

describe.concurrent('once per process and field', () => {
  test('however often, and with whatever value', async () => {
    const { warnings } = await warningsOf(
      'setKeepalive(socket, { idle: 5000, interval: 10 })',
      'setKeepalive(socket, { idle: 6000, interval: 11 })',
      'setKeepalive(socket, { idle: 5000 })',
      'setUserTimeout(socket, 30)',
      'setUserTimeout(socket, 60)',
    )
    expect(warnings).toEqual([warning('idle: 5000'), warning('a user timeout of 30')])
  })

  test('a socket that is not connected yet counts', async () => {
    const { warnings } = await warningsOf(
      'setUserTimeout(new (require("node:net").Socket)(), 30)',
      'setUserTimeout(socket, 30)',
    )
    expect(warnings).toHaveLength(1)
  })
})

test('ordinary values never warn', async () => {
  const { warnings, state } = await warningsOf(
    'for (const idle of [7200, 3600, 75, 1, 60, 999, 1001, 1800, 5400, 10_001, 32767]) setKeepalive(socket, { idle })',
    'for (const interval of [75, 1, 10, 999]) setKeepalive(socket, { interval })',
    'for (const ms of [0, 1000, 1001, 90_000, 2 ** 31 - 1]) setUserTimeout(socket, ms)',
    'for (const count of [1, 3, 9, 127]) setKeepalive(socket, { count })',
    'setKeepalive(socket, { idle: 7200, interval: 75, count: 9 })',
  )
  expect(warnings).toEqual([])
  expect(state).toMatchObject({ idle: 7200, interval: 75, userTimeout: 2 ** 31 - 1 })
})

test('a plan is no mistake: its interval, and its idle, may be as large as the kernel takes', async () => {
  const ms = [20_000_000, 200_000_000, 2 ** 31 - 1]
  const { warnings, state } = await warningsOf(
    'const { installDefaults, setDeadPeerTimeout } = require("tcp-keepalive")',
    `for (const ms of ${JSON.stringify(ms)}) {`,
    '  setDeadPeerTimeout(socket, ms)',
    '  installDefaults({ deadPeerTimeout: ms })()',
    '}',
  )
  expect(warnings).toEqual([])
  expect(state.interval).toBeGreaterThan(1000)
})

test('what is refused does not warn', async () => {
  const { warnings } = await warningsOf(
    'try { setKeepalive(socket, { idle: 60_000 }) } catch {}',
    'try { setKeepalive(socket, { idle: 5000, count: 0 }) } catch {}',
    'try { setKeepalive(socket, { idle: 5000, interval: 5000 }) } catch {}',
    'try { setKeepalive(socket, { idle: 10_000 }) } catch {}',
    'try { setKeepalive(socket, true, 5000) } catch {}',
  )
  expect(warnings).toEqual([])
})
