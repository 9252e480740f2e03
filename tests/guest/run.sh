#!/bin/bash
# The gate on Debian's own kernel, with radios: boots it in QEMU on top of this machine's files and runs checks.py inside.
#
#   tests/guest/run.sh [SCRIPT]    SCRIPT is run in the guest by the checkout's Python (checks.py); its status is ours
#   tests/guest/run.sh --reboot    systemd, the product's units and a power cut (reboot/checks.py)
#   77                             it could not be run here, and why is said: no failure of the product
#
# Nothing of this machine is written but $CACHE and $OUT, and the guest has no network card. No root is needed, except
# to install what is missing. Docs: docs/guest.md
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
kind=once script=$here/checks.py
case ${1-} in
    --reboot) kind=reboot script=$here/reboot/checks.py ;;
    ?*) script=$(realpath "$1") ;;
esac
CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/consentry-guest}
OUT=${OUT:-$root/tests/guest/out}
LIMIT=${LIMIT:-900} # seconds, of one boot: ten times what a quiet machine needs
PATH=$PATH:/usr/sbin:/sbin

skip() { echo "guest: SKIPPED: $*"; exit 77; }
apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2; }

[ "$(uname -m)" = x86_64 ] || skip "this machine is $(uname -m), and the guest has been built for x86_64 only"
[ -x "$root/.venv/bin/python" ] || skip "no .venv in the checkout: sudo ./consentry test prepares it"
[ "$kind" = once ] || [ -x /lib/systemd/systemd ] || skip "no systemd on this machine"
command -v dpkg apt-get >/dev/null || skip "no Debian: its kernel is what the guest boots"

# --- what boots, and what the guest sees through the share -----------------------------------------------------------
declare -A of=([qemu-system-x86_64]=qemu-system-x86 [cpio]=cpio [modprobe]=kmod [mke2fs]=e2fsprogs [xz]=xz-utils [hostapd]=hostapd
    [wpa_supplicant]=wpasupplicant [iw]=iw [dnsmasq]=dnsmasq-base [nft]=nftables [tcpdump]=tcpdump)
missing=
for program in "${!of[@]}"; do command -v "$program" >/dev/null || missing="$missing ${of[$program]}"; done
if [ "$missing" ]; then
    [ "$(id -u)" -eq 0 ] || skip "missing:$missing (apt-get install them, or run this as root)"
    # shellcheck disable=SC2086 # a list of names
    { apt install --no-install-recommends $missing || { apt update && apt install --no-install-recommends $missing; }; } ||
        skip "cannot be installed:$missing"
fi

# --- the kernel: resolved through its meta package, for versions leave the archive; unpacked, never installed ---------
newest() { # 6.12 where there is one, else what the release has. Not -cloud: it has no radios
    local meta
    for meta in linux-image-6.12-amd64 linux-image-amd64; do
        apt-cache depends "$meta" 2>/dev/null | sed -n '0,/Depends: linux-image-[0-9]/s/.*Depends: linux-image-//p' | grep . && return
    done
}
kernel=${KERNEL:-$(newest || { apt update && newest; } || true)}
if [ ! "$kernel" ]; then # no archive to ask: the newest that is there already
    kernel=$(cd "$CACHE" 2>/dev/null && printf '%s\n' */ready | sort -V | sed -n '$s|/ready||p')
