// Preloaded: each TCP connection gets what the library's second way sets, straight from the binding.
// The kernel ends it then, and Node alone reports that: what it does not report, or discards, is its own.
const { Server, Socket } = require('node:net')
const { join } = require('node:path')

const binding = require('node-gyp-build')(join(__dirname, '..', '..'))
const integers = new Int32Array(binding.integers)

function set(socket) {
  let handle = socket._handle
  while (handle?._parent) handle = handle._parent
  if (!(handle?.fd >= 0)) return
  // User timeout, the bound of retransmissions as it is, idle, interval, count, on.
  integers.set([3000, -1, 1, 1, 3, 1])
  binding.set(handle.fd)
}

const { connect } = Socket.prototype
Socket.prototype.connect = function (...args) {
  this.once('connect', () => set(this))
  return connect.apply(this, args)
}
const { emit } = Server.prototype
Server.prototype.emit = function (event, socket, ...rest) {
  if (event === 'connection' && socket instanceof Socket) set(socket)
  return emit.call(this, event, socket, ...rest)
}
