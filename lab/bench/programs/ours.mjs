import 'tcp-keepalive'
