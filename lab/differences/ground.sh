# Where one batch runs: a network namespace of its own, made by the caller.
# ground.sh KIND COMMAND...
#   large      loopback, whose receive buffers take 5 MB at once
#   ordinary   loopback, with the kernel's own buffers
#   two-hosts  as large, but the peer is another host on one cable: $PEER enters it,
#              $CUT takes its link down
set -e
kind=$1
shift
ip link set lo up
if [ "$kind" != ordinary ]; then
  echo '4096 16777216 33554432' > /proc/sys/net/ipv4/tcp_rmem
fi
[ "$kind" = two-hosts ] || exec "$@"

unshare --net sleep 120 &
other=$!
trap 'kill $other 2>/dev/null' EXIT
while [ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.02; done
ip link add left type veth peer name right netns $other
ip link set left up
ip address add 10.77.0.1/24 dev left
nsenter --target $other --net ip link set lo up
nsenter --target $other --net ip address add 10.77.0.2/24 dev right
nsenter --target $other --net ip link set right up
# It takes three questions without an answer until the kernel says EHOSTUNREACH: sooner than a death.
echo 200 > /proc/sys/net/ipv4/neigh/left/retrans_time_ms
PEER="nsenter --target $other --net" \
CUT="nsenter --target $other --net ip link set right down" "$@"
