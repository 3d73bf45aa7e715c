import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { enterPassiveModeIPv4, Client as FtpClient } from 'basic-ftp'
import { Client as LdapClient } from 'ldapts'
import { Client as SshClient } from 'ssh2'
import { unplug } from '../../../dist/testing.js'
import { localServers } from '../local-servers.mjs'

const host = '127.0.0.1'

function guarded(port, guard) {
  const socket = connect(port, host)
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
