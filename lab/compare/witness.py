"""The witness: tells what the kernel says of the socket on descriptor 3, or does to it what it is told.

    read                     the options and the TCP state, as JSON
    set LEVEL OPTION VALUE…  sets options
    silent                   listens on a port that answers no connect, and prints it
"""
import json
import socket
import sys
import time

command, *numbers = sys.argv[1:]
if command == 'silent':
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(0)
    # A backlog of 0 holds one connection that nobody accepts: the next SYN is dropped.
    filler = socket.create_connection(listener.getsockname())
    print(listener.getsockname()[1], flush=True)
    time.sleep(60)
    sys.exit()

connection = socket.socket(fileno=3)
if command == 'set':
    for level, option, value in zip(*[map(int, numbers)] * 3):
        connection.setsockopt(level, option, value)
print(json.dumps({
    'enabled': connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0,
    'idle': connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    'interval': connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    'count': connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    'userTimeout': connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    'dead': connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7,
}))
