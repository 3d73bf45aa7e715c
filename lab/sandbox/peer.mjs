// The peer outside of the sandbox: reads and answers everything.
import { createServer } from 'node:net'

createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(7000, '0.0.0.0', () =>
  console.log('listening'),
)
