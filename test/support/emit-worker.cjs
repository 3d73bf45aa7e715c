/** Serves sockets that it is sent, as the workers of sticky sessions do: its server never listens. */
const { createServer } = require('node:http')
const { setDeadPeerTimeout, getKeepalive, isDeadPeerError } = require('tcp-keepalive')
const { unplug } = require('tcp-keepalive/testing')

const server = createServer((request, response) => {
  const { socket } = request
  socket.on('error', (error) => process.send({ dead: isDeadPeerError(error), code: error.code }))
  process.send({ settings: getKeepalive(socket) })
  unplug(socket)
  response.write('into the void')
})
setDeadPeerTimeout(server, 2000)
process.on('message', (_, socket) => {
  server.emit('connection', socket)
  socket.resume()
})
process.send('ready')
