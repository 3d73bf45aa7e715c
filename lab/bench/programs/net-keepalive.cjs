require('net-keepalive')
