#!/bin/bash
# `make deb-test`: the package is installed, upgraded, removed and purged on a copy of this machine that nobody else sees:
# an overlay over its files, a network namespace without any way out, so that installing asks nobody. Needs root and the
# packages that ours depends on. Argument: the .deb.
set -euo pipefail

if [ "${1-}" != inside ]; then
    deb=$(readlink -f -- "$1")
    exec unshare --mount --net --pid --fork --mount-proc "$0" inside "$deb"
fi
deb=$2
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
root=/mnt/root
for dir in proc sys dev run; do
    mkdir -p "$root/$dir"
    mount -t tmpfs tmpfs "$root/$dir"
done
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
cp "$deb" "$root/root/consentry.deb"

in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }
check() { # what, command...
    what=$1
    shift
    if "$@" >/mnt/said 2>&1; then
        echo "pass  $what"
    else
        echo "FAIL  $what"
        sed 's/^/      /' /mnt/said
        exit 1
    fi
}
no() { ! "$@"; }

ip link set lo up
check "it installs without a network" in_root dpkg --install /root/consentry.deb
check "dpkg finds every file as it was packed" in_root dpkg --verify consentry
check "consentry --version" in_root consentry --version
check "consentry doctor --json says something" bash -c "$(declare -f in_root); root=$root; in_root consentry doctor --json | grep -q name"
check "the manual page is one" in_root bash -c 'zcat /usr/share/man/man1/consentry.1.gz | grep -q "consentry history"'
check "bash completes" in_root bash -c '. /usr/share/bash-completion/completions/consentry && complete -p consentry'
check "both groups are there" in_root getent group consentry consentry-admin
check "the lock is enabled" test -L "$root/etc/systemd/system/sysinit.target.wants/consentry-lock.service"
check "the gate is not: nobody has set it up" no test -e "$root/etc/systemd/system/multi-user.target.wants/consentry.service"
check "systemd finds no fault" in_root systemd-analyze verify --man=no consentry-lock.service consentry-keeper.service consentry.service
check "the lock locks" in_root sh /etc/consentry/lock.sh
check "and stands in the kernel" bash -c "ip rule | grep -q 'iif consentry0.*blackhole' && nft list table inet consentry_lock"
check "nothing of it is in the system's Python" no in_root /usr/bin/python3 -P -c 'import firewall.app'

echo 'note = "the owner wrote this"' >"$root/var/lib/consentry-rules" && mkdir -p "$root/var/lib/consentry"
mv "$root/var/lib/consentry-rules" "$root/var/lib/consentry/rules.toml"
check "an upgrade goes through" in_root dpkg --install /root/consentry.deb
check "and keeps what its owner wrote" grep -q owner "$root/var/lib/consentry/rules.toml"
check "it still runs" in_root consentry --version

check "it goes" in_root dpkg --remove consentry
check "with its lock" no test -e "$root/etc/consentry/lock.sh"
check "in the kernel too" bash -c "! ip rule | grep -q consentry0 && ! nft list table inet consentry_lock"
check "with its units" no test -e "$root/etc/systemd/system/sysinit.target.wants/consentry-lock.service"
check "what its owner wrote stays" test -e "$root/var/lib/consentry/rules.toml"
check "a purge takes that too" in_root dpkg --purge consentry
check "and leaves nothing" bash -c "! find $root/etc $root/usr/lib $root/usr/share $root/usr/bin $root/var/lib/consentry -path '*consentry*' -not -path '*/dpkg/*' 2>/dev/null | grep ."