fi
boot=$CACHE/$kernel
if [ ! -e "$boot/ready" ]; then
    rm -rf "$boot" && mkdir -p "$boot/deb"
    fetch() { (cd "$boot/deb" && apt-get -qq download "linux-image-$kernel" busybox-static >&2); }
    if [ ! "$kernel" ] || ! { fetch || { apt update && fetch; }; }; then
        skip "the archive has no kernel ${kernel:-image} for us"
    fi
    for deb in "$boot"/deb/*.deb; do dpkg -x "$deb" "$boot"; done
    rm -r "$boot/deb"
    depmod -b "$boot" "$kernel"
    touch "$boot/ready"
fi

# --- what each country allows: without it hostapd waits six seconds each time, and no country allows 5 GHz --------------
laws=$boot/wireless-regdb
if [ ! -e "$laws/ready" ]; then
    rm -rf "$laws" && mkdir -p "$laws"
    { (cd "$laws" && apt-get -qq download wireless-regdb >&2) && dpkg -x "$laws"/*.deb "$laws" && touch "$laws/ready"; } ||
        echo "guest: no wireless-regdb: it takes longer"
fi

# --- a first root file system: the drivers of the share, and init, which goes on to this machine's files --------------
if [ "$boot/initrd.gz" -ot "$here/init" ] || [ "$boot/initrd.gz" -ot "${BASH_SOURCE[0]}" ]; then
    first=$boot/initrd
    rm -rf "$first" && mkdir -p "$first"/{bin,mod,proc,sys,dev,ro,rw,new}
    cp "$boot/bin/busybox" "$first/bin/"
    n=10
    for driver in virtio_pci virtio_blk 9pnet_virtio 9p overlay ext4; do
        modprobe -d "$boot" -S "$kernel" --show-depends "$driver"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
        case $file in *.xz) xz -dc "$file" ;; *) cat "$file" ;; esac >"$first/mod/$((n++))-$(basename "$file" .xz)"
    done
    install -m 755 "$here/init" "$first/init"
    (cd "$first" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1) >"$boot/initrd.gz"
fi

# --- boot. KVM only where the processor itself has it: some machines offer a /dev/kvm that cannot run this kernel -----
if grep -qwE 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then accel=kvm cpu=host; else accel=tcg,thread=multi cpu=max; fi
mkdir -p "$OUT" && rm -rf "${OUT:?}"/*

# --- what Python reads, as one disk: through the share each of its thousand files costs ten questions to the host -----
stdlib=$("$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
"$root/.venv/bin/python" -m compileall -qq "$root/rules" "$root/firewall" "$root/tests/guest" # there it takes twenty times as long
stage=$(mktemp -d) disk=$(mktemp)
trap 'rm -rf "$stage" "$disk"' EXIT
tar -C / -c --exclude="${stdlib#/}/site-packages" --exclude-from=- "${stdlib#/}" "${root#/}"/{.venv/lib,rules,firewall,tests/guest} <<'NOT' | tar -C "$stage" -x
*.opt-*.pyc
*/lib/python3*/test
*/idlelib
*/lib2to3
*/tkinter
*/ensurepip
*.pyi
*/config-*
*/site-packages/pip
*/site-packages/setuptools
*/site-packages/mypy*
*/site-packages/*__mypyc*
*/site-packages/ruff*
*/site-packages/hypothesis
*/site-packages/grimp
*/tests/guest/out
NOT
# the checkout as hardened units see it (init): neither below /tmp nor below /home
for packages in "$stage$root"/.venv/lib/python3*/site-packages; do
    [ "$kind" = once ] || echo /root/consentry >"$packages/guest.pth"
done
printf '%s\n' "$stdlib" "$root"/{.venv/lib,rules,firewall,tests/guest} >"$stage/places"
mke2fs -q -t ext4 -O ^has_journal -d "$stage" "$disk" "$(($(du -sm "$stage" | cut -f1) * 5 / 4 + 32))M"
echo "guest: kernel $kernel, $accel; its logs: $OUT"
began=$SECONDS
boot() { # more of QEMU's words
    timeout "$LIMIT" qemu-system-x86_64 -accel "$accel" -cpu "$cpu" -smp 2 -m 1536 -nodefaults -no-reboot \
        -display none -serial stdio -nic none -device virtio-rng-pci \
        -kernel "$boot/boot/vmlinuz-$kernel" -initrd "$boot/initrd.gz" \
        -drive "file=$disk,format=raw,if=virtio,readonly=on" \
        -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap" \
        -virtfs "local,path=$OUT,mount_tag=out,security_model=none" "$@" \
        -append "console=ttyS0 panic=-1 acpi=noirq quiet systemd.show_status=0 guest.root=$root guest.boot=$boot guest.script=$script" \
        </dev/null || true
}
if [ "$kind" = reboot ]; then
    # What this machine writes stays on a disk of its own, so that it can be switched off and on again. systemd is process 1.
    kept=$(mktemp) own=$stage/own
    trap 'rm -rf "$stage" "$disk" "$kept"' EXIT
    rm -rf "$stage" && mkdir -p "$stage"/{upper,work} "$own"/etc/{consentry,init.d} "$own"/var/lib/{consentry,guest} "$own/etc/systemd"
    cp -r "$here/reboot/system" "$own/etc/systemd/"
    install -m 755 "$here/reboot/consentry" "$stage/consentry"
    ln -s /lib/systemd/system/multi-user.target "$own/etc/systemd/system/default.target"
    mke2fs -q -t ext4 -d "$stage" "$kept" 256M
    for turn in first second; do
        echo "guest: the $turn boot"
        boot -drive "file=$kept,format=raw,if=virtio,cache=writeback"
        [ -e "$OUT/$turn" ] || break
    done
else
    boot
fi
status=$(cat "$OUT/status" 2>/dev/null || echo 99) # 99: it never came to its end
echo "guest: $((SECONDS - began)) s, status $status"
exit "$status"
