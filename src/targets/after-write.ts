/** What follows when settings were written to a connection's descriptor. */
import type { Socket } from 'node:net'
import type { Connection, SetBy } from '../connection/connection.js'
import { sweep } from '../connection/sweep.js'
import { debug } from '../debug.js'
import { native } from '../native.js'
import type { ConnectRequest } from '../node/hooks.js'
import { touched } from '../options/merge.js'
import { NO_VALUES, type Settings } from '../options/settings.js'
import { write } from '../options/write.js'

/** What to do where the kernel refuses and there is no caller to throw at. */
type Guard = (socket: Socket | undefined, action: () => void) => void

/**
 * The connection has still to be established, and the user timeout that bounds that would end live
 * slow readers afterwards. The one for afterwards is set when Node begins to read, right after
 * `'connect'`; on a socket that is paused by then, when the sweep, every half second, finds it
 * established. A live peer cannot have reached the former by then: it is 1800 ms at the least, and
 * is counted from data that goes unanswered after that.
 */
export function connectBegan(
  connection: Connection,
  request: ConnectRequest | undefined,
  guard: Guard,
): void {
  const { handle, settings } = connection
  const { connectTimeout, userTimeout } = settings
  if (connectTimeout >= 0 && connectTimeout !== userTimeout) {
    connection.onEstablished = () => {
      guard(connection.socket, () => {
        const { userTimeout } = connection.settings
        write(handle, { ...NO_VALUES, userTimeout })
      })
    }
    sweep(connection)
  }
  if (request !== undefined)
    boundConnect(connection, request, () => connection.settings.connectTimeout)
}

/** The user timeout ends a connect on Linux, but not in gVisor; elsewhere nothing does. */
export function boundConnect(
  connection: Connection,
  request: ConnectRequest,
  timeout: () => number,
): void {
  if (timeout() <= 0) return
  connection.connect = { request, began: native().now(), timeout, overdue: false }
  connection.onEstablished ??= () => {}
  sweep(connection)
}

export function logConnect({ handle, settings }: Connection, request: ConnectRequest): void {
  if (!debug.enabled) return
  const { address, port } = request
  debug('descriptor %d to %s port %d: %o', handle.fd, address, port, touched(settings))
}

/** What follows from settings that were written to a connection's descriptor. */
export function takeEffect(connection: Connection, settings: Settings, by: SetBy): void {
  connection.add(settings, by)
  if (settings.silence > 0) sweep(connection)
}

/**
 * Settings that had to wait for a descriptor have no caller left to throw at: the
 * socket is destroyed with the refusal, once Node is done with what it is doing.
 */
export function orDestroy(socket: Socket | undefined, action: () => void): void {
  try {
    action()
  } catch (error) {
    process.nextTick(() => socket?.destroy(error as Error))
  }
}
