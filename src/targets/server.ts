import { subscribe } from 'node:diagnostics_channel'
import type { Server, Socket } from 'node:net'
import { SocketOptionError } from '../errors.js'
import {
  attach,
  connectionOf,
  hold,
  hookTls,
  isTcpHandle,
  listenerOf,
  onAccepting,
  onListened,
  onListening,
  type TcpHandle,
} from '../handle.js'
import { native, TCP_INFO_UNACKED } from '../native.js'
import { merge, type Settings } from '../settings.js'
import { sweep } from '../sweep.js'
import { watch } from '../watch.js'
import { firstOption, write } from '../write.js'
import { newConnection } from './socket.js'

/** What was set on a server, for as long as it lives, whether it listens or not. */
interface ServerRecord {
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
  /** Whether nobody has set this server itself: then a refusal does not keep it from listening. */
  optional: boolean
}

const servers = new WeakMap<Server, ServerRecord>()

/** tcp(7): accepted sockets inherit; FreeBSD's syncache copies likewise. */
const PLATFORM_INHERITS = process.platform === 'linux' || process.platform === 'freebsd'

/** Sets what the server accepts from now on. */
export function applyToServer(server: Server, settings: Settings): void {
  const known = servers.get(server)
  const record = known ?? newRecord(server, settings)
  const listener = listenerOf(server)
  if (listener !== null) adoptListener(listener, record, settings)
  if (known !== undefined) record.settings = merge(known.settings, settings)
  keepNodeInStep(server, record, settings)
  if (!record.optional && known !== undefined) return
  record.optional = false
  servers.set(server, record)
  hookListens()
  hookTls()
  onListened(server, () => listened(server, record))
}

function newRecord(server: Server, settings: Settings): ServerRecord {
  const { keepAlive } = server as unknown as { keepAlive: boolean }
  return {
    settings,
    keepAlive,
    listener: undefined,
    inherits: false,
    older: 0,
    refusal: undefined,
    optional: false,
  }
}

/**
 * Node's own option would write 60/1/10 over what is inherited. With ours held on
 * the handle it only keeps Node's cache in step, before the first 'connection'.
 */
function keepNodeInStep(server: Server, record: ServerRecord, { held }: Settings): void {
  if (held < 0) return
  ;(server as unknown as { keepAlive: boolean }).keepAlive = held === 1 || record.keepAlive
}

/** What every server of this environment gets, where nobody has set the server itself. */
export interface ServerDefaults {
  settingsFor(): Settings | undefined
  refused(server: Server, error: unknown): void
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
  const known = servers.get(server)
  if (known !== undefined && !known.optional) {
    if (given !== undefined) known.settings = merge(given, known.settings)
    return
  }
  if (given === undefined) {
    servers.delete(server)
    return
  }
  const record = newRecord(server, given)
  record.optional = true
  try {
    adoptListener(handle, record, given)
  } catch (error) {
    defaults?.refused(server, error)
    return
  }
  servers.set(server, record)
  keepNodeInStep(server, record, given)
}

let hooked = false

function hookListens(): void {
  if (hooked) return
  hooked = true
  onListening((handle, server) => {
    applyDefaults(handle, server)
    const record = servers.get(server)
    if (record !== undefined && !record.optional) tryAdopt(handle, record)
  })
}

function tryAdopt(handle: TcpHandle, record: ServerRecord): void {
  try {
    adoptListener(handle, record, record.settings)
  } catch (error) {
    record.refusal = error
  }
}

/** A refusal has nobody left to throw at: it is the server's `'error'`, and it does not listen. */
function listened(server: Server, record: ServerRecord): void {
  const handle = listenerOf(server)
  if (handle === null) return
  // What the hook cannot see: a path, and a cluster worker's stand-in.
  if (handle !== record.listener && record.refusal === undefined) tryAdopt(handle, record)
  const { refusal } = record
  if (refusal === undefined) return
  record.refusal = undefined
  server.close()
  process.nextTick(() => server.emit('error', refusal))
}

function adoptListener(handle: TcpHandle, record: ServerRecord, settings: Settings): void {
  const isTcp = isTcpHandle(handle)
  if (!isTcp && !isStandIn(handle)) {
    throw new SocketOptionError(
      'setsockopt',
      -95,
      firstOption(settings),
      [],
      'this server listens on a Unix-domain socket or a pipe, not on a TCP port',
    )
  }
  record.inherits = isTcp && PLATFORM_INHERITS
  if (record.inherits) {
    write(handle, settings, false)
    record.older = acceptQueue(handle)
  }
  if (record.listener === handle) return
  record.listener = handle
  onAccepting(
    handle,
    (client) => accepting(client, record),
    (client, socket, refusal) => accepted(client, socket, refusal),
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

/** Before Node makes a socket of the handle; gives back the kernel's refusal, if there is one. */
function accepting(client: TcpHandle, record: ServerRecord): unknown {
  const { settings } = record
  const connection = newConnection(undefined, settings)
  attach(client, connection)
  if (settings.held === 1) hold(client, connection)
  if (record.inherits) {
    if (record.older === 0) return undefined
    record.older--
  }
  try {
    write(client, settings, false)
  } catch (error) {
    return error
  }
  return undefined
}

/** Under TLS the record names the TLSSocket by now. */
function accepted(client: TcpHandle, socket: Socket, refusal: unknown): void {
  const connection = connectionOf(client)
  if (connection === undefined) return
  connection.socket ??= socket
  if (client.fd < 0) return
  if (refusal !== undefined) {
    const owner = connection.socket
    process.nextTick(() => owner.destroy(refusal as Error))
    return
  }
  watch(client, connection)
  if (connection.settings.silence > 0) sweep(client, connection)
}
