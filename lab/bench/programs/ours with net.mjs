import 'node:net'
import 'tcp-keepalive'
