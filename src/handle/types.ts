/** What is below a socket, as far as this library uses it. */
import type { AsyncResource } from 'node:async_hooks'
import type { Socket } from 'node:net'
import type { Settings } from '../settings.js'

/** What this library uses of Node's TCP handle (`TCP` of tcp_wrap.cc). */
export interface TcpHandle {
  readonly fd: number
  readonly bytesRead: number
  setKeepAlive(enable: boolean, ...delays: number[]): number
  close(callback?: () => void): void
  reset(callback?: () => void): number
  connect(request: ConnectRequest, ...address: unknown[]): number
  connect6(request: ConnectRequest, ...address: unknown[]): number
  listen(backlog: number): number
  onconnection: (this: TcpHandle, error: number, client?: TcpHandle) => void
}

/** Node's record of one attempt to connect. */
export interface ConnectRequest {
  oncomplete?: unknown
  readonly address: string
  readonly port: number
}

/** What this library keeps for one connection; it goes when the handle goes. */
export interface Connection {
  /** The socket that the user holds: under TLS the TLSSocket, once there is one. */
  socket: Socket | undefined
  settings: Settings
  /** Whether somebody else holds the same settings, so that a change needs a copy. */
  shared: boolean
  /** Whether the settings are more than what was set on this very socket. */
  withDefaults: boolean
  /** Whether later `setKeepAlive(true, …)` calls of others are ignored. */
  held: boolean
  /** The number under which the descriptor is watched, 0 when it is not. */
  ticket: number
  /** Where the descriptor was first watched: the context of its `'error'`. */
  resource: AsyncResource | undefined
  /** Called when the handle closes, while `socket.errored` tells why. */
  onclose: ((handle: TcpHandle, connection: Connection) => void) | undefined
}
