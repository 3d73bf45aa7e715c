/** Settings over earlier settings. */
import { type Settings, settingsWith, UNTOUCHED, type Values } from './settings.js'

/**
 * What was set, one after the other. A program mostly sets the same options again, or two
 * kinds of them in turn: then settings take the place of earlier ones, and nothing is copied.
 */
export interface Layers {
  earlier: Settings
  before: Settings
  last: Settings
}

export function layersOf(settings: Settings): Layers {
  return { earlier: UNTOUCHED, before: UNTOUCHED, last: settings }
}

export function addLayer(layers: Layers, later: Settings): void {
  if (later.fields !== layers.last.fields) makeRoom(layers, later)
  layers.last = later
}

function makeRoom(layers: Layers, later: Settings): void {
  const { earlier, before, last } = layers
  const isSetAgain = (before.fields & ~later.fields) === 0
  if (!isSetAgain) layers.earlier = merge(earlier, before)
  layers.before = last
}

/** All layers as one. */
export function flatten(layers: Layers): Settings {
  const { earlier, before, last } = layers
  if (before !== UNTOUCHED || last !== UNTOUCHED) {
    layers.earlier = merge(merge(earlier, before), last)
    layers.before = UNTOUCHED
    layers.last = UNTOUCHED
  }
  return layers.earlier
}

/** Later settings over earlier ones. */
export function merge(earlier: Settings, later: Settings): Settings {
  if (earlier === UNTOUCHED || earlier === later) return later
  if (later === UNTOUCHED) return earlier
  const values: Partial<Record<keyof Values, number>> = { ...earlier }
  // A user timeout that is set on its own bounds the connect as well.
  if (later.userTimeout >= 0) values.connectTimeout = later.connectTimeout
  for (const [name, value] of entries(later)) if (value >= 0) values[name] = value
  return settingsWith(values)
}

/** What these settings change, for people to read. */
export function touched(settings: Settings): Record<string, number> {
  return Object.fromEntries(entries(settings).filter(([, value]) => value >= 0))
}

function entries({ fields, ...values }: Settings): [keyof Values, number][] {
  return Object.entries(values) as [keyof Values, number][]
}
