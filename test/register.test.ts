/** `node --require tcp-keepalive/register`: settings from the environment, no code changed. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { planDeadPeerTimeout } from 'tcp-keepalive'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Ended, runNode } from './support/child.ts'

const root = join(__dirname, '..')
const register = join(root, 'dist', 'register.js')
const major = Number(process.versions.node.split('.')[0])
const folder = mkdtempSync(join(tmpdir(), 'register-'))
/** The package as it is where no binary fits. */
const bare = join(folder, 'bare')

beforeAll(() => {
  for (const part of ['dist', 'package.json', 'node_modules/node-gyp-build']) {
    cpSync(join(root, part), join(bare, part), { recursive: true })
  }
})
afterAll(() => rmSync(folder, { recursive: true }))

interface Options {
  env?: NodeJS.ProcessEnv
  flags?: readonly string[]
  load?: readonly string[]
}

const loaded = (source: string, { env = {}, flags = [], load }: Options = {}): Promise<Ended> =>
  runNode(source, { env, flags: [...flags, ...(load ?? ['--require', register])] })

/**
 * What one connection of the program has, both ends, once what has bounded the connect is taken
 * back. The reader of it is not the program's.
 */
const PROGRAM = `
const { getKeepalive, getUserTimeout } = require('tcp-keepalive')
const { setTimeout: sleep } = require('node:timers/promises')
const { once } = require('node:events')
const { createServer, connect } = require('node:net')
const { LoopClock } = require('./test/support/loop-clock.cjs')
const settingsOf = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })
const server = createServer().listen(0, '127.0.0.1', () => {
  const client = connect(server.address().port, '127.0.0.1')
  const both = [once(server, 'connection'), once(client, 'connect')]
  Promise.all(both).then(async ([[accepted]]) => {
    const first = getUserTimeout(client)
    // Where nothing bounds it, it stays.
    const clock = new LoopClock()
    while (getUserTimeout(client) === first && clock.since() < 1500) await sleep(20)
    console.log(JSON.stringify({ client: settingsOf(client), accepted: settingsOf(accepted) }))
    client.destroy()
    server.close()
  })
})
`

async function settingsWith(env: NodeJS.ProcessEnv, options: Options = {}) {
  const ended = await loaded(PROGRAM, { ...options, env })
  expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' })
  return JSON.parse(ended.stdout) as { client: object; accepted: object }
}

const plan = (ms: number, slowReader: 'keep' | 'end' = 'keep') => {
  const { idle, interval, count, userTimeout } = planDeadPeerTimeout(ms, { slowReader })
  return { enabled: true, idle, interval, count, userTimeout }
}
/** What this host's kernel has, where nothing is set. */
const NOTHING = { enabled: false, userTimeout: 0 }

describe.concurrent('the variables', () => {
  test('none: a dead-peer time of 60 s, slow readers kept, outgoing connections only', async () => {
    const { client, accepted } = await settingsWith({})
    expect(client).toEqual(plan(60_000))
    expect(accepted).toMatchObject(NOTHING)
  })

  const cases: [NodeJS.ProcessEnv, object][] = [
    [{ TCP_KEEPALIVE_IDLE_S: '61' }, { enabled: true, idle: 61, userTimeout: 0 }],
    [{ TCP_KEEPALIVE_INTERVAL_S: '11' }, { enabled: true, interval: 11, userTimeout: 0 }],
    [{ TCP_KEEPALIVE_COUNT: '4' }, { enabled: true, count: 4, userTimeout: 0 }],
    [
      {
        TCP_KEEPALIVE_IDLE_S: '61',
        TCP_KEEPALIVE_INTERVAL_S: '11',
        TCP_KEEPALIVE_COUNT: '4',
        TCP_KEEPALIVE_USER_TIMEOUT_MS: '91000',
      },
      { enabled: true, idle: 61, interval: 11, count: 4, userTimeout: 91_000 },
    ],
    [{ TCP_KEEPALIVE_USER_TIMEOUT_MS: '91000' }, { enabled: false, userTimeout: 91_000 }],
    [{ TCP_KEEPALIVE_DEAD_PEER_MS: '30000' }, plan(30_000)],
    [
      { TCP_KEEPALIVE_DEAD_PEER_MS: '30000', TCP_KEEPALIVE_SLOW_READER: 'end' },
      plan(30_000, 'end'),
    ],
    [{ TCP_KEEPALIVE_SLOW_READER: 'end' }, plan(60_000, 'end')],
    [
      { TCP_KEEPALIVE_DEAD_PEER_MS: '30000', TCP_KEEPALIVE_IDLE_S: '5' },
      { ...plan(30_000), idle: 5 },
    ],
  ]
  test.each(cases)('%j', async (env, expected) => {
    const { client, accepted } = await settingsWith(env)
    expect(client).toMatchObject(expected)
    expect(accepted).toMatchObject(NOTHING)
  })

  test.each([
    ['client', true, false],
    ['server', false, true],
    ['all', true, true],
  ])('TCP_KEEPALIVE_SCOPE=%s', async (scope, client, accepted) => {
    const settings = await settingsWith({ TCP_KEEPALIVE_SCOPE: scope })
    expect(settings.client).toMatchObject(client ? plan(60_000) : NOTHING)
    expect(settings.accepted).toMatchObject(accepted ? plan(60_000) : NOTHING)
  })
})

