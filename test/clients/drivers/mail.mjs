import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { ImapFlow } from 'imapflow'
import nodemailer from 'nodemailer'

const host = '127.0.0.1'

function guarded(port, guard, onConnect) {
  const socket = connect(port, host, onConnect)
  guard(socket)
  return socket
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

export const drivers = {
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
}
