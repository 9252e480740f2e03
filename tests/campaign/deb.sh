#!/bin/bash
# `make deb-test`: the package is installed over a checkout's service, upgraded while a gate runs (well, and badly),
# downgraded, removed and purged on a copy of this machine that nobody else sees: an overlay over its files, a network
# namespace without any way out, so that installing asks nobody. Needs root and the packages that ours depends on, and
# asks lintian where it is installed. Argument: the .deb.
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
mount -t sysfs sysfs "$root/sys" # this network's interfaces, not the machine's
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
remade() { # version, file of it that is cut off, or `dies`: its gate ends at once (or nothing): the same package as another one
    rm -rf "$root/root/other"
    dpkg-deb -R "$root/root/consentry.deb" "$root/root/other"
    sed -i "s/^Version: .*/Version: $1/" "$root/root/other/DEBIAN/control"
    if [ "${2-}" = dies ]; then
        python3 - "$root"/root/other/usr/lib/consentry/wheels/consentry-*.whl <<'END'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as whole:
    parts = {one.filename: whole.read(one) for one in whole.infolist()}
parts["firewall/app.py"] = b"raise SystemExit(7)\n"
with zipfile.ZipFile(sys.argv[1], "w") as other:
    for name, text in parts.items():
        other.writestr(name, text)
END
    elif [ "${2-}" ]; then
        for file in "$root/root/other"/$2; do truncate -s 100 "$file"; done
    fi
    dpkg-deb --root-owner-group --build "$root/root/other" "$root/root/other.deb" >/dev/null
}
enforcing() { in_root consentry status --json | grep -q '"ENFORCING"'; }
within() { # a minute, command...
    for _ in $(seq 300); do
        if "$@"; then return; fi
        sleep 0.2
    done
    return 1
}

if command -v lintian >/dev/null; then
    check "lintian finds nothing" bash -c "said=\$(lintian --fail-on none $deb 2>&1 | grep '^[EWP]: '); echo \"\$said\"; [ -z \"\$said\" ]"
fi
ip link set lo up
units=$root/etc/systemd/system
mkdir -p "$units/sysinit.target.wants"
for unit in consentry-lock consentry-keeper consentry; do
    printf '[Service]\nExecStart=/opt/checkout/.venv/bin/consentry\n' >"$units/$unit.service"
done
ln -s /etc/systemd/system/consentry-lock.service "$units/sysinit.target.wants/"
check "it installs without a network" in_root dpkg --install /root/consentry.deb
check "a checkout's units make way for the package's" no grep -rs /opt/checkout "$units"
check "nothing says that it stands beside its place" no grep -rIl -e venv.new -e venv.old "$root/usr/lib/consentry/venv/bin" "$root/usr/lib/consentry/venv/pyvenv.cfg"
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

for side in lan0 wan0; do ip link add "$side" type veth peer name "far-$side"; done
ip addr add 192.168.99.1/24 dev lan0
ip addr add 203.0.113.2/24 dev wan0
for link in lan0 wan0 far-lan0 far-wan0; do ip link set "$link" up; done
in_root consentry run --headless --lan lan0 --wan wan0 >/mnt/gate 2>&1 &
gate=$!
check "a gate runs" within enforcing
echo '# the owner wrote this' >>"$root/var/lib/consentry/rules.toml"

remade 99 usr/lib/consentry/wheels/click-*
check "an upgrade that cannot be made fails" no in_root dpkg --install /root/other.deb
check "and the old one is all there" in_root consentry --version
check "and decides" enforcing
remade 99.1
check "the next one goes through" in_root dpkg --install /root/other.deb
check "and leaves nothing beside it" no test -e "$root/usr/lib/consentry/venv.new" -o -e "$root/usr/lib/consentry/venv.old"
check "behind a gate that decides" enforcing
pid=$(in_root consentry status --json | sed 's/.*"pid": \([0-9]*\).*/\1/')
kill -9 "$pid"
check "also when it has died" within bash -c "$(declare -f in_root enforcing); root=$root; enforcing && ! in_root consentry status --json | grep -q '\"pid\": $pid,'"
check "and keeps what its owner wrote" grep -q owner "$root/var/lib/consentry/rules.toml"
check "a downgrade goes through" in_root dpkg --force-downgrade --install /root/consentry.deb
check "it still runs" in_root consentry --version

