// Dead peers as an OpenTelemetry counter. A real program uses an OTLPMetricExporter instead of the
// exporter in memory. node examples/metrics-opentelemetry.mjs
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { metrics } from '@opentelemetry/api'
import * as sdk from '@opentelemetry/sdk-metrics'
import { onDeadPeer, setDeadPeerTimeout } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'

const exporter = new sdk.InMemoryMetricExporter(sdk.AggregationTemporality.CUMULATIVE)
const reader = new sdk.PeriodicExportingMetricReader({ exporter })
metrics.setGlobalMeterProvider(new sdk.MeterProvider({ readers: [reader] }))

const deadPeers = metrics.getMeter('tcp-keepalive').createCounter('tcp.dead_peers', {
  description: 'Connections that ended because the peer was silent',
  unit: '{connection}',
})
// Names of the services that this program connects to, instead of addresses and ports: each value
// of an attribute is a time series, and each client of a server has a different port.
const services = new Map()
onDeadPeer(({ error, remotePort }) => {
  const service = services.get(remotePort) ?? 'other'
  deadPeers.add(1, { 'peer.service': service, 'error.type': error.code })
})

const server = createServer((socket) => socket.on('error', () => {}).resume())
await once(server.listen(0, '127.0.0.1'), 'listening')
services.set(server.address().port, 'database')

const socket = connect(server.address().port, '127.0.0.1')
setDeadPeerTimeout(socket, 3000)
await once(socket, 'connect')
unplug(socket)
await once(socket, 'error')
await reader.forceFlush()
const [{ descriptor, dataPoints }] = exporter.getMetrics()[0].scopeMetrics[0].metrics
console.log(descriptor.name, dataPoints[0].value, dataPoints[0].attributes)
process.exit()
