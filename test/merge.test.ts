/** Settings over earlier settings come to the same as field by field, in whatever order. */
import fc from 'fast-check'
import { merge, touched } from 'tcp-keepalive/options/merge'
import { type Settings, UNTOUCHED } from 'tcp-keepalive/options/settings'
import { describe, expect, test } from 'vitest'

const FIELDS = Object.keys(UNTOUCHED) as (keyof Settings)[]

/** Few numbers and few kinds, so that the same are set again. */
const settings: fc.Arbitrary<Settings> = fc
  .record(Object.fromEntries(FIELDS.map((name) => [name, fc.nat(2)])) as never, {
    requiredKeys: [],
  })
  .map((values) => ({ ...UNTOUCHED, ...values }))
const sequences = fc
  .array(settings, { minLength: 1, maxLength: 4 })
  .chain((some) => fc.array(fc.constantFrom(...some, UNTOUCHED), { maxLength: 20 }))

/** The rule in words: a later value wins, and a user timeout that is set on its own bounds the connect as well. */
function plainly(all: readonly Settings[]): Settings {
  const result: Record<string, number> = { ...UNTOUCHED }
  for (const later of all) {
    if (later.userTimeout >= 0) result.connectTimeout = -1
    for (const name of FIELDS) if (later[name] >= 0) result[name] = later[name]
  }
  return expect.objectContaining(
    Object.fromEntries(FIELDS.map((name) => [name, result[name]])),
  ) as Settings
}

describe('merge', () => {
  test('is what was set, one after the other', () => {
    fc.assert(
      fc.property(sequences, (sequence) => {
        expect(sequence.reduce(merge, UNTOUCHED)).toEqual(plainly(sequence))
      }),
      { numRuns: 2000 },
    )
  })

  test('leaves the settings that it is given alone', () => {
    fc.assert(
      fc.property(settings, settings, (earlier, later) => {
        const before = JSON.stringify([earlier, later])
        expect(merge(earlier, later)).toEqual(plainly([earlier, later]))
        expect(JSON.stringify([earlier, later])).toBe(before)
      }),
    )
  })

  test('makes nothing new of what is set again', () => {
    fc.assert(
      fc.property(settings, (once) => {
        expect(merge(UNTOUCHED, once)).toBe(once)
        expect(merge(once, once)).toBe(once)
      }),
    )
  })
})

test('touched names the fields that were set, and no other', () => {
  expect(touched({ ...UNTOUCHED, idle: 60, userTimeout: 0 })).toEqual({ idle: 60, userTimeout: 0 })
  expect(touched(UNTOUCHED)).toEqual({})
})
