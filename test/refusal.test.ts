/**
 * The kernel refuses an option. A real one seldom does, so a shim around setsockopt()
 * and getsockopt() is preloaded into a process (support/refuse.c).
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'

const cc = spawnSync('cc', ['--version']).status === 0
const folder = mkdtempSync(join(tmpdir(), 'tcp-keepalive-'))
const shim = join(folder, 'refuse.so')

beforeAll(() => {
  if (!cc) return
  const source = join(__dirname, 'support', 'refuse.c')
  const built = spawnSync('cc', [
    '-shared',
    '-fPIC',
    '-Wall',
    '-Werror',
    '-o',
    shim,
    source,
    '-ldl',
  ])
  expect(built.stderr.toString()).toBe('')
})

beforeEach(({ skip }) => {
  if (process.platform !== 'linux') skip('the shim is made for Linux')
  if (!cc) skip('no C compiler (cc) to build the shim with')
})

afterAll(() => rmSync(folder, { recursive: true }))

/** How to refuse each option: level and number, as in the system's headers. In the order of writing. */
const OPTIONS = {
  TCP_USER_TIMEOUT: '6 18',
  TCP_KEEPIDLE: '6 4',
  TCP_KEEPINTVL: '6 5',
  TCP_KEEPCNT: '6 6',
  SO_KEEPALIVE: '1 9',
}
type Option = keyof typeof OPTIONS
const NAMES = Object.keys(OPTIONS) as Option[]
const KEEPALIVE_NAMES = NAMES.filter((name) => name !== 'TCP_USER_TIMEOUT')

type State = Record<Option, number>
const WANTED: State = {
  TCP_USER_TIMEOUT: 90_000,
  TCP_KEEPIDLE: 60,
  TCP_KEEPINTVL: 10,
  TCP_KEEPCNT: 3,
  SO_KEEPALIVE: 1,
}

interface Refusal {
  error: {
    class: string
    name: string
    message: string
    code: string
    errno: number
    syscall: string
    option: string
    changed: Option[]
  }
  before: State
  after: State
  afterwards: State
}

/** What a child has: a connected `socket`, `state()`, `refuse(rule)` and `tell(error)`. */
const PRELUDE = `
const { once } = require('node:events')
const { connect, createServer, Socket } = require('node:net')
const library = require('tcp-keepalive')
const { setKeepalive, setUserTimeout, getKeepalive, getUserTimeout } = library
const ALL = { idle: 60, interval: 10, count: 3 }
const state = (socket) => {
  const { enabled, idle, interval, count } = getKeepalive(socket)
  return {
    TCP_USER_TIMEOUT: getUserTimeout(socket),
    TCP_KEEPIDLE: idle,
    TCP_KEEPINTVL: interval,
    TCP_KEEPCNT: count,
    SO_KEEPALIVE: Number(enabled),
  }
}
const refuse = (rule) => {
  if (rule === undefined) delete process.env.REFUSE
  else process.env.REFUSE = rule
}
const tell = ({ constructor, name, message, code, errno, syscall, option, changed }) => ({
  class: constructor.name, name, message, code, errno, syscall, option, changed,
})
const thrownBy = (call) => {
  try { call() } catch (error) { return tell(error) }
  throw new Error('nothing was thrown')
}
const run = (main) => {
  const server = createServer((socket) => socket.on('error', () => {}))
  server.listen(0, '127.0.0.1', async () => {
    const { port } = server.address()
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    console.log(JSON.stringify(await main(socket, port)))
    process.exit()
  })
}
`

const inChild = <T>(main: string) =>
  answerOf<T>(`${PRELUDE}run(async (socket, port) => {${main}})`, { env: { LD_PRELOAD: shim } })

const changedBetween = (before: State, after: State) =>
  NAMES.filter((name) => before[name] !== after[name])

/** The documented error for the option, and `changed` is what the kernel really has changed. */
function expectRefusal(refusal: Refusal, option: Option, code: string, earlier: Option[]): void {
  expect(refusal.error).toEqual({
    class: 'SocketOptionError',
    name: 'SocketOptionError',
    message: expect.stringContaining(`setsockopt ${option} ${code}`),
    code,
    errno: -Number(constants.errno[code as keyof typeof constants.errno]),
    syscall: 'setsockopt',
    option,
    changed: earlier,
  })
  expect(changedBetween(refusal.before, refusal.after)).toEqual(earlier)
  for (const name of earlier) expect(refusal.after[name]).toBe(WANTED[name])
  for (const name of earlier) expect(refusal.error.message).toContain(name)
}

