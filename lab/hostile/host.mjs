// The first of two hosts: connects, and something happens to the address or the cable.
import { execSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { alone } from './alone.mjs'

const COMMANDS = {
  'the address moves to another host': process.env.MOVE,
  'our address is removed': 'ip address del 10.77.0.1/24 dev left',
  'our link goes down': 'ip link set left down',
  "the peer's link goes down": process.env.CUT,
}

const row = JSON.parse(process.argv[2])
const socket = connect({ port: 7777, host: '10.77.0.2', allowHalfOpen: true })
await once(socket, 'connect')
const { error, ...rest } = await alone(row, { socket }, () => execSync(COMMANDS[row.event]))
const { code, errno, syscall, message } = error ?? {}
console.log(JSON.stringify({ ...rest, error: error && { code, errno, syscall, message } }))
