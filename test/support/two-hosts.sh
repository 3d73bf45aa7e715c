# Two hosts on one cable, in network namespaces: 10.77.0.1 runs the command that is
# given, 10.77.0.2 listens on port 7777. $CUT pulls the cable at the other's end;
# $MOVE gives the other's address to a third host, which knows nothing of its connections.
set -e
node=$1
ip link set lo up
unshare --net sleep 60 &
other=$!
unshare --net sleep 60 &
third=$!
trap 'kill $other $third $server 2>/dev/null' EXIT
for host in $other $third; do
  while [ "$(readlink /proc/$host/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.02; done
done

# plug DEVICE HOST: a cable from here to that host, which has the other's address.
plug() {
  ip link add "$1" type veth peer name right netns "$2"
  ip link set "$1" up
  nsenter --target "$2" --net ip address add 10.77.0.2/24 dev right
  nsenter --target "$2" --net ip link set right up
}
plug left $other
ip address add 10.77.0.1/24 dev left
plug spare $third

ready=$(mktemp -u)
nsenter --target $other --net "$node" -e '
  const server = require("node:net").createServer((socket) => socket.resume().on("error", () => {}))
  server.listen(7777, "10.77.0.2", () => require("node:fs").writeFileSync(process.argv[1], ""))
' "$ready" &
server=$!
until [ -e "$ready" ]; do sleep 0.02; done
rm "$ready"

CUT="nsenter --target $other --net ip link set right down" \
MOVE="ip route replace 10.77.0.2/32 dev spare" "$@"
