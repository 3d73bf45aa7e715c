# As two-hosts.sh; the other host listens on port 7777: sh two-hosts-listening.sh NODE ARGUMENT...
set -e
here=$(dirname "$0")
if [ -z "$PEER" ]; then exec sh "$here/two-hosts.sh" sh "$0" "$@"; fi

ready=$(mktemp -u)
$PEER "$1" "$here/listener.cjs" 10.77.0.2 7777 "$ready" &
listener=$!
trap 'kill $listener 2>/dev/null' EXIT
until [ -e "$ready" ]; do sleep 0.02; done
rm "$ready"
"$@"
