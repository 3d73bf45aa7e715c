/** A cluster worker that does what the primary says, and tells what its connections have. */
const { createServer } = require('node:net')
const { setKeepalive, setUserTimeout, getKeepalive, getUserTimeout } = require('tcp-keepalive')

const settingsOf = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })

const server = createServer(JSON.parse(process.env.SERVER_OPTIONS ?? '{}'))
server.on('error', ({ name, code, option }) => process.send({ error: { name, code, option } }))
server.on('connection', (socket) => {
  socket.on('error', () => {})
  const settings = settingsOf(socket)
  socket.setKeepAlive(true, 1000)
  process.send({ connection: settings, afterSetKeepAlive: settingsOf(socket) })
  socket.destroy()
})

const commands = {
  set({ keepalive, userTimeout }) {
    if (keepalive !== undefined) setKeepalive(server, keepalive)
    if (userTimeout !== undefined) setUserTimeout(server, userTimeout)
    process.send({ done: 'set' })
  },
  listen(options) {
    server.listen(options, () => {
      process.send({ done: 'listen', port: server.address()?.port, fd: server._handle.fd ?? null })
    })
  },
  close() {
    server.close(() => process.send({ done: 'close' }))
  },
  /** Takes no message and no connection until the file appears. */
  block({ until }) {
    process.send({ done: 'block' }, () => {
      const { existsSync } = require('node:fs')
      const clock = new Int32Array(new SharedArrayBuffer(4))
      while (!existsSync(until)) Atomics.wait(clock, 0, 0, 5)
      process.send({ done: 'unblocked' })
    })
  },
}

process.on('message', ({ command, argument }) => commands[command](argument))
process.send({ done: 'start' })
