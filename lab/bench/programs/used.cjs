const s = require('node:net').connect(1)
s.on('error', () => {})
require('tcp-keepalive').setKeepalive(s, true)
