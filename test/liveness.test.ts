/** What the sweep concludes (src/connection/liveness.ts), in courses that are played out; the real ones are lab/conformance. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  NOTHING,
  nextLook,
  type Outstanding,
  observe,
  startsToWait,
} from '../src/connection/liveness.js'
import {
  probesForClosedWindow,
  probesForStuckData,
  rtoMaxForClosedWindow,
  UNANSWERED_PROBES,
} from '../src/kernel/closed-window.js'
import { SWEEP_PERIOD } from '../src/kernel/rules.js'
import type { SystemDefaults } from '../src/kernel/system-defaults.js'
import { type Course, course } from './support/swept-connection.ts'

const NEW: SystemDefaults = { retries2: 15, rtoMax: 120_000 }
/** Before Linux 6.15. */
const OLD: SystemDefaults = { retries2: 15 }

const hosts = fc.constantFrom(NEW, OLD)
const silences = fc.integer({ min: 1700, max: 60_000 })
const rtts = fc.integer({ min: 0, max: 2000 })
/** Looks come as a busy loop lets them: mostly on time, now and then much later. */
const looks = fc
  .infiniteStream(
    fc.oneof(
      { weight: 5, arbitrary: fc.constant(SWEEP_PERIOD) },
      { weight: 3, arbitrary: fc.integer({ min: 1, max: 1000 }) },
      { weight: 1, arbitrary: fc.integer({ min: 1000, max: 20_000 }) },
    ),
  )
  .map((gaps) => () => gaps.next().value as number)
const HOUR = 3_600_000

function expectAlive(given: Omit<Course, 'until'>): void {
  const end = course({ ...given, until: HOUR })
  if (end.peer !== 'alive') expect.fail(`${end.peer} ${JSON.stringify(end)}`)
}

describe('a live peer is kept, whenever the looks are', () => {
  test.each(['probed', 'stuck', 'flying'] as const)('that answers everything: %s', (state) => {
    fc.assert(
      fc.property(hosts, silences, rtts, looks, (host, silence, rtt, gap) => {
        expectAlive({ state, rtt, answers: () => true, silence, host, gap })
      }),
    )
  })

  test('that answers the sixth probe at the latest, where probes come seldom', () => {
    const lost = fc.integer({ min: 0, max: UNANSWERED_PROBES - 1 })
    fc.assert(
      fc.property(
        // Before Linux 6.6 the kernel goes on believing a window open that closed upon data.
        fc.constantFrom('probed', 'stuck', 'looks open'),
        silences,
        rtts,
        looks,
        fc.infiniteStream(lost),
        (state, silence, rtt, gap, losses) => {
          // Until it has answered once it is not known for a slow reader.
          let left = state === 'looks open' ? 0 : (losses.next().value as number)
          const answers = (): boolean => {
            if (left-- > 0) return false
            left = losses.next().value as number
            return true
          }
          // The first look finds the data in flight, before anything is answered.
          const from = (nth: number) => (nth === 0 ? 1 : gap())
          expectAlive({ state, rtt: rtt + 1, answers, silence, host: OLD, gap: from })
        },
      ),
    )
  })
})

test.each([
  { ms: 2000, gap: 500 },
  { ms: 5000, gap: 4300 },
  { ms: 10_000, gap: 8600 },
  { ms: 30_000, gap: 10_000 },
])(
  '$ms ms: data written after a late look has its whole time, although data of the last look was acknowledged long ago: $gap ms',
  ({ ms, gap }) => {
    const silence = Math.floor(0.85 * ms)
    const none = { retransmitted: 0, probes: 0, timeouts: 0, bare: 0, answerTime: 200 }
    const flying = { ...none, waits: 1, inFlight: 1, window: 60_000 }
    const first = { ...flying, acknowledged: 1, sinceAck: 0, waited: 0 }
    const state = startsToWait(0, first, 1000)
    observe(state, first, 1000, silence, NEW)
    // What the first look saw is acknowledged at once; more is written just before the next.
    const written = 1000 + gap
    const rto = 200
    for (let now = written; ; now += SWEEP_PERIOD) {
      const age = now - written
      const timeouts = Math.floor(Math.log2(age / rto + 1))
      const outstanding = { ...flying, acknowledged: 2, sinceAck: now - 1000, timeouts }
      const { peer } = observe(
        state,
        { ...outstanding, retransmitted: timeouts, waited: age },
        now,
        silence,
        NEW,
      )
      if (peer === 'alive') continue
      expect(age).toBeGreaterThanOrEqual(0.7 * ms)
      expect(age).toBeLessThanOrEqual(ms + 1000)
      break
    }
  },
)

/** The looks of the sweep: the first comes within `nextLook`, at this part of it. */
const regular = (part: number, silence: number) => (nth: number, undoubted: boolean) => {
  if (nth === 0) return Math.ceil(part * nextLook(silence))
  return undoubted ? nextLook(silence) : SWEEP_PERIOD
}
const parts = fc.double({ min: 0.001, max: 1, noNaN: true })

