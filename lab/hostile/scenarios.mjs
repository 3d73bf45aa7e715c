// A row's way: many live connections, one behind a firewall, or one between two hosts.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { UNSHARE } from '../support/namespace.mjs'
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

/** In namespaces of its own, for what happens to an address or a cable (support/two-hosts.sh). */
async function betweenHosts(row) {
  const file = (path) => join(import.meta.dirname, path)
  const [command, ...args] = [
    ...[...UNSHARE, 'sh', file('../support/two-hosts-listening.sh')],
    ...[process.execPath, file('host.mjs'), JSON.stringify(row)],
  ]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  return JSON.parse(await text(child.stdout))
}
