import fc from 'fast-check'
import { settingsOf } from 'tcp-keepalive/dead-peer'
import { describe, expect, test } from 'vitest'
import {
  aheadOfSilence,
  probesForStuckData,
  rtoMaxForStuckData,
} from '../src/kernel/closed-window.js'
import {
  checkDeadPeerTimeout,
  type DeadPeerPlan,
  deadPeerPlan,
  nothingPlanned,
} from '../src/kernel/plan.js'
import { kernelDetectionTime, SWEEP_PERIOD } from '../src/kernel/rules.js'
import type { SystemDefaults } from '../src/kernel/system-defaults.js'
import { retriesTime } from '../src/kernel/timers.js'
import {
  type Clock,
  connectDeath,
  idleDeath,
  inFlightDeath,
  shrunkWindowDeath,
  sweepDeath,
  zeroWindowDeath,
} from './support/kernel-model.ts'

const NEW: SystemDefaults = { retries2: 15, synRetries: 6, synLinearTimeouts: 4, rtoMax: 120_000 }
const OLD: SystemDefaults = { retries2: 15, synRetries: 6 }
const LONGEST = 2_147_483_647
/** A timer is late by up to an eighth. */
const LATEST = 1.125

const clocks = fc.record({
  hz: fc.constantFrom(100, 250, 300, 1000),
  start: fc.integer({ min: 2 ** 30, max: 2 ** 30 + 2 ** 21 }),
})
/** RTTs up to 100 ms, from a new connection's RTO to a settled one's. */
const paths = fc
  .record({ srtt: fc.integer({ min: 0, max: 100 }), fresh: fc.boolean() })
  .map(({ srtt, fresh }) => ({ srtt, rto: fresh ? Math.max(3 * srtt, 200 + srtt) : 200 + srtt }))

function expectWithin(death: number, { ms }: DeadPeerPlan, state: string): void {
  if (death < 0.7 * ms || death > ms + 1000) {
    expect.fail(`${state}: ${death} ms is not within 70 % of ${ms} and ${ms} + 1 s`)
  }
}

/** The kernel's verdict or, where the plan has a sweep, the sweep's. */
function sooner(kernel: number, plan: DeadPeerPlan, phase: number, secondProbe: number): number {
  if (plan.silence === 0) return kernel
  return Math.min(kernel, sweepDeath(plan.silence, SWEEP_PERIOD, phase, secondProbe))
}

/** Every ms up to 20 s, where whole seconds are coarse; a sample beyond. */
function everyTime(limit: number, check: (ms: number) => void): void {
  for (let ms = 2000; ms < Math.min(limit, 20_000); ms++) check(ms)
  for (let ms = 20_000; ms <= Math.min(limit, 200_000); ms += 17) check(ms)
  for (let ms = 200_000; ms <= limit; ms = Math.ceil(ms * 1.003) + 1) check(ms)
  if (limit > 200_000) check(limit)
}

/** A different tick rate and phase for each time, the same in every run. */
function clockFor(ms: number): Clock {
  return { hz: [100, 250, 300, 1000][ms % 4] as number, start: 2 ** 30 + ((ms * 7919) % 2 ** 21) }
}

