/**
 * Nothing is left behind: no context that was thrown away, no copy that slows down the
 * next, no open handle, no module, no exception; and no timer that a fake clock can reach.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { answerOf, type Ended, run } from './support/child.ts'
import { PROCESS_MS } from './support/patience.mts'

const root = join(__dirname, '..')
const dist = join(root, 'dist')
const support = join(__dirname, 'support')
const [major] = process.versions.node.split('.').map(Number) as [number]

/** Runs something in a folder of its own, in which there are these files. */
async function inFolder<T>(
  files: Record<string, string>,
  action: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'left-behind-'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  try {
    return await action(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Jest as it comes, but for a transform that nothing here needs. */
function jest(files: Record<string, string>, flags: string[]): Promise<Ended> {
  const config = JSON.stringify({ jest: { testEnvironment: 'node', transform: {} } })
  return inFolder({ ...files, 'package.json': config }, (folder) => {
    const bin = join(root, 'node_modules', 'jest', 'bin', 'jest.js')
    const cache = ['--cacheDirectory', join(folder, 'cache')]
    return run([process.execPath, '--expose-gc', bin, '--runInBand', ...cache, ...flags], {
      cwd: folder,
    })
  })
}

/** A test file that holds 8 MB, as an application does, and connects once. */
const file = (use: { before?: string; set?: string; after?: string }): string => `
  const net = require('node:net')
  const { once } = require('node:events')
  const library = require(${JSON.stringify(join(dist, 'index.js'))})
  globalThis.held = Array.from({ length: 8 }, () => new Array(131072).fill(1))
  test('connects', async () => {
    ${use.before ?? ''}
    const server = net.createServer((peer) => peer.on('error', () => {}))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const socket = net.connect(server.address().port, '127.0.0.1')
    ${use.set ?? ''}
    await once(socket, 'connect')
    // Long enough to be watched.
    await new Promise((resolve) => setTimeout(resolve, 50))
    socket.destroy()
    await once(socket, 'close')
    server.close()
    ${use.after ?? ''}
  })
`

const FILES = 10
const USES = {
  'setDeadPeerTimeout on one socket': { set: 'library.setDeadPeerTimeout(socket, 5000)' },
  'setKeepalive alone, on one socket': { set: 'library.setKeepalive(socket, { idle: 60 })' },
  'setKeepalive on a server': { set: 'library.setKeepalive(server, { idle: 60 })' },
  'installDefaults, undone at the end': {
    before: "const undo = library.installDefaults({ deadPeerTimeout: 5000, scope: 'all' })",
    after: 'undo()',
  },
}

describe.concurrent('test files in one process, each with a copy of its own', () => {
  test.each(Object.entries(USES))('are forgotten when they are done: %s', async (_, use) => {
    const files = Object.fromEntries(
      Array.from({ length: FILES }, (_, i) => [`${i}.test.js`, file(use)]),
    )
    const ended = await jest(files, ['--logHeapUsage'])
    const heaps = [...ended.stderr.matchAll(/(\d+) MB heap size/g)].map(([, mb]) => Number(mb))
    expect(ended.stderr).toContain(`Tests:       ${FILES} passed`)
    expect(heaps).toHaveLength(FILES)
    // The last one is kept, and now and then one more until the next collection.
    const growth = Math.min(...heaps.slice(-3)) - Math.min(...heaps.slice(1, 4))
    // Each that was kept would be 8 MB and more.
    expect(growth / (FILES - 4)).toBeLessThan(2)
  })

  test('show no open handle to jest --detectOpenHandles', async () => {
    const ended = await jest({ 'one.test.js': file(USES['setDeadPeerTimeout on one socket']) }, [
      '--detectOpenHandles',
    ])
    expect(ended.stderr).toContain('Tests:       1 passed')
    expect(ended.stderr).not.toContain('TCPKEEPALIVE')
    expect(ended.stderr).not.toContain('open handle')
  })
})

interface Copies {
  /** Processor time of a connection, in microseconds, with one copy and with many. */
  one: number
  many: number
  /** Open descriptors with one copy and with many. */
  before: number
  after: number
  ofFirst: string[]
  ofLast: string[]
}

describe.concurrent('hundreds of copies in one process', () => {
  test.each([
    ['of one binary', []],
    ['and as many of the binary', ['binary']],
  ])('%s: connections cost what they did, dead peers are noticed', async (_, flags) => {
    const program = join(support, 'many-copies.cjs')
    const ended = await run([process.execPath, '--expose-gc', program, '300', ...flags])
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' })
    const { one, many, before, after, ofFirst, ofLast } = JSON.parse(ended.stdout) as Copies
    expect({ ofFirst, ofLast }).toEqual({
      ofFirst: ['read ETIMEDOUT', 'read ETIMEDOUT'],
      ofLast: ['read ETIMEDOUT', 'read ETIMEDOUT'],
    })
    expect(after - before).toBeLessThanOrEqual(1)
    expect(many / one).toBeLessThan(3)
  })
})

test.concurrent('what watches is there only while something is watched', async () => {
  const answer = await answerOf<Record<string, unknown>>(`
    const { once } = require('node:events')
    const { createHook } = require('node:async_hooks')
    const { readdirSync } = require('node:fs')
    const net = require('node:net')
    const { setTimeout: sleep } = require('node:timers/promises')
    const resources = new Map()
    createHook({
      init: (id, type) => resources.set(id, type),
      destroy: (id) => resources.delete(id),
    }).enable()
    const { setDeadPeerTimeout } = require('tcp-keepalive')
    const descriptors = () => readdirSync('/proc/self/fd').length
    const round = async (set) => {
      const server = net.createServer((peer) => peer.on('error', () => {}))
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const socket = net.connect(server.address().port, '127.0.0.1')
      set(socket)
      await once(socket, 'connect')
      await sleep(100)
      socket.destroy()
      await once(socket, 'close')
      server.close()
      await once(server, 'close')
      await sleep(100)
    }
    const main = async () => {
      await round(() => {})
      const before = descriptors()
      for (let i = 0; i < 3; i++) await round((socket) => setDeadPeerTimeout(socket, 5000))
      // It is closed a second after the last one.
      while (descriptors() > before) await sleep(50)
      console.log(JSON.stringify({
        descriptors: descriptors() - before,
        active: process.getActiveResourcesInfo().filter((type) => !/Pipe|FS/.test(type)),
        own: [...resources.values()].filter((type) => type.includes('KEEPALIVE')),
      }))
    }
    main()
  `)
  expect(answer).toEqual({ descriptors: 0, active: [], own: [] })
})

interface FakeClock {
  meanwhile: Record<string, string>
  setMeanwhile: Record<string, string>
  setAfterwards: Record<string, string>
  live: string
}

/** Dead peers are errors, under the fake clock and after it; a live one lives. */
function expectReal({ meanwhile, setMeanwhile, setAfterwards, live }: FakeClock): void {
  const both = { inFlight: 'read ETIMEDOUT', unread: 'read ETIMEDOUT' }
  expect({ meanwhile, setMeanwhile, setAfterwards, live }).toEqual({
    meanwhile: both,
    setMeanwhile: both,
    setAfterwards: both,
    live: 'alive',
  })
}

describe.concurrent('while a clock is fake, and afterwards, dead peers are noticed in real time', () => {
  const program = join(support, 'fake-clock.cjs')
  const kinds = [
    'sinon',
    'sinon, the time alone',
    'sinon, a time that stands still',
    'sinon, timers alone',
    'node:test',
  ]
  test.each(
    kinds.flatMap((kind) => [
      [kind, 'early'],
      [kind, 'late'],
    ]),
  )('%s, loaded %s', async (kind, when) => {
    const ended = await run([process.execPath, '--no-warnings', program, kind, when])
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' })
    expectReal(JSON.parse(ended.stdout) as FakeClock)
  })

  test.each([false, true])('jest.useFakeTimers, loaded late: %s', async (late) => {
    const install = `() => {
      jest.useFakeTimers()
      return { advance: (ms) => jest.advanceTimersByTime(ms), uninstall: () => jest.useRealTimers() }
    }`
    const source = `
      const { writeFileSync } = require('node:fs')
      const { run } = require(${JSON.stringify(program)})
      test('a test', async () => {
        process.stdout.write('<' + JSON.stringify(await run(${install}, ${late})) + '>')
      }, ${PROCESS_MS})
    `
    const ended = await jest({ 'fake.test.js': source }, [])
    expect(ended).toMatchObject({ code: 0, signal: null })
    expectReal(JSON.parse(/<(.*)>/.exec(ended.stdout)?.[1] ?? '') as FakeClock)
  })

  test.each([false, true])('vi.useFakeTimers, loaded late: %s', async (late) => {
    const source = `
      import { createRequire } from 'node:module'
      import { writeFileSync } from 'node:fs'
      import { test, vi } from 'vitest'
      const { run } = createRequire(import.meta.url)(${JSON.stringify(program)})
      const install = () => {
        vi.useFakeTimers()
        return { advance: (ms) => vi.advanceTimersByTime(ms), uninstall: () => vi.useRealTimers() }
      }
      test('a test', async () => {
        process.stdout.write('<' + JSON.stringify(await run(install, ${late})) + '>')
      }, ${PROCESS_MS})
    `
    const ended = await inFolder({ 'fake.test.mjs': source }, (folder) => {
      mkdirSync(join(folder, 'node_modules'))
      symlinkSync(join(root, 'node_modules', 'vitest'), join(folder, 'node_modules', 'vitest'))
      const bin = join(root, 'node_modules', 'vitest', 'vitest.mjs')
      // What this vitest sets is not for that one.
      const names = Object.keys(process.env).filter((name) => name.startsWith('VITEST'))
      return run([process.execPath, bin, 'run', '--root', folder], {
        cwd: folder,
        env: Object.fromEntries(names.map((name) => [name, undefined])),
      })
    })
    expect(ended).toMatchObject({ code: 0, signal: null })
    expectReal(JSON.parse(/<(\{.*\})>/.exec(ended.stdout)?.[1] ?? '') as FakeClock)
  })
})

describe.concurrent('register loads no module that the program has not asked for', () => {
  const register = join(dist, 'register.js')
  const PRINT = 'process.on("exit", () => console.log(JSON.stringify(process.moduleLoadList)));'
  const CONNECT = `
    const net = require('node:net')
    const server = net.createServer().listen(0, () => {
      const socket = net.connect(server.address().port, '127.0.0.1', () => {
        // Long enough to be watched.
        setTimeout(() => socket.destroy().on('close', () => process.exit()), 60)
      })
    })
  `
  const loaded = async (source: string, flags: string[] = []) => {
    const list = await answerOf<string[]>(PRINT + source, { flags })
    return new Set(list)
  }
  const more = async (source: string, without = source) => {
    const [those, these] = await Promise.all([
      loaded(without),
      loaded(source, ['--require', register]),
    ])
    return [...these].filter((name) => !those.has(name)).sort()
  }
  /** What this library itself needs; the first are those that node-gyp-build asks for. */
  const NEEDED = ['fs', 'os', 'path', 'net', 'events', 'util', 'async_hooks', 'diagnostics_channel']

  test('one with a connection: node:os, for the binary, and nothing that it brings along', async () => {
    expect(await more(CONNECT)).toEqual(['Internal Binding os', 'NativeModule os'])
  })

  test('one that has nothing: no TLS, HTTP, DNS or crypto, no more than these few and what they bring along', async () => {
    const few = NEEDED.map((name) => `require('node:${name}');`).join('')
    expect(await more('', few)).toEqual([])
  })
})

describe.skipIf(major < 22)(
  'interceptors that are there first (skipped on Node 20: they need 22)',
  { concurrent: true },
  () => {
    const INTERCEPTORS = {
      nock: `const { default: nock } = require('nock'); nock('http://example.test').get('/').reply(200, 'mocked')`,
      msw: `
      const { http, HttpResponse } = require('msw')
      const server = require('msw/node').setupServer(http.get('http://example.test/', () => HttpResponse.text('mocked')))
      server.listen({ onUnhandledRequest: 'bypass' })
    `,
    }
    test.each(Object.entries(INTERCEPTORS))(
      '%s: nothing is thrown, and connections that it lets through are set',
      async (_, intercept) => {
        const answer = await answerOf<object>(
          `
      ${intercept}
      const { once } = require('node:events')
      const net = require('node:net')
      const { setTimeout: sleep } = require('node:timers/promises')
      const { getKeepalive, setKeepalive } = require('tcp-keepalive')
      const uncaught = []
      process.on('uncaughtException', ({ message }) => uncaught.push(message))
      const listener = net.createServer((peer) => peer.on('error', () => {}).pipe(peer))
      listener.listen(0, '127.0.0.1', async () => {
        const socket = net.connect(listener.address().port, '127.0.0.1')
        setKeepalive(socket, { idle: 61 })
        await once(socket, 'connect')
        socket.write('hello')
        const [data] = await once(socket, 'data')
        setKeepalive(socket, { idle: 62 })
        const accepted = net.createServer()
        setKeepalive(accepted, { idle: 63 })
        const mocked = await (await fetch('http://example.test/')).text()
        await sleep(100)
        console.log(JSON.stringify({ data: String(data), idle: getKeepalive(socket).idle, mocked, uncaught }))
        process.exit()
      })
    `,
          { flags: ['--no-warnings'] },
        )
        expect(answer).toEqual({ data: 'hello', idle: 62, mocked: 'mocked', uncaught: [] })
      },
    )
  },
)

describe.concurrent('an exception while notices are delivered stays with what has thrown', () => {
  /** Two sockets that nobody reads, both dead by the time at which the event loop hears of them. */
  const BOTH_DEAD = (hostile: string) => `
    const { once } = require('node:events')
    const net = require('node:net')
    const { setTimeout: later } = globalThis
    const { setDeadPeerTimeout, getKeepalive, setKeepalive } = require('tcp-keepalive')
    const { unplug } = require('tcp-keepalive/testing')
    const seen = { errors: [], thrown: [], uncaught: [] }
    process.on('uncaughtException', ({ message }) => seen.uncaught.push(message))
    const server = net.createServer((peer) => peer.on('error', () => {}))
    const connected = async (set) => {
      const socket = new net.Socket().pause().connect(server.address().port, '127.0.0.1')
      await once(socket, 'connect')
      setDeadPeerTimeout(socket, set)
      return socket
    }
    server.listen(0, '127.0.0.1', async () => {
      const sockets = [await connected(2000), await connected(2000)]
      const unrelated = await connected(60_000)
      for (const [index, socket] of sockets.entries()) {
        socket.on('error', ({ message }) => { seen.errors[index] = message })
        unplug(socket)
      }
      ${hostile}
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000)
      const began = process.hrtime.bigint()
      const look = () => {
        for (const call of [() => getKeepalive(unrelated), () => setKeepalive(unrelated, { idle: 61 })]) {
          try { call() } catch ({ message }) { seen.thrown.push(message) }
        }
        if (process.hrtime.bigint() - began < 2_000_000_000n) later(look, 20)
        else {
          console.log(JSON.stringify(seen))
          process.exit()
        }
      }
      later(look, 0)
    })
  `
  interface Seen {
    errors: (string | null)[]
    thrown: string[]
    uncaught: string[]
  }

  test('a setTimeout that throws: both sockets get their errors, no other call throws', async () => {
    const hostile = "globalThis.setTimeout = () => { throw new Error('hostile') }"
    const seen = await answerOf<Seen>(BOTH_DEAD(hostile))
    expect(seen).toEqual({
      errors: ['read ETIMEDOUT', 'read ETIMEDOUT'],
      thrown: [],
      uncaught: [],
    })
  })

  test.each([
    ['readableLength', 0],
    ['readableLength', 1],
    ['destroyed', 0],
    ['destroyed', 1],
  ])(
    'a getter that throws, %s of socket %i: the other gets its error, no other call throws',
    async (name, index) => {
      const hostile = `Object.defineProperty(sockets[${index}], '${name}', {
      get() { throw new Error('hostile') }, configurable: true,
    })`
      const { errors, thrown } = await answerOf<Seen>(BOTH_DEAD(hostile))
      expect({ other: errors[1 - index], thrown }).toEqual({ other: 'read ETIMEDOUT', thrown: [] })
    },
  )

  test('an error listener that throws is an uncaught exception, as with Node; the other gets its error', async () => {
    const hostile = "sockets[0].on('error', () => { throw new Error('hostile') })"
    const { errors, thrown, uncaught } = await answerOf<Seen>(BOTH_DEAD(hostile))
    expect({ errors, thrown, uncaught }).toEqual({
      errors: ['read ETIMEDOUT', 'read ETIMEDOUT'],
      thrown: [],
      uncaught: ['hostile'],
    })
  })
})
