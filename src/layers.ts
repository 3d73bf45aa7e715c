/** Settings over earlier settings. */
import { type Settings, settingsWith, UNTOUCHED, type Values } from './settings.js'

/**
 * What was set, one after the other. A program mostly sets the same options again: then the
 * last settings take the place of those before, and nothing has to be copied.
 */
export interface Layers {
  earlier: Settings
  last: Settings
}

export function layersOf(settings: Settings): Layers {
  return { earlier: UNTOUCHED, last: settings }
}

export function addLayer(layers: Layers, later: Settings): void {
  if (later.fields !== layers.last.fields) flatten(layers)
  layers.last = later
}

/** All layers as one. */
export function flatten(layers: Layers): Settings {
  if (layers.last !== UNTOUCHED) {
    layers.earlier = merge(layers.earlier, layers.last)
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