describe('a planned time', () => {
  /** Beyond these the host's own tcp_retries2 (924 s) and tcp_syn_retries (127, 131 s) come first. */
  const RETRIES_LIMIT = 1_320_000
  const SYN_LIMIT = 181_000

  test.each([
    ['keep', NEW],
    ['keep', OLD],
    ['end', NEW],
  ] as const)(
    "slowReader '%s', %o: no state before seven tenths of it, none after it and a second",
    (slow, host) => {
      everyTime(LONGEST, (ms) => {
        const plan = deadPeerPlan(ms, slow, host)
        expectKernelTakes(plan)
        expectProbes(plan)
        if (slow === 'keep') expectKept(plan, host)
        const clock = clockFor(ms)
        const srtt = ms % 101
        const rto = ms % 2 ? 200 + srtt : Math.max(3 * srtt, 200 + srtt)
        expectWithin(idleDeath(plan, clock, (ms * 31) % (plan.idle * 1000)), plan, 'idle')
        if (ms <= SYN_LIMIT) {
          const linear = host.synLinearTimeouts ?? 0
          expectWithin(connectDeath(plan.connectTimeout, clock, 6, linear), plan, 'connecting')
        }
        if (slow === 'keep' && ms > RETRIES_LIMIT) return
        // With 'keep' the bound is in force only while a window is closed.
        const open = slow === 'keep' ? { ...plan, rtoMax: host.rtoMax ?? null } : plan
        const kernel = inFlightDeath(open, clock, { srtt, rto }, 15)
        expectWithin(sooner(kernel, plan, ms % SWEEP_PERIOD, 0), plan, 'in flight')
        if (kernel < 0.7 * ms) expect.fail(`${ms}: the kernel is early in flight, at ${kernel}`)
        // A kernel without TCP_RTO_MAX_MS lets two minutes pass between window probes.
        if (slow === 'end' || host === OLD) return
        const { death, probes } = zeroWindowDeath(plan, clock, rto, ms % 11, 15)
        expectWithin(
          sooner(death, plan, ms % SWEEP_PERIOD, probes[1] as number),
          plan,
          `zero window, backoff ${ms % 11}`,
        )
        if (death < 0.7 * ms)
          expect.fail(`${ms}: the kernel is early with a zero window, at ${death}`)
      })
    },
  )

  /** Nothing that the kernel answers with EINVAL. */
  function expectKernelTakes(plan: DeadPeerPlan): void {
    const integer = (value: number, least: number, most: number) =>
      Number.isInteger(value) && value >= least && value <= most
    const taken =
      integer(plan.idle, 1, 32767) &&
      integer(plan.interval, 1, 32767) &&
      integer(plan.count, 1, 127) &&
      integer(plan.connectTimeout, 1, LONGEST) &&
      integer(plan.userTimeout, 0, LONGEST) &&
      (plan.rtoMax === null || integer(plan.rtoMax, 1000, 120_000)) &&
      integer(plan.silence, 0, LONGEST)
    if (!taken) expect.fail(`the kernel refuses ${JSON.stringify(plan)}`)
  }

  /**
   * Lost probes must not end a live connection: one for each 2.5 s, up to Linux' own nine.
   * Below 2.5 s there is room for one only.
   */
  function expectProbes(plan: DeadPeerPlan): void {
    const probes = ((plan.detection.idle as number) / 1000 - plan.idle) / plan.interval
    const room = Math.min(9, Math.max(plan.ms < 2500 ? 1 : 2, Math.floor(plan.ms / 2500)))
    if (probes < room) expect.fail(`${plan.ms}: ${probes} probes`)
  }

  /** No user timeout; where the sweep decides, two window probes fit into the silence. */
  function expectKept(
    { ms, userTimeout, silence, rtoMax }: DeadPeerPlan,
    host: SystemDefaults,
  ): void {
    if (userTimeout !== 0) expect.fail(`${ms}: a user timeout of ${userTimeout}`)
    // Below 2.7 s the second comes after it, and the sweep waits for it.
    if (silence === 0 || ms < 2700 || ms > RETRIES_LIMIT || host === OLD) return
    if (2 * LATEST * (rtoMax as number) > silence) expect.fail(`${ms}: ${rtoMax} in ${silence}`)
  }

  test('holds at any tick rate, phase and RTT', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2000, max: 200_000 }),
        fc.constantFrom('keep' as const, 'end' as const),
        clocks,
        paths,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (ms, slow, clock, path, part) => {
          const plan = deadPeerPlan(ms, slow, NEW)
          expectWithin(idleDeath(plan, clock, part * plan.idle * 1000), plan, 'idle')
          const kernel = inFlightDeath(plan, clock, path, 15)
          expectWithin(sooner(kernel, plan, part * SWEEP_PERIOD, 0), plan, 'in flight')
        },
      ),
      { numRuns: 3000 },
    )
  })
})

