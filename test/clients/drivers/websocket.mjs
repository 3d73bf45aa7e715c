import { once } from 'node:events'
import WebSocket from 'ws'

const host = '127.0.0.1'

export const drivers = {
  ws: {
    server: 'ws',
    option: 'upgrade event, response.socket',
    async open({ port, guard, onError }) {
      const client = new WebSocket(`ws://${host}:${port}`)
      if (guard) client.on('upgrade', (response) => guard(response.socket))
      client.on('error', onError).on('close', (code) => onError(`close ${code}`))
      await once(client, 'open')
      return {
        query: () =>
          new Promise((resolve, reject) => {
            const settle = (error) => {
              client.off('message', onMessage).off('close', onClose)
              if (error) reject(error)
              else resolve()
            }
            const onMessage = () => settle()
            // ws keeps the socket's error for itself.
            const onClose = (code) => settle(new Error(`'close', code ${code}`))
            client.on('message', onMessage).on('close', onClose)
            client.send('x', (error) => error && settle(error))
          }),
      }
    },
  },
}
