/** A cluster worker whose servers have nothing but defaults: a port and a path. */
const { createServer } = require('node:net')
const { installDefaults, getKeepalive, getUserTimeout } = require('tcp-keepalive')

const warnings = []
process.on('warning', ({ message }) => warnings.push(message))
installDefaults({
  keepalive: { idle: 61, interval: 11, count: 4 },
  userTimeout: 91_000,
  scope: 'server',
})
const settingsOf = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })

createServer().listen(process.argv[2], () => {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    const first = settingsOf(socket)
    socket.setKeepAlive(true, 1000)
    const settings = [first, settingsOf(socket)]
    setTimeout(() => process.send({ settings, warnings }), 50)
  })
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
})
