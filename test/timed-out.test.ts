/** Why the kernel has ended a connection, told without taking SO_ERROR away from Node. */
import { join } from 'node:path'
import { hasTimedOut } from 'tcp-keepalive/connection/timed-out'
import { describe, expect, test } from 'vitest'
import { run } from './support/child.ts'
import { ownNetwork, withoutOwnNetwork } from './support/own-network.ts'

interface Row {
  set: string
  state: string
  event: string
  concluded: boolean
  code: string | 0
  ended: { retransmits: number; probes: number }
}

describe.skipIf(withoutOwnNetwork !== '')(`real connections${withoutOwnNetwork}`, () => {
  test.concurrent('each timeout by the kernel is distinguished from each reset', async () => {
    const file = join(__dirname, 'support', 'ended-connections.mjs')
    const { stdout, stderr } = await run(['unshare', ...ownNetwork, process.execPath, file])
    expect(stderr).toBe('')
    // On a busy machine the network may be changed too late: then another probe was answered.
    const rows = (JSON.parse(stdout) as Row[]).filter(
      ({ event, ended }) =>
        !event.startsWith('the second') || ended.retransmits + ended.probes <= 2,
    )
    expect(rows.filter(({ code }) => code !== 0).length).toBeGreaterThan(25)
    for (const row of rows) {
      const silent = row.event === 'the peer is silent'
      // 0: Node has taken the error first, which happens on a busy machine.
      const code = row.code === 0 ? 0 : silent ? 'ETIMEDOUT' : 'ECONNRESET'
      expect(row, JSON.stringify(row)).toMatchObject({ concluded: silent, code })
    }
  })
})

describe('in doubt it was a reset', () => {
  const inForce = { idle: 60, interval: 10, count: 3, userTimeout: 0, rtoMax: 120_000 }
  const ended = {
    retransmits: 0,
    probes: 0,
    rtt: 20,
    rttVariation: 5,
    rto: 220,
    sinceDataSent: 90_000,
    sinceSegment: 90_000,
    sendWindow: 65_536,
  }

  test('nothing was asked', () => {
    expect(hasTimedOut(ended, inForce, {})).toBe(false)
  })

  test('all probes went unanswered, for the whole time', () => {
    expect(hasTimedOut({ ...ended, probes: 3 }, inForce, {})).toBe(true)
    expect(hasTimedOut({ ...ended, probes: 2 }, inForce, {})).toBe(false)
    // The answer to the last of them.
    expect(hasTimedOut({ ...ended, probes: 3, sinceSegment: 80_020 }, inForce, {})).toBe(false)
  })

  test('retransmissions: the user timeout is over, and the last one was not just sent', () => {
    const bounded = { ...inForce, userTimeout: 5000 }
    const lost = { ...ended, retransmits: 4, rto: 3520, sinceSegment: 5300, sinceDataSent: 1900 }
    expect(hasTimedOut(lost, bounded, {})).toBe(true)
    expect(hasTimedOut({ ...lost, sinceSegment: 3500 }, bounded, {})).toBe(false)
    expect(hasTimedOut({ ...lost, sinceDataSent: 21 }, bounded, {})).toBe(false)
    // Right after one only where the user timeout has cut the interval to that: 220, 440, 880 ms.
    const cut = { ...lost, retransmits: 3, rto: 1760, sinceSegment: 1560, sinceDataSent: 21 }
    expect(hasTimedOut(cut, { ...inForce, userTimeout: 1341 }, {})).toBe(true)
    const later = { ...cut, sinceSegment: 2100 }
    expect(hasTimedOut(later, { ...inForce, userTimeout: 1800 }, {})).toBe(false)
    expect(hasTimedOut(lost, inForce, {})).toBe(false)
    expect(hasTimedOut({ ...lost, sinceSegment: 930_000 }, inForce, {})).toBe(true)
  })

  test('a closed window: with a user timeout its whole time, else the kernel sends retries2 probes', () => {
    const closed = { ...ended, sendWindow: 0, sinceSegment: 100, probes: 16 }
    expect(hasTimedOut(closed, { ...inForce, userTimeout: 90_000 }, {})).toBe(true)
    expect(hasTimedOut(closed, { ...inForce, userTimeout: 91_000 }, {})).toBe(false)
    expect(hasTimedOut(closed, inForce, { retries2: 15 })).toBe(true)
    expect(hasTimedOut({ ...closed, probes: 15 }, inForce, { retries2: 15 })).toBe(false)
  })
})
