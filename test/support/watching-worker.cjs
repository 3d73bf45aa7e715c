// In a worker: watches both ends of a connection, and lets one be reset at the very end.
const { connect, createServer } = require('node:net')
const { parentPort } = require('node:worker_threads')
const { setKeepalive } = require('tcp-keepalive')

const server = createServer((accepted) => {
  accepted.on('error', () => {})
  setKeepalive(accepted, true)
  parentPort.postMessage('watching')
  parentPort.once('message', () => {
    accepted.resetAndDestroy()
    server.close()
  })
}).listen(0, '127.0.0.1', () => {
  const client = connect(server.address().port, '127.0.0.1')
  client.on('error', () => {})
  setKeepalive(client, true)
})
