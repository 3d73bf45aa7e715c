import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Server, Socket } from 'node:net'
import { Connection } from '../connection/connection.js'
import { debug } from '../debug.js'
import { notSupported, SocketOptionError } from '../errors.js'
import { native, TCP_INFO } from '../native.js'
import { IS_NODE } from '../node/descriptor.js'
import { hang, hook, hooksOf, type Observer, type ServerHooks } from '../node/hooks.js'
import type { TcpHandle } from '../node/internals.js'
import { isTcpHandle, listenerOf, onAccepting, onListened } from '../node/listening.js'
import { merge, touched } from '../options/merge.js'
import { type Settings, UNTOUCHED } from '../options/settings.js'
import { firstOption, write } from '../options/write.js'
import { seeEmitted } from './emitted.js'
import { orDestroy, takeEffect } from './own-settings.js'
import { applyToSocket } from './socket.js'

/** What was set on a server, for as long as it lives, whether it listens or not. */
interface ServerRecord extends ServerHooks {
  /** What was set on this very server; nothing where it has the defaults only. */
  own: Settings | undefined
  /** The defaults, where it has begun to listen with some. */
  given: Settings | undefined
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

function recordOf(server: Server): ServerRecord | undefined {
  return hooksOf(server)
}

/** tcp(7): accepted sockets inherit; FreeBSD's syncache copies likewise. */
const PLATFORM_INHERITS = process.platform === 'linux' || process.platform === 'freebsd'

/** Sets what the server accepts from now on. */
export function applyToServer(server: Server, settings: Settings): void {
  const record = recordOf(server) ?? newRecord()
  if (!IS_NODE) {
    applyToForeignServer(server, record, settings)
    return
  }
  const listener = listenerOf(server)
  if (listener !== null) adoptListener(listener, record, settings)
  const { own } = record
  record.own = own === undefined ? settings : merge(own, settings)
  combine(record)
  if (own !== undefined) return
  hook()
  keepRecord(server, record)
  onListened(server, () => listened(server, record))
}

/** Where a server's handle is not Node's, its events tell of each connection. */
function applyToForeignServer(server: Server, record: ServerRecord, settings: Settings): void {
  refusePath(server, settings)
  record.settings = merge(record.settings, settings)
  if (recordOf(server) !== undefined) return
  hang(server, record)
  const accepted = (socket: Socket) => {
    orDestroy(socket, () => applyToSocket(socket, record.settings))
  }
  server.prependListener('connection', accepted)
  // Not every runtime tells of the connection below as well.
  server.prependListener('secureConnection', accepted)
  server.on('listening', () => {
    try {
      refusePath(server, record.settings)
    } catch (error) {
      server.close()
      process.nextTick(() => server.emit('error', error))
    }
  })
}

function refusePath(server: Server, settings: Settings): void {
  if (typeof server.address() === 'string') throw notOnPort(settings)
}

function notOnPort(settings: Settings): SocketOptionError {
  return new SocketOptionError(
    'setsockopt',
    notSupported(),
    firstOption(settings),
    [],
    'this server listens on a Unix-domain socket or a pipe, not on a TCP port',
  )
}

function newRecord(): ServerRecord {
  return {
    own: undefined,
    given: undefined,
    settings: UNTOUCHED,
    listener: undefined,
    inherits: false,
    older: 0,
    refusal: undefined,
    listening(handle) {
      // The defaults come first: here there were none.
      if (this.listener !== handle) this.given = undefined
      combine(this)
      if (this.own !== undefined) tryAdopt(handle, this, this.own)
    },
  }
}

function keepRecord(server: Server, record: ServerRecord): void {
  if (recordOf(server) !== undefined) return
  hang(server, record)
  seeEmitted(server, record, (socket, error) => defaults?.refused(socket, error))
}

function combine(record: ServerRecord): void {
  const { own, given } = record
  if (own === undefined || given === undefined) record.settings = own ?? given ?? UNTOUCHED
  else record.settings = merge(given, own)
}

/** What every server of this environment gets, where nobody has set the server itself. */
export interface ServerDefaults {
  settingsFor(): Settings | undefined
  refused(target: Server | Socket, error: unknown): void
}

let defaults: ServerDefaults | undefined

/** Gives each server that begins to listen from now on these settings first. Returns the undo. */
export function observeListens(given: ServerDefaults): () => void {
  defaults = given
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
  const given = defaults?.settingsFor()
  const record = recordOf(server) ?? newRecord()
  // Two copies of this package: the later wins, field by field.
  if (record.listener !== handle) record.given = undefined
  try {
    if (given !== undefined) {
      adoptListener(handle, record, given)
      record.given = merge(record.given ?? UNTOUCHED, given)
      keepRecord(server, record)
      debug('a listener: %o', touched(given))
    }
  } catch (error) {
    defaults?.refused(server, error)
  }
  combine(record)
}

function tryAdopt(handle: TcpHandle, record: ServerRecord, own: Settings): void {
  try {
    adoptListener(handle, record, own)
  } catch (error) {
    record.refusal = error
  }
}

/** A refusal has nobody left to throw at: it is the server's `'error'`, and it does not listen. */
function listened(server: Server, record: ServerRecord): void {
  const handle = listenerOf(server)
  if (handle === null) return
  // What the hook cannot see: a path, and a cluster worker's stand-in.
  if (handle !== record.listener && record.refusal === undefined) {
    tryAdopt(handle, record, record.own ?? UNTOUCHED)
  }
  const { refusal } = record
  if (refusal === undefined) return
  record.refusal = undefined
  server.close()
  process.nextTick(() => server.emit('error', refusal))
}

function adoptListener(handle: TcpHandle, record: ServerRecord, settings: Settings): void {
  const isTcp = isTcpHandle(handle)
  if (!isTcp && !isStandIn(handle)) {
    throw notOnPort(settings)
  }
  record.inherits = isTcp && PLATFORM_INHERITS
  if (record.inherits) {
    write(handle, settings)
    record.older = acceptQueue(handle)
  }
  if (record.listener === handle) return
  record.listener = handle
  onAccepting(
    handle,
    (client) => accepting(client, record),
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
  return tcpInfo(listener.fd) < 0 ? NODE_BACKLOG : (fields[TCP_INFO.unacknowledged] as number)
}

interface Refusal {
  error: Error
  /** Whether somebody asked for what was refused: defaults never end a connection. */
  fatal: boolean
}

/** Before Node makes a socket of the handle; gives back the kernel's refusal, if there is one. */
function accepting(client: TcpHandle, record: ServerRecord): Refusal | undefined {
  let { settings } = record
  let refusal: Refusal | undefined
  if (!inherited(record)) {
    const { own, given } = record
    if (given !== undefined) refusal = writeTo(client, given, false)
    if (refusal !== undefined) settings = own ?? UNTOUCHED
    if (own !== undefined) refusal = writeTo(client, own, true) ?? refusal
  }
  if (settings === UNTOUCHED) return refusal
  const connection = Connection.at(client, undefined)
  if (refusal?.fatal === true) return refusal
  const isOwn = record.own !== undefined && record.own.held >= 0
  connection.take(settings, isOwn ? 'for a setter' : 'for defaults')
  return refusal
}

/** Whether the next connection has the listener's options already. */
function inherited(record: ServerRecord): boolean {
  if (!record.inherits) return false
  if (record.older === 0) return true
  record.older--
  return false
}

function writeTo(client: TcpHandle, settings: Settings, fatal: boolean): Refusal | undefined {
  try {
    write(client, settings)
    return undefined
  } catch (error) {
    return { error: error as Error, fatal }
  }
}

/** Under TLS the connection names the TLSSocket by now. */
function accepted(client: TcpHandle, socket: Socket, refusal: Refusal | undefined): void {
  if (refusal?.fatal === false) defaults?.refused(socket, refusal.error)
  const connection = Connection.of(client)
  if (connection === undefined || connection.closed) return
  connection.socket ??= socket
  if (refusal?.fatal === true) {
    const owner = connection.socket
    process.nextTick(() => owner.destroy(refusal.error))
    return
  }
  takeEffect(connection, connection.settings, 'for defaults')
}
