/** Settings over earlier settings. */
import { LEAVE, NO_VALUES, type Settings, UNTOUCHED, type Values } from './settings.js'

const NAMES = Object.keys(NO_VALUES) as (keyof Values)[]

/** Later settings over earlier ones. */
export function merge(earlier: Settings, later: Settings): Settings {
  if (earlier === UNTOUCHED) return later
  if (changesNothing(earlier, later)) return earlier
  const values: Record<keyof Values, number> = { ...earlier }
  // A user timeout that is set on its own bounds the connect as well.
  if (later.userTimeout >= 0) values.connectTimeout = later.connectTimeout
  for (const name of NAMES) if (later[name] >= 0) values[name] = later[name]
  return values
}

/** A program sets the same again and again. */
function changesNothing(earlier: Settings, later: Settings): boolean {
  if (later.userTimeout >= 0 && later.connectTimeout !== earlier.connectTimeout) return false
  for (const name of NAMES) {
    if (later[name] >= 0 && later[name] !== earlier[name]) return false
  }
  return true
}

/** Earlier settings, but for what later ones have set. */
export function without(earlier: Settings, later: Settings): Settings {
  const values: Record<keyof Values, number> = { ...merge(earlier, later) }
  for (const name of NAMES) if (later[name] >= 0) values[name] = LEAVE
  return values
}

/** What these settings change, for people to read. */
export function touched(settings: Settings): Partial<Values> {
  return Object.fromEntries(
    NAMES.filter((name) => settings[name] >= 0).map((name) => [name, settings[name]]),
  )
}
