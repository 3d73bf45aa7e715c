// New outgoing connections, one request each: node [--require register.js] request.mjs PORT
// Prints connections per second and processor microseconds per connection as JSON.
import { get } from 'node:http'

const port = Number(process.argv[2])
const WARM = 6000
const COUNT = 16_000
const AT_ONCE = 8

function request(i) {
  return new Promise((resolve, reject) => {
    get({ port, host: `127.0.0.${1 + (i % 8)}`, agent: false }, (response) => {
      response.resume().on('end', resolve)
    }).on('error', reject)
  })
}

async function requests(count) {
  let next = 0
  const lane = async () => {
    while (next < count) await request(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
}

await requests(WARM)
const cpu = process.cpuUsage()
const from = process.hrtime.bigint()
await requests(COUNT)
const seconds = Number(process.hrtime.bigint() - from) / 1e9
const { user, system } = process.cpuUsage(cpu)
console.log(JSON.stringify({ perSecond: COUNT / seconds, microseconds: (user + system) / COUNT }))
