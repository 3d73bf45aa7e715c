"""A long or lossy path on one machine, for kernels without netem.

usage: link.py DEVICE ADDRESS4 PEER4 ADDRESS6 PEER6

A packet that leaves through the TUN device towards PEER comes back as a packet
from PEER to ADDRESS: source and destination are exchanged, which leaves every
checksum as it is. So one machine talks to itself over a path of its own. The
TCP port of the listening side says what the path is like, 2ddll: one-way delay
of dd * 10 ms (so an RTT of dd * 20 ms) and a loss of ll percent each way,
99 for everything.

Node alone cannot make the TUNSETIFF ioctl; Python comes with node-gyp.
"""

import fcntl, heapq, os, random, select, struct, subprocess, sys, time

device, address4, peer4, address6, peer6 = sys.argv[1:]
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
for command in (
    f"ip link set lo up",
    f"ip link set {device} up mtu 1500",
    f"ip addr add {address4} peer {peer4} dev {device}",
    f"ip addr add {address6} peer {peer6} dev {device} nodad",
):
    subprocess.run(command.split(), check=True)
print("ready", flush=True)

waiting, number = [], 0
while True:
    pause = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    readable = select.select([tun, sys.stdin], [], [], pause)[0]
    if sys.stdin in readable:
        break  # The program that started this one is gone.
    if tun in readable:
        packet = bytearray(os.read(tun, 65536))
        if packet[0] >> 4 == 4:
            tcp, protocol, at, size = (packet[0] & 15) * 4, packet[9], 12, 4
        else:
            tcp, protocol, at, size = 40, packet[6], 8, 16
        if protocol == 6:
            ports = struct.unpack_from("!HH", packet, tcp)
            port = next((p for p in ports if 20000 <= p < 30000), 20000)
            delay, loss = port // 100 % 100 / 100, 1 if port % 100 == 99 else port % 100 / 100
            if random.random() >= loss:
                packet[at : at + 2 * size] = packet[at + size : at + 2 * size] + packet[at : at + size]
                number += 1
                heapq.heappush(waiting, (time.monotonic() + delay, number, packet))
    while waiting and waiting[0][0] <= time.monotonic():
        os.write(tun, heapq.heappop(waiting)[2])