describe.concurrent('TCP_KEEPALIVE_LOG', () => {
  const started = async (env: NodeJS.ProcessEnv, source = "console.log('started')") => {
    const { stdout, stderr } = await loaded(source, { env })
    expect(stdout).toBe('started\n')
    return stderr.replace(/process \d+/g, 'process …')
  }

  test('1 prints one line: what is set, and for which connections', async () => {
    expect(await started({ TCP_KEEPALIVE_LOG: '1' })).toBe(
      'tcp-keepalive/register: process …, scope client: {"deadPeerTimeout":{"ms":60000}}\n',
    )
    const env = { TCP_KEEPALIVE_IDLE_S: '60', TCP_KEEPALIVE_SCOPE: 'all' }
    expect(await started({ ...env, TCP_KEEPALIVE_LOG: '1' })).toBe(
      'tcp-keepalive/register: process …, scope all: {"keepalive":{"idle":60}}\n',
    )
  })

  test('0 prints none', async () => {
    expect(await started({ TCP_KEEPALIVE_LOG: '0' })).toBe('')
  })
})

describe.concurrent('variables of others that begin likewise are passed over', () => {
  const OTHERS: Record<string, string> = {
    // node-gyp-build: where to look for the binary.
    TCP_KEEPALIVE_PREBUILD: root,
    // Kubernetes, for a service called tcp-keepalive.
    TCP_KEEPALIVE_SERVICE_HOST: '10.0.0.1',
    TCP_KEEPALIVE_SERVICE_PORT: '80',
    TCP_KEEPALIVE_SERVICE_PORT_HTTP: '80',
    TCP_KEEPALIVE_PORT: 'tcp://10.0.0.1:80',
    TCP_KEEPALIVE_PORT_80_TCP: 'tcp://10.0.0.1:80',
    TCP_KEEPALIVE_PORT_80_TCP_ADDR: '10.0.0.1',
  }
  for (const [name, value] of Object.entries(OTHERS)) {
    test(name, async () => {
      const { client } = await settingsWith({ [name]: value, TCP_KEEPALIVE_IDLE_S: '61' })
      expect(client).toMatchObject({ enabled: true, idle: 61 })
    })
  }

  test.each(['TCP_KEEPALIVE_PREBUILDS', 'TCP_KEEPALIVE_PORTS', 'TCP_KEEPALIVE_SERVICES'])(
    '%s is not one of them',
    async (name) => {
      const { code, stderr } = await loaded('', { env: { [name]: '80' } })
      expect(code).toBe(9)
      expect(stderr).toContain(`${name} is unknown.`)
    },
  )
})

