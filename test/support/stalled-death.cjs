// In a worker: a socket that nobody reads dies; says how.
const { connect, createServer } = require('node:net')
const { parentPort } = require('node:worker_threads')
const { setUserTimeout } = require('tcp-keepalive')
const { unplug } = require('tcp-keepalive/testing')

const server = createServer((accepted) => {
  accepted.on('error', () => {})
  accepted.write(Buffer.alloc(4 << 20))
}).listen(0, '127.0.0.1', () => {
  const client = connect(server.address().port, '127.0.0.1')
  let told
  client.on('error', (error) => {
    told = error
  })
  client.on('close', (hadError) => {
    server.close()
    parentPort.postMessage({ message: told?.message, errno: told?.errno, hadError })
  })
  setTimeout(() => {
    setUserTimeout(client, 1000)
    unplug(client)
    client.write('x')
  }, 200)
})
