/** Sockets that a server is handed without having accepted them: `server.emit('connection', socket)`. */
import { type Server, Socket } from 'node:net'
import { Connection, type SetBy } from '../connection/connection.js'
import { openDescriptor } from '../node/descriptor.js'
import { handleOf, unproxied } from '../node/handle.js'
import { define, socketOf } from '../node/internals.js'
import { merge, without } from '../options/merge.js'
import { type Settings, UNTOUCHED } from '../options/settings.js'
import { write } from '../options/write.js'
import { orDestroy, takeEffect } from './after-write.js'
import { OwnSettings } from './own-settings.js'
import { applyToSocket } from './socket.js'

/** What a server gives to its connections. */
interface Giving {
  readonly own: Settings | undefined
  readonly defaults: Settings | undefined
}

/**
 * Node calls the same method for what the server has accepted, so nothing is missed; a listener
 * could be removed.
 */
export function seeEmitted(
  server: Server,
  giving: Giving,
  reportRefusal: (socket: Socket, error: unknown) => void,
): void {
  const own = Object.hasOwn(server, 'emit') ? server.emit : undefined
  define(server, 'emit', function emit(this: Server, ...args: unknown[]): boolean {
    const [event, socket] = args
    if (event === 'connection' && socket instanceof Socket && acceptedBy(socket) !== server) {
      give(socket, giving, reportRefusal)
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
  { own, defaults }: Giving,
  reportRefusal: (socket: Socket, error: unknown) => void,
): void {
  if (own === undefined && defaults === undefined) return
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
  const set = (settings: Settings, by: SetBy): void => {
    write(handle, settings)
    takeEffect(connection, settings, by)
  }
  try {
    if (defaults !== undefined) set(without(defaults, before), 'defaults')
  } catch (error) {
    reportRefusal(socket, error)
  }
  try {
    if (own !== undefined) set(without(own, before), 'a setter')
  } catch (error) {
    // Under TLS the connection names the TLSSocket by then.
    process.nextTick(() => connection.socket?.destroy(error as Error))
  }
}
