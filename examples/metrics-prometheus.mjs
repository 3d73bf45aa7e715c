// Dead peers as a Prometheus counter. Alert on rate(tcp_dead_peers_total[5m]) > 0.
// node examples/metrics-prometheus.mjs
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { Counter, register } from 'prom-client'
import { onDeadPeer, setDeadPeerTimeout } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'

const deadPeers = new Counter({
  name: 'tcp_dead_peers_total',
  help: 'Connections that ended because the peer was silent',
  labelNames: ['service', 'code'],
})
// Names of the services that this program connects to, instead of addresses and ports: each value
// of a label is a time series, and each client of a server has a different port.
const services = new Map()
onDeadPeer(({ error, remotePort }) => {
  deadPeers.inc({ service: services.get(remotePort) ?? 'other', code: error.code })
})

const server = createServer((socket) => socket.on('error', () => {}).resume())
await once(server.listen(0, '127.0.0.1'), 'listening')
services.set(server.address().port, 'database')

const socket = connect(server.address().port, '127.0.0.1')
setDeadPeerTimeout(socket, 3000)
await once(socket, 'connect')
unplug(socket)
await once(socket, 'error')
console.log(await register.getSingleMetricAsString('tcp_dead_peers_total'))
process.exit()
