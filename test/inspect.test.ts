/** `tcp-keepalive inspect`, on processes that have nothing of this library. */
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'tcp-keepalive/inspect/inspect-command'
import { visitSockets } from 'tcp-keepalive/inspect/other-process'
import { native } from 'tcp-keepalive/native'
import { describe, expect, test } from 'vitest'
import type { Standing } from '../src/inspect/procfs.js'
import { notAllowed, refusal } from '../src/inspect/refusal.js'
import { listen } from './support/listen.ts'
import { ownNetwork, withoutOwnNetwork } from './support/own-network.ts'
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

/** A listener, a Unix socket, a datagram, and a connection over each kind of address. */
const MANY_KINDS = `
const net = require('node:net')
const server = net.createServer(() => {}).listen(0, '::', async () => {
  const { port } = server.address()
  const connected = (...where) =>
    new Promise((resolve) => {
      const socket = net.connect(...where, () => resolve(socket))
    })
  const unix = net.createServer(() => {}).listen('\\0tcp-keepalive-' + process.pid)
  await connected({ path: '\\0tcp-keepalive-' + process.pid })
  require('node:dgram').createSocket('udp4').bind(0)
  const v4 = await connected(port, '127.0.0.1')
  const v6 = await connected(port, '::1')
  v6.setKeepAlive(true, 30_000)
  console.log(JSON.stringify({ port, v4: [v4._handle.fd, v4.localPort], v6: v6._handle.fd, listener: server._handle.fd }))
})`