describe.concurrent('stops the start with one line that names the variable', () => {
  const cases: [string, string, string][] = [
    ['TCP_KEEPALIVE_IDLE_S', '', '="" is not a whole number of seconds from 1 to 32767.'],
    ['TCP_KEEPALIVE_IDLE_S', 'one', '="one" is not a whole number of seconds from 1 to 32767.'],
    ['TCP_KEEPALIVE_IDLE_S', '0', '="0" is not a whole number of seconds from 1 to 32767.'],
    [
      'TCP_KEEPALIVE_IDLE_S',
      '32768',
      '="32768" is not a whole number of seconds from 1 to 32767. The unit is seconds: for 32768 ms write TCP_KEEPALIVE_IDLE_S=33.',
    ],
    [
      'TCP_KEEPALIVE_IDLE_S',
      '30000',
      '="30000" is not a whole number of seconds from 1 to 32767, except for multiples of 1000 from 10000 on. The unit is seconds: for 30000 ms write TCP_KEEPALIVE_IDLE_S=30.',
    ],
    [
      'TCP_KEEPALIVE_INTERVAL_S',
      '1000',
      '="1000" is not a whole number of seconds from 1 to 999. The unit is seconds: for 1000 ms write TCP_KEEPALIVE_INTERVAL_S=1.',
    ],
    ['TCP_KEEPALIVE_IDLE_S', '1e3', '="1e3" is not a whole number of seconds from 1 to 32767.'],
    ['TCP_KEEPALIVE_IDLE_S', '60s', '="60s" is not a whole number of seconds from 1 to 32767.'],
    ['TCP_KEEPALIVE_INTERVAL_S', '1.5', '="1.5" is not a whole number of seconds from 1 to 999.'],
    ['TCP_KEEPALIVE_INTERVAL_S', ' 5', '=" 5" is not a whole number of seconds from 1 to 999.'],
    ['TCP_KEEPALIVE_COUNT', '200', '="200" is not a whole number of probes from 1 to 127.'],
    ['TCP_KEEPALIVE_COUNT', '-1', '="-1" is not a whole number of probes from 1 to 127.'],
    [
      'TCP_KEEPALIVE_USER_TIMEOUT_MS',
      '2147483648',
      '="2147483648" is not a whole number of milliseconds from 0 to 2147483647.',
    ],
    [
      'TCP_KEEPALIVE_DEAD_PEER_MS',
      '1999',
      '="1999" is not a whole number of milliseconds from 2000 to 2147483647.',
    ],
    ['TCP_KEEPALIVE_SLOW_READER', 'kill', '="kill" is not one of keep, end.'],
    ['TCP_KEEPALIVE_SCOPE', 'Client', '="Client" is not one of client, server, all.'],
    ['TCP_KEEPALIVE_LOG', 'yes', '="yes" is not one of 0, 1.'],
    ['TCP_KEEPALIVE_SCOPE', 'a\nb', '="a\\nb" is not one of client, server, all.'],
  ]
  test.each(cases)('%s=%j', async (name, value, message) => {
    const ended = await loaded("console.log('started')", { env: { [name]: value } })
    expect(ended).toEqual({
      code: 9,
      signal: null,
      stdout: '',
      stderr: `tcp-keepalive/register: ${name}${message}\n`,
    })
  })

  test('an unknown name', async () => {
    const { code, stdout, stderr } = await loaded("console.log('started')", {
      env: { TCP_KEEPALIVE_IDLE: '60' },
    })
    expect({ code, stdout }).toEqual({ code: 9, stdout: '' })
    expect(stderr.split('\n')).toHaveLength(2)
    expect(stderr).toMatch(
      /^tcp-keepalive\/register: TCP_KEEPALIVE_IDLE is unknown\. The variables are TCP_KEEPALIVE_IDLE_S,/,
    )
  })

  test('slow readers without a dead-peer time', async () => {
    const { code, stderr } = await loaded("console.log('started')", {
      env: { TCP_KEEPALIVE_SLOW_READER: 'end', TCP_KEEPALIVE_IDLE_S: '60' },
    })
    expect(code).toBe(9)
    expect(stderr).toBe(
      'tcp-keepalive/register: TCP_KEEPALIVE_SLOW_READER needs TCP_KEEPALIVE_DEAD_PEER_MS: it is an option of that timeout.\n',
    )
  })

  test('in a worker with an environment of its own: the worker ends, and stderr names the value', async () => {
    const { stdout, stderr } = await loaded(`
      const { Worker } = require('node:worker_threads')
      const worker = new Worker('', { eval: true, env: { TCP_KEEPALIVE_COUNT: '200' } })
      worker.on('exit', (code) => console.log('worker', code))
    `)
    expect(stdout).toBe('worker 9\n')
    expect(stderr).toMatch(/^tcp-keepalive\/register: TCP_KEEPALIVE_COUNT="200" is not /)
  })
})

