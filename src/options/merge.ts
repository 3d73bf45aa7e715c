/** Merges settings with earlier settings. */
import { LEAVE, NO_VALUES, type Settings, UNTOUCHED } from './settings.js'

const NAMES = Object.keys(NO_VALUES) as (keyof Settings)[]

/** Later settings override earlier ones. Written out, because a loop over names takes as long as the system calls. */
export function merge(earlier: Settings, later: Settings): Settings {
  if (earlier === UNTOUCHED || earlier === later) return later
  return {
    userTimeout: over(earlier.userTimeout, later.userTimeout),
    rtoMax: over(earlier.rtoMax, later.rtoMax),
    idle: over(earlier.idle, later.idle),
    interval: over(earlier.interval, later.interval),
    count: over(earlier.count, later.count),
    keepalive: over(earlier.keepalive, later.keepalive),
    // A user timeout that is set by itself bounds the connect as well.
    connectTimeout:
      later.userTimeout >= 0
        ? later.connectTimeout
        : over(earlier.connectTimeout, later.connectTimeout),
    silence: over(earlier.silence, later.silence),
    locked: over(earlier.locked, later.locked),
  }
}

function over(earlier: number, later: number): number {
  return later >= 0 ? later : earlier
}

/** Earlier settings without the fields that later ones set. */
export function without(earlier: Settings, later: Settings): Settings {
  const values: Record<keyof Settings, number> = { ...merge(earlier, later) }
  for (const name of NAMES) if (later[name] >= 0) values[name] = LEAVE
  return values
}

/** The fields that these settings change, for debug output. */
export function touched(settings: Settings): Partial<Settings> {
  return Object.fromEntries(
    NAMES.filter((name) => settings[name] >= 0).map((name) => [name, settings[name]]),
  )
}
