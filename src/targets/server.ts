import type { Server, Socket } from 'node:net'
import { SocketOptionError } from '../errors.js'
import {
  attach,
  connectionOf,
  hold,
  isTcpHandle,
  listenerOf,
  onAccepting,
  onListening,
  type TcpHandle,
} from '../handle.js'
import { merge, type Settings } from '../settings.js'
import { sweep } from '../sweep.js'
import { watch } from '../watch.js'
import { firstOption, write } from '../write.js'
import { keep, newConnection, orDestroy } from './socket.js'

/** What was set on a server, for as long as it lives, whether it listens or not. */
interface ServerRecord {
  settings: Settings
  /** The handle whose connections are seen. */
  listener: TcpHandle | undefined
  /** Whether accepted connections have the listener's options already. */
  inherits: boolean
}

const servers = new WeakMap<Server, ServerRecord>()

/** tcp(7): accepted sockets inherit; FreeBSD's syncache copies likewise. */
const PLATFORM_INHERITS = process.platform === 'linux' || process.platform === 'freebsd'

/** Sets what the server accepts from now on. */
export function applyToServer(server: Server, settings: Settings): void {
  const known = servers.get(server)
  const record = known ?? { settings, listener: undefined, inherits: false }
  const listener = listenerOf(server)
  if (listener !== null) adoptListener(listener, record, settings)
  if (known !== undefined) record.settings = merge(known.settings, settings)
  // Node's own option would write 60/1/10 over what is inherited. With ours held on
  // the handle it only keeps Node's cache in step, before the first 'connection'.
  if (settings.keepalive >= 0) {
    ;(server as unknown as { keepAlive: boolean }).keepAlive = settings.keepalive === 1
  }
  if (known !== undefined) return
  servers.set(server, record)
  hookListens()
  // For what the hook cannot see: a cluster worker's stand-in, a Unix path.
  server.on('listening', () => {
    const handle = listenerOf(server)
    if (handle !== null && handle !== record.listener) listening(server, handle, record)
  })
}

let hooked = false

function hookListens(): void {
  if (hooked) return
  hooked = true
  onListening((handle, server) => {
    const record = servers.get(server)
    if (record !== undefined) listening(server, handle, record)
  })
}

/** Nobody is left to throw at: a refusal is the server's `'error'`, and it does not listen. */
function listening(server: Server, handle: TcpHandle, record: ServerRecord): void {
  try {
    adoptListener(handle, record, record.settings)
  } catch (error) {
    process.nextTick(() => {
      server.close()
      server.emit('error', error)
    })
  }
}

function adoptListener(handle: TcpHandle, record: ServerRecord, settings: Settings): void {
  const isTcp = isTcpHandle(handle)
  // A cluster worker's stand-in for a listener that the primary holds has neither.
  if (!isTcp && (handle.fd !== undefined || handle.constructor?.name === 'Pipe')) {
    throw new SocketOptionError(
      'setsockopt',
      -95,
      firstOption(settings),
      [],
      'this server listens on a Unix-domain socket or a pipe, not on a TCP port',
    )
  }
  record.inherits = isTcp && PLATFORM_INHERITS
  if (record.inherits) write(handle, settings, false)
  if (record.listener === handle) return
  record.listener = handle
  onAccepting(
    handle,
    (client) => accepting(client, record),
    (client, socket) => accepted(client, socket, record),
  )
}

/** Before Node makes a socket of the handle. */
function accepting(client: TcpHandle, { settings }: ServerRecord): void {
  const connection = newConnection(undefined, settings)
  attach(client, connection)
  if (settings.held === 1) hold(client, connection)
}

/** Under TLS the record names the TLSSocket by now. */
function accepted(client: TcpHandle, socket: Socket, { settings, inherits }: ServerRecord): void {
  const connection = connectionOf(client)
  if (connection === undefined) return
  connection.socket ??= socket
  if (client.fd < 0) return
  if (inherits) {
    watch(client, connection)
    if (settings.silence > 0) sweep(client, connection)
    return
  }
  orDestroy(connection.socket, () => {
    write(client, settings, false)
    keep(client, connection, settings)
  })
}
