// Whether the binding is there as soon as the library is loaded.
require('tcp-keepalive')
console.log(/[.]node$/m.test(require('node:fs').readFileSync('/proc/self/maps', 'utf8')))
