// Sets and watches sockets, and loses their peers, until it is terminated.
const { once } = require('node:events')
const { connect, createServer } = require('node:net')
const { setTimeout: sleep } = require('node:timers/promises')
const { parentPort } = require('node:worker_threads')
const { setKeepalive, setUserTimeout, setDeadPeerTimeout } = require('../../dist/index.js')
const { unplug } = require('../../dist/testing.js')
;(async () => {
  const ends = []
  const server = createServer({ allowHalfOpen: true }, (socket) =>
    ends.push(socket.on('error', () => {})),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  for (;;) {
    const socket = connect(server.address().port, '127.0.0.1').on('error', () =>
      parentPort.postMessage('told'),
    )
    setUserTimeout(socket, 1000)
    await once(socket, 'connect')
    setDeadPeerTimeout(socket, 2000)
    setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
    parentPort.postMessage('set')
    if (ends.length % 3 === 0) unplug(socket)
    // Its buffer is full: the watcher tells.
    if (ends.length % 3 === 1)
      ends.at(-1).write(Buffer.alloc(1 << 20), () => ends.at(-1).resetAndDestroy())
    if (ends.length % 3 === 2) ends.at(-1).resetAndDestroy()
    await sleep(5)
  }
})()
