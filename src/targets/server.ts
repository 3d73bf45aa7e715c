import { subscribe } from 'node:diagnostics_channel'
import type { Server, Socket } from 'node:net'
import { debug } from '../debug.js'
import { notSupported, SocketOptionError } from '../errors.js'
import {
  attach,
  connectionOf,
  hookTls,
  IS_NODE,
  isTcpHandle,
  listenerOf,
  onAccepting,
  onListened,
  onListening,
  openDescriptor,
  type TcpHandle,
} from '../handle.js'
import { layersOf, merge, touched } from '../layers.js'
import { native, TCP_INFO_UNACKED } from '../native.js'
import { type Settings, UNTOUCHED } from '../settings.js'
import { firstOption, write } from '../write.js'
import { followNew } from './following.js'
import { newConnection, orDestroy } from './record.js'
import { applyToSocket } from './socket.js'

/** What was set on a server, for as long as it lives, whether it listens or not. */
interface ServerRecord {
  /** What was set on this very server; nothing where it has the defaults only. */
  own: Settings | undefined
  /** The defaults, where it has begun to listen with some. */
  given: Settings | undefined
  /** Both. */
  settings: Settings
  /** Node's own option, as it was before this library used it. */
  readonly keepAlive: boolean
  /** The handle whose connections are seen. */
  listener: TcpHandle | undefined
  /** Whether accepted connections have the listener's options already. */
  inherits: boolean
  /** How many connections to come are older than the listener's options, and have not inherited them. */
  older: number
  /** Why this server must not listen. */
  refusal: unknown
}

const servers = new WeakMap<Server, ServerRecord>()

/** tcp(7): accepted sockets inherit; FreeBSD's syncache copies likewise. */
const PLATFORM_INHERITS = process.platform === 'linux' || process.platform === 'freebsd'

/** Sets what the server accepts from now on. */
export function applyToServer(server: Server, settings: Settings): void {
  const record = servers.get(server) ?? newRecord(server)
  if (!IS_NODE) {
    applyToForeignServer(server, record, settings)
    return
  }
  const listener = listenerOf(server)
  if (listener !== null) adoptListener(listener, record, settings)
  const { own } = record
  record.own = own === undefined ? settings : merge(own, settings)
  combine(server, record)
  if (own !== undefined) return
  servers.set(server, record)
  hookListens()
  hookTls()
  onListened(server, () => listened(server, record))
}

/** Where a server's handle is not Node's, its events tell of each connection. */
function applyToForeignServer(server: Server, record: ServerRecord, settings: Settings): void {
  refusePath(server, settings)
  record.settings = merge(record.settings, settings)
  if (servers.has(server)) return
  servers.set(server, record)
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

function newRecord(server: Server): ServerRecord {
  const { keepAlive } = server as unknown as { keepAlive: boolean }
  return {
    own: undefined,
    given: undefined,
    settings: UNTOUCHED,
    keepAlive,
    listener: undefined,
    inherits: false,
    older: 0,
    refusal: undefined,
  }
}

/**
 * Node's own option would write its delay, 1 and 10 over what is inherited. With ours held on
 * the handle it only keeps Node's cache in step, before the first 'connection'.
 */
function keepNodeInStep(server: Server, { settings, keepAlive }: ServerRecord): void {
  ;(server as unknown as { keepAlive: boolean }).keepAlive = settings.held === 1 || keepAlive
}

function combine(server: Server, record: ServerRecord): void {
  const { own, given } = record
  if (own === undefined || given === undefined) record.settings = own ?? given ?? UNTOUCHED
  else record.settings = merge(given, own)
  keepNodeInStep(server, record)
}

/** What every server of this environment gets, where nobody has set the server itself. */
export interface ServerDefaults {
  settingsFor(): Settings | undefined
  refused(target: Server | Socket, error: unknown): void
}

let defaults: ServerDefaults | undefined

/** Gives each server that begins to listen from now on these settings first. */
export function setServerDefaults(given: ServerDefaults): void {
  if (defaults !== undefined) return
  defaults = given
  hookListens()
  hookTls()
  // A cluster worker's stand-in for a listener is seen here only.
  subscribe('tracing:net.server.listen:asyncEnd', (message) => {
    const { server } = message as { server: Server }
    const handle = listenerOf(server)
    if (handle !== null && isStandIn(handle)) applyDefaults(handle, server)
  })
}

function applyDefaults(handle: TcpHandle, server: Server): void {
  const given = defaults?.settingsFor()
  const record = servers.get(server) ?? newRecord(server)
  record.given = undefined
  try {
    if (given !== undefined) {
      adoptListener(handle, record, given)
      record.given = given
      servers.set(server, record)
      debug('a listener: %o', touched(given))
    }
  } catch (error) {
    defaults?.refused(server, error)
  }
  combine(server, record)
}

let hooked = false

function hookListens(): void {
  if (hooked) return
  hooked = true
  onListening((handle, server) => {
    applyDefaults(handle, server)
    const record = servers.get(server)
    if (record?.own !== undefined) tryAdopt(handle, record, record.own)
  })
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
  return tcpInfo(listener.fd) < 0 ? NODE_BACKLOG : (fields[TCP_INFO_UNACKED] as number)
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
  const connection = newConnection(undefined, layersOf(settings))
  attach(client, connection)
  connection.held = settings.held === 1
  connection.silence = Math.max(0, settings.silence)
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

/** Under TLS the record names the TLSSocket by now. */
function accepted(client: TcpHandle, socket: Socket, refusal: Refusal | undefined): void {
  const connection = connectionOf(client)
  if (refusal?.fatal === false) defaults?.refused(socket, refusal.error)
  if (connection === undefined) return
  connection.socket ??= socket
  if (openDescriptor(client) < 0) return
  if (refusal?.fatal === true) {
    const owner = connection.socket
    process.nextTick(() => owner.destroy(refusal.error))
    return
  }
  followNew(client, connection)
}
