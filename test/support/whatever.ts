/** Values and objects of every kind that a caller can come up with, made by fast-check. */
import fc from 'fast-check'

const number = fc.oneof(
  fc.integer({ min: -2, max: 130 }),
  fc.integer({ min: 32_700, max: 32_800 }),
  fc.integer({ min: 1990, max: 100_000 }),
  fc.integer(),
  fc.double(),
  fc.maxSafeInteger(),
  fc.constantFrom(-0, NaN, Infinity, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 60, 1e300),
)

export const anything: fc.Arbitrary<unknown> = fc.anything({
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
})

/** Mostly a number, and mostly one that something takes. */
export const value: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 12, arbitrary: number },
  { weight: 3, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: anything },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>('60', 60n, Object(60), [60], null, true, Symbol('60')),
  },
)

/** What an accessor or a trap of the caller's own throws: it must come through as it is. */
export class OfTheCaller extends Error {}
const throwing = (): never => {
  throw new OfTheCaller()
}

const WAYS = ['data', 'accessor', 'changing', 'throwing', 'hidden', 'inherited'] as const
const BASES = [
  'plain',
  'plain',
  'plain',
  'null',
  'class',
  'proxy',
  'frozen',
  'array',
  'map',
] as const
const ODD_BASES = ['boxed', 'function', 'traps', 'revoked', 'tagged'] as const

interface Property {
  key: PropertyKey
  way: (typeof WAYS)[number]
  value: unknown
  /** What a changing accessor answers from the second time on. */
  later: unknown
}

/** How to make an object; apart from the object, because accessors count how often they are read. */
export interface Recipe {
  base: (typeof BASES)[number] | (typeof ODD_BASES)[number]
  properties: Property[]
}

/** Objects with some of these fields, mostly; now and then with others. */
export function recipe(fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Recipe> {
  const known = Object.entries(fields).map(([key, of]) => ({
    weight: 6,
    arbitrary: fc.record({ key: fc.constant<PropertyKey>(key), ...ways(of) }),
  }))
  const names = fc.oneof(
    fc.string(),
    fc.constantFrom<PropertyKey>('initialDelay', 'enable', 'constructor', 'toString', Symbol('s')),
  )
  const unknown = fc.record({ key: names, ...ways(value) })
  return fc.record({
    base: fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(...BASES) },
      { weight: 1, arbitrary: fc.constantFrom(...ODD_BASES) },
    ),
    properties: fc.uniqueArray(fc.oneof(...known, { weight: 1, arbitrary: unknown }), {
      selector: ({ key }) => key,
      maxLength: 4,
    }),
  })
}

const ways = (of: fc.Arbitrary<unknown>) => ({
  way: fc.oneof(
    { weight: 8, arbitrary: fc.constant('data' as const) },
    { weight: 3, arbitrary: fc.constantFrom(...WAYS) },
  ),
  value: of,
  later: value,
})

export function make({ base, properties }: Recipe): object {
  const inherited = {}
  const object = start(base, inherited)
  for (const { key, way, value, later } of properties) {
    const on = way === 'inherited' ? inherited : object
    let asked = 0
    const get =
      way === 'throwing'
        ? throwing
        : way === 'changing'
          ? () => (asked++ === 0 ? value : later)
          : () => value
    const shared = { enumerable: way !== 'hidden', configurable: true }
    const isData = way === 'data' || way === 'hidden' || way === 'inherited'
    Object.defineProperty(on, key, isData ? { value, ...shared } : { get, ...shared })
  }
  return finish(base, object)
}

function start(base: Recipe['base'], inherited: object): object {
  const object = instance(base)
  Object.setPrototypeOf(inherited, base === 'null' ? null : Object.getPrototypeOf(object))
  return Object.setPrototypeOf(object, inherited)
}

function instance(base: Recipe['base']): object {
  if (base === 'array') return [1]
  if (base === 'map') return new Map()
  if (base === 'boxed') return Object(false)
  return base === 'function' ? () => {} : {}
}

function finish(base: Recipe['base'], object: object): object {
  if (base === 'frozen') return Object.freeze(object)
  if (base === 'proxy') return new Proxy(object, {})
  if (base === 'traps') return new Proxy(object, { get: throwing, ownKeys: throwing })
  if (base === 'tagged') return Object.defineProperty(object, Symbol.toStringTag, { get: throwing })
  if (base !== 'revoked') return object
  const { proxy, revoke } = Proxy.revocable(object, {})
  revoke()
  return proxy
}

/** What the object answers when it is first asked for the field. */
export function answer({ properties }: Recipe, field: string): unknown {
  return properties.find(({ key }) => key === field)?.value
}

/** What setKeepalive takes, more or less. */
export const keepaliveOptions: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 5, arbitrary: recipe({ idle: value, interval: value, count: value }) },
  { weight: 1, arbitrary: fc.boolean() },
  { weight: 1, arbitrary: anything },
)
export const slowReader: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom('keep', 'end', undefined),
  value,
)
export const deadPeerOptions: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  { weight: 3, arbitrary: recipe({ slowReader }) },
  { weight: 1, arbitrary: anything },
)

export const isRecipe = (made: unknown): made is Recipe =>
  typeof made === 'object' && made !== null && Object.hasOwn(made, 'properties')
/** Makes what is still a recipe. */
export const argument = (made: unknown): unknown => (isRecipe(made) ? make(made) : made)
