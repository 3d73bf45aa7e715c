import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { enterPassiveModeIPv4, Client as FtpClient } from 'basic-ftp'
import { ImapFlow } from 'imapflow'
import { Client as LdapClient } from 'ldapts'
import nodemailer from 'nodemailer'
import { Client as SshClient } from 'ssh2'
import { unplug } from '../../../dist/testing.js'
import { localServers } from '../local-servers.mjs'

const host = '127.0.0.1'

function guarded(port, guard, onConnect) {
  const socket = connect(port, host, onConnect)
  guard(socket)
  return socket
}

async function ssh({ port, guard, onError }) {
  const client = new SshClient()
  client.on('error', onError)
  client.connect({
    ...(guard ? { sock: guarded(port, guard) } : { host, port }),
    // The user that sshd runs as.
    username: process.getuid() === 0 ? 'nobody' : userInfo().username,
    privateKey: readFileSync(process.env.CLIENTS_SSH_KEY),
  })
  await once(client, 'ready')
  return client
}

/** Resolves to the exit code. The shell of nobody refuses every command, which is an answer, too. */
const execute = (client, command) =>
  new Promise((resolve, reject) => {
    client.exec(command, (error, stream) => {
      if (error) return reject(error)
      stream.on('close', (code) => {
        if (typeof code === 'number') resolve(code)
        else reject(new Error("'close' without an exit code"))
      })
      stream.resume()
      stream.stderr.resume()
    })
  })

/** A stream from an endless server, through sshd. */
async function tunnel(client) {
  const port = await localServers.flood()
  return promisify(client.forwardOut).call(client, host, 0, host, port)
}

/** Reads slowly, so that the death comes while data is awaited. */
const slowly = (cut) => {
  let chunks = 0
  return new Writable({
    write(_chunk, _encoding, done) {
      if (++chunks === 5) cut()
      setTimeout(done, 10)
    },
  })
}

/** Who the server says that the client is, once it has connected anew. */
async function whoAfterDeath({ port, cut }, options) {
  const client = new LdapClient({ url: `ldap://${host}:${port}`, ...options })
  await client.bind('cn=admin,dc=test', 'secret')
  cut()
  const search = client.search('', { scope: 'base' })
  await search.catch(() => {})
  // A request in the same tick goes to the dead socket, and rejects, too.
  await sleep(100)
  const { value } = await client.exop('1.3.6.1.4.1.4203.1.11.3')
  return value || 'anonymous'
}

const message = { from: 'a@test.invalid', to: 'b@test.invalid', subject: 'test', text: 'x' }

/** More than all buffers hold: 64 KiB every 10 ms. */
async function* endless(onFifth) {
  for (let chunk = 1; ; chunk++) {
    yield Buffer.alloc(65_536)
    if (chunk === 5) onFifth()
    await sleep(10)
  }
}

function halfSent({ port, cut }, options) {
  const transport = nodemailer.createTransport({ host, port, ...options })
  const content = Readable.from(endless(cut))
  return transport.sendMail({ ...message, attachments: [{ content }] })
}

async function imap({ port, guard, onError, user = 'test' }) {
  const transport = guard && {
    connect: ({ port }, onConnect) => guarded(port, guard, onConnect),
  }
  const client = new ImapFlow({
    ...{ host, port, secure: false, doSTARTTLS: false, logger: false },
    ...{ auth: { user, pass: 'x' }, ...(guard && { transport }) },
  })
  client.on('error', onError)
  await client.connect()
  await client.mailboxOpen('INBOX')
  return client
}

async function ftp({ port, guard }) {
  // No timeout of its own, which would end what is tested here.
  const client = new FtpClient(0)
  await client.access({ host, port })
  if (guard) {
    guard(client.ftp.socket)
    client.prepareTransfer = async (context) => {
      const response = await enterPassiveModeIPv4(context)
      guard(context.dataSocket)
      return response
    }
  }
  return client
}

const download = (client, cut) => client.downloadTo(slowly(cut), 'large')

