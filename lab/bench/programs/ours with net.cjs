require('node:net')
require('tcp-keepalive')