describe('a dead peer is found', () => {
  test('behind a closed window, when the probes are over and so is the time', () => {
    fc.assert(
      fc.property(
        hosts,
        silences,
        fc.integer({ min: 0, max: 300 }),
        parts,
        (host, silence, rtt, part) => {
          const dead = { state: 'probed', rtt, answers: () => false, silence, host } as const
          const { peer, at, unanswered } = course({
            ...dead,
            gap: regular(part, silence),
            until: HOUR,
          })
          expect(peer).toBe('silent')
          expect(at).toBeGreaterThanOrEqual(silence)
          const bound = rtoMaxForClosedWindow(silence)
          const wanted = host === OLD ? UNANSWERED_PROBES : probesForClosedWindow(silence, bound)
          expect(unanswered).toBeGreaterThanOrEqual(wanted)
          // On an older kernel the doubling decides.
          const asked = (rtt + 200) * (2 ** UNANSWERED_PROBES - 1)
          const latest = host === OLD ? Math.max(silence, asked + rtt + 200) : silence + rtt + 1000
          // What waits behind it is found by a look.
          expect(at).toBeLessThanOrEqual(latest + nextLook(silence) + 2 * SWEEP_PERIOD)
        },
      ),
    )
  })

  test('with data in flight, although it goes on sending', () => {
    fc.assert(
      fc.property(
        hosts,
        silences,
        fc.integer({ min: 0, max: 100 }),
        parts,
        fc.constantFrom(0, 300, 1000, 5000),
        (host, silence, rtt, part, every) => {
          const dead = { state: 'flying', rtt, answers: () => false, every, silence, host } as const
          const { peer, at } = course({ ...dead, gap: regular(part, silence), until: HOUR })
          expect(peer).not.toBe('alive')
          expect(at).toBeGreaterThanOrEqual(silence)
          // Only the second clock begins with a look.
          const begins = every > 0 ? nextLook(silence) : 0
          expect(at).toBeLessThanOrEqual(silence + begins + 2 * SWEEP_PERIOD + 400)
        },
      ),
    )
  })

  test('with stuck data, when as many probes as fit into the time have gone unanswered', () => {
    for (const ms of [5000, 10_000, 20_000, 60_000]) {
      const silence = 0.85 * ms
      const dead = { state: 'stuck', rtt: 20, answers: () => false, silence, host: NEW } as const
      const { peer, at, unanswered } = course({ ...dead, gap: regular(0.5, silence), until: HOUR })
      expect(peer).toBe('silent')
      expect(unanswered).toBeGreaterThanOrEqual(probesForStuckData(silence))
      expect(at).toBeLessThan(ms + 1000)
    }
  })
})

describe('a probe is unanswered', () => {
  const closed: Outstanding = {
    waits: 1,
    inFlight: 0,
    window: 0,
    sinceAck: 0,
    acknowledged: 7,
    retransmitted: 0,
    probes: 0,
    timeouts: 0,
    bare: 0,
    answerTime: 1200,
    waited: 0,
  }

  test('only once its answer is overdue', () => {
    const state = startsToWait(1000, closed, 1000)
    const look = (now: number, probes: number) =>
      observe(state, { ...closed, probes, sinceAck: now }, 1000 + now, 10_000, OLD).peer
    look(0, 0)
    look(30_000, UNANSWERED_PROBES - 1)
    expect(look(60_000, UNANSWERED_PROBES)).toBe('alive')
    expect(look(61_100, UNANSWERED_PROBES)).toBe('alive')
    expect(look(61_200, UNANSWERED_PROBES)).toBe('silent')
  })

  test('a window that opens, with stuck data still in flight, needs more than two', () => {
    const state = startsToWait(1000, closed, 1000)
    const look = (now: number, window: number, timeouts: number) =>
      observe(state, { ...closed, inFlight: 1, window, timeouts }, 1000 + now, 10_000, NEW).peer
    look(0, 0, 0)
    look(60_000, 0, 0)
    // Its update has come; the next retransmission is still far away.
    look(60_500, 3000, 0)
    expect(look(80_000, 3000, 0)).toBe('alive')
    look(90_000, 3000, UNANSWERED_PROBES - 1)
    expect(look(100_000, 3000, UNANSWERED_PROBES - 1)).toBe('alive')
    look(110_000, 3000, UNANSWERED_PROBES)
    expect(look(120_000, 3000, UNANSWERED_PROBES)).toBe('stalled')
  })
})

test('TCP_RTO_MAX_MS is written only where this host has it and only while a window is closed, then restored', () => {
  const none = { sinceAck: 0, retransmitted: 0, probes: 0, timeouts: 0, bare: 0 }
  const rest = { ...none, answerTime: 200, waited: 0 }
  const closed = { ...rest, waits: 1, inFlight: 0, window: 0, acknowledged: NOTHING }
  const state = startsToWait(0, closed, 0)
  const look = (host: SystemDefaults, window: number, acknowledged: number) => {
    const outstanding = { waits: 1, inFlight: window > 0 ? 1 : 0, window, acknowledged }
    const { rtoMax } = observe(state, { ...outstanding, ...rest }, ++now, 20_000, host)
    state.rtoMax = rtoMax
    return rtoMax
  }
  let now = 0
  expect(look(NEW, 0, 1)).toBe(2000)
  expect(look(NEW, 5000, 2)).toBe(0)
  expect(look(OLD, 0, 2)).toBe(0)
})
