/** For how long a socket has not been read. */
import type { Socket } from 'node:net'
import type { TcpHandle } from './handle.js'

/** Where reading has stopped because the stream's buffer was full. */
export interface Stop {
  /** 0 while the socket is being read. */
  readonly at: number
  /** What the buffer held then. */
  readonly length: number
}

export const BEING_READ: Stop = { at: 0, length: 0 }

/** Looks at a socket from time to time: nothing else tells when a program takes data from its buffer. */
export class Reader {
  private bytesRead: number
  private length: number
  private lastRead: number

  constructor(handle: TcpHandle, socket: Socket, stop: Stop, now: number) {
    this.bytesRead = handle.bytesRead
    this.length = socket.readableLength
    this.lastRead = now
    // Nothing is left to read, or nothing was read since reading has stopped.
    if (socket.readableEnded || (stop.at === 0 && this.length === 0)) this.lastRead = -Infinity
    else if (stop.at > 0 && stop.length === this.length) this.lastRead = stop.at
  }

  /** Milliseconds since something was read, as far as that was seen. */
  idle(handle: TcpHandle, socket: Socket, now: number): number {
    const { readableLength } = socket
    if (handle.bytesRead !== this.bytesRead || readableLength < this.length) this.lastRead = now
    this.bytesRead = handle.bytesRead
    this.length = readableLength
    return now - this.lastRead
  }
}