describe("slowReader 'keep'", () => {
  test('a window that closes upon data in flight: alone, the kernel times out after two lost probes', () => {
    const { ms, rtoMax } = deadPeerPlan(60_000, 'keep', NEW)
    const alone = shrunkWindowDeath(() => rtoMax as number, clockFor(ms), rtoMax as number, ms)
    expect(alone).toMatchObject({ probes: 1 })
    expect(alone.death).toBeLessThan(0.7 * ms)
  })

  test("there the sweep keeps the kernel's bound ahead of the silence, and room for its probes", () => {
    // Beyond that the kernel's own 240 s, twice its largest bound, come first.
    for (let ms = 2000; ms <= 340_000; ms += 7) {
      const plan = deadPeerPlan(ms, 'keep', NEW)
      const phase = ms % SWEEP_PERIOD
      // As of the last look, half a second ago at the most.
      const bound = (now: number) =>
        aheadOfSilence(
          rtoMaxForStuckData(plan.silence, 0, 15),
          now < phase ? 0 : now - ((now - phase) % SWEEP_PERIOD),
        )
      // A look that has seen the last question, and one that finds it unanswered.
      const end = ms + 1000 - SWEEP_PERIOD
      const first = Math.min(plan.rtoMax as number, 200 * 2 ** (ms % 8))
      const { death, probes } = shrunkWindowDeath(bound, clockFor(ms), first, end)
      expectWithin(death, plan, 'closed upon data')
      // Below 2.7 s there is no room for a second.
      const wanted = ms < 2700 ? 1 : probesForStuckData(plan.silence)
      if (ms <= 240_000 && probes < wanted) expect.fail(`${ms}: ${probes} probes`)
    }
  })

  test('nor does a look that is late by as much as the bound let the kernel end a live peer', () => {
    for (let ms = 2000; ms <= 200_000; ms += 7) {
      const { silence } = deadPeerPlan(ms, 'keep', NEW)
      const rtoMax = rtoMaxForStuckData(silence, 0, 15)
      const bound = (now: number) => aheadOfSilence(rtoMax, Math.max(0, now - rtoMax))
      const { death } = shrunkWindowDeath(bound, clockFor(ms), rtoMax, silence)
      expect(death).toBe(silence)
    }
  })

  test('a peer that answers and takes nothing: tcp_retries2 lasts longer than that, as far as it can', () => {
    for (const ms of [2000, 20_000, 60_000, 600_000]) {
      const { silence } = deadPeerPlan(ms, 'keep', NEW)
      for (let stuck = 0; stuck <= 900_000; stuck += 1700) {
        const rtoMax = rtoMaxForStuckData(silence, stuck, 15)
        if (rtoMax === 120_000) expect(retriesTime(rtoMax / 1.1, 15)).toBeLessThan(stuck + silence)
        else expect(retriesTime(rtoMax, 15)).toBeGreaterThanOrEqual(stuck + silence)
      }
    }
  })

  test('on a host whose tcp_retries2 is over sooner in any case, the bound stays small', () => {
    const { silence } = deadPeerPlan(20_000, 'keep', NEW)
    expect(rtoMaxForStuckData(silence, 60_000, 5)).toBe(rtoMaxForStuckData(silence, 0, 15))
  })

  test('sweeps, and leaves the option alone, where the kernel does not', () => {
    expect(deadPeerPlan(60_000, 'keep', OLD)).toMatchObject({ rtoMax: null, silence: 51_000 })
  })

  test('says how late a peer is noticed that dies behind a closed window, where no bound makes probes come often', () => {
    const { detection } = deadPeerPlan(20_000, 'keep', OLD)
    expect(detection.zeroWindow).toBeGreaterThan(6 * 120_000)
    expect(detection.worst).toBe(detection.zeroWindow)
    // However long the silence is: six, where by chance two of two minutes would fit into it.
    expect(deadPeerPlan(300_000, 'keep', OLD).detection.zeroWindow).toBe(detection.zeroWindow)
    const justClosed = { silence: 17_000, rtoMax: null }
    const path = { rto: 220, backoff: 0 }
    const { zeroWindow } = kernelDetectionTime(justClosed, OLD, path)
    expect(Math.abs(zeroWindow - 17_500)).toBeLessThan(1000)
    expect(deadPeerPlan(20_000, 'keep', NEW).detection.zeroWindow).toBe(17_500)
  })

  test('says that beyond 1320 s the host gives data in flight up before', () => {
    expect(deadPeerPlan(3_600_000, 'keep', NEW).detection.unacknowledged).toBeLessThan(
      0.7 * 3_600_000,
    )
  })
})

describe("slowReader 'end'", () => {
  test('sets the user timeout, no sweep, and gives an inherited bound back', () => {
    expect(deadPeerPlan(30_000, 'end', NEW)).toMatchObject({
      userTimeout: 26_500,
      rtoMax: 120_000,
      silence: 0,
    })
    expect(deadPeerPlan(30_000, 'end', OLD).rtoMax).toBeNull()
  })

  test("is decided by keepalive's last tick, half an interval after the user timeout", () => {
    const plan = deadPeerPlan(30_000, 'end', NEW)
    expect(plan.detection.idle).toBe(1000 * (plan.idle + plan.count * plan.interval))
  })
})

test.each([
  [2000, 0],
  [6000, 2000],
  [60_000, 24_000],
  [300_000, 112_000],
])('%i ms: a healthy idle connection survives an outage of %i ms', (ms, outage) => {
  for (const slowReader of ['keep', 'end'] as const) {
    expect(deadPeerPlan(ms, slowReader, NEW).survivesOutage).toBe(outage)
  }
})

