// Writes to a peer that takes nothing, sets `ms` after `wait`, and says whether it is alive at `end`.
const { connect } = require('node:net')
const { setDeadPeerTimeout } = require('../..')

const [wait, ms, end] = process.argv.slice(2).map(Number)
const socket = connect(80, '10.9.0.2', () => {
  setTimeout(() => setDeadPeerTimeout(socket, ms), wait)
  socket.write('x')
  setTimeout(() => {
    console.log('alive')
    process.exit()
  }, end)
})
socket.on('error', ({ message }) => {
  console.log(message)
  process.exit()
})
