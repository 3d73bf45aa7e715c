/** Settings laid over each other come to the same as field by field, in whatever order and whenever somebody looks. */
import fc from 'fast-check'
import { addLayer, flatten, type Layers, layersOf, merge } from 'tcp-keepalive/layers'
import { type Settings, settingsWith, UNTOUCHED, type Values } from 'tcp-keepalive/settings'
import { describe, expect, test } from 'vitest'

const FIELDS = Object.keys(UNTOUCHED).filter((name) => name !== 'fields') as (keyof Values)[]

/** Few numbers and few kinds, so that the same are set again. */
const settings: fc.Arbitrary<Settings> = fc
  .record(Object.fromEntries(FIELDS.map((name) => [name, fc.nat(2)])) as never, {
    requiredKeys: [],
  })
  .map((values) => settingsWith(values))
const kinds = fc.array(settings, { minLength: 1, maxLength: 4 })
const sequences = kinds.chain((some) =>
  fc.array(fc.record({ set: fc.constantFrom(...some, UNTOUCHED), look: fc.boolean() }), {
    maxLength: 20,
  }),
)

/** The rule in words: a later value wins, and a user timeout that is set on its own bounds the connect as well. */
function plainly(all: readonly Settings[]): Values {
  const result: Record<string, number> = { ...UNTOUCHED }
  for (const later of all) {
    if (later.userTimeout >= 0) result.connectTimeout = -1
    for (const name of FIELDS) if (later[name] >= 0) result[name] = later[name]
  }
  return expect.objectContaining(
    Object.fromEntries(FIELDS.map((name) => [name, result[name]])),
  ) as Values
}

describe('layers', () => {
  test('are what was set, one after the other', () => {
    fc.assert(
      fc.property(settings, sequences, (first, sequence) => {
        const layers: Layers = layersOf(first)
        const all = [first]
        for (const { set, look } of sequence) {
          addLayer(layers, set)
          all.push(set)
          if (look) expect(flatten(layers)).toEqual(plainly(all))
        }
        expect(flatten(layers)).toEqual(plainly(all))
      }),
      { numRuns: 2000 },
    )
  })

  test('leave the settings that they are made of alone', () => {
    fc.assert(
      fc.property(settings, settings, (earlier, later) => {
        const before = JSON.stringify([earlier, later])
        expect(merge(earlier, later)).toEqual(plainly([earlier, later]))
        expect(JSON.stringify([earlier, later])).toBe(before)
      }),
    )
  })

  test('of two kinds in turn are never copied', () => {
    const [keepalive, timeout] = [
      settingsWith({ idle: 1, held: 1 }),
      settingsWith({ userTimeout: 9 }),
    ]
    const all = settingsWith(Object.fromEntries(FIELDS.map((name) => [name, 7])))
    const layers = layersOf(all)
    for (let i = 0; i < 10; i++) addLayer(layers, i % 2 === 0 ? timeout : keepalive)
    expect(layers).toEqual({ earlier: all, before: timeout, last: keepalive })
    expect(layers.earlier).toBe(all)
  })
})
