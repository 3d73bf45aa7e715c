// What a reader of README.md and docs/ has around a block of code: Node's modules, this package, a
// program, and as much of the types of drivers as the blocks use.
type Socket = import('node:net').Socket
type Package = typeof import('tcp-keepalive')
interface Driver {
  on(event: 'error', listener: (error: Error) => void): this
  on(event: 'connect', listener: (client: Driver) => void): this
  readonly stream: Socket
  readonly connection: { readonly stream: Socket }
}
interface Application {
  get(
    path: string,
    handler: (
      request: unknown,
      response: { status(code: number): { json(body: unknown): void } },
    ) => void,
  ): void
}
type Opens = (...options: unknown[]) => Driver
type Made = new (...options: unknown[]) => Driver

declare const net: typeof import('node:net')
declare const tls: typeof import('node:tls')
declare const http: typeof import('node:http')
declare const https: typeof import('node:https')

declare const getKeepalive: Package['getKeepalive']
declare const installDefaults: Package['installDefaults']
declare const isDeadPeerError: Package['isDeadPeerError']
declare const onDeadPeer: Package['onDeadPeer']
declare const setDeadPeerTimeout: Package['setDeadPeerTimeout']
declare const setKeepalive: Package['setKeepalive']
declare const setUserTimeout: Package['setUserTimeout']

declare const server: import('node:net').Server
declare const socket: Socket
declare const config: object
declare const host: string
declare const port: number
declare const servers: string[]
declare const url: string
declare function reconnect(error?: Error): void
declare function log(...values: unknown[]): void

declare const app: Application
declare const pg: { Pool: Made; Client: Made }
declare const mysql: { createPool: Opens; createConnection: Opens }
declare const Redis: Made
declare const createClient: Opens
declare const connect: (options: { servers: string[] }) => Promise<Driver>
declare const amqp: { connect(url: string): Promise<Driver> }
declare const mqtt: { connect: Opens }
declare const Agent: Made
declare namespace buildConnector {
  type connector = (
    options: object,
    done: (...result: [error: null, socket: Socket] | [error: Error, socket: null]) => void,
  ) => void
}
declare function buildConnector(options: object): buildConnector.connector
declare const Kafka: Made
type ISocketFactory = (options: {
  host: string
  port: number
  ssl: import('node:tls').ConnectionOptions
  onConnect: () => void
}) => Socket
