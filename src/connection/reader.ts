/** For how long a socket has not been read. */
import type { Socket } from 'node:net'
import { native } from '../native.js'
import { openDescriptor } from '../node/descriptor.js'
import type { TcpHandle } from '../node/internals.js'

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
    // Nothing was read since reading has stopped, or nothing is known.
    this.lastRead = stop.at > 0 && stop.length === this.length ? stop.at : now
  }

  /** Milliseconds since something was read, as far as that was seen; Infinity where nothing is left to read. */
  sinceRead(handle: TcpHandle, socket: Socket, stop: Stop, now: number): number {
    const { readableLength } = socket
    if (handle.bytesRead !== this.bytesRead || readableLength < this.length) this.lastRead = now
    this.bytesRead = handle.bytesRead
    this.length = readableLength
    const isWaiting =
      stop.at === 0 && readableLength === 0 && native().unread(openDescriptor(handle)) <= 0
    return socket.readableEnded || isWaiting ? Infinity : now - this.lastRead
  }
}
