/** Sockets that a server is handed without having accepted them: `server.emit('connection', socket)`. */
import { type Server, Socket } from 'node:net'
import { Connection } from '../connection/connection.js'
import { openDescriptor } from '../node/descriptor.js'
import { handleOf, unproxied } from '../node/handle.js'
import { define, socketOf } from '../node/internals.js'
import { merge, without } from '../options/merge.js'
import { type Settings, UNTOUCHED } from '../options/settings.js'
import { write } from '../options/write.js'
import { OwnSettings, orDestroy, takeEffect } from './own-settings.js'
import { applyToSocket } from './socket.js'

/** What a server gives to its connections. */
interface Giving {
  readonly own: Settings | undefined
  readonly given: Settings | undefined
}

/**
 * Node calls the same method for what the server has accepted, so nothing is missed; a listener
 * could be removed.
 */
export function seeEmitted(
  server: Server,
  giving: Giving,
  refused: (socket: Socket, error: unknown) => void,
): void {
  const own = Object.hasOwn(server, 'emit') ? server.emit : undefined
  define(server, 'emit', function emit(this: Server, ...args: unknown[]): boolean {
    const [event, socket] = args
    if (event === 'connection' && socket instanceof Socket && acceptedBy(socket) !== server) {
      give(socket, giving, refused)
    }
    // The prototype's may be replaced at any time.
    return Reflect.apply(own ?? Object.getPrototypeOf(server).emit, this, args)
  })
}

/** Node's own note; it is gone when the socket is destroyed. */
function acceptedBy(socket: Socket): unknown {
  return (socket as unknown as { _server?: unknown })._server
}

function give(
  socket: Socket,
  { own, given }: Giving,
  refused: (socket: Socket, error: unknown) => void,
): void {
  if (own === undefined && given === undefined) return
  const handle = socket.destroyed ? undefined : handleOf(socket)
  // A pipe or a stream has no TCP options, and Node takes it all the same.
  if (!handle) return
  // What was set on the socket itself stays.
  const below = socketOf(handle)
  const before = [below, socket].reduce(
    (all, each) => merge(all, (each && OwnSettings.of(each)) ?? UNTOUCHED),
    UNTOUCHED,
  )
  if (socket.connecting) {
    // The defaults of what connects are others.
    if (own !== undefined) orDestroy(socket, () => applyToSocket(socket, without(own, before)))
    return
  }
  if (openDescriptor(handle) < 0) return
  const connection = Connection.at(handle, socket)
  connection.socket ??= unproxied(socket)
  const set = (settings: Settings, held: 'for defaults' | 'for a setter'): void => {
    write(handle, settings)
    takeEffect(connection, settings, held)
  }
  try {
    if (given !== undefined) set(without(given, before), 'for defaults')
  } catch (error) {
    refused(socket, error)
  }
  try {
    if (own !== undefined) set(without(own, before), 'for a setter')
  } catch (error) {
    // Under TLS the connection names the TLSSocket by then.
    process.nextTick(() => connection.socket?.destroy(error as Error))
  }
}