describe.concurrent('how it is loaded', () => {
  const env = { TCP_KEEPALIVE_DEAD_PEER_MS: '30000' }

  test('--require, by its name', async () => {
    const { client } = await settingsWith(env, { load: ['--require', 'tcp-keepalive/register'] })
    expect(client).toMatchObject(plan(30_000))
  })

  test('NODE_OPTIONS', async () => {
    const { client } = await settingsWith(
      { ...env, NODE_OPTIONS: `--require ${register}` },
      { load: [] },
    )
    expect(client).toMatchObject(plan(30_000))
  })

  test.skipIf(major < 22)(
    `--import${major < 22 ? ' (skipped: on Node 20 it loses worker messages, so it is not supported)' : ''}`,
    async () => {
      const { client } = await settingsWith(env, { load: ['--import', 'tcp-keepalive/register'] })
      expect(client).toMatchObject(plan(30_000))
    },
  )

  test('twice is once', async () => {
    const load = ['--require', register, '--require', 'tcp-keepalive/register']
    const { client } = await settingsWith(env, { load })
    expect(client).toMatchObject(plan(30_000))
  })

  test('an ES module as the program', async () => {
    const file = join(folder, 'program.mjs')
    writeFileSync(
      file,
      `import { createRequire } from 'node:module'
       const require = createRequire(${JSON.stringify(join(root, 'package.json'))})
       ${PROGRAM}`,
    )
    const { code, stdout } = await loaded(`import(${JSON.stringify(file)})`, { env })
    expect(code).toBe(0)
    expect(JSON.parse(stdout).client).toMatchObject(plan(30_000))
  })

  test('a worker inherits it, and its messages arrive, the first as well', async () => {
    const { stdout, stderr } = await loaded(
      `
      const { Worker } = require('node:worker_threads')
      const worker = new Worker(\`
        const { parentPort } = require('node:worker_threads')
        const log = console.log
        console.log = (text) => parentPort.postMessage(text)
        parentPort.once('message', (message) => {
          if (message !== 'early') throw new Error('lost')
          ${PROGRAM.replaceAll('`', '\\`')}
        })
      \`, { eval: true })
      worker.on('online', () => worker.postMessage('early'))
      worker.on('message', (text) => console.log(text))
    `,
      { env },
    )
    expect(stderr).toBe('')
    expect(JSON.parse(stdout).client).toMatchObject(plan(30_000))
  })

  test('together with installDefaults in the program: what is installed later wins', async () => {
    const { stdout } = await loaded(
      `require('tcp-keepalive').installDefaults({ keepalive: { idle: 7 } });${PROGRAM}`,
      { env },
    )
    expect(JSON.parse(stdout).client).toMatchObject({ ...plan(30_000), idle: 7 })
  })
})