export const drivers = {
  'ssh2, exec': {
    server: 'ssh',
    option: 'sock',
    async open(given) {
      const client = await ssh(given)
      return { query: () => execute(client, 'true') }
    },
  },
  'ssh2, sftp': {
    server: 'ssh',
    option: 'sock',
    async open(given) {
      const client = await ssh(given)
      const sftp = await promisify(client.sftp).call(client)
      let open = true
      client.on('close', () => {
        open = false
      })
      return {
        async query() {
          // Later requests get no answer at all: see the story below.
          if (!open) throw new Error('not connected')
          return promisify(sftp.stat).call(sftp, '/')
        },
      }
    },
  },
  'ssh2, sftp, a request after the death': {
    server: 'ssh',
    async story({ cut, ...given }) {
      const client = await ssh(given)
      const sftp = await promisify(client.sftp).call(client)
      const closed = new Promise((resolve) => client.on('close', resolve))
      cut()
      await closed
      const request = promisify(sftp.stat).call(sftp, '/')
      return Promise.race([request, sleep(1000, 'no callback')])
    },
    expects: 'no callback',
  },
  'ssh2, a stream in the middle': {
    server: 'ssh',
    async story({ cut, ...given }) {
      const client = await ssh(given)
      await pipeline(await tunnel(client), slowly(cut))
      return 'ends without an error'
    },
    expects: 'ends without an error',
  },
  "ssh2, a stream that the client's error aborts": {
    server: 'ssh',
    option: 'sock',
    async story({ cut, ...given }) {
      const client = await ssh(given)
      const controller = new AbortController()
      client.on('error', (error) => controller.abort(error))
      await pipeline(await tunnel(client), slowly(cut), { signal: controller.signal })
    },
    expects: 'rejects',
  },
  'ssh2, sftp read stream in the middle': {
    server: 'ssh',
    async story({ cut, ...given }) {
      const client = await ssh(given)
      const sftp = await promisify(client.sftp).call(client)
      await pipeline(sftp.createReadStream('/dev/zero'), slowly(cut))
    },
    expects: 'rejects',
  },
  ldapts: {
    server: 'ldap',
    option: 'createConnection',
    async open({ port, guard }) {
      const client = new LdapClient({
        url: `ldap://${host}:${port}`,
        ...(guard && { createConnection: (port) => guarded(port, guard) }),
      })
      await client.bind('cn=admin,dc=test', 'secret')
      return { query: () => client.search('', { scope: 'base' }) }
    },
  },
  'ldapts, who it is after a death': {
    server: 'ldap',
    story: (given) => whoAfterDeath(given, {}),
    expects: 'anonymous',
  },
  'ldapts, likewise, autoRebind': {
    server: 'ldap',
    story: (given) => whoAfterDeath(given, { autoRebind: true }),
    expects: 'dn:cn=admin,dc=test',
  },
  'nodemailer, pool': {
    server: 'smtp',
    option: 'getSocket',
    open({ port, guard, onError }) {
      const getSocket = (_, callback) => {
        const socket = guarded(port, guard, () => {
          socket.off('error', callback)
          callback(null, { connection: socket })
        })
        socket.once('error', callback)
      }
      const transport = nodemailer.createTransport({
        ...{ host, port, pool: true, maxConnections: 1, maxMessages: Number.POSITIVE_INFINITY },
        ...(guard && { getSocket }),
      })
      transport.on('error', onError)
      return { query: () => transport.sendMail(message) }
    },
  },
  'nodemailer, a message in the middle': {
    server: 'smtp',
    story: (given) => halfSent(given, {}),
    expects: 'rejects',
  },
  'nodemailer, pool, a message in the middle': {
    server: 'smtp',
    story: (given) => halfSent(given, { pool: true }),
    expects: 'rejects',
  },
  imapflow: {
    server: 'imap',
    option: 'transport',
    async open(given) {
      const client = await imap(given)
      return { query: () => client.status('INBOX', { messages: true }) }
    },
  },
  'imapflow, idle()': {
    server: 'imap',
    async story({ cut, ...given }) {
      const client = await imap(given)
      const idling = client.idle()
      await sleep(500)
      cut()
      return `resolves to ${await idling}`
    },
    expects: 'resolves to false',
  },
  'imapflow, status() in flight': {
    server: 'imap',
    async story({ cut, ...given }) {
      const client = await imap(given)
      cut()
      return `resolves to ${await client.status('INBOX', { messages: true })}`
    },
    expects: 'resolves to false',
  },
  'imapflow, fetch() in the middle': {
    server: 'imap',
    async story({ cut, ...given }) {
      const client = await imap({ ...given, user: `fetch${process.pid}` })
      const large = Buffer.alloc(2 ** 22, `${'x'.repeat(70)}\r\n`)
      for (let i = 0; i < 8; i++) await client.append('INBOX', large)
      let messages = 0
      for await (const _ of client.fetch('1:*', { source: true })) {
        if (++messages === 1) cut()
        await sleep(50)
      }
      return 'ends without an error'
    },
    expects: 'rejects',
  },
  'basic-ftp': {
    server: 'ftp',
    option: 'ftp.socket, prepareTransfer',
    async open(given) {
      const client = await ftp(given)
      return { query: () => client.send('NOOP') }
    },
  },
  'basic-ftp, a download in the middle': {
    server: 'ftp',
    option: 'prepareTransfer',
    async story({ cut, ...given }) {
      const client = await ftp(given)
      return download(client, cut)
    },
    expects: 'rejects',
  },
  'basic-ftp, the data connection alone': {
    server: 'ftp',
    option: 'prepareTransfer',
    async story(given) {
      const client = await ftp(given)
      return download(client, () => unplug(client.ftp.dataSocket))
    },
    expects: 'rejects',
  },
  'basic-ftp, the control connection alone': {
    server: 'ftp',
    async story(given) {
      const client = await ftp(given)
      return download(client, () => unplug(client.ftp.socket))
    },
    expects: 'rejects',
  },
}
