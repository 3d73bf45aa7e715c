import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Server, Socket } from 'node:net'
import { Connection } from '../connection/connection.js'
import { sweep } from '../connection/sweep.js'
import { debug } from '../debug.js'
import { serverNotOnPort } from '../errors.js'
import { has, native, TCP_INFO } from '../native.js'
import { hang, hook, hooksOf, type Observer, type ServerHooks } from '../node/hooks.js'
import type { TcpHandle } from '../node/internals.js'
import { isTcpHandle, listenerOf, onAccepting, onListened } from '../node/listening.js'
import { merge, touched } from '../options/merge.js'
import { type Settings, UNTOUCHED } from '../options/settings.js'
import { firstOption, write } from '../options/write.js'
import { seeEmitted } from './emit-connection.js'

/** The settings of a server, kept while the server exists, whether it listens or not. */
interface ServerState extends ServerHooks {
  /** The server's own settings; `undefined` if it only has defaults. */
  own: Settings | undefined
  /** The defaults, if it started listening with some. */
  defaults: Settings | undefined
  /** Both, merged. */
  settings: Settings
  /** The handle whose accepted connections are seen. */
  listener: TcpHandle | undefined
  /** Whether accepted connections inherit the listener's options. */
  inherits: boolean
  /** How many connections in the accept queue are older than the listener's options, and have not inherited them. */
  older: number
  /** The refusal because of which this server must not listen. */
  refusal: unknown
}

function stateOf(server: Server): ServerState | undefined {
  return hooksOf(server)
}

/** tcp(7): accepted sockets inherit; FreeBSD's syncache copies likewise. */
const PLATFORM_INHERITS = process.platform === 'linux' || process.platform === 'freebsd'

/** Sets what the server accepts from now on. */
export function applyToServer(server: Server, settings: Settings): void {
  const state = stateOf(server) ?? newState()
  const listener = listenerOf(server)
  if (listener !== null) adoptListener(listener, state, settings)
  const { own } = state
  state.own = own === undefined ? settings : merge(own, settings)
  combine(state)
  if (own !== undefined) return
  hook()
  hangState(server, state)
  onListened(server, () => listened(server, state))
}

function newState(): ServerState {
  return {
    own: undefined,
    defaults: undefined,
    settings: UNTOUCHED,
    listener: undefined,
    inherits: false,
    older: 0,
    refusal: undefined,
    listening(handle) {
      // Defaults are applied before this. A different handle means that there are none.
      if (this.listener !== handle) this.defaults = undefined
      combine(this)
      if (this.own !== undefined) tryAdopt(handle, this, this.own)
    },
  }
}

function hangState(server: Server, state: ServerState): void {
  if (stateOf(server) !== undefined) return
  hang(server, state)
  seeEmitted(server, state, (socket, error) => forServers?.reportRefusal(socket, error))
}

function combine(state: ServerState): void {
  const { own, defaults } = state
  if (own === undefined || defaults === undefined) state.settings = own ?? defaults ?? UNTOUCHED
  else state.settings = merge(defaults, own)
}

/** The defaults for every server of this environment; a server's own settings override them. */
export interface ServerDefaults {
  settingsFor(): Settings | undefined
  reportRefusal(target: Server | Socket, error: unknown): void
}

let forServers: ServerDefaults | undefined

/**
 * Sets the defaults on each server that starts listening from now on, before its own settings.
 * Returns a function that undoes it.
 */
export function observeListens(defaults: ServerDefaults): () => void {
  forServers = defaults
  const observer: Observer = {
    listening: applyDefaults,
  }
  // A cluster worker's stand-in for a listener is seen here only.
  const listened = (message: unknown): void => {
    const { server } = message as { server: Server }
    const handle = listenerOf(server)
    if (handle !== null && isStandIn(handle)) applyDefaults(handle, server)
  }
  const observers = hook()
  observers?.add(observer)
  subscribe(LISTENED, listened)
  return () => {
    observers?.delete(observer)
    unsubscribe(LISTENED, listened)
  }
}

const LISTENED = 'tracing:net.server.listen:asyncEnd'

function applyDefaults(handle: TcpHandle, server: Server): void {
  const defaults = forServers?.settingsFor()
  const state = stateOf(server) ?? newState()
  // With two copies of this package, the later one overrides the earlier one, field by field.
  if (state.listener !== handle) state.defaults = undefined
  try {
    if (defaults !== undefined) {
      adoptListener(handle, state, defaults)
      state.defaults = merge(state.defaults ?? UNTOUCHED, defaults)
      hangState(server, state)
      debug('a listener: %o', touched(defaults))
    }
  } catch (error) {
    forServers?.reportRefusal(server, error)
  }
  combine(state)
}

