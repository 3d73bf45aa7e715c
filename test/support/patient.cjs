// As patient.c, and nothing of this library is in it.
const { createInterface } = require('node:readline')
const socket = require('node:net').connect(Number(process.argv[2]), '127.0.0.1', () => {
  console.log('ready', socket._handle.fd)
  createInterface(process.stdin)
    .once('line', () => socket.write('query'))
    .once('close', () => socket.destroy())
})
const end = (text) => {
  console.log(text)
  process.exit()
}
socket.on('error', ({ code, syscall }) => end(syscall === 'read' ? code : `${syscall} ${code}`))
socket.on('data', () => end('answer'))
