/** For how long a socket has not been read. */
import type { Socket } from 'node:net'
import { native } from '../native.js'
import { bufferedBytes, http2Streams } from '../node/buffered.js'
import { openDescriptor } from '../node/descriptor.js'
import type { TcpHandle } from '../node/internals.js'

/** When reading stopped because a stream's buffer was full. */
export interface Stop {
  /** 0 while the socket is being read. */
  readonly at: number
  /** How much the buffers contained then: `bufferedBytes`. */
  readonly length: number
}

export const BEING_READ: Stop = { at: 0, length: 0 }

/** Polls a socket: there is no event for a program that takes data from a stream's buffer. */
export class Reader {
  private readonly streams: ReturnType<typeof http2Streams>
  private bytesRead: number
  private length: number
  /** When a read was last seen. */
  private lastRead: number

  constructor(handle: TcpHandle, socket: Socket, stop: Stop, now: number) {
    this.streams = http2Streams(socket)
    this.bytesRead = handle.bytesRead
    this.length = this.buffered(socket)
    if (this.hasReadAll(handle, socket, stop)) this.lastRead = -Infinity
    // Nothing was read since reading stopped; otherwise the last read is unknown, so it counts as now.
    else this.lastRead = stop.at > 0 && stop.length === this.length ? stop.at : now
  }

  /** Milliseconds since a read was last seen. */
  sinceRead(handle: TcpHandle, socket: Socket, now: number): number {
    const length = this.buffered(socket)
    if (handle.bytesRead !== this.bytesRead || length < this.length) this.lastRead = now
    this.bytesRead = handle.bytesRead
    this.length = length
    return now - this.lastRead
  }

  /** Whether nothing is left to read, in the kernel or in Node's buffers. */
  hasReadAll(handle: TcpHandle, socket: Socket, stop: Stop): boolean {
    if (this.buffered(socket) > 0) return false
    return socket.readableEnded || (stop.at === 0 && native().unread(openDescriptor(handle)) <= 0)
  }

  private buffered(socket: Socket): number {
    let length = bufferedBytes(socket)
    for (const { readableLength } of this.streams ?? []) length += readableLength
    return length
  }
}
