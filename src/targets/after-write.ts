/** What happens after settings have been written to a connection's descriptor. */
import type { Socket } from 'node:net'
import type { Connection, SetBy } from '../connection/connection.js'
import { sweep } from '../connection/sweep.js'
import { debug } from '../debug.js'
import { native } from '../native.js'
import type { ConnectRequest } from '../node/hooks.js'
import { touched } from '../options/merge.js'
import { NO_VALUES, type Settings } from '../options/settings.js'
import { write } from '../options/write.js'

/** Runs an action and handles a refusal, because no caller is left to catch it. */
type Guard = (socket: Socket | undefined, action: () => void) => void

/**
 * The connection is not established yet, and the user timeout that bounds the connect would
 * disconnect slow readers afterwards. The later one is set when Node starts reading, right after
 * `'connect'`; on a socket that is paused by then, when the sweep, every half second, finds it
 * established. By then a live peer cannot have exceeded the first one: it is at least 1800 ms, and
 * counts from unanswered data that is sent after `'connect'`.
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

/** Bounds a connect. The kernel's options do, but not in gVisor and not on Windows. */
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

/** Locks, watches and sweeps a connection according to settings that were written to it. */
export function takeEffect(connection: Connection, settings: Settings, by: SetBy): void {
  connection.add(settings, by)
  if (settings.silence > 0) sweep(connection)
}

/**
 * For settings that had to wait for a descriptor, so that no caller is left to catch the error:
 * destroys the socket with it on the next tick.
 */
export function orDestroy(socket: Socket | undefined, action: () => void): void {
  try {
    action()
  } catch (error) {
    process.nextTick(() => socket?.destroy(error as Error))
  }
}
