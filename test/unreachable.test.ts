/**
 * The kernel's verdict is not always ETIMEDOUT: what the network has said meanwhile
 * wins. Two hosts on one cable, in network namespaces (lab/support/two-hosts.sh).
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'

const twoHosts = join(__dirname, '../lab/support/two-hosts-listening.sh')

/** How this user makes a network namespace, if at all: root, or with a user namespace around it. */
const unshare = [
  ['unshare', '--net'],
  ['unshare', '--net', '--user', '--map-root-user'],
].find(([file = '', ...args]) => {
  const veth = 'ip link add left type veth peer name right && nsenter --version'
  return spawnSync(file, [...args, 'sh', '-c', veth]).status === 0
})

beforeEach(({ skip }) => {
  if (unshare === undefined) {
    skip(
      'no network namespaces: neither root nor user namespaces, or no unshare, nsenter, ip or veth',
    )
  }
})

interface Verdict {
  code: string
  errno: number
  syscall: string
  message: string
  dead: boolean
  /** Seconds from what started the kernel's clock, at the most. */
  atMost: number
  /** After it was due: seconds in turns of the event loop, and from the latest start of the kernel's clock. */
  late: number
}

/** Runs on the first host: `run` starts what ends with the socket's error, and how many seconds later at the most. */
const verdictOf = (run: string) =>
  answerOf<Verdict>(
    `
    const { execSync } = require('node:child_process')
    const { once } = require('node:events')
    const { connect } = require('node:net')
    const { setKeepalive, setUserTimeout, isDeadPeerError } = require('tcp-keepalive')
    const pullCable = () => execSync(process.env.CUT)
    const { LoopClock } = require('./test/support/loop-clock.cjs')
    const verdict = async (socket, seconds, earliest) => {
      const latest = performance.now()
      const clock = new LoopClock()
      const [error] = await once(socket, 'error')
      const now = performance.now()
      const { code, errno, syscall, message } = error
      console.log(JSON.stringify({
        code, errno, syscall, message, dead: isDeadPeerError(error),
        atMost: (now - earliest) / 1000, late: clock.since(latest + 1000 * seconds) / 1000,
      }))
    }
    ;(async () => {${run}})()
    `,
    { wrapper: [...(unshare ?? []), 'sh', twoHosts] },
  )

describe.concurrent('the kernel has given the peer up', () => {
  test('EHOSTUNREACH: data in flight, and the peer answers no ARP any more', async () => {
    const { atMost, late, ...verdict } = await verdictOf(`
      const socket = connect(7777, '10.77.0.2').resume()
      await once(socket, 'connect')
      setUserTimeout(socket, 5000)
      pullCable()
      const earliest = performance.now()
      socket.write('into silence')
      await verdict(socket, 5, earliest)
    `)
    expect(verdict).toEqual({
      code: 'EHOSTUNREACH',
      errno: -113,
      syscall: 'read',
      message: 'read EHOSTUNREACH',
      dead: true,
    })
    expect(atMost).toBeGreaterThan(4.9)
    expect(late).toBeLessThan(2)
  })

  test('ETIMEDOUT on the same cable: idle, no ARP has failed by then', async () => {
    const { atMost, late, ...verdict } = await verdictOf(`
      const earliest = performance.now()
      const socket = connect(7777, '10.77.0.2').resume()
      await once(socket, 'connect')
      setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
      pullCable()
      await verdict(socket, 2, earliest)
    `)
    expect(verdict).toEqual({
      code: 'ETIMEDOUT',
      errno: -110,
      syscall: 'read',
      message: 'read ETIMEDOUT',
      dead: true,
    })
    expect(atMost).toBeGreaterThan(1.9)
    expect(late).toBeLessThan(0.7)
  })

  test('EHOSTUNREACH: a connect to an address that no host has', async () => {
    const { late, ...verdict } = await verdictOf(`await verdict(connect(7777, '10.77.0.99'), 3)`)
    expect(verdict).toMatchObject({
      code: 'EHOSTUNREACH',
      errno: -113,
      syscall: 'connect',
      dead: true,
    })
    expect(late).toBeLessThan(3)
  })

  test('but ENETUNREACH of a connect is none: no route, so nothing was asked', async () => {
    const { late, ...verdict } = await verdictOf(`await verdict(connect(7777, '192.0.2.1'), 0)`)
    expect(verdict).toMatchObject({
      code: 'ENETUNREACH',
      errno: -101,
      syscall: 'connect',
      dead: false,
    })
    expect(late).toBeLessThan(1)
  })
})