echo 'mode = ' >"$root/etc/consentry/gateway.toml"
check "it goes, and the gate that runs with it" in_root dpkg --remove consentry
check "which has ended" within no kill -0 "$gate"
check "and put the box back" bash -c "! ip rule | grep -q lan0 && ! nft list table inet consentry"
check "a plan that cannot be read stands in nobody's way, and stays" grep -q mode "$root/etc/consentry/gateway.toml"
check "nothing of its environment stays" no test -e "$root/usr/lib/consentry"
check "with its lock" no test -e "$root/etc/consentry/lock.sh"
check "in the kernel too" bash -c "! ip rule | grep -q consentry0 && ! nft list table inet consentry_lock"
check "with its units" no test -e "$root/etc/systemd/system/sysinit.target.wants/consentry-lock.service"
check "what its owner wrote stays" test -e "$root/var/lib/consentry/rules.toml"
printf '%s\n' 'mode = "inline"' 'port = "lan0"' 'subnet4 = "192.168.77.0/24"' 'subnet6 = "fd12:3456:789a::/64"' >"$root/etc/consentry/gateway.toml"
check "it comes again" in_root dpkg --install /root/consentry.deb
check "and so does the gate, by the plan that stayed" test -L "$units/multi-user.target.wants/consentry.service"

# No systemd runs here. This does by hand what our scripts ask of it: whether the gate runs, and starting it again, until
# it decides. All else the real one answers.
mv "$root/usr/bin/systemctl" "$root/usr/bin/systemctl.real"
cat >"$root/usr/bin/systemctl" <<'END'
#!/bin/bash
runs() { [ -e /run/gate ] && kill -0 "$(cat /run/gate)" 2>/dev/null; }
ended() {
    runs || return 0
    kill "$(cat /run/gate)"
    while runs; do sleep 0.1; done
}
case $* in
    "is-active"*) runs ;;
    "restart"*consentry.service*)
        sh /etc/consentry/lock.sh
        ended
        setsid consentry run --headless >>/run/gate.log 2>&1 &
        echo $! >/run/gate
        for _ in $(seq 1200); do
            if consentry status --json 2>/dev/null | grep -q '"ENFORCING"'; then exit 0; fi
            sleep 0.2
        done
        exit 1 ;;
    "restart"*) sh /etc/consentry/lock.sh ;;
    "disable --now"*) ended; shift 2; systemctl.real disable "$@" ;;
    "daemon-reload") ;;
    *) exec systemctl.real "$@" ;;
esac
END
chmod 755 "$root/usr/bin/systemctl"
mkdir -p "$root/run/systemd/system"
dies() { "$@" >/mnt/said-by 2>&1 && return 1; cat /mnt/said-by; grep -q "$wanted" /mnt/said-by; }
locked() { ip rule | grep -q 'iif consentry0.*blackhole' && nft list table inet consentry_lock >/dev/null; }
check "the gate of the plan starts" in_root consentry service install
check "and decides" within enforcing
remade 99.2
check "an upgrade of a gate that runs goes through" in_root dpkg --install /root/other.deb
check "and the new one decides" enforcing
touch "$root/usr/lib/consentry/venv/this-one"
remade 99.3 dies
wanted="version before runs again"
check "an upgrade whose gate does not start fails, and says so" dies in_root dpkg --install /root/other.deb
check "behind a lock that stood" locked
check "the version before is in its place" test -e "$root/usr/lib/consentry/venv/this-one"
check "and decides" enforcing
check "and nothing stands beside it" bash -c "! ls -d $root/usr/lib/consentry/venv.*"
remade 99.4
check "the next one goes through" in_root dpkg --install /root/other.deb
check "and is another one" no test -e "$root/usr/lib/consentry/venv/this-one"
check "that decides" enforcing
check "a purge takes that too" in_root dpkg --purge consentry
check "and leaves nothing" bash -c "! find $root/etc $root/usr/lib $root/usr/share $root/usr/bin $root/var/lib/consentry -path '*consentry*' -not -path '*/dpkg/*' 2>/dev/null | grep ."
