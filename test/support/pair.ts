/** Two ends of a real connection on loopback. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, Socket } from 'node:net'
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
} from 'node:tls'
import { tlsClientOptions, tlsServerOptions } from './tls.ts'

export interface PairOptions {
  /** `'mapped'` is IPv4 over an IPv6 socket. */
  family?: 4 | 6 | 'mapped'
  tls?: boolean
  allowHalfOpen?: boolean
  /** Called with the client before it is connected. */
  prepare?: (client: Socket) => void
  /** Called with the server before it listens. */
  prepareServer?: (server: Server) => void
}

export interface Pair extends AsyncDisposable {
  client: Socket
  accepted: Socket
  server: Server
}

const HOSTS = { 4: '127.0.0.1', 6: '::1', mapped: '::ffff:127.0.0.1' } as const

/** `await using pair = await connectedPair()`: both ends are destroyed at the end of the block. */
export async function connectedPair(options: PairOptions = {}): Promise<Pair> {
  const { family = 4, tls = false, allowHalfOpen = false, prepare, prepareServer } = options
  const server = tls
    ? createTlsServer({ ...tlsServerOptions, allowHalfOpen })
    : createServer({ allowHalfOpen })
  prepareServer?.(server)
  server.listen(0, family === 4 ? '127.0.0.1' : '::')
  await once(server, 'listening')
  const accepted = once(server, tls ? 'secureConnection' : 'connection') as Promise<[Socket]>
  const where = { port: (server.address() as AddressInfo).port, host: HOSTS[family] }
  let client: Socket
  if (tls) {
    // Node takes allowHalfOpen here as well; its types do not say so.
    const tlsOptions: ConnectionOptions = Object.assign(
      { ...tlsClientOptions, ...where },
      { allowHalfOpen },
    )
    client = connectTls(tlsOptions)
    prepare?.(client)
  } else {
    client = new Socket({ allowHalfOpen })
    prepare?.(client)
    client.connect(where)
  }
  const [[peer]] = await Promise.all([accepted, once(client, tls ? 'secureConnect' : 'connect')])
  return {
    client,
    accepted: peer,
    server,
    async [Symbol.asyncDispose]() {
      client.on('error', () => {})
      peer.on('error', () => {})
      client.destroy()
      peer.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
