/** Sockets as the drivers' own options want them. */
import { connect, Socket } from 'node:net'

/** For `stream` of pg, and of what is built on it: the driver connects it. */
export const unconnected = (guard) =>
  guard && {
    stream() {
      const socket = new Socket()
      guard(socket)
      return socket
    },
  }

/** For `stream` of mysql2, and of what is built on it. */
export const connecting = (guard, port) =>
  guard && {
    stream() {
      const socket = connect(port, '127.0.0.1')
      guard(socket)
      return socket
    },
  }