test('a plan is frozen plain data', () => {
  const plan = deadPeerPlan(30_000, 'keep', NEW)
  expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
  expect(Object.isFrozen(plan) && Object.isFrozen(plan.detection)).toBe(true)
})

describe('the arguments of a plan', () => {
  test.each([
    [1999, 'ERR_OUT_OF_RANGE', /whole seconds/],
    [0.5, 'ERR_OUT_OF_RANGE', /2000 to 2147483647/],
    [Number.NaN, 'ERR_OUT_OF_RANGE', /NaN/],
    [2 ** 31, 'ERR_OUT_OF_RANGE', /2147483648/],
    ['2000', 'ERR_INVALID_ARG_TYPE', /milliseconds/],
  ])('%s is refused with %s', (ms, code, message) => {
    expect(() => checkDeadPeerTimeout(ms, undefined)).toThrow(expect.objectContaining({ code }))
    expect(() => checkDeadPeerTimeout(ms, undefined)).toThrow(message)
  })

  test.each<[NodeJS.Platform, SystemDefaults, number[], number[]]>([
    ['linux', { idle: 600, interval: 60, count: 5 }, [600, 60, 5], [600, 60, 5]],
    ['linux', { idle: 7200, interval: 0, count: 0 }, [7200, 75, 9], [7200, 75, 9]], // gVisor
    ['darwin', {}, [7200, 75, 8], [0, 0, 0]],
    ['freebsd', {}, [7200, 75, 8], [0, 0, 0]],
    ['win32', {}, [7200, 1, 10], [7200, 1, 10]],
  ])(
    '0 restores the defaults of %s, where sysctls are %o: %o, written as %o',
    (platform, host, said, written) => {
      const plan = nothingPlanned('end', host, platform)
      const { idle, interval, count } = settingsOf(plan, platform)
      expect([plan.idle, plan.interval, plan.count]).toEqual(said)
      expect([idle, interval, count]).toEqual(written)
    },
  )

  test("slowReader depends on the platform if omitted, and is only 'keep' or 'end'", () => {
    expect(checkDeadPeerTimeout(2000, undefined)).toBe(undefined)
    expect(checkDeadPeerTimeout(2000, {})).toBe(undefined)
    expect(checkDeadPeerTimeout(2000, { slowReader: 'keep' })).toBe('keep')
    expect(checkDeadPeerTimeout(2000, { slowReader: 'end' })).toBe('end')
    expect(() => checkDeadPeerTimeout(2000, { slowReader: 'kill' })).toThrow(/'keep' or 'end'/)
    expect(() => checkDeadPeerTimeout(2000, { slowReaders: 'end' })).toThrow(/slowReaders/)
    expect(() => checkDeadPeerTimeout(2000, 'end')).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    )
  })
})

