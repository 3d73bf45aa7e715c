// A WebSocket client that reconnects when its server has gone silent. ws does not emit
// the socket's error, only 'close' with code 1006. node examples/websocket-reconnect.mjs
import { once } from 'node:events'
import { createServer } from 'node:http'
import { isDeadPeerError, setDeadPeerTimeout } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { WebSocket, WebSocketServer } from 'ws'

const server = createServer()
new WebSocketServer({ server }).on('connection', (socket) => {
  socket.on('message', (data) => socket.send(`echo of ${data}`)).on('error', () => {})
})
await once(server.listen(0, '127.0.0.1'), 'listening')

let connections = 0
function open() {
  const client = new WebSocket(`ws://127.0.0.1:${server.address().port}`)
  let socket
  client.on('upgrade', (response) => {
    socket = response.socket
    setDeadPeerTimeout(socket, 3000)
    socket.on('error', (error) => console.log('dead peer:', isDeadPeerError(error), error.code))
    connections++
  })
  client.on('open', () => client.send(`message ${connections}`))
  client.on('message', (data) => {
    console.log(String(data))
    if (connections === 2) process.exit()
    // The first connection's server goes silent.
    unplug(socket)
  })
  client.on('error', (error) => console.log('not connected:', error.message))
  client.on('close', (code) => {
    console.log('closed:', code)
    setTimeout(open, 200) // in production: wait longer each time, and add a random delay
  })
}
open()
