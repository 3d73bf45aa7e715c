/** Sockets that a server receives without accepting them: `server.emit('connection', socket)`. */
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

/** The settings of a server's connections. */
interface ServerSettings {
  readonly own: Settings | undefined
  readonly defaults: Settings | undefined
}

/**
 * Overrides `emit`, which Node also calls for accepted connections. A listener could be removed
 * by the program.
 */
export function seeEmitted(
  server: Server,
  settings: ServerSettings,
  reportRefusal: (socket: Socket, error: unknown) => void,
): void {
  const own = Object.hasOwn(server, 'emit') ? server.emit : undefined
  define(server, 'emit', function emit(this: Server, ...args: unknown[]): boolean {
    const [event, socket] = args
    if (event === 'connection' && socket instanceof Socket && acceptedBy(socket) !== server) {
      setEmitted(socket, settings, reportRefusal)
    }
    // Read at each call: the prototype's method may be replaced at any time.
    return Reflect.apply(own ?? Object.getPrototypeOf(server).emit, this, args)
  })
}

/** Node's own field, which is cleared when the socket is destroyed. */
function acceptedBy(socket: Socket): unknown {
  return (socket as unknown as { _server?: unknown })._server
}

function setEmitted(
  socket: Socket,
  { own, defaults }: ServerSettings,
  reportRefusal: (socket: Socket, error: unknown) => void,
): void {
  if (own === undefined && defaults === undefined) return
  const handle = socket.destroyed ? undefined : handleOf(socket)
  // Node also accepts pipes and streams here, which have no TCP options.
  if (!handle) return
  // Settings on the socket itself are kept.
  const below = socketOf(handle)
  const before = [below, socket].reduce(
    (all, each) => merge(all, (each && OwnSettings.of(each)) ?? UNTOUCHED),
    UNTOUCHED,
  )
  if (socket.connecting) {
    // A connecting socket has other defaults.
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
    // On the next tick, `connection.socket` is the TLSSocket under TLS.
    process.nextTick(() => connection.socket?.destroy(error as Error))
  }
}
