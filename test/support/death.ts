/** Real deaths of sockets that nobody reads, and when the kernel decided on them. */
import { type EventEmitter, once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo, setKeepalive, setUserTimeout } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { expect } from 'vitest'
import { LoopClock } from './stopwatch.ts'

export interface Death {
  errors: NodeJS.ErrnoException[]
  /** The argument of `'close'`. */
  hadError: boolean
  /** Whether `'end'` came. */
  ended: boolean
  /**
   * Milliseconds from the kernel's decision (TCP_INFO says CLOSE) to `'error'`, in
   * the time of this event loop: see `LoopClock`.
   */
  delay: number
}

/** Follows a socket to its `'close'`, asking the kernel every five milliseconds. */
export async function deathOf(socket: Socket): Promise<Death> {
  const errors: NodeJS.ErrnoException[] = []
  let decided = Number.NaN
  let told = Number.NaN
  let ended = false
  const clock = new LoopClock()
  socket.on('error', (error) => {
    told = clock.since()
    // No look came in between: the event loop was held up.
    if (Number.isNaN(decided)) decided = told
    errors.push(error)
  })
  socket.on('end', () => {
    ended = true
  })
  const timer = setInterval(() => {
    if (decided > 0 || socket.destroyed || getTcpInfo(socket).state !== 'CLOSE') return
    decided = clock.since()
  }, 5)
  const [hadError] = (await closed(socket)) as [boolean]
  clearInterval(timer)
  clock.stop()
  // A second 'error' would be late by some turns.
  await sleep(150)
  return { errors, hadError, ended, delay: told - decided }
}

/** `once(socket, 'close')` would reject with the socket's error. */
export function closed(socket: EventEmitter): Promise<unknown[]> {
  return new Promise((resolve) => socket.once('close', (...values) => resolve(values)))
}

/** The kernel's verdict, as Node makes it of a failing read, once and in time. */
export function expectTold(death: Death, code = 'ETIMEDOUT', errno = -110): void {
  expect(death.errors).toHaveLength(1)
  const [error] = death.errors as [NodeJS.ErrnoException]
  expect(error).toBeInstanceOf(Error)
  expect({ ...error, message: error.message }).toEqual({
    code,
    errno,
    syscall: 'read',
    message: `read ${code}`,
  })
  expect(death.hadError).toBe(true)
  expect(death.delay).toBeGreaterThanOrEqual(0)
  expect(death.delay).toBeLessThan(100)
}

/** The peer sends more than anybody takes, until Node has stopped reading. */
export async function stall(socket: Socket, peer: Socket): Promise<void> {
  reset(peer)
  peer.write(Buffer.alloc(4 << 20))
  await stalled(socket)
}

/** The other end of a dead socket is reset when that closes; no test is about it. */
export function reset(peer: Socket): void {
  peer.on('error', () => {})
}

/**
 * Until Node has stopped reading: there is more, and in several looks, between
 * which the event loop has polled, none of it was taken.
 */
export async function stalled(socket: Socket): Promise<void> {
  let last = 0
  for (let looks = 0; looks < 5; ) {
    await sleep(20)
    await immediate()
    const { bytesRead } = socket
    const stopped = bytesRead === last && getTcpInfo(socket).receivedBytes > bytesRead
    looks = bytesRead > 0 && stopped ? looks + 1 : 0
    last = bytesRead
  }
}

export const DEATHS = {
  /** Keepalive finds the peer silent: about two seconds. */
  idle(socket: Socket): void {
    setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
    unplug(socket)
  },
  /** A byte is never acknowledged: a little over a second. */
  inFlight(socket: Socket): void {
    setUserTimeout(socket, 1000)
    unplug(socket)
    socket.write('x')
  },
} as const

export async function ended(socket: Socket): Promise<void> {
  if (!socket.readableEnded) await once(socket, 'end')
}
