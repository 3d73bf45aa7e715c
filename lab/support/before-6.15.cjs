// Preloaded (node --require): the host as a kernel before Linux 6.15 shows itself, without
// net.ipv4.tcp_rto_max_ms. The library never writes TCP_RTO_MAX_MS then. (What such a kernel
// does differently beside that is not emulated.)
const fs = require('node:fs')

const { readFileSync } = fs
fs.readFileSync = (path, ...rest) => {
  if (!String(path).endsWith('/tcp_rto_max_ms')) return readFileSync(path, ...rest)
  throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), {
    code: 'ENOENT',
  })
}
