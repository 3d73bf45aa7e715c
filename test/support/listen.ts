/** A server of any kind that listens on loopback until the end of the block. */
import { once } from 'node:events'
import type { AddressInfo, ListenOptions, Server, Socket } from 'node:net'

export interface Listening extends AsyncDisposable {
  port: number
  server: Server
}

/** `await using server = await listen(createServer())`: its connections end with it. */
export async function listen(server: Server, options: ListenOptions = {}): Promise<Listening> {
  const accepted = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    accepted.add(socket)
    socket.on('close', () => accepted.delete(socket))
    socket.on('error', () => {})
  })
  server.listen(
    options.path === undefined && !('fd' in options)
      ? { port: 0, host: '127.0.0.1', ...options }
      : options,
  )
  await once(server, 'listening')
  const address = server.address()
  return {
    port: (address as AddressInfo).port,
    server,
    async [Symbol.asyncDispose]() {
      for (const socket of accepted) socket.destroy()
      if (!server.listening) return
      server.close()
      await once(server, 'close')
    },
  }
}