describe.concurrent(`inspect${withoutPidfd}`, () => {
  test.skipIf(withoutPidfd)('every kind of address; listeners apart, nothing else', async () => {
    await using process_ = startNode(MANY_KINDS)
    const { port, v4, v6, listener } = JSON.parse(await process_.line())
    const { code, stdout, stderr } = await command(['inspect', process_.pid, '--json'])
    expect(stderr).toBe('')
    expect(code).toBe(1)
    const { pid, defaultsRead, connections, listeners } = JSON.parse(stdout)
    expect([pid, defaultsRead]).toEqual([process_.pid, true])
    expect(listeners).toEqual([
      expect.objectContaining({
        fd: listener,
        localAddress: '::',
        localPort: port,
        acceptQueue: 0,
      }),
    ])
    expect(connections).toHaveLength(4)
    const of = (fd: number) => connections.find((each: { fd: number }) => each.fd === fd)
    expect(of(v4[0])).toMatchObject({
      localAddress: '127.0.0.1',
      localPort: v4[1],
      remoteAddress: '127.0.0.1',
      remotePort: port,
      state: 'ESTABLISHED',
      keepalive: { enabled: false },
      userTimeout: 0,
      neverNoticed: true,
    })
    expect(of(v4[0]).detection.idle).toBeNull()
    expect(of(v6)).toMatchObject({
      remoteAddress: '::1',
      keepalive: { enabled: true, idle: 30, interval: 1, count: 10 },
      neverNoticed: false,
    })
    expect(of(v6).detection.idle).toBe(40_000)
    const mapped = connections.filter(
      ({ remoteAddress, remotePort }: { remoteAddress: string; remotePort: number }) =>
        remoteAddress === '::ffff:127.0.0.1' && remotePort === v4[1],
    )
    expect(mapped).toHaveLength(1)
  })

  test.skipIf(withoutPidfd)('the table: 80 columns, the worst first', async () => {
    await using process_ = startNode(MANY_KINDS)
    const { port, v4, v6 } = JSON.parse(await process_.line())
    const { code, stdout } = await command(['inspect', process_.pid])
    const lines = stdout.split('\n')
    expect(lines.filter((line) => line.length > 80)).toEqual([])
    expect(lines[0]).toMatch(new RegExp(`^Process ${process_.pid}: .*node`))
    expect(lines[1]).toBe('4 TCP connections, 1 listener')
    expect(stdout).not.toContain('\u001b')
    const at = (text: string) => lines.findIndex((line) => line.includes(text))
    const first = at(`127.0.0.1:${v4[1]} > 127.0.0.1:${port}  ESTABLISHED`)
    expect(lines[first + 1]).toMatch(/^ {7}off +off +0 B +[\d.]+ m?s +never +[\d.]+ min$/)
    // Keepalive is on: it comes last.
    const last = lines.findIndex((line) => line.startsWith(`${v6} `))
    expect(last).toBeGreaterThan(first)
    expect(lines[last + 1]).toMatch(/^ {7}30\/1\/10 +off +0 B +[\d.]+ m?s +40 s +[\d.]+ min$/)
    expect(stdout).toContain('On 3 connections a dead peer is never noticed')
    expect(stdout).toContain(`set ${process_.pid} --all --dead-peer-timeout 60000 --dry-run`)
    expect(code).toBe(1)
  })

  describe.concurrent.each(LANGUAGES)('a process in %s', (language) => {
    const line = withoutPidfd === '' ? commandOf(language) : undefined
    test.skipIf(line === undefined)('a query in flight to a silent peer comes first', async () => {
      await using server = await listen(createServer(reading))
      await using process_ = await patient(line as string[], server.port)
      process_.unplug()
      void process_.ask().catch(() => {})
      await delay(1500)
      const { stdout } = await command(['inspect', process_.pid, '--json'])
      const { connections } = JSON.parse(stdout)
      expect(connections[0]).toMatchObject({
        fd: process_.fd,
        remotePort: server.port,
        unacknowledgedBytes: 5,
        takesNothing: false,
        windowClosed: false,
      })
      expect(connections[0].retransmits).toBeGreaterThan(0)
      expect(connections[0].silentMs).toBeGreaterThan(1400)
      expect(connections[0].nextRetransmissionMs).toBeLessThan(60_000)
      const shown = await command(['inspect', process_.pid])
      expect(shown.stdout).toMatch(
        /5 B .*\n {7}in flight, and no answer: \d+ retransmissions?, the next in [\d.]+ m?s\n/,
      )
    })
  })

  test.skipIf(withoutPidfd)(
    '0 where every dead peer is noticed, and where there is none',
    async () => {
      await using server = await listen(createServer(reading))
      await using guarded = startNode(
        `const socket = require('node:net').connect(${server.port}, '127.0.0.1', () => {
         socket.setKeepAlive(true, 5000)
         console.log('ready')
       })`,
      )
      await using lonely = startNode("setInterval(() => {}, 1000); console.log('ready')")
      await Promise.all([guarded.line(), lonely.line()])
      const [one, other] = await Promise.all([
        command(['inspect', guarded.pid]),
        command(['inspect', lonely.pid]),
      ])
      expect(one.code).toBe(0)
      expect(one.stdout).not.toContain('never')
      expect(other.code).toBe(0)
      expect(other.stdout).toContain('0 TCP connections, 0 listeners')
    },
  )

  const python = withoutPidfd === '' ? commandOf('Python') : undefined
  test.skipIf(python === undefined)(
    'ended and not closed, and bytes that are not read',
    async () => {
      const accepted: Socket[] = []
      await using server = await listen(
        createServer((socket) => {
          accepted.push(socket)
          socket.write('unread')
        }),
      )
      await using process_ = await patient(python as string[], server.port)
      await delay(300)
      const alive = await command(['inspect', process_.pid])
      expect(alive.stdout).toContain('6 B received that the program has not read\n')
      accepted[0]?.resetAndDestroy()
      await delay(300)
      const { code, stdout } = await command(['inspect', process_.pid])
      expect(stdout).toContain(`127.0.0.1:${server.port}  CLOSE\n`)
      expect(stdout).toContain('ended, and the program has not closed it\n')
      expect(code).toBe(0)
    },
  )

  test.skipIf(python === undefined || withoutOwnNetwork !== '')(
    'a connect that is not answered, long addresses',
    async () => {
      const long = '2001:db8:85a3:1111:2222:8a2e:370:7334'
      await using process_ = start([
        'unshare',
        ...ownNetwork,
        'sh',
        '-c',
        `ip link add left type veth peer name right
       ip link set left up; ip link set right up
       ip address add 2001:db8:85a3:1111:2222:8a2e:370:7333/64 dev left nodad
       ip neigh add ${long} lladdr 02:00:00:00:00:01 dev left
       exec python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_INET6)
s.setblocking(False)
s.connect_ex(("${long}", 65535))
time.sleep(2.5)
print("ready", flush=True)
sys.stdin.readline()'`,
      ])
      await process_.line()
      const { code, stdout } = await command(['inspect', process_.pid])
      expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
      expect(stdout).toMatch(new RegExp(`\\n {7}> \\[${long}\\]:65535 {2}SYN_SENT\\n`))
      expect(stdout).toMatch(/connecting, and no answer: [1-9] SYNs? retransmitted/)
      expect(stdout).toMatch(/ off +off +\d B +- +- +[\d.]+ (min|s)\n/)
      // What the program will set once it is connected is not known.
      expect(code).toBe(0)
    },
  )

  test.skipIf(withoutPidfd)('2,000 connections', async () => {
    await using process_ = startNode(`
      const net = require('node:net')
      let open = 0
      const server = net.createServer(() => {}).listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
        const next = () => {
          if (open++ === 1000) console.log('ready')
          else net.connect(server.address().port, '127.0.0.1', next)
        }
        next()
      })`)
    expect(await process_.line()).toBe('ready')
    const before = process.cpuUsage()
    const { status, output } = inspect([String(process_.pid), '--json'])
    const { user, system } = process.cpuUsage(before)
    expect(status).toBe(1)
    expect(JSON.parse(output).connections.length).toBeGreaterThanOrEqual(1999)
    // Of the processor's time, as others want it too. With the start of Node it is half a second here.
    expect((user + system) / 1000).toBeLessThan(3000)
  })

  test.skipIf(withoutPidfd || withoutOwnNetwork)(
    `in a network namespace its own tcp_retries2 counts${withoutOwnNetwork}`,
    async () => {
      const inside = 'ip link set lo up; echo 7 > /proc/sys/net/ipv4/tcp_retries2; exec "$@"'
      await using process_ = startNode(MANY_KINDS, [
        'unshare',
        ...ownNetwork,
        'sh',
        '-c',
        inside,
        'sh',
      ])
      await process_.line()
      const { stdout } = await command(['inspect', process_.pid, '--json'])
      const { connections, defaultsRead } = JSON.parse(stdout)
      expect(defaultsRead).toBe(true)
      expect(connections).toHaveLength(4)
      expect(connections[0].detection.unacknowledged).toBeLessThan(120_000)
    },
  )
})

