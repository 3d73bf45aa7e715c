# Two hosts on one cable, in network namespaces: 10.77.0.1 runs the command that is
# given, 10.77.0.2 listens on port 7777. $CUT pulls the cable at the other's end.
set -e
node=$1
ip link set lo up
unshare --net sleep 60 &
other=$!
trap 'kill $other $server 2>/dev/null' EXIT
while [ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.02; done
on_other="nsenter --target $other --net"

ip link add left type veth peer name right netns $other
ip address add 10.77.0.1/24 dev left
ip link set left up
$on_other ip address add 10.77.0.2/24 dev right
$on_other ip link set right up

ready=$(mktemp -u)
$on_other "$node" -e '
  const server = require("node:net").createServer((socket) => socket.resume().on("error", () => {}))
  server.listen(7777, "10.77.0.2", () => require("node:fs").writeFileSync(process.argv[1], ""))
' "$ready" &
server=$!
until [ -e "$ready" ]; do sleep 0.02; done
rm "$ready"

CUT="$on_other ip link set right down" "$@"
