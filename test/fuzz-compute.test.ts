/** Whatever is asked of what touches no socket: an answer that makes sense, or a documented error. */
import fc from 'fast-check'
import {
  type DeadPeerOptions,
  detectionTime,
  isDeadPeerError,
  planDeadPeerTimeout,
  systemDefaults,
} from 'tcp-keepalive'
import { expect, test } from 'vitest'
import { expectTimes, PATIENCE, runs, tried } from './support/fuzz.ts'
import { host } from './support/kernel-state.ts'
import {
  answer,
  anything,
  argument,
  deadPeerOptions,
  isRecipe,
  recipe,
  slowReader,
  value,
} from './support/whatever.ts'

test(
  'planDeadPeerTimeout: a plan that the kernel takes, or a documented error',
  () => {
    fc.assert(
      fc.property(value, deadPeerOptions, (ms, given) => {
        const done = tried(() =>
          planDeadPeerTimeout(ms as number, argument(given) as DeadPeerOptions),
        )
        if (done === undefined) return
        const {
          slowReader,
          idle,
          interval,
          count,
          userTimeout,
          connectTimeout,
          rtoMax,
          silence,
          detection,
        } = done.returned
        expect(done.returned.ms).toBe((ms as number) + 0)
        expect(slowReader).toBe(
          (isRecipe(given) ? answer(given, 'slowReader') : undefined) ?? 'keep',
        )
        const within = (least: number, most: number, ...numbers: number[]) => {
          for (const number of numbers)
            expect(Number.isInteger(number) && number >= least && number <= most).toBe(true)
        }
        within(1, 32_767, idle, interval)
        within(1, 127, count)
        within(0, 2 ** 31 - 1, userTimeout, connectTimeout, silence)
        if (rtoMax !== null) within(1000, 120_000, rtoMax)
        expectTimes(detection)
      }),
      runs(0.08),
    )
  },
  PATIENCE,
)

test(
  'detectionTime: milliseconds or null in each field, or a documented error',
  () => {
    const settings = recipe({
      ...{ enabled: value, idle: value, interval: value, count: value, userTimeout: value },
      ...{ connectTimeout: value, rtoMax: value, silence: value, ms: value, slowReader },
    })
    fc.assert(
      fc.property(
        fc.oneof({ weight: 4, arbitrary: settings }, { weight: 1, arbitrary: anything }),
        (given) => {
          const done = tried(() => detectionTime(argument(given) as object))
          if (done !== undefined) expectTimes(done.returned)
        },
      ),
      runs(0.08),
    )
  },
  PATIENCE,
)

const NUMBERS = {
  ...{ ETIMEDOUT: -110, EHOSTUNREACH: -113, EHOSTDOWN: -112, ENETUNREACH: -101 },
  ...{ ECONNREFUSED: -111, EACCES: -13, ENOPROTOOPT: -92, EADDRNOTAVAIL: -99 },
}
const ALWAYS = ['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN']
const ESTABLISHED = [...ALWAYS, 'ENETUNREACH', 'ECONNREFUSED', 'EACCES', 'ENOPROTOOPT']
const WRAPPERS = ['cause', 'original', 'parent', 'originalError', 'innerError']

const verdict = fc.oneof(
  fc.constantFrom(...Object.keys(NUMBERS), ...Object.values(NUMBERS)),
  fc.constantFrom(-104, -32, 110, -(2 ** 53), Number.MIN_SAFE_INTEGER),
  value,
)
const syscall = fc.oneof(fc.constantFrom('read', 'write', 'connect', 'getaddrinfo'), value)
const leaf = recipe({
  ...{ errno: verdict, syscall, erroredSysCall: syscall },
  ...{ code: fc.constant('ETIMEDOUT'), cause: anything, parent: anything },
})
/** As the kernel makes them. */
const real = fc.record({
  errno: fc.constantFrom(...Object.values(NUMBERS)),
  syscall: fc.constantFrom('read', 'write', 'connect'),
})
/** As node-fetch hands them on. */
const fetched = fc.record({
  errno: fc.constantFrom(...Object.keys(NUMBERS)),
  erroredSysCall: fc.constantFrom('read', 'write', 'connect'),
})
interface Made {
  of: unknown
  in?: string
}
const { error } = fc.letrec<{ error: Made }>((tie) => ({
  error: fc.oneof(
    { maxDepth: 4 },
    fc.record({ of: leaf }),
    fc.record({ of: fc.oneof(real, fetched) }),
    fc.record({ of: anything }),
    fc.record({ of: tie('error'), in: fc.constantFrom(...WRAPPERS) }),
    fc.record({
      of: fc.oneof(fc.array(tie('error')), fc.sparseArray(tie('error'), { maxLength: 20 })),
      in: fc.constant('errors'),
    }),
  ),
}))
/** Anew for each look at it: an accessor may change its answer. */
function makeError(made: Made): unknown {
  if (made.in === undefined) return argument(made.of)
  if (made.in === 'errors') return { errors: (made.of as Made[]).map(makeError) }
  return { [made.in]: makeError(made.of as Made) }
}

/** By its definition, without its code: undefined says nothing of any peer. */
function isVerdict(error: unknown): boolean | undefined {
  if (typeof error !== 'object' || error === null) return false
  const fields = error as Record<string, unknown>
  const { errno, syscall, erroredSysCall } = fields
  const isName = typeof errno === 'string'
  const code = isName ? errno : Object.entries(NUMBERS).find(([, each]) => each === errno)?.[0]
  const by = isName ? erroredSysCall : syscall
  const verdicts =
    by === 'connect' ? ALWAYS : ['read', 'write'].includes(by as string) ? ESTABLISHED : []
  if (verdicts.includes(code ?? '')) return true
  if (by === 'connect' && ['ENETUNREACH', 'EADDRNOTAVAIL'].includes(code ?? '')) return undefined
  const { errors } = fields
  if (!Array.isArray(errors)) return WRAPPERS.some((name) => isVerdict(fields[name]) === true)
  const answers = [...errors].map(isVerdict)
  return answers.includes(true) && !answers.includes(false)
}

test.skipIf(process.platform !== 'linux')(
  'isDeadPeerError (with the numbers of Linux): true or false, as its definition says',
  () => {
    let verdicts = 0
    fc.assert(
      fc.property(error, (given) => {
        const done = tried(() => isDeadPeerError(makeError(given)))
        // What throws when it is looked at is none, and does not stop an error handler.
        expect(done).toEqual(
          tried(() => isVerdict(makeError(given)) === true) ?? { returned: false },
        )
        if (done?.returned === true) verdicts++
      }),
      runs(0.1),
    )
    expect(verdicts).toBeGreaterThan(10)
  },
  PATIENCE,
)

test('systemDefaults takes no notice of what is passed', () => {
  fc.assert(
    fc.property(fc.array(anything, { maxLength: 3 }), (others) => {
      expect((systemDefaults as (...others: unknown[]) => unknown)(...others)).toEqual(host)
    }),
    runs(0.01),
  )
})
