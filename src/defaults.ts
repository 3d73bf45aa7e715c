/** Settings for every TCP socket of this process, also those inside drivers. */
import { channel } from 'node:diagnostics_channel'
import type { Server, Socket } from 'node:net'
import { planDeadPeerTimeout, settingsOf } from './dead-peer.js'
import { debug } from './debug.js'
import {
  invalidType,
  invalidValue,
  received,
  refuseMore,
  unavailable,
  unpolluted,
} from './errors.js'
import type { SlowReader } from './kernel/plan.js'
import { native } from './native.js'
import { IS_NODE, NOT_NODE } from './node/descriptor.js'
import type { ConnectRequest } from './node/hooks.js'
import { merge } from './options/merge.js'
import {
  type KeepaliveOptions,
  keepaliveSettings,
  type Settings,
  userTimeoutSettings,
} from './options/settings.js'
import type { Call } from './options/units.js'
import { observeConnects } from './targets/connect-defaults.js'
import { observeListens } from './targets/server.js'

/** Which sockets: `'client'` those that connect, `'server'` those that servers accept. */
export type DefaultsScope = 'client' | 'server' | 'all'

/** The options of `installDefaults`: at least one of `keepalive`, `userTimeout` and `deadPeerTimeout`. */
export interface DefaultsOptions {
  /** The options of `setKeepalive`: **seconds**, **seconds**, **probes**. */
  keepalive?: KeepaliveOptions | boolean | undefined
  /** As for `setUserTimeout`: **milliseconds**. */
  userTimeout?: number | undefined
  /** As for `setDeadPeerTimeout`: **milliseconds**. The two above override it, field by field. */
  deadPeerTimeout?: number | { ms: number; slowReader?: SlowReader | undefined } | undefined
  /** Default `'client'`. */
  scope?: DefaultsScope | undefined
  /**
   * Whether to set a socket that connects. `host` is the name that the program passed, if Node
   * has it (a socket that connects again keeps its first name), else the address. If the filter
   * throws, nothing is set, and the error is reported like a refusal by the kernel.
   */
  filter?: ((socket: Socket, destination: { host: string; port: number }) => boolean) | undefined
}

interface Installed {
  readonly settings: Settings
  readonly client: boolean
  readonly server: boolean
  readonly filter: DefaultsOptions['filter']
}

/** In the order of installation: a later one overrides earlier ones, field by field. */
const installed: Installed[] = []

/**
 * Sets every TCP socket that this environment (the main thread, a worker) connects from now
 * on, also inside drivers that hide their sockets: net, tls, http(s), http2, fetch. With
 * `scope`, also or instead the connections of servers that start listening from now on.
 *
 * Settings on a socket itself override the defaults. If the kernel rejects the defaults, the
 * connection continues and the socket is unchanged. One warning per error code is emitted (code
 * TCP_KEEPALIVE_REFUSED), and the channel `tcp-keepalive:refused` publishes each refusal.
 * Unix-domain sockets are skipped.
 *
 * Several installs are merged; a later one overrides earlier ones, field by field. Not
 * covered: native clients that open sockets of their own (c-ares over TCP, the inspector),
 * workers and processes that did not install them, sockets that were already open or were
 * created from a descriptor.
 *
 * @param options At least one of `keepalive`, `userTimeout` and `deadPeerTimeout`, in the
 * units and ranges of the functions for one socket.
 * @returns A function that undoes it, for sockets that connect and servers that start listening
 * after its call. Calling it again does nothing.
 * @throws {TypeError | RangeError} As the functions for one socket do.
 * @throws {Error} ERR_FEATURE_UNAVAILABLE_ON_PLATFORM: no binary can be loaded, or the runtime is not Node.
 * @platform Node, on the platforms of the functions for one socket; not Bun, not Deno.
 * @see docs/register.md for what else it changes in a program
 *
 * @example
 * const undo = installDefaults({ keepalive: { idle: 60, interval: 10, count: 3 } })
 * const driver = net.connect(port) // sets nothing itself
 * await once(driver, 'connect')
 * getKeepalive(driver) // => { enabled: true, idle: 60, interval: 10, count: 3 }
 * undo()
 */
export function installDefaults(options: DefaultsOptions): () => void {
  if (arguments.length > 1) {
    const instead = "installDefaults({ deadPeerTimeout: 60_000, scope: 'all' })"
    refuseMore('installDefaults(options)', 1, arguments, instead)
  }
  const added = check(options)
  if (!IS_NODE) throw unavailable(NOT_NODE)
  // Loaded now, where the caller can catch the error, and not at the first connection.
  native()
  installed.push(added)
  observe()
  return () => {
    const index = installed.indexOf(added)
    if (index >= 0) installed.splice(index, 1)
    observe()
  }
}

