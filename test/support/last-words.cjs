// In a worker, so that it goes on while the test's event loop stands still: when told,
// says its last words, resets the connection and says so.
const { connect } = require('node:net')
const { workerData } = require('node:worker_threads')

const { port, signal } = workerData
const peer = connect(port, '127.0.0.1', () => {
  Atomics.wait(signal, 0, 0)
  peer.write('the last words')
  peer.on('close', () => {
    Atomics.store(signal, 1, 1)
    Atomics.notify(signal, 1)
  })
  setTimeout(() => peer.resetAndDestroy(), 100)
})
