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

/** What was set on a server, for as long as it lives, whether it listens or not. */
interface ServerState extends ServerHooks {
  /** What was set on this very server; nothing where it has the defaults only. */
  own: Settings | undefined
  /** The defaults, where it has begun to listen with some. */
  defaults: Settings | undefined
  /** Both. */
  settings: Settings
  /** The handle whose connections are seen. */
  listener: TcpHandle | undefined
  /** Whether accepted connections have the listener's options already. */
  inherits: boolean
  /** How many connections to come are older than the listener's options, and have not inherited them. */
  older: number
  /** Why this server must not listen. */
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
      // The defaults come first: here there were none.
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

/** What every server of this environment gets, where nobody has set the server itself. */
export interface ServerDefaults {
  settingsFor(): Settings | undefined
  reportRefusal(target: Server | Socket, error: unknown): void
}

let forServers: ServerDefaults | undefined

/** Gives each server that begins to listen from now on these settings first. Returns the undo. */
export function observeListens(given: ServerDefaults): () => void {
  forServers = given
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
  const given = forServers?.settingsFor()
  const state = stateOf(server) ?? newState()
  // Two copies of this package: the later wins, field by field.
  if (state.listener !== handle) state.defaults = undefined
  try {
    if (given !== undefined) {
      adoptListener(handle, state, given)
      state.defaults = merge(state.defaults ?? UNTOUCHED, given)
      hangState(server, state)
      debug('a listener: %o', touched(given))
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

/** A refusal has nobody left to throw at: it is the server's `'error'`, and it does not listen. */
function listened(server: Server, state: ServerState): void {
  const handle = listenerOf(server)
  if (handle === null) return
  // What the hook cannot see: a path, and a cluster worker's stand-in.
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

/** The backlog that Node asks for: what is taken for the queue where the system does not tell. */
const NODE_BACKLOG = 511

/** How many connections wait to be accepted: tcp_get_info() tells it as a listener's tcpi_unacked. */
function acceptQueue(listener: TcpHandle): number {
  const { tcpInfo, fields } = native()
  const told = has('tcpInfo') && tcpInfo(listener.fd) >= 0
  return told ? (fields[TCP_INFO.unacknowledged] as number) : NODE_BACKLOG
}

interface Refusal {
  error: Error
  /** Whether somebody asked for what was refused: defaults never end a connection. */
  fatal: boolean
}

/** Before Node makes a socket of the handle; gives back the kernel's refusal, if there is one. */
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

/** Whether the next connection has the listener's options already. */
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

/** Under TLS the connection names the TLSSocket by now. */
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
  // It is locked since before the program's own 'connection' listeners.
  if (connection.settings.silence > 0) sweep(connection)
}
