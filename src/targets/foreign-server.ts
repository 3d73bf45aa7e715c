/** Servers of a runtime with other listeners than Node's: Bun, Deno. */
import type { Server, Socket } from 'node:net'
import { serverNotOnPort } from '../errors.js'
import { merge } from '../options/merge.js'
import { type Settings, UNTOUCHED } from '../options/settings.js'
import { firstOption } from '../options/write.js'
import { orDestroy } from './after-write.js'
import { applyToSocket } from './socket.js'

const servers = new WeakMap<Server, Settings>()

/** Sets each connection in the server's `'connection'` event. */
export function applyToForeignServer(server: Server, settings: Settings): void {
  refusePath(server, settings)
  const earlier = servers.get(server)
  servers.set(server, merge(earlier ?? UNTOUCHED, settings))
  if (earlier !== undefined) return
  const settingsNow = (): Settings => servers.get(server) ?? UNTOUCHED
  const accepted = (socket: Socket): void => {
    orDestroy(socket, () => applyToSocket(socket, settingsNow()))
  }
  server.prependListener('connection', accepted)
  // Not every runtime emits 'connection' for the socket below TLS as well.
  server.prependListener('secureConnection', accepted)
  server.on('listening', () => {
    try {
      refusePath(server, settingsNow())
    } catch (error) {
      server.close()
      process.nextTick(() => server.emit('error', error))
    }
  })
}

function refusePath(server: Server, settings: Settings): void {
  if (typeof server.address() === 'string') throw serverNotOnPort(firstOption(settings))
}
