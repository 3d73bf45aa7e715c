/** `tcp-keepalive set`, on processes that have nothing of this library. */
import { createServer, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { type InspectedSockets, planDeadPeerTimeout } from 'tcp-keepalive'
import { inspect } from 'tcp-keepalive/inspect/inspect-command'
import { set } from 'tcp-keepalive/inspect/set-command'
import { describe, expect, test } from 'vitest'
import { listen } from './support/listen.ts'
import {
  asNobody,
  command,
  commandOf,
  LANGUAGES,
  patient,
  start,
  startNode,
  withoutNobody,
  withoutPidfd,
} from './support/patient.ts'

const reading = (socket: Socket): void => void socket.on('error', () => {}).resume()
const node = withoutPidfd === '' ? commandOf('Node') : undefined

// In this process: many processes at once are what slows a machine down.
const inspected = (pid: number): InspectedSockets =>
  JSON.parse(inspect([String(pid), '--json']).output)

/** As `command`. */
async function here([name, ...words]: (string | number)[]) {
  expect(name).toBe('set')
  try {
    const { status, output } = await set(words.map(String))
    return { code: status, stdout: output, stderr: '' }
  } catch (error) {
    return { code: 2, stdout: '', stderr: (error as Error).message }
  }
}

describe.concurrent(`set${withoutPidfd}`, () => {
  describe.concurrent.each(LANGUAGES)('a process in %s', (language) => {
    const line = withoutPidfd === '' ? commandOf(language) : undefined
    test.skipIf(line === undefined)(
      'its query in flight fails soon, without a restart',
      async () => {
        await using server = await listen(createServer(reading))
        await using process_ = await patient(line as string[], server.port)
        process_.unplug()
        const answer = process_.ask()
        await delay(2000)
        const begin = performance.now()
        const remote = `127.0.0.1:${server.port}`
        const words = ['set', process_.pid, '--remote', remote, '--user-timeout', 3000]
        const { code, stdout, stderr } = await command(words)
        expect([code, stderr]).toEqual([0, ''])
        expect(stdout).toMatch(
          /\nbefore off +off +never +[\d.]+ min\nafter +off +3 s +never +3\.4 s\n/,
        )
        expect(stdout).toContain('the kernel checks at the next retransmission, in ')
        expect(stdout).toContain('1 connection set.')
        expect(await answer).toBe('ETIMEDOUT')
        // When a retransmission is due; 3 to 7 s on a machine that does nothing else. Alone it would take 15 minutes.
        expect(performance.now() - begin).toBeLessThan(120_000)
      },
      180_000,
    )
  })

  test.skipIf(node === undefined)(
    'keepalive on an idle connection; --dry-run sets nothing',
    async () => {
      await using server = await listen(createServer(reading))
      await using process_ = await patient(node as string[], server.port)
      const words = ['--fd', process_.fd, '--idle', 60, '--interval', 10, '--count', 3]
      const trial = await here(['set', process_.pid, ...words, '--dry-run'])
      expect(trial.code).toBe(0)
      expect(trial.stdout).toMatch(/\nwould +60\/10\/3 +off +90 s +[\d.]+ min\n/)
      expect(trial.stdout).toContain('1 connection would be set, nothing was.')
      expect(inspected(process_.pid).connections[0]?.keepalive.enabled).toBe(false)

      const { code, stdout } = await here(['set', process_.pid, ...words])
      expect(code).toBe(0)
      expect(stdout).toMatch(/\nafter +60\/10\/3 +off +90 s +[\d.]+ min\n/)
      expect(inspected(process_.pid).connections[0]?.keepalive).toEqual({
        enabled: true,
        idle: 60,
        interval: 10,
        count: 3,
      })
      // What is not given is left as it is.
      await here(['set', process_.pid, '--all', '--interval', 20])
      expect(inspected(process_.pid).connections[0]).toMatchObject({
        keepalive: { enabled: true, idle: 60, interval: 20, count: 3 },
        userTimeout: 0,
      })
    },
  )

  test.skipIf(node === undefined)(
    "--dead-peer-timeout is the plan of 'end'; 0 ends it",
    async () => {
      await using server = await listen(createServer(reading))
      await using process_ = await patient(node as string[], server.port)
      const which = ['set', process_.pid, '--port', server.port]
      expect((await here([...which, '--dead-peer-timeout', 20_000])).code).toBe(0)
      const plan = planDeadPeerTimeout(20_000, { slowReader: 'end' })
      const { idle, interval, count, userTimeout } = plan
      expect(inspected(process_.pid).connections[0]).toMatchObject({
        keepalive: { enabled: true, idle, interval, count },
        userTimeout,
      })
      expect((await here([...which, '--dead-peer-timeout', 0])).code).toBe(0)
      expect(inspected(process_.pid).connections[0]).toMatchObject({
        keepalive: { enabled: false },
        userTimeout: 0,
      })
    },
  )

  test.skipIf(withoutPidfd)('nothing is touched that was not chosen', async () => {
    await using process_ = startNode(`
      const net = require('node:net')
      const server = net.createServer(() => {}).listen(0, '::', () => {
        const { port } = server.address()
        const other = net.createServer(() => {}).listen(0, '127.0.0.1', () => {
          const unix = net.createServer(() => {}).listen('\\0tcp-keepalive-set-' + process.pid, () => {
            const path = net.connect('\\0tcp-keepalive-set-' + process.pid)
            const v4 = net.connect(port, '127.0.0.1', () => {
              const v6 = net.connect(port, '::1', () => {
                const beside = net.connect(other.address().port, '127.0.0.1', () =>
                  console.log(JSON.stringify({
                    port,
                    listener: server._handle.fd,
                    unix: path._handle.fd,
                    v4: [v4._handle.fd, v4.localPort],
                    v6: [v6._handle.fd, v6.localPort],
                  })))
              })
            })
          })
        })
      })`)
    const { port, listener, unix, v4, v6 } = JSON.parse(await process_.line())
    const touched = () => {
      const { connections, listeners } = inspected(process_.pid)
      return [...connections, ...listeners]
        .filter(({ userTimeout, keepalive }) => userTimeout !== 0 || keepalive.enabled)
        .map(({ fd }) => fd)
        .sort()
    }
    const tried = async (...words: (string | number)[]) => {
      const { code } = await here(['set', process_.pid, ...words, '--user-timeout', 50_000])
      const fds = touched()
      await here(['set', process_.pid, '--all', '--user-timeout', 0])
      expect(touched()).toEqual([])
      return [code, fds]
    }
    expect(await tried('--fd', v4[0])).toEqual([0, [v4[0]]])
    expect(await tried('--fd', v4[0], '--remote', '::1')).toEqual([2, []])
    expect(await tried('--fd', v4[0], '--fd', v6[0])).toEqual([0, [v4[0], v6[0]].sort()])
    expect(await tried('--remote', `[0:0::1]:${port}`)).toEqual([0, [v6[0]]])
    expect(await tried('--remote', `[::1]:${port + 1}`)).toEqual([2, []])
    // The accepted end is v4-mapped.
    const [code, fds] = await tried('--remote', `127.0.0.1:${v4[1]}`)
    expect([code, (fds as number[]).length]).toEqual([0, 1])
    expect(fds).not.toContain(v4[0])
    expect((await tried('--remote', `localhost:${v4[1]}`, '--port', port))[0]).toBe(0)
    const [, both] = await tried('--port', v4[1])
    expect(both).toHaveLength(2)
    const [, all] = await tried('--all')
    expect(all).toHaveLength(6)
    expect(all).not.toContain(listener)
    // A listener and a Unix socket are no connections, also by their numbers.
    expect(await tried('--fd', listener)).toEqual([2, []])
    expect(await tried('--fd', unix)).toEqual([2, []])
    expect(await tried('--fd', v4[0], '--fd', listener)).toEqual([1, [v4[0]]])
  })

  test.skipIf(node === undefined)('a live peer that does not read is skipped', async () => {
    await using server = await listen(createServer({ pauseOnConnect: true }, () => {}))
    await using process_ = startNode(
      `const socket = require('node:net').connect(${server.port}, '127.0.0.1', () => {
         socket.write(Buffer.alloc(32 << 20))
         setTimeout(() => console.log('ready'), 1500)
       })`,
    )
    await process_.line()
    for (const what of ['--dead-peer-timeout', '--user-timeout']) {
      const words = ['set', process_.pid, '--all', what, 30_000]
      const { code, stdout } = await here(words)
      expect(stdout).toMatch(
        /skipped: the peer .*accepts no data.* \(--slow-reader end sets it\)\n/,
      )
      expect(stdout).toContain('0 connections set, 1 not.')
      expect(code).toBe(1)
      expect(inspected(process_.pid).connections[0]?.userTimeout).toBe(0)
    }
    const shown = inspect([String(process_.pid)])
    expect(shown.output).toContain('the peer answers but accepts no data: a slow reader\n')
    const { code } = await here([
      ...['set', process_.pid, '--all', '--dead-peer-timeout', 300_000, '--slow-reader', 'end'],
    ])
    expect(code).toBe(0)
    expect(inspected(process_.pid).connections[0]?.userTimeout).toBeGreaterThan(200_000)
  })

  const python = withoutPidfd === '' ? commandOf('Python') : undefined
  test.skipIf(python === undefined)('what the kernel refuses is said', async () => {
    // An MPTCP socket has no user timeout.
    await using process_ = start([
      'python3',
      '-c',
      `import socket, sys
try:
  listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError:
  print('none', flush=True)
  sys.exit()
listener.bind(('127.0.0.1', 0))
listener.listen()
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
client.connect(listener.getsockname())
print('ready', flush=True)
sys.stdin.readline()`,
    ])
    // This kernel has no MPTCP.
    if ((await process_.line()) === 'none') return
    const words = ['set', process_.pid, '--all', '--user-timeout', 5000, '--idle', 60]
    const { code, stdout } = await here(words)
    expect(code).toBe(1)
    expect(stdout).toContain('\n       refused: TCP_USER_TIMEOUT ')
    expect(stdout).toContain('0 connections set, 1 not.')
    const [connection] = inspected(process_.pid).connections
    expect(connection).toMatchObject({ userTimeout: null, keepalive: { enabled: false } })
  })

  test.skipIf(withoutPidfd)('descriptors that are reused all the while', async () => {
    await using chosen = await listen(createServer(reading))
    await using other = await listen(createServer(reading))
    // Closes and opens at random; what was not chosen must never have a user timeout.
    await using process_ = startNode(`
      const net = require('node:net')
      const { getUserTimeout } = require('tcp-keepalive')
      const ports = [${chosen.port}, ${other.port}]
      const seen = { touched: 0, opened: 0 }
      const open = () => {
        const port = ports[Math.random() < 0.5 ? 0 : 1]
        const socket = net.connect(port, '127.0.0.1', () => {
          seen.opened++
          setTimeout(() => {
            const ms = getUserTimeout(socket)
            if (ms !== 0 && port !== ports[0]) seen.touched++
            socket.destroy()
            open()
          }, Math.random() * 20)
        })
        socket.on('error', () => {})
      }
      for (let i = 0; i < 60; i++) open()
      // One that stays: there is always something to set.
      const stays = net.connect(ports[0], '127.0.0.1', () => console.log('ready'))
      process.stdin.once('data', () => { seen.stays = getUserTimeout(stays); console.log(JSON.stringify(seen)); process.exit() })`)
    await process_.line()
    for (let nth = 0; nth < 15; nth++) {
      const remote = `127.0.0.1:${chosen.port}`
      const words = ['set', process_.pid, '--remote', remote, '--user-timeout', 40_000]
      const { code, stderr } = await here(words)
      expect([0, 1], stderr).toContain(code)
    }
    process_.child.stdin.write('end\n')
    const { touched, stays, opened } = JSON.parse(await process_.line())
    expect(touched).toBe(0)
    expect(stays).toBe(40_000)
    expect(opened).toBeGreaterThan(100)
  })

  test.skipIf(node === undefined || withoutNobody !== '')("another user's process", async () => {
    await using server = await listen(createServer(reading))
    await using process_ = await patient(node as string[], server.port)
    const { code, stdout, stderr } = await command(
      ['set', process_.pid, '--all', '--idle', 60],
      asNobody,
    )
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(`npx tcp-keepalive set ${process_.pid} …\n`)
    expect(inspected(process_.pid).connections[0]?.keepalive.enabled).toBe(false)
  })
})

describe.concurrent('set: what is wrong is named', () => {
  const all = ['set', '1', '--all']
  test.each([
    [['set', '1'], 'Select connections with --fd'],
    [all, 'Nothing to set: add --dead-peer-timeout'],
    [[...all, '--fd', '3', '--idle', '5'], '--all and --fd cannot be combined'],
    [
      ['set', '1', '--fd', 'x', '--idle', '5'],
      "--fd must be a number from 0 to 2147483647, not 'x'",
    ],
    [['set', '1', '--port', '0', '--idle', '5'], "--port must be a port from 1 to 65535, not '0'"],
    [['set', '1', '--remote', '10.0.0.9:x', '--idle', '5'], 'The port of --remote must be a port'],
    [['set', '1', '--remote', ':80', '--idle', '5'], "--remote ':80' is not a known host"],
    [['set', '1', '--remote', '1:2:3', '--idle', '5'], "--remote '1:2:3' is not a known host"],
    [[...all, '--idel', '5'], 'Unknown option --idel.'],
    [[...all, '--idle'], '--idle needs a value.'],
    [[...all, '--idle='], '--idle needs a value.'],
    [[...all, '--idle', '5', '--idle', '6'], '--idle may be used only once.'],
    [[...all, '--idle', '0'], '--idle must be a number of seconds'],
    [[...all, '--idle', '1.5'], "not '1.5'"],
    [[...all, '--idle', '-5'], "not '-5'"],
    [[...all, '--idle', '60000'], '60000 looks like milliseconds: --idle 60.'],
    [[...all, '--interval', '5000'], '5000 looks like milliseconds: --interval 5.'],
    [[...all, '--count', '128'], "--count must be a number of probes from 1 to 127, not '128'"],
    [
      [...all, '--user-timeout', '30'],
      "a number of milliseconds, 0 or from 1000 to 2147483647, not '30'",
    ],
    [[...all, '--dead-peer-timeout', '1999'], '0 or from 2000'],
    [[...all, '--dead-peer-timeout', '1e4'], "not '1e4'"],
    [[...all, '--dead-peer-timeout', '5000', '--idle', '3'], 'omit --idle'],
    [[...all, '--idle', '5', '--slow-reader', 'keep'], "--slow-reader must be end, not 'keep'"],
    [[...all, '--dry-run=1', '--idle', '5'], '--dry-run takes no value'],
  ])('%s', async (words, message) => {
    const { code, stderr } = await here(words)
    expect(stderr).toContain(message)
    expect(code).toBe(2)
  })

  test('and the usage', async () => {
    const { code, stdout, stderr } = await command([...all, '--idel', '5'])
    expect(stderr).toBe(
      'tcp-keepalive set: Unknown option --idel.\nUsage: npx tcp-keepalive set --help\n',
    )
    expect([code, stdout]).toEqual([2, ''])
  })

  test.skipIf(withoutPidfd)('no such connection', async () => {
    const { code, stderr } = await command(['set', process.pid, '--fd', 99_999, '--idle', 5])
    expect(stderr).toBe(
      `tcp-keepalive set: Process ${process.pid} has no TCP connection that matches --fd '99999'. To list its connections: npx tcp-keepalive inspect ${process.pid}\n`,
    )
    expect(code).toBe(2)
  })
})
