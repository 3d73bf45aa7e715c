/** A child process that is sent a socket or a server, and tells what it has. */
const { getKeepalive, getUserTimeout, setKeepalive } = require('tcp-keepalive')

const settingsOf = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })

process.on('message', (message, handed) => {
  if (message === 'socket') {
    const given = settingsOf(handed)
    handed.setKeepAlive(true, 1000)
    const afterSetKeepAlive = settingsOf(handed)
    setKeepalive(handed, { idle: 71 })
    handed.setKeepAlive(true, 2000)
    process.send({ given, afterSetKeepAlive, setHere: settingsOf(handed) })
    handed.on('error', () => {}).resume()
  } else {
    handed.on('connection', (socket) => process.send(settingsOf(socket)))
    process.send('listening')
  }
})