describe.concurrent('on a connected socket it is thrown', () => {
  const refusing = (option: Option, errno: number, call: string) =>
    inChild<Refusal>(`
      const before = state(socket)
      refuse('setsockopt ${OPTIONS[option]} ${errno}')
      const error = thrownBy(() => ${call})
      refuse()
      const after = state(socket)
      ${call}
      return { error, before, after, afterwards: state(socket) }
    `)

  for (const option of KEEPALIVE_NAMES) {
    test(`setKeepalive, ${option}: the options before it have changed, and no other`, async () => {
      const refusal = await refusing(option, 1, 'setKeepalive(socket, ALL)')
      const earlier = KEEPALIVE_NAMES.slice(0, KEEPALIVE_NAMES.indexOf(option))
      expectRefusal(refusal, option, 'EPERM', earlier)
      expect(refusal.afterwards).toEqual({ ...WANTED, TCP_USER_TIMEOUT: 0 })
    })
  }

  test('setUserTimeout', async () => {
    const refusal = await refusing('TCP_USER_TIMEOUT', 22, 'setUserTimeout(socket, 90_000)')
    expectRefusal(refusal, 'TCP_USER_TIMEOUT', 'EINVAL', [])
    expect(refusal.afterwards.TCP_USER_TIMEOUT).toBe(90_000)
  })

  test('what the call leaves alone is not among the changed', async () => {
    const refusal = await refusing('SO_KEEPALIVE', 1, 'setKeepalive(socket, { interval: 10 })')
    expectRefusal(refusal, 'SO_KEEPALIVE', 'EPERM', ['TCP_KEEPINTVL'])
  })

  test('MPTCP has no user timeout: the message says so', async () => {
    const refusal = await refusing('TCP_USER_TIMEOUT', 92, 'setUserTimeout(socket, 90_000)')
    expectRefusal(refusal, 'TCP_USER_TIMEOUT', 'ENOPROTOOPT', [])
    expect(refusal.error.message).toContain('MPTCP')
  })

  test('a system without the option at all: ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', async () => {
    const { error } = await refusing('TCP_USER_TIMEOUT', 38, 'setUserTimeout(socket, 90_000)')
    expect(error).toMatchObject({
      class: 'Error',
      code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
      message: expect.stringContaining('TCP_USER_TIMEOUT does not exist on this system'),
    })
  })

  test("what was refused is not held against Node's own calls", async () => {
    const idle = await inChild<number>(`
      refuse('setsockopt ${OPTIONS.SO_KEEPALIVE} 1')
      thrownBy(() => setKeepalive(socket, ALL))
      refuse()
      socket.setKeepAlive(true, 42_000)
      return getKeepalive(socket).idle
    `)
    expect(idle).toBe(42)
  })
})

describe.concurrent('a socket that had to wait is destroyed with it', () => {
  /** Reads the kernel at the last moment, which is when the library destroys the socket. */
  const waiting = (option: Option) =>
    inChild<Refusal & { errors: number; connected: boolean; destroyed: boolean }>(`
      const before = state(socket)
      const waiting = new Socket()
      let after
      waiting.destroy = (error) => {
        const rule = process.env.REFUSE
        refuse()
        after ??= state(waiting)
        refuse(rule)
        return Socket.prototype.destroy.call(waiting, error)
      }
      let errors = 0
      let connected = false
      waiting.on('connect', () => { connected = true })
      setUserTimeout(waiting, 90_000)
      setKeepalive(waiting, ALL)
      refuse('setsockopt ${OPTIONS[option]} 1')
      waiting.connect(port, '127.0.0.1')
      const error = await new Promise((resolve) => {
        waiting.on('error', (error) => { errors++; resolve(tell(error)) })
      })
      await once(waiting, 'close')
      refuse()
      return { error, before, after, errors, connected, destroyed: waiting.destroyed }
    `)

  for (const option of NAMES) {
    test(option, async () => {
      const refusal = await waiting(option)
      expectRefusal(refusal, option, 'EPERM', NAMES.slice(0, NAMES.indexOf(option)))
      expect(refusal).toMatchObject({ errors: 1, connected: false, destroyed: true })
    })
  }
})

describe.concurrent('reading is refused', () => {
  const reading = (option: Option, call: string) =>
    inChild<Refusal['error']>(`
      refuse('getsockopt ${OPTIONS[option]} 1')
      return thrownBy(() => ${call})
    `)

  for (const option of KEEPALIVE_NAMES) {
    test(`getKeepalive, ${option}`, async () => {
      expect(await reading(option, 'getKeepalive(socket)')).toMatchObject({
        class: 'SocketOptionError',
        code: 'EPERM',
        errno: -1,
        syscall: 'getsockopt',
        option,
        changed: [],
        message: `getsockopt ${option} EPERM`,
      })
    })
  }

  test('getUserTimeout', async () => {
    expect(await reading('TCP_USER_TIMEOUT', 'getUserTimeout(socket)')).toMatchObject({
      class: 'SocketOptionError',
      code: 'EPERM',
      syscall: 'getsockopt',
      option: 'TCP_USER_TIMEOUT',
    })
  })
})
