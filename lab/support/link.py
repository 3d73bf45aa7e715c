"""A long, lossy or hostile path on one machine, for kernels without netem.

usage: link.py DEVICE ADDRESS4 PEER4 ADDRESS6 PEER6

A packet that leaves through the TUN device towards PEER comes back as a packet
from PEER to ADDRESS: source and destination are exchanged, which leaves every
checksum as it is. So one machine talks to itself over a path of its own. The
TCP port of the listening side says what the path is like, 2ddll: one-way delay
of dd * 10 ms (so an RTT of dd * 20 ms) and a loss of ll percent each way,
99 for everything.

A line of JSON on the standard input changes a port's path: "delay" and "jitter"
in seconds (a packet is up to that much later, so packets overtake each other), "loss"
and "duplicate" as parts of one, "ours" and "theirs" for the loss of what goes to the
listening side and of what comes from it, where that is another one, "largest" for the bytes
of the largest packet that passes (an MTU black hole), "answer" for a firewall before the listening side that
lets nothing through: "rst", or the code of an ICMP destination unreachable. At the
end of the input it says by how many seconds it was late at most, and how many packets the
device has dropped because it was.

Node alone cannot make the TUNSETIFF ioctl; Python comes with node-gyp.
"""

import fcntl, heapq, json, os, random, select, struct, subprocess, sys, time

device, address4, peer4, address6, peer6 = sys.argv[1:]
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
# Kernels differ in the longest queue that they take.
for length in (50000, 10000, 1000):
    if subprocess.run(f"ip link set {device} txqueuelen {length}".split(), stderr=subprocess.DEVNULL).returncode == 0:
        break
for command in (
    f"ip link set lo up",
    f"ip link set {device} up mtu 1500",
    f"ip addr add {address4} peer {peer4} dev {device}",
    f"ip addr add {address6} peer {peer6} dev {device} nodad",
):
    subprocess.run(command.split(), check=True)
print("ready", flush=True)

TCP, ICMP, ICMP6 = 6, 1, 58
paths = {}


def path_of(port):
    if port not in paths:
        loss = 1 if port % 100 == 99 else port % 100 / 100
        paths[port] = {"delay": port // 100 % 100 / 100, "loss": loss}
    return paths[port]


def exchange(packet):
    at, size = (12, 4) if packet[0] >> 4 == 4 else (8, 16)
    packet[at : at + 2 * size] = packet[at + size : at + 2 * size] + packet[at : at + size]
    return packet


def checksum(data):
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", bytes(data) + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def reply(packet, protocol, body, checksum_at):
    """A packet back to the sender of this one."""
    if packet[0] >> 4 == 4:
        header = exchange(packet[:20])
        struct.pack_into("!BBHHHBBH", header, 0, 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
        struct.pack_into("!H", header, 10, checksum(header))
        pseudo = header[12:20] + struct.pack("!HH", protocol, len(body))
    else:
        header = exchange(packet[:40])
        struct.pack_into("!HBB", header, 4, len(body), protocol, 64)
        pseudo = header[8:40] + struct.pack("!II", len(body), protocol)
    body = bytearray(body)
    covered = body if protocol == ICMP else pseudo + body
    struct.pack_into("!H", body, checksum_at, checksum(covered))
    return header + body


def refusal(packet, tcp, answer):
    if answer == "rst":
        source, destination, _, acknowledged = struct.unpack_from("!HHII", packet, tcp)
        RST = 4
        header = (destination, source, acknowledged, 0, 0x50, RST, 0, 0, 0)
        return reply(packet, TCP, struct.pack("!HHIIBBHHH", *header), 16)
    quoted = bytes(packet[: tcp + 20])
    if packet[0] >> 4 == 4:
        return reply(packet, ICMP, struct.pack("!BBHI", 3, answer, 0, 0) + quoted, 2)
    return reply(packet, ICMP6, struct.pack("!BBHI", 1, answer, 0, 0) + quoted, 2)


def pass_on(packet):
    global number
    tcp, protocol = ((packet[0] & 15) * 4, packet[9]) if packet[0] >> 4 == 4 else (40, packet[6])
    if protocol != TCP:
        return
    ports = struct.unpack_from("!HH", packet, tcp)
    path = path_of(next((port for port in ports if 20000 <= port < 30000), 20000))
    answer = path.get("answer")
    if answer is not None:
        if 20000 <= ports[1] < 30000:
            os.write(tun, refusal(packet, tcp, answer))
        return
    if len(packet) > path.get("largest", 65535):
        return
    loss = path.get("ours" if 20000 <= ports[1] < 30000 else "theirs", path["loss"])
    for _ in range(2 if random.random() < path.get("duplicate", 0) else 1):
        if random.random() >= loss:
            number += 1
            late = path["delay"] + path.get("jitter", 0) * random.random()
            heapq.heappush(waiting, (time.monotonic() + late, number, packet))
    exchange(packet)


# A busy machine would make every path worse than it was ordered.
try:
    os.nice(-15)
except PermissionError:
    pass
waiting, number, told, latest = [], 0, b"", 0
while True:
    before = time.monotonic()
    pause = min(1, max(0, waiting[0][0] - before)) if waiting else 1
    readable = select.select([tun, sys.stdin], [], [], pause)[0]
    latest = max(latest, time.monotonic() - before - pause)
    if sys.stdin in readable:
        heard = os.read(sys.stdin.fileno(), 65536)
        if not heard:
            break  # The program that started this one is gone, or at its end.
        *lines, told = (told + heard).split(b"\n")
        for line in lines:
            change = json.loads(line)
            path_of(change["port"]).update(change)
    if tun in readable:
        pass_on(bytearray(os.read(tun, 65536)))
    while waiting and waiting[0][0] <= time.monotonic():
        os.write(tun, heapq.heappop(waiting)[2])
dropped = next(line.split()[12] for line in open("/proc/self/net/dev") if device in line)
print(json.dumps({"late": latest, "dropped": int(dropped)}), flush=True)
