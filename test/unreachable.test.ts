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
  /** From what started the kernel's clock: at least, and at most. */
  atLeast: number
  atMost: number
}

/** Runs on the first host: `run(socket)` starts what ends with the socket's error. */
const verdictOf = (run: string) =>
  answerOf<Verdict>(
    `
    const { execSync } = require('node:child_process')
    const { once } = require('node:events')
    const { connect } = require('node:net')
    const { setKeepalive, setUserTimeout, isDeadPeerError } = require('tcp-keepalive')
    const pullCable = () => execSync(process.env.CUT)
    const verdict = async (socket, earliest) => {
      const latest = performance.now()
      const [error] = await once(socket, 'error')
      const now = performance.now()
      const { code, errno, syscall, message } = error
      console.log(JSON.stringify({
        code, errno, syscall, message, dead: isDeadPeerError(error),
        atLeast: (now - latest) / 1000, atMost: (now - earliest) / 1000,
      }))
    }
    ;(async () => {${run}})()
    `,
    { wrapper: [...(unshare ?? []), 'sh', twoHosts] },
  )

describe.concurrent('the kernel has given the peer up', () => {
  test('EHOSTUNREACH: data in flight, and the peer answers no ARP any more', async () => {
    const { atLeast, atMost, ...verdict } = await verdictOf(`
      const socket = connect(7777, '10.77.0.2').resume()
      await once(socket, 'connect')
      setUserTimeout(socket, 5000)
      pullCable()
      const earliest = performance.now()
      socket.write('into silence')
      await verdict(socket, earliest)
    `)
    expect(verdict).toEqual({
      code: 'EHOSTUNREACH',
      errno: -113,
      syscall: 'read',
      message: 'read EHOSTUNREACH',
      dead: true,
    })
    expect(atMost).toBeGreaterThan(4.9)
    expect(atLeast).toBeLessThan(7)
  })

  test('ETIMEDOUT on the same cable: idle, no ARP has failed by then', async () => {
    const { atLeast, atMost, ...verdict } = await verdictOf(`
      const earliest = performance.now()
      const socket = connect(7777, '10.77.0.2').resume()
      await once(socket, 'connect')
      setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
      pullCable()
      await verdict(socket, earliest)
    `)
    expect(verdict).toEqual({
      code: 'ETIMEDOUT',
      errno: -110,
      syscall: 'read',
      message: 'read ETIMEDOUT',
      dead: true,
    })
    expect(atMost).toBeGreaterThan(1.9)
    expect(atLeast).toBeLessThan(2.7)
  })

  test('EHOSTUNREACH: a connect to an address that nobody has', async () => {
    const { atLeast, ...verdict } = await verdictOf(`await verdict(connect(7777, '10.77.0.99'))`)
    expect(verdict).toMatchObject({
      code: 'EHOSTUNREACH',
      errno: -113,
      syscall: 'connect',
      dead: true,
    })
    expect(atLeast).toBeLessThan(6)
  })

  test('but ENETUNREACH of a connect is none: no route, so nothing was asked', async () => {
    const { atLeast, ...verdict } = await verdictOf(`await verdict(connect(7777, '192.0.2.1'))`)
    expect(verdict).toMatchObject({
      code: 'ENETUNREACH',
      errno: -101,
      syscall: 'connect',
      dead: false,
    })
    expect(atLeast).toBeLessThan(1)
  })
})
