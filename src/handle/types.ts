/** What is below a socket, as far as this library uses it. */

/** What this library uses of Node's TCP handle (`TCP` of tcp_wrap.cc). */
export interface TcpHandle {
  readonly fd: number
  readonly bytesRead: number
  /** Whether the socket over it wants to read. */
  readonly reading: boolean
  setKeepAlive(enable: boolean, ...delays: number[]): number
  close(callback?: () => void): void
  onconnection: (this: TcpHandle, error: number, client?: TcpHandle) => void
}

/** Node's record of one attempt to connect. */
export interface ConnectRequest {
  readonly address: string
  readonly port: number
}