let ignoreConnects: (() => void) | undefined
let ignoreListens: (() => void) | undefined

/** Observes connects and listens while there are defaults for them. */
function observe(): void {
  if (!installed.some(({ client }) => client)) {
    ignoreConnects?.()
    ignoreConnects = undefined
  } else ignoreConnects ??= observeConnects({ settingsFor, reportRefusal })
  if (!installed.some(({ server }) => server)) {
    ignoreListens?.()
    ignoreListens = undefined
  } else ignoreListens ??= observeListens({ settingsFor: serverSettings, reportRefusal })
}

const FIELDS = new Set(['keepalive', 'userTimeout', 'deadPeerTimeout', 'scope', 'filter'])
const SCOPES = new Set<unknown>(['client', 'server', 'all'])

const callOfDefaults: Call = (options) => `installDefaults({ keepalive: ${options} })`

function check(options: unknown): Installed {
  if (typeof options !== 'object' || options === null) {
    throw invalidType('options', 'an object such as { deadPeerTimeout: 60_000 }', options)
  }
  for (const key of Object.keys(options)) {
    if (!FIELDS.has(key)) {
      throw invalidValue(
        `Unknown field options.${key}. installDefaults takes ${[...FIELDS].join(', ')}.`,
      )
    }
  }
  const {
    keepalive,
    userTimeout,
    deadPeerTimeout,
    scope = 'client',
    filter,
  } = unpolluted(options as DefaultsOptions, FIELDS)
  const parts: Settings[] = []
  if (deadPeerTimeout !== undefined) parts.push(deadPeerSettings(deadPeerTimeout))
  if (keepalive !== undefined) parts.push(keepaliveSettings(keepalive, callOfDefaults))
  if (userTimeout !== undefined) parts.push(userTimeoutSettings(userTimeout))
  if (parts.length === 0) {
    throw invalidValue(
      'installDefaults needs keepalive, userTimeout or deadPeerTimeout: without these, nothing would be set.',
    )
  }
  if (!SCOPES.has(scope)) {
    throw invalidValue(
      `Expected 'client', 'server' or 'all' for options.scope but received ${received(scope)}.`,
    )
  }
  if (filter !== undefined && typeof filter !== 'function') {
    throw invalidType('options.filter', 'a function', filter)
  }
  return {
    settings: parts.reduce(merge),
    client: scope !== 'server',
    server: scope !== 'client',
    filter,
  }
}

function deadPeerSettings(value: NonNullable<DefaultsOptions['deadPeerTimeout']>): Settings {
  if (typeof value !== 'object' || value === null) return settingsOf(planDeadPeerTimeout(value))
  const { ms, ...options } = unpolluted(value, ['ms'])
  return settingsOf(planDeadPeerTimeout(ms, options))
}

function settingsFor(socket: Socket, { address, port }: ConnectRequest): Settings | undefined {
  let settings: Settings | undefined
  for (const { client, filter, settings: these } of installed) {
    if (!client) continue
    if (filter !== undefined) {
      const host = (socket as unknown as { _host?: string | null })._host ?? address
      try {
        if (!filter(socket, { host, port })) continue
      } catch (error) {
        reportRefusal(socket, error, 'not set, because the filter threw')
        continue
      }
    }
    settings = settings === undefined ? these : merge(settings, these)
  }
  return settings
}

function serverSettings(): Settings | undefined {
  const settings = installed.filter(({ server }) => server).map((each) => each.settings)
  return settings.length === 0 ? undefined : settings.reduce(merge)
}

/**
 * The message of the channel `tcp-keepalive:refused` of `node:diagnostics_channel`: defaults
 * that could not be set.
 */
export interface RefusedMessage {
  /** The socket or server that is unchanged. */
  socket: Socket | Server
  /** The refusal, or what the `filter` threw. */
  error: unknown
}

const refusals = channel('tcp-keepalive:refused')
const warned = new Set<string>()

function reportRefusal(socket: Socket | Server, error: unknown, by = 'refused'): void {
  const message: RefusedMessage = { socket, error }
  refusals.publish(message)
  // A filter may throw anything.
  const isError = error instanceof Error
  const text = isError ? error.message : received(error)
  debug('default settings were %s: %s', by, text)
  const kind = isError ? `${by} ${(error as NodeJS.ErrnoException).code}` : by
  if (warned.has(kind)) return
  warned.add(kind)
  process.emitWarning(
    `tcp-keepalive: default settings were ${by}; the connection continues without them: ${text}`,
    { code: 'TCP_KEEPALIVE_REFUSED' },
  )
}
