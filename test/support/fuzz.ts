/** How much random input there is: a share of it in `npm test`, as much as is asked for in `npm run lab -- fuzz`. */
import { expect } from 'vitest'
import { TEST_MS } from './patience.mts'
import { OfTheCaller } from './whatever.ts'

const { FUZZ_CASES, FUZZ_CALLS, FUZZ_SEED } = process.env

/** Cases for the public functions, all properties together. */
export const CASES = Number(FUZZ_CASES ?? 3000)
/** Calls of the raw binding. */
export const CALLS = Number(FUZZ_CALLS ?? 20_000)
/** Another one each time, and told when something fails. */
export const SEED = Number(FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** A part of all cases. */
export const runs = (share: number): { numRuns: number; seed: number } => ({
  numRuns: Math.ceil(CASES * share),
  seed: SEED,
})
/** Milliseconds for a property. */
export const PATIENCE: number = TEST_MS + 3 * CASES

const CODES = [
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_OUT_OF_RANGE',
  'ERR_SOCKET_CLOSED',
  'ERR_SOCKET_NOT_CONNECTED',
  'ENOTSUP',
]

/** Of the documented kind, or thrown by an accessor, a trap or a revoked proxy of the caller's own. */
function expectDocumented(error: unknown): void {
  if (error instanceof OfTheCaller) return
  if (error instanceof TypeError && error.message.includes('proxy that has been revoked')) return
  expect(CODES, String((error as Error).stack)).toContain((error as { code?: string }).code)
}

/** What it returns, or undefined where a documented error was thrown. */
export function tried<T>(call: () => T): { returned: T } | undefined {
  try {
    return { returned: call() }
  } catch (error) {
    expectDocumented(error)
    return undefined
  }
}

export function expectTimes(times: unknown): void {
  expect(Object.keys(times as object)).toEqual([
    'idle',
    'unacknowledged',
    'zeroWindow',
    'connecting',
    'worst',
  ])
  for (const time of Object.values(times as object)) {
    if (time !== null) expect(Number.isFinite(time) && time >= 0, JSON.stringify(times)).toBe(true)
  }
}