describe.concurrent(`who may inspect${withoutNobody}`, () => {
  test.skipIf(withoutNobody)("another user's process: root may", async () => {
    await using process_ = startNode(MANY_KINDS, asNobody)
    await process_.line()
    const { stdout, stderr } = await command(['inspect', process_.pid])
    expect(stderr).toBe('')
    expect(stdout).toContain('4 TCP connections, 1 listener')
  })

  test.skipIf(withoutNobody)('the same user may, where Yama allows it', async () => {
    await using process_ = startNode(MANY_KINDS, asNobody)
    await process_.line()
    const { stdout, stderr } = await command(['inspect', process_.pid], asNobody)
    if (stderr !== '') expect(stderr).toContain('kernel.yama.ptrace_scope')
    else expect(stdout).toContain('4 TCP connections, 1 listener')
  })

  test.skipIf(withoutNobody)(
    "root's process: another user is refused, and the message says why",
    async () => {
      await using process_ = startNode(MANY_KINDS)
      await process_.line()
      const { code, stdout, stderr } = await command(['inspect', process_.pid], asNobody)
      expect(code).toBe(2)
      expect(stdout).toBe('')
      expect(stderr.split('\n')).toHaveLength(2)
      expect(stderr).toContain(
        `Not allowed to inspect process ${process_.pid}: it belongs to user 0, and this is user 65534.`,
      )
      expect(stderr).toContain(`sudo env "PATH=$PATH" npx tcp-keepalive inspect ${process_.pid}`)
    },
  )

  test.skipIf(withoutNobody)('root without CAP_SYS_PTRACE, as in a container', async () => {
    await using process_ = startNode(MANY_KINDS, asNobody)
    await process_.line()
    const { code, stderr } = await command(
      ['inspect', process_.pid],
      ['setpriv', '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace'],
    )
    expect(code).toBe(2)
    expect(stderr).toContain('--cap-add=SYS_PTRACE')
    expect(stderr).toContain('kubectl debug')
  })

  const standing: Standing = {
    owner: 1000,
    user: 1000,
    mayTrace: false,
    isFiltered: false,
    ptraceScope: 0,
  }
  test.each<[Partial<Standing>, string]>([
    [{ owner: 33 }, 'belongs to user 33, and this is user 1000'],
    [{ owner: undefined }, 'belongs to another user'],
    [{ ptraceScope: 1 }, 'kernel.yama.ptrace_scope is 1, which allows it to root only: sudo '],
    [{ ptraceScope: 3, user: 0, mayTrace: true }, 'ptrace_scope is 3'],
    [{ isFiltered: true }, 'a seccomp profile forbids it. Docker'],
    [{ user: 0 }, 'root has no CAP_SYS_PTRACE here. Docker'],
    [{ user: 0, mayTrace: true }, 'although this process has CAP_SYS_PTRACE'],
    [{}, 'PR_SET_DUMPABLE'],
  ])('%o', (some, words) => {
    const message = notAllowed(42, 'inspect', { ...standing, ...some })
    expect(message).toContain(words)
    expect(message).not.toContain('\n')
  })
})

test.each([
  ['ENOSYS', 'pidfd_getfd needs Linux 5.6'],
  ['EMFILE', 'raise ulimit -n'],
  ['ENOENT', 'hidepid'],
  ['EIO', 'EIO'],
])('%s', (code, words) => {
  const { message } = refusal(code, 2 ** 31 - 1, 'inspect')
  expect(message).toContain(words)
  expect(message).not.toContain('\n')
})

