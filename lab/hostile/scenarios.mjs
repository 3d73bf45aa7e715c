// A row's way: many live connections, one behind a firewall, or one between two hosts.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { alone } from './alone.mjs'
import { crowd } from './crowd.mjs'

export function run(row, ground) {
  if (row.event !== undefined) return betweenHosts(row)
  return row.many === undefined ? behindFirewall(row, ground) : crowd(row, ground)
}

async function behindFirewall(row, ground) {
  ground.change(row.port, { delay: row.rtt / 2000, loss: 0 })
  const connection = await ground.connect(row)
  const firewall = row.answer === 'drop' ? { loss: 1 } : { answer: row.icmp ?? row.answer }
  return alone(row, connection, () => ground.change(row.port, firewall))
}

/** In namespaces of its own, for what happens to an address or a cable (test/support/two-hosts.sh). */
async function betweenHosts(row) {
  const file = (path) => fileURLToPath(new URL(path, import.meta.url))
  const args = [file('../../test/support/two-hosts.sh'), process.execPath, file('host.mjs')]
  const child = spawn('unshare', ['--net', 'sh', ...args, JSON.stringify(row)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let answer = ''
  for await (const text of child.stdout) answer += text
  return JSON.parse(answer)
}
