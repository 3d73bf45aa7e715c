require('tcp-keepalive')
