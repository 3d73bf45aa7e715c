// Accepts and reads: node listener.cjs ADDRESS PORT FILE. The file is there when it listens.
const { writeFileSync } = require('node:fs')
const { createServer } = require('node:net')

const [, , address, port, file] = process.argv
createServer((socket) => socket.resume().on('error', () => {})).listen(port, address, () =>
  writeFileSync(file, ''),
)
