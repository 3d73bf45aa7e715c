// A pool that survives a failover: a connection whose server goes silent fails within the time
// that you choose, and the next query opens a new one. node examples/pool-failover.mjs
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { isDeadPeerError, setDeadPeerTimeout } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'

class Pool {
  idle = []
  async query(text) {
    const socket = this.idle.pop() ?? (await this.open())
    socket.write(text)
    const [answer] = await once(socket, 'data') // rejects with the socket's 'error'
    this.idle.push(socket)
    return String(answer)
  }
  async open() {
    const socket = connect(database.address().port, '127.0.0.1')
    setDeadPeerTimeout(socket, 3000)
    // An idle connection may die, too.
    socket.on('error', () => (this.idle = this.idle.filter((other) => other !== socket)))
    await once(socket, 'connect')
    return socket
  }
}

const database = createServer((socket) => socket.on('error', () => {}).pipe(socket))
await once(database.listen(0, '127.0.0.1'), 'listening')
const pool = new Pool()
console.log('answered:', await pool.query('select 1'))
unplug(pool.idle[0]) // the failover: nothing arrives any more
try {
  await pool.query('select 2')
} catch (error) {
  console.log('dead peer:', isDeadPeerError(error), error.code)
}
console.log('answered:', await pool.query('select 2'))
process.exit()
