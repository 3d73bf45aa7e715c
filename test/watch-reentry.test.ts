/** An async hook runs in the midst of what the watcher does, and may call the library meanwhile. */
import { expect, test } from 'vitest'
import { runNode } from './support/child.ts'

test('several that die at once all get their errors, although a hook reads options meanwhile', async () => {
  const { code, stdout, stderr } = await runNode(`
    const { createHook } = require('node:async_hooks')
    const { once } = require('node:events')
    const { connect, createServer } = require('node:net')
    const { getKeepalive, setKeepalive } = require('tcp-keepalive')
    const { unplug } = require('tcp-keepalive/testing')

    const server = createServer((peer) => peer.on('error', () => {}).write(Buffer.alloc(3e6)))
    server.listen(0, '127.0.0.1', async () => {
      const open = async () => {
        const socket = connect(server.address().port, '127.0.0.1')
        await once(socket, 'connect')
        return socket
      }
      const other = await open()
      // 'readable' and nobody who reads: the buffer fills, and Node stops reading.
      const dying = await Promise.all(Array.from({ length: 5 }, open))
      const errors = dying.map((socket) => once(socket.on('readable', () => {}), 'error'))
      await new Promise((resolve) => setTimeout(resolve, 300))
      for (const socket of dying) setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
      for (const socket of dying) unplug(socket)
      let inside = false
      createHook({
        init() {
          if (inside) return
          inside = true
          getKeepalive(other)
          inside = false
        },
      }).enable()
      for (const [{ code }] of await Promise.all(errors)) console.log(code)
      process.exit()
    })`)
  expect(stdout, stderr).toBe('ETIMEDOUT\n'.repeat(5))
  expect(code).toBe(0)
})
