"""A live peer on a TUN device that takes nothing: its window closes upon data in flight.

It answers each segment but those whose numbers it is told to lose. The rest of the
arguments is the command of the program that connects to 10.9.0.2.
"""
import fcntl
import os
import select
import struct
import subprocess
import sys

LOST = set(range(*map(int, sys.argv[1].split('-'))))
SYN, RST, ACK = 2, 4, 16
WINDOW_AT_FIRST = 5000

tun = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
TUNSETIFF, IFF_TUN_WITHOUT_HEADER = 0x400454CA, 0x1001
fcntl.ioctl(tun, TUNSETIFF, struct.pack('16sH22s', b'tun0', IFF_TUN_WITHOUT_HEADER, b''))
subprocess.check_call('ip addr add 10.9.0.1/24 dev tun0 && ip link set tun0 up', shell=True)


def checksum(data):
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack('!H', ~total & 0xFFFF)


def answer(packet, sequence, acknowledged, flags, window):
    source, destination = packet[16:20], packet[12:16]
    ports = packet[22:24] + packet[20:22]
    tcp = ports + struct.pack('!IIBBHHH', sequence, acknowledged, 5 << 4, flags, window, 0, 0)
    pseudo = source + destination + struct.pack('!HH', 6, len(tcp))
    tcp = tcp[:16] + checksum(pseudo + tcp) + tcp[18:]
    ip = struct.pack('!BBHIBBH', 0x45, 0, 20 + len(tcp), 0, 64, 6, 0) + source + destination
    os.write(tun, ip[:10] + checksum(ip) + ip[12:] + tcp)


client = subprocess.Popen(sys.argv[2:])
segments = 0
first = 0
while client.poll() is None:
    if not select.select([tun], [], [], 0.1)[0]:
        continue
    packet = os.read(tun, 65536)
    if packet[0] >> 4 != 4 or packet[9] != 6:
        continue
    sequence, flags = struct.unpack('!I4xxB', packet[24:34])
    length = len(packet) - 20 - (packet[32] >> 4) * 4
    if flags & SYN:
        first = sequence + 1
        answer(packet, 0, first, SYN | ACK, WINDOW_AT_FIRST)
    elif length > 0 and not flags & RST:
        segments += 1
        if segments not in LOST:
            answer(packet, 1, first, ACK, 0)
sys.exit(client.returncode)