describe.concurrent('a worker', () => {
  /** What a worker's client has: one option for each worker, a worker within the one before. */
  async function clientIn(options: string[], env: NodeJS.ProcessEnv) {
    const inner = (depth: number): string =>
      depth === options.length
        ? PROGRAM
        : `new (require('node:worker_threads').Worker)(
            ${JSON.stringify(inner(depth + 1))}, { eval: true, ${options[depth]} })`
    const ended = await loaded(inner(0), { env })
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    return (JSON.parse(ended.stdout) as { client: object }).client
  }

  const env = { TCP_KEEPALIVE_DEAD_PEER_MS: '30000' }

  test.each([
    ['with an empty environment', ['env: {}']],
    ['within such a worker', ['env: {}', 'env: {}']],
    ["with a copy of its parent's", ['']],
    ["that shares its parent's", ["env: require('node:worker_threads').SHARE_ENV"]],
  ])("%s has its parent's settings", async (_, options) => {
    expect(await clientIn(options, env)).toMatchObject(plan(30_000))
  })

  test('what its own environment says wins, variable by variable, and is what its workers have', async () => {
    const options = ["env: { TCP_KEEPALIVE_IDLE_S: '5' }", 'env: {}']
    const expected = { ...plan(30_000), idle: 5 }
    expect(await clientIn(options.slice(0, 1), env)).toMatchObject(expected)
    expect(await clientIn(options, env)).toMatchObject(expected)
    expect(await clientIn(options.slice(0, 1), {})).toMatchObject({ idle: 5, userTimeout: 0 })
  })

  test('that does not run register has nothing', async () => {
    expect(await clientIn(['env: {}, execArgv: []'], env)).toMatchObject(NOTHING)
  })

  test('costs a program without variables no module: node:worker_threads is not loaded', async () => {
    const list = "console.log(process.moduleLoadList.includes('NativeModule worker_threads'))"
    expect((await loaded(list)).stdout).toBe('false\n')
  })

  test('whose environment data has something else under that name', async () => {
    const ended = await loaded(`
      const { setEnvironmentData, Worker } = require('node:worker_threads')
      setEnvironmentData('tcp-keepalive', 'of others')
      new Worker(${JSON.stringify(PROGRAM)}, { eval: true })
    `)
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(ended.stdout).client).toMatchObject(plan(60_000))
  })
})

describe.concurrent("PM2's cluster mode", () => {
  const pm2 = (variables: object) => ({ pm2_env: JSON.stringify({ name: 'app', ...variables }) })

  test.each([
    ['a string', { TCP_KEEPALIVE_DEAD_PEER_MS: '30000' }],
    ['a number', { TCP_KEEPALIVE_DEAD_PEER_MS: 30_000 }],
  ])('a variable that comes in pm2_env, as %s', async (_, variables) => {
    expect((await settingsWith(pm2(variables))).client).toMatchObject(plan(30_000))
  })

  test("PM2 copies it over the daemon's, and it wins here, too", async () => {
    const env = { ...pm2({ TCP_KEEPALIVE_IDLE_S: 5 }), TCP_KEEPALIVE_IDLE_S: '7' }
    const { client } = await settingsWith({ ...env, TCP_KEEPALIVE_COUNT: '4' })
    expect(client).toMatchObject({ enabled: true, idle: 5, count: 4 })
  })

  test.each(['', '{', 'null', '5', '"TCP_KEEPALIVE_COUNT"', '[]'])(
    'pm2_env=%s says nothing',
    async (pm2_env) => {
      const { client } = await settingsWith({ pm2_env, TCP_KEEPALIVE_IDLE_S: '61' })
      expect(client).toMatchObject({ enabled: true, idle: 61 })
    },
  )

  test('a malformed value stops the start', async () => {
    const { code, stderr } = await loaded('', { env: pm2({ TCP_KEEPALIVE_COUNT: 1.5 }) })
    expect(code).toBe(9)
    expect(stderr).toContain('TCP_KEEPALIVE_COUNT="1.5" is not a whole number of probes')
  })
})

describe.concurrent('NODE_DEBUG=tcp-keepalive', () => {
  test('prints which socket got which settings, and which calls were ignored', async () => {
    const { code, stderr } = await loaded(
      `const { createServer, connect } = require('node:net')
       const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1', () => {
         const client = connect(server.address().port, '127.0.0.1', () => {
           client.setKeepAlive(true, 1000)
           client.setKeepAlive(false)
         })
         client.resume().on('close', () => server.close())
         console.log(server.address().port)
       })`,
      { env: { NODE_DEBUG: 'tcp-keepalive', TCP_KEEPALIVE_IDLE_S: '61' } },
    )
    expect(code).toBe(0)
    expect(stderr).toMatch(
      /^TCP-KEEPALIVE \d+: descriptor \d+ to 127\.0\.0\.1 port \d+: \{ idle: 61, keepalive: 1, locked: 1 \}$/m,
    )
    expect(stderr).toMatch(/setKeepAlive\(true, …\) is ignored on descriptor \d+$/m)
    expect(stderr).toMatch(/setKeepAlive\(false\) is obeyed on descriptor \d+$/m)
  })
})