describe.concurrent('what cannot be inspected', () => {
  const refused = async (words: (string | number)[], message: string | RegExp) => {
    const { code, stdout, stderr } = await command(words)
    expect(stderr).toMatch(message)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  }

  test.skipIf(withoutPidfd)('a process that is gone, a thread, a zombie', async () => {
    await refused(
      ['inspect', 2 ** 31 - 1],
      /^tcp-keepalive inspect: There is no process 2147483647\./,
    )
    await using process_ = startNode("setInterval(() => {}, 1000); console.log('ready')")
    await process_.line()
    const thread = readdirSync(`/proc/${process_.pid}/task`).find(
      (id) => Number(id) !== process_.pid,
    )
    await refused(
      ['inspect', thread as string],
      new RegExp(`${thread} is a thread of process ${process_.pid}: use ${process_.pid}\\.`),
    )
    await using parent = startNode(`
      const { pid } = require('node:child_process').spawn('sleep', ['60'])
      process.kill(pid, 'SIGKILL')
      console.log(pid)
      for (;;);`)
    const zombie = await parent.line()
    await delay(300)
    await refused(['inspect', zombie], new RegExp(`Process ${zombie} has ended\\.`))
  })

  test.skipIf(withoutPidfd)(
    'a process that ends meanwhile, and no descriptor is left open',
    async () => {
      await using process_ = startNode(MANY_KINDS)
      await process_.line()
      const before = readdirSync('/proc/self/fd').length
      let visited = 0
      expect(() =>
        visitSockets(process_.pid, 'inspect', undefined, () => {
          if (visited++ > 0) return
          process_.child.kill('SIGKILL')
          // This thread does not reap it meanwhile, but its descriptors are closed soon.
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
        }),
      ).toThrow(/There is no process|has ended/)
      expect(visited).toBe(1)
      expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before)
    },
  )

  test.skipIf(withoutPidfd)('a visitor that throws leaves nothing open', async () => {
    await using process_ = startNode(MANY_KINDS)
    await process_.line()
    const before = readdirSync('/proc/self/fd').length
    for (let nth = 0; nth < 20; nth++) {
      expect(() =>
        visitSockets(process_.pid, 'inspect', undefined, () => {
          throw new Error('thrown')
        }),
      ).toThrow('thrown')
    }
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(before + 10)
  })

  test.skipIf(withoutPidfd)('a number that is another socket by then is passed over', async () => {
    await using process_ = startNode(MANY_KINDS)
    const { v4, v6 } = JSON.parse(await process_.line())
    const binding = native() as { takeDescriptor?: (process: number, fd: number) => number }
    const { takeDescriptor } = binding
    // As if the process had closed one and opened the other after it was listed.
    binding.takeDescriptor = (opened, fd) => takeDescriptor?.(opened, fd === v4[0] ? v6 : fd) ?? -1
    const visited: number[] = []
    try {
      visitSockets(process_.pid, 'set', new Set([v4[0], v6]), (_, fd) => visited.push(fd))
    } finally {
      binding.takeDescriptor = takeDescriptor as never
    }
    expect(visited).toEqual([v6])
  })

  test.each([
    [[], 'The process ID (pid) is missing.'],
    [['node'], "a number (pid) from 1 to 2147483647, not 'node'"],
    [['0'], "not '0'"],
    [['-5'], 'Unknown option -5.'],
    [['1', '2'], "Expected one process but received '1', '2'."],
    [['1', '--jsno'], 'Unknown option --jsno.'],
    [['1', '--json=yes'], "--json takes no value but received 'yes'."],
  ])('%s', (words, message) => {
    expect(() => inspect(words)).toThrow(message)
  })

  test.each([
    [['inspect'], 'The process ID (pid) is missing.'],
    [['check', 'now'], 'check takes no arguments: now'],
  ])('%s, and the usage', async (words, message) => {
    const { code, stdout, stderr } = await command(words)
    const [name] = words
    expect(stderr).toBe(
      `tcp-keepalive ${name}: ${message}\nUsage: npx tcp-keepalive ${name} --help\n`,
    )
    expect([code, stdout]).toEqual([2, ''])
  })
})

test.each(['check', 'inspect', 'set'])('%s --help, and with other words', async (name) => {
  for (const words of [['--help'], ['-h'], ['1', '--help']]) {
    const { code, stdout, stderr } = await command([name, ...words])
    expect(stdout).toMatch(new RegExp(`^Usage: tcp-keepalive ${name}`))
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
    expect([code, stderr]).toEqual([0, ''])
  }
})

test('--version', async () => {
  const { version } = createRequire(__filename)('../package.json')
  expect(await command(['--version'])).toEqual({
    code: 0,
    signal: null,
    stdout: `${version}\n`,
    stderr: '',
  })
})
