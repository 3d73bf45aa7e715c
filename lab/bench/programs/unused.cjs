const s = require('node:net').connect(1)
s.on('error', () => {})
