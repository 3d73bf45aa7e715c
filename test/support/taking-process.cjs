// Takes a socket that is handed over, reads nothing of it, loses its peer, and tells how it dies.
const { setUserTimeout } = require('tcp-keepalive')
const { unplug } = require('tcp-keepalive/testing')

let socket
process.on('message', (_, taken) => {
  if (taken !== undefined) {
    socket = taken
    socket.on('error', ({ code, syscall }) =>
      process.send({ code, syscall }, () => process.disconnect()),
    )
    process.send('taken')
    return
  }
  setUserTimeout(socket, 1000)
  unplug(socket)
  socket.write('x')
})
