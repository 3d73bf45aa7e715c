# Where one batch runs: a network namespace of its own, made by the caller.
# network.sh KIND COMMAND...
#   large      loopback, whose receive buffers take 5 MB at once
#   ordinary   loopback, with the kernel's own buffers
#   two-hosts  as large, but the peer is another host (lab/support/two-hosts.sh)
set -e
kind=$1
shift
ip link set lo up
if [ "$kind" != ordinary ]; then
  echo '4096 16777216 33554432' > /proc/sys/net/ipv4/tcp_rmem
fi
[ "$kind" = two-hosts ] || exec "$@"

# It takes three questions without an answer until the kernel says EHOSTUNREACH: sooner than a death.
exec sh "$(dirname "$0")/../support/two-hosts.sh" \
  sh -c 'echo 200 > /proc/sys/net/ipv4/neigh/left/retrans_time_ms; exec "$@"' sh "$@"
