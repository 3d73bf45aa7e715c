/** For how long a socket has not been read. */
import type { Socket } from 'node:net'
import { native } from '../native.js'
import { bufferedBytes, http2Buffers } from '../node/buffered.js'
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
  /** Whether the program has been seen to read. */
  hasRead = false
  /** What had arrived at the first call of `hasReadFirst`. */
  private first: { readonly bytes: number; readonly at: number } | undefined
  private readonly streams: ReturnType<typeof http2Buffers>
  private bytesRead: number
  private length: number
  /** When the program was last seen to read; before that, since when it has not, as far as is known. */
  private lastRead: number

  constructor(handle: TcpHandle, socket: Socket, stop: Stop, now: number) {
    this.streams = http2Buffers(socket)
    this.bytesRead = handle.bytesRead
    this.length = this.buffered(socket)
    if (this.hasReadAll(handle, socket, stop)) this.lastRead = -Infinity
    else this.lastRead = stop.at > 0 && stop.length === this.length ? stop.at : now
  }

  /** Milliseconds since the program was last seen to read. */
  sinceRead(handle: TcpHandle, socket: Socket, now: number): number {
    const length = this.buffered(socket)
    // What Node reads into its buffers while the program takes nothing is not a read.
    if (length < this.length || (handle.bytesRead !== this.bytesRead && length === this.length)) {
      this.hasRead = true
      this.lastRead = now
    }
    this.bytesRead = handle.bytesRead
    this.length = length
    return now - this.lastRead
  }

  /** Whether nothing is left to read, in the kernel or in Node's buffers. */
  hasReadAll(handle: TcpHandle, socket: Socket, stop: Stop): boolean {
    if (this.buffered(socket) > 0) return false
    return socket.readableEnded || (stop.at === 0 && native().unread(openDescriptor(handle)) <= 0)
  }

  /** Whether the program has read all that had arrived at the first call, which may be `ms` ago at most. */
  hasReadFirst(handle: TcpHandle, socket: Socket, now: number, ms: number): boolean {
    const { bytesRead } = handle
    const unread = Math.max(0, native().unread(openDescriptor(handle)))
    this.first ??= { bytes: bytesRead + unread, at: now }
    return bytesRead - this.buffered(socket) >= this.first.bytes || now - this.first.at >= ms
  }

  private buffered(socket: Socket): number {
    return bufferedBytes(socket) + (this.streams?.() ?? 0)
  }
}
