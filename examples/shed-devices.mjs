// A server that drops dead devices. After one call on the listener, a device that loses power
// causes an 'error' on its socket, so that the server can count and remove it. node examples/shed-devices.mjs
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { isDeadPeerError, setDeadPeerTimeout } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'

const devices = new Map()
const server = createServer((socket) => {
  socket.once('data', (name) => {
    devices.set(socket, String(name))
    console.log('here:', [...devices.values()].sort().join(', '))
  })
  socket.on('error', (error) => {
    if (isDeadPeerError(error)) console.log('lost power:', devices.get(socket))
  })
  socket.on('close', () => devices.delete(socket))
})
// Slow devices are not disconnected, only silent ones.
setDeadPeerTimeout(server, 3000)
await once(server.listen(0, '127.0.0.1'), 'listening')

for (const name of ['boiler', 'meter']) {
  const device = connect(server.address().port, '127.0.0.1', () => device.write(name))
  device.on('error', () => {})
  await once(server, 'connection')
}
while (devices.size < 2) await new Promise(setImmediate)
const [boiler] = [...devices].find(([, name]) => name === 'boiler')
unplug(boiler)
await new Promise((resolve) => boiler.once('close', resolve))
console.log('here:', [...devices.values()].join(', '))
process.exit()
