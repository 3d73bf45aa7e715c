// Takes a socket that is handed over, reads nothing of it and tells how it dies.
const { setKeepalive } = require('tcp-keepalive')

process.on('message', (_, socket) => {
  setKeepalive(socket, true)
  socket.on('error', ({ code, syscall }) =>
    process.send({ code, syscall }, () => process.disconnect()),
  )
  process.send('taken')
})