describe.concurrent('where native code cannot load', () => {
  /** Ten connections, each of which must stand. */
  const TEN = `
    const { createServer, connect } = require('node:net')
    const prototype = () => {
      const socket = connect(1, '127.0.0.1').on('error', () => {})
      const names = Object.getOwnPropertyNames(Object.getPrototypeOf(socket._handle))
      const { connect: method } = socket._handle
      socket.destroy()
      return [names.length, String(method)]
    }
    let open = 0
    const server = createServer((socket) => socket.end('here')).listen(0, '127.0.0.1', async () => {
      for (let i = 0; i < 10; i++) {
        for await (const chunk of connect(server.address().port, '127.0.0.1')) open++
      }
      console.log(JSON.stringify({ open, prototype: prototype() }))
      server.close()
    })
  `

  async function expectNothingChanged(options: Options, reason: RegExp): Promise<void> {
    const [with_, without] = await Promise.all([
      loaded(TEN, options),
      runNode(TEN, { flags: options.flags ?? [] }),
    ])
    expect(with_).toMatchObject({ code: 0, stdout: without.stdout })
    expect(JSON.parse(with_.stdout).open).toBe(10)
    const lines = with_.stderr.split('\n').filter((line) => line.includes('tcp-keepalive/register'))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/TCP_KEEPALIVE_UNAVAILABLE/)
    expect(lines[0]).toMatch(/tcp-keepalive\/register changes nothing: tcp-keepalive has no binary/)
    expect(lines[0]).toMatch(reason)
  }

  test('no binary: one warning, nothing changed', async () => {
    await expectNothingChanged(
      { load: ['--require', join(bare, 'dist', 'register.js')] },
      /No native build was found/,
    )
  })

  test('--permission: one warning, nothing changed', async () => {
    const flag = major >= 23 ? '--permission' : '--experimental-permission'
    const net = major >= 25 ? ['--allow-net'] : []
    await expectNothingChanged(
      { flags: [flag, '--allow-fs-read=*', ...net] },
      /--permission, add --allow-addons/,
    )
  })

  test('a malformed variable stops the start there, too', async () => {
    const { code, stderr } = await loaded('', {
      env: { TCP_KEEPALIVE_COUNT: 'x' },
      load: ['--require', join(bare, 'dist', 'register.js')],
    })
    expect(code).toBe(9)
    expect(stderr).toMatch(/TCP_KEEPALIVE_COUNT="x"/)
  })

  test('installDefaults throws, and what to do is in the message', async () => {
    const { stdout } = await runNode(`
      try {
        require(${JSON.stringify(join(bare, 'dist'))}).installDefaults({ deadPeerTimeout: 60_000 })
      } catch ({ code, message }) {
        console.log(code, message)
      }
    `)
    expect(stdout).toMatch(/^ERR_FEATURE_UNAVAILABLE_ON_PLATFORM tcp-keepalive has no binary/)
  })

  test('the binary is looked for once', async () => {
    const { stdout } = await runNode(`
      const { support } = require(${JSON.stringify(join(bare, 'dist'))})
      const fs = require('node:fs')
      let reads = 0
      const { readdirSync } = fs
      fs.readdirSync = (...args) => { reads++; return readdirSync(...args) }
      const first = support.setKeepalive
      const after = reads
      for (let i = 0; i < 10; i++) if (support.setKeepalive !== first) throw new Error('another')
      console.log(JSON.stringify({ searched: after > 0, again: reads - after }))
    `)
    expect(JSON.parse(stdout)).toEqual({ searched: true, again: 0 })
  })
})