function tryAdopt(handle: TcpHandle, state: ServerState, own: Settings): void {
  try {
    adoptListener(handle, state, own)
  } catch (error) {
    state.refusal = error
  }
}

/** After a refusal no caller is left to catch the error: closes the server and emits `'error'`. */
function listened(server: Server, state: ServerState): void {
  const handle = listenerOf(server)
  if (handle === null) return
  // The hook does not see a path, or a cluster worker's stand-in.
  if (handle !== state.listener && state.refusal === undefined) {
    tryAdopt(handle, state, state.own ?? UNTOUCHED)
  }
  const { refusal } = state
  if (refusal === undefined) return
  state.refusal = undefined
  server.close()
  process.nextTick(() => server.emit('error', refusal))
}

function adoptListener(handle: TcpHandle, state: ServerState, settings: Settings): void {
  const isTcp = isTcpHandle(handle)
  if (!isTcp && !isStandIn(handle)) {
    throw serverNotOnPort(firstOption(settings))
  }
  state.inherits = isTcp && PLATFORM_INHERITS
  if (state.inherits) {
    write(handle, settings)
    state.older = acceptQueue(handle)
  }
  if (state.listener === handle) return
  state.listener = handle
  onAccepting(
    handle,
    (client) => accepting(client, state),
    (client, socket, refusal) => accepted(client, socket, refusal as Refusal | undefined),
  )
}

/** A cluster worker's stand-in for a TCP listener of the primary: a plain object, which for a path has no address. */
function isStandIn(handle: TcpHandle): boolean {
  return handle.constructor === Object && 'getsockname' in handle
}

/** Node's default backlog: assumed as the queue's length if the system does not report it. */
const NODE_BACKLOG = 511

/** How many connections wait to be accepted: tcp_get_info() reports it as a listener's tcpi_unacked. */
function acceptQueue(listener: TcpHandle): number {
  const { tcpInfo, fields } = native()
  const isKnown = has('tcpInfo') && tcpInfo(listener.fd) >= 0
  return isKnown ? (fields[TCP_INFO.unacknowledged] as number) : NODE_BACKLOG
}

interface Refusal {
  error: Error
  /** Whether own settings were refused, which ends the connection. Defaults never do. */
  fatal: boolean
}

/** Runs before Node creates a socket for the handle. Returns the kernel's refusal, if any. */
function accepting(client: TcpHandle, state: ServerState): Refusal | undefined {
  let { settings } = state
  let refusal: Refusal | undefined
  if (!inherited(state)) {
    const { own, defaults } = state
    if (defaults !== undefined) refusal = tryWrite(client, defaults, false)
    if (refusal !== undefined) settings = own ?? UNTOUCHED
    if (own !== undefined) refusal = tryWrite(client, own, true) ?? refusal
  }
  if (settings === UNTOUCHED) return refusal
  const connection = Connection.at(client, undefined)
  if (refusal?.fatal === true) return refusal
  const isOwn = state.own !== undefined && state.own.locked >= 0
  connection.add(settings, isOwn ? 'a setter' : 'defaults')
  return refusal
}

/** Whether the next connection has inherited the listener's options. */
function inherited(state: ServerState): boolean {
  if (!state.inherits) return false
  if (state.older === 0) return true
  state.older--
  return false
}

function tryWrite(client: TcpHandle, settings: Settings, fatal: boolean): Refusal | undefined {
  try {
    write(client, settings)
    return undefined
  } catch (error) {
    return { error: error as Error, fatal }
  }
}

/** Runs once Node has created the socket; under TLS, `connection.socket` is then the TLSSocket. */
function accepted(client: TcpHandle, socket: Socket, refusal: Refusal | undefined): void {
  if (refusal?.fatal === false) forServers?.reportRefusal(socket, refusal.error)
  const connection = Connection.of(client)
  if (connection === undefined || connection.closed) return
  connection.socket ??= socket
  if (refusal?.fatal === true) {
    const owner = connection.socket
    process.nextTick(() => owner.destroy(refusal.error))
    return
  }
  // It was locked in `accepting`, before the program's own 'connection' listeners.
  if (connection.settings.silence > 0) sweep(connection)
}
