#!/bin/bash
# The first process of a user-mode Linux guest whose root is the host's, read only. Its kernel's command line has
# project=FOLDER, work=FOLDER (written to by the guest), modules=FOLDER; the work is in $work/guest.sh.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TERM=dumb PYTHON=/usr/bin/python3 CI=1 NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
option() { sed -nE "s/.*\b$1=([^ ]+).*/\1/p" /proc/cmdline; }
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/project /run/work /run/netns /run/lib/modules
mount -t hostfs none /run/project -o "$(option project)"
mount -t hostfs none /run/work -o "$(option work)"
mount -t hostfs none /run/lib/modules -o "$(option modules)"
mount -t tmpfs -o mode=1777 tmpfs /tmp
printf '#!/bin/sh\nexec /sbin/modprobe -d /run -q "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
for module in tun ipv6 veth; do /run/modprobe $module || echo "no module $module"; done
ip link set lo up
cd /run/project || exit
bash /run/work/guest.sh
sync
exec poweroff -f
