# As patient.c.
import errno, socket, sys

connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
print('ready', connection.fileno(), flush=True)
if sys.stdin.readline():
    connection.send(b'query')
    try:
        connection.recv(64)
        print('answer', flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
