/** For how long a socket has not been read. */
import type { Socket } from 'node:net'
import { native } from '../native.js'
import { openDescriptor } from '../node/descriptor.js'
import type { TcpHandle } from '../node/internals.js'

/** When reading stopped because the stream's buffer was full. */
export interface Stop {
  /** 0 while the socket is being read. */
  readonly at: number
  /** How much the buffer contained then. */
  readonly length: number
}

export const BEING_READ: Stop = { at: 0, length: 0 }

/** Polls a socket: there is no event for a program that takes data from the stream's buffer. */
export class Reader {
  private bytesRead: number
  private length: number
  private lastRead: number

  constructor(handle: TcpHandle, socket: Socket, stop: Stop, now: number) {
    this.bytesRead = handle.bytesRead
    this.length = socket.readableLength
    // Nothing was read since reading stopped; otherwise the last read is unknown, so it counts as now.
    this.lastRead = stop.at > 0 && stop.length === this.length ? stop.at : now
  }

  /** Milliseconds since the last observed read; Infinity if nothing is left to read. */
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