describe('kernelDetectionTime', () => {
  test("nothing set: Linux' own defaults, and never when idle", () => {
    expect(kernelDetectionTime({}, NEW)).toEqual({
      idle: null,
      unacknowledged: expect.toSatisfy((ms: number) => ms > 924_600 && ms < 940_000),
      zeroWindow: expect.toSatisfy((ms: number) => ms >= 16 * 120_000 && ms < 1_950_000),
      connecting: 131_000,
      worst: null,
    })
  })

  test('before Linux 6.5 a connect times out after 127 s', () => {
    expect(kernelDetectionTime({}, OLD).connecting).toBe(127_000)
  })

  test.each([
    // settings, milliseconds; measured in docs/detection.md
    [{ idle: 1, interval: 1, count: 3 }, 4000],
    [{ enabled: true }, 7_200_000 + 9 * 75_000],
    [{ idle: 5, interval: 1, count: 1 }, 6000],
    [{ enabled: false, idle: 5, interval: 1, count: 1 }, null],
    [{ userTimeout: 5000 }, null],
  ])('idle without a user timeout: %o', (settings, idle) => {
    expect(kernelDetectionTime(settings, NEW).idle).toBe(idle)
  })

  test.each([
    [{ idle: 1, interval: 1, count: 1, userTimeout: 6000 }, 6000],
    [{ idle: 1, interval: 1, count: 9, userTimeout: 2000 }, 2000],
    [{ idle: 2, interval: 3, count: 9, userTimeout: 4000 }, 5000],
    [{ idle: 2, interval: 3, count: 9, userTimeout: 5001 }, 8000],
    // The first tick never gives up: no probe has been sent.
    [{ idle: 5, interval: 2, count: 1, userTimeout: 1000 }, 7000],
  ])(
    'a user timeout makes the first tick that reaches it decide, not the count: %o',
    (settings, idle) => {
      expect(kernelDetectionTime(settings, NEW).idle).toBe(idle)
    },
  )

  test.each([
    // RTT, RTO, user timeout, seconds: each was measured
    [100, 300, 2000, 2650],
    [300, 900, 2000, 3800],
    [300, 900, 10_000, 12_000],
    [1500, 4500, 2000, 9900],
    [1500, 4500, 5000, 13_100],
  ])('in flight, RTT %i ms, RTO %i ms, user timeout %i: %i', (srtt, rto, userTimeout, measured) => {
    const { unacknowledged } = kernelDetectionTime({ userTimeout }, NEW, { srtt, rto })
    expect(Math.abs(unacknowledged - measured)).toBeLessThan(0.05 * measured)
    expect(kernelDetectionTime({ userTimeout }, NEW, { srtt }).unacknowledged).toBe(unacknowledged)
  })

  test.each([
    [1000, 15_000],
    [1250, 18_300],
    [1500, 22_700],
    [2000, 27_500],
    [3000, 40_200],
    [3500, 45_900],
    [5000, 63_000],
    [10_000, 115_700],
    [20_000, 211_700],
  ])('in flight, TCP_RTO_MAX_MS %i: %i was measured', (rtoMax, measured) => {
    const { unacknowledged } = kernelDetectionTime({ rtoMax }, NEW, { rto: 204 })
    expect(Math.abs(unacknowledged - measured)).toBeLessThan(Math.max(750, 0.05 * measured))
  })

  test('connecting: the user timeout, but no more attempts than tcp_syn_retries', () => {
    expect(kernelDetectionTime({ userTimeout: 2500 }, NEW).connecting).toBe(2500)
    expect(kernelDetectionTime({ userTimeout: 500_000 }, NEW).connecting).toBe(131_000)
    expect(kernelDetectionTime({ userTimeout: 500, connectTimeout: 9000 }, NEW).connecting).toBe(
      9000,
    )
    // A second attempt is always made.
    expect(kernelDetectionTime({ userTimeout: 300 }, NEW).connecting).toBe(1000)
  })

  test('at worst, a write just before the idle verdict starts a new clock', () => {
    const { idle, unacknowledged, worst } = kernelDetectionTime(
      { idle: 1, interval: 1, userTimeout: 4000 },
      NEW,
    )
    expect(worst).toBe((idle as number) + unacknowledged)
  })

  test('agrees with the timers played out one by one, but for their lateness', () => {
    fc.assert(
      fc.property(
        fc.record({
          idle: fc.integer({ min: 1, max: 200 }),
          interval: fc.integer({ min: 1, max: 60 }),
          count: fc.integer({ min: 1, max: 20 }),
          rtoMax: fc.integer({ min: 1000, max: 120_000 }),
        }),
        fc.oneof(fc.constant(0), fc.integer({ min: 1000, max: 300_000 })),
        clocks,
        paths,
        fc.integer({ min: 3, max: 15 }),
        (settings, userTimeout, clock, path, retries2) => {
          const socket = { ...settings, userTimeout }
          const host = { ...NEW, retries2 }
          const { idle, unacknowledged, zeroWindow, connecting } = kernelDetectionTime(
            socket,
            host,
            path,
          )
          const played = [
            idleDeath(socket, clock, 0),
            inFlightDeath(socket, clock, path, retries2),
            connectDeath(userTimeout, clock, 6, 4),
          ]
          const predicted = [idle as number, unacknowledged, connecting]
          if (userTimeout === 0) {
            played.push(zeroWindowDeath(socket, clock, path.rto, 10, retries2).death)
            predicted.push(zeroWindow)
          }
          const steps = [settings.interval * 1000, LATEST * settings.rtoMax, 0, 0.125 * zeroWindow]
          played.forEach((death, state) => {
            // An early tick can be late enough to reach the limit by itself: one step less.
            const least = (predicted[state] as number) - (steps[state] as number)
            expect(death).toBeGreaterThanOrEqual(least)
            expect(death).toBeLessThanOrEqual(
              (predicted[state] as number) * LATEST + (state === 1 ? settings.rtoMax : 0) + 100,
            )
          })
        },
      ),
      { numRuns: 3000 },
    )
  })
})
