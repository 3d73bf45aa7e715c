/** What is below a socket, as far as this library uses it. */
import type { AsyncResource } from 'node:async_hooks'
import type { Socket } from 'node:net'
import type { Layers } from '../layers.js'

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
  readonly address: string
  readonly port: number
}

/** What this library keeps for one connection; it goes when the handle goes. */
export interface Connection {
  /** The socket that the user holds: under TLS the TLSSocket, once there is one. */
  socket: Socket | undefined
  layers: Layers
  /** Whether the socket's next handle gets just these layers. */
  remembered: boolean
  /** Whether the layers are more than what was set on this very socket. */
  withDefaults: boolean
  /** Whether later `setKeepAlive(true, …)` calls of others are ignored. */
  held: boolean
  /** Milliseconds without an acknowledgement that the sweep allows; 0 where it does not look. */
  silence: number
  /** Whether watching it has been seen to: it is watched, will be if it lasts, or never can be. */
  followed: boolean
  /** Its place among those that have still to last. */
  place: number
  /** The number under which the descriptor is watched, 0 when it is not. */
  ticket: number
  /** Where the connection was first set: the context of its `'error'`. */
  resource: AsyncResource | undefined
  /** Called once, when the connect has come to stand, before `'connect'`. */
  onconnect: ((handle: TcpHandle, connection: Connection) => void) | undefined
  /** Called when the handle closes, while `socket.errored` tells why. */
  onclose: ((handle: TcpHandle, connection: Connection) => void) | undefined
}
