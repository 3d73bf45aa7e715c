// Takes a socket that is handed over, writes to it, and tells how it ends.
process.on('message', (_, socket) => {
  socket.on('error', ({ message }) => process.send(message))
  socket.on('close', () => process.send('closed'))
  socket.write('x', () => process.send('written'))
})
process.send('ready')
