# Two hosts on one cable, in network namespaces: sh two-hosts.sh COMMAND...
# The command runs on 10.77.0.1, in the caller's namespace. $PEER begins a command that runs on
# the other host, 10.77.0.2; $CUT pulls the cable at that host's end; $MOVE gives the other's
# address to a third host, which knows nothing of its connections.
set -e
ip link set lo up
unshare --net sleep 120 &
other=$!
unshare --net sleep 120 &
third=$!
trap 'kill $other $third 2>/dev/null' EXIT
for host in $other $third; do
  while [ "$(readlink /proc/$host/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.02; done
  nsenter --target $host --net ip link set lo up
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

PEER="nsenter --target $other --net" \
CUT="nsenter --target $other --net ip link set right down" \
MOVE="ip route replace 10.77.0.2/32 dev spare" "$@"
