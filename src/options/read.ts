/** Reads options from a socket's descriptor. */
import { Socket } from 'node:net'
import { invalidType, socketAdvice, socketClosed, socketNotConnected } from '../errors.js'
import { native } from '../native.js'
import { openDescriptor } from '../node/descriptor.js'
import { handleOf, notTcp } from '../node/handle.js'
import { OPTION_NAMES, type SocketOptionName } from './socket-options.js'
import { refusalError } from './write.js'

/** The open descriptor of a socket. It is not cached: after a close, the number is reused for another socket. */
export function descriptorOf(socket: Socket, option: SocketOptionName): number {
  if (!(socket instanceof Socket)) {
    throw invalidType('the socket', 'a net.Socket', socket, socketAdvice(socket, true))
  }
  if (socket.destroyed) throw socketClosed()
  const handle = handleOf(socket)
  if (handle === undefined) throw notTcp(socket, 'getsockopt', option)
  const descriptor = handle === null ? -1 : openDescriptor(handle)
  if (descriptor < 0) throw socketNotConnected()
  return descriptor
}

/** Bit n of `options` requests option n; the result is at index n, valid until the next call. */
export function read(socket: Socket, options: number): Int32Array {
  const first = OPTION_NAMES[31 - Math.clz32(options & -options)] as SocketOptionName
  const descriptor = descriptorOf(socket, first)
  const binding = native()
  const result = binding.get(descriptor, options)
  if (result !== 0) throw refusalError('getsockopt', result)
  return binding.integers
}
