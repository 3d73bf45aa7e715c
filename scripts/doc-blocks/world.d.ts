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

declare const once: typeof import('node:events').once
declare function guarded(): Socket
declare function connected(): Socket
declare function work(transaction: unknown): Promise<void>

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

interface Sql {
  (
    text: TemplateStringsArray,
  ): { cursor(rows: number, each: (rows: unknown[]) => Promise<void>): Promise<void> }
  begin(body: (transaction: unknown) => Promise<unknown>): Promise<unknown>
}
declare const postgres: (options: object) => Sql
declare const sql: Sql
declare const pool: Driver
declare const mariadb: { createPool: Opens }
declare const Connection: Made
declare const mssql: { ConnectionPool: Made }
declare const knex: Opens
declare const db: {
  (table: string): { connection(connection: Driver): { stream(): import('node:stream').Readable } }
  readonly client: { acquireConnection(): Promise<Driver> }
}
declare const DataSource: Made
declare const Sequelize: Made
declare const PrismaPg: Made
declare const PostgresDialect: Made
declare const Cursor: new () => { readonly state: string; close(): Promise<void> }
declare const RedisConnection: { clientFactory: (options: unknown) => unknown }
declare const createIORedisClient: (client: Driver) => unknown
declare const Worker: new (queue: string, each: () => Promise<void>, options: object) => Driver
declare const rhea: {
  create_container(): {
    on(
      event: 'connection_open',
      listener: (context: { connection: { socket: Socket } }) => void,
    ): void
    on(event: 'disconnected', listener: (context: { error?: Error }) => void): void
  }
}
declare const Client: Made
declare const Server: Made
declare const io: Opens
declare const dispatcher: object
declare const undici: { fetch(url: string, options: object): Promise<unknown> }
declare const EventSourceClient: new (
  url: string,
  options: { fetch(url: string, init: object): Promise<unknown> },
) => unknown
declare const axios: { create: Opens }
declare const got: { extend: Opens }
declare const S3Client: Made
declare const HttpsProxyAgent: new (proxy: string, options: object) => import('node:https').Agent
declare const proxy: string
declare const httpProxy: {
  createProxyServer(options: object): {
    on(
      event: 'error',
      listener: (
        error: Error,
        request: import('node:http').IncomingMessage,
        response: import('node:http').ServerResponse,
      ) => void,
    ): void
  }
}
declare const SshClient: new () => Driver & { connect(options: object): void }
declare const LdapClient: new (options: {
  url: string
  autoRebind: boolean
  createConnection: typeof import('node:net').connect
}) => Driver
declare const nodemailer: { createTransport: Opens }
declare const ImapFlow: Made
interface FtpContext {
  readonly socket: Socket
  readonly dataSocket: Socket | undefined
}
declare const FtpClient: new () => {
  access(options: object): Promise<void>
  readonly ftp: FtpContext
  prepareTransfer: (context: FtpContext) => Promise<unknown>
}
declare const enterPassiveModeIPv4: (context: FtpContext) => Promise<unknown>
declare const fastifyApp: { readonly server: import('node:http').Server }
declare const expressApp: { listen(port: number): import('node:http').Server }
declare const nestApp: { getHttpServer(): import('node:http').Server }
declare const nestMicroservice: { unwrap(): import('node:net').Server }
declare const nestClient: { on(event: 'connect', listener: () => void): void; unwrap(): Socket }
