"""[pure] What makes a box of it: systemd's units, and the lock that stands before the network does. Texts only.

Each unit has the rights that it needs and no other (systemd.exec(5)); a test holds each under a ceiling of
`systemd-analyze security`. The lock is a shell script, so that it needs no Python, no state and no running gate.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOCK, KEEPER, GATE = "consentry-lock.service", "consentry-keeper.service", "consentry.service"
UNITS: Final = (LOCK, KEEPER, GATE)
LOCK_TABLE: Final = "consentry_lock"
SCRIPT: Final = "/etc/consentry/lock.sh"
PLAN: Final = "/etc/consentry/gateway.toml"

_LOCK_UNIT: Final = f"""\
[Unit]
Description=Consentry's lock: no phone passes before the gate decides
Documentation=man:consentry(1)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
# both throw away every rule that stands
After=local-fs.target nftables.service netfilter-persistent.service

[Service]
Type=oneshot
# Stopping it opens nothing: `consentry off --remove` does.
RemainAfterExit=yes
ExecStart=/bin/sh {SCRIPT}
TimeoutStartSec=30
CapabilityBoundingSet=CAP_NET_ADMIN
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
ProtectSystem=strict
ProtectKernelTunables=yes
$hardened
[Install]
WantedBy=sysinit.target
"""
_GATE_UNIT: Final = f"""\
[Unit]
Description=Consentry, a gatekeeper for phones
Documentation=man:consentry(1)
ConditionPathExists={PLAN}
Requires={LOCK}
Wants={KEEPER}
After={LOCK} {KEEPER} network-pre.target
# an uplink or a radio may come an hour later
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=$command run --headless
Restart=always
RestartSec=2
# fed by a packet that went through the gate: a gate that hangs is restarted, and stays closed meanwhile
WatchdogSec=30
WatchdogSignal=SIGTERM
TimeoutStartSec=300
TimeoutStopSec=20
KillMode=mixed
OOMPolicy=continue
OOMScoreAdjust=-500
Environment=XTABLES_LOCKFILE=/run/consentry/xtables.lock
# routes and rules; resets to servers
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
$places
$hardened
[Install]
WantedBy=multi-user.target
"""
_KEEPER_UNIT: Final = f"""\
[Unit]
Description=Consentry's network: access point, addresses, names of phones
Documentation=man:consentry(1)
ConditionPathExists={PLAN}
Requires={LOCK}
After={LOCK} network-pre.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=$python -P -m firewall.box.keeper
Restart=always
RestartSec=2
TimeoutStopSec=20
KillMode=mixed
# hostapd and dnsmasq: interfaces, frames, port 67
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET
# they serve this house: nothing of theirs speaks with the internet
IPAddressDeny=any
IPAddressAllow=localhost link-local multicast 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7
IPAddressAllow=0.0.0.0/32 255.255.255.255/32 ::/128
$places
$hardened
[Install]
WantedBy=multi-user.target
"""
_PLACES: Final = """\
# sockets that the group may reach are given to it by being in it, not by the right to give files away
Group=consentry
RuntimeDirectory=consentry
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
StateDirectory=consentry
StateDirectoryMode=0750
ProtectSystem=strict
# all switches of the kernel but those of the network
ProtectKernelTunables=yes
ReadWritePaths=/proc/sys/net"""
_HARDENED: Final = """\
NoNewPrivileges=yes
ProtectHome=$home
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
KeyringMode=private
"""
# Nobody may be made an owner who is not of the process's groups: without CAP_CHOWN these calls can do no more.
_CHOWN: Final = "SystemCallFilter=@chown\n"


def units(command: str) -> dict[str, str]:
    """Name -> text. `command` is where the program stands (absolute)."""
    at_home = command.startswith(("/home/", "/root/"))  # a checkout
    hardened = _HARDENED.replace("$home", "read-only" if at_home else "yes")
    texts = {LOCK: (_LOCK_UNIT, ""), KEEPER: (_KEEPER_UNIT, ""), GATE: (_GATE_UNIT, _CHOWN)}
    return {
        name: text.replace("$hardened", hardened + more).replace("$places", _PLACES)
        .replace("$command", _word(command)).replace("$python", _word(command.rpartition("/")[0] + "/python3"))
        for name, (text, more) in texts.items()
    }


def _word(path: str) -> str:
    """One word of a command line, whatever is in it (systemd.service(5))."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'


def lock(permit: int, lan: str, ports: Sequence[str] = ()) -> str:
    """The script that closes the phones' side `lan`, and every interface that is made part of it.

    `permit` is the gate's mark (marks.PERMIT): what no chain of the gate's has marked is not routed. The gate says that
    too (links.Closed), so it takes over without a moment between, and the lock never has to be taken away. It may run
    again at any time, and interfaces need not exist yet.
    """
    unmarked = f"meta mark & 0x{permit:x} == 0"
    closed = [f'iifname "{lan}" {unmarked} drop', f'oifname "{lan}" {unmarked} drop']
    own = [f'iifname "{lan}" {unmarked} drop']
    for port in ports:
        closed += [f'iifname "{port}" drop', f'oifname "{port}" drop']
        own += [f'iifname "{port}" drop']  # before it is part of the bridge, and when nobody makes it that
    rules = "\n".join([f"closed iif {lan} fwmark 0/0x{permit:x}", *(f"closed iif {port}" for port in ports)])
    forward, own_services = "\n        ".join(closed), "\n        ".join(own)
    return f"""\
#!/bin/sh
# Written by `consentry service install`; {LOCK} runs it before the network comes up. Without the gate's mark
# nothing of the phones is routed. Undone by `consentry off --remove`, not by stopping anything.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
status=0

# First, for it survives what flushes nftables: packets without the mark have no route.
closed() {{ # selector of the rule
    for family in 4 6; do
        [ $family = 4 ] || [ -d /proc/sys/net/ipv6 ] || continue # no IPv6 here
        said=$(ip -$family rule add pref 0 "$@" blackhole protocol kernel 2>&1) && continue
        case $said in *'File exists'*) continue ;; esac
        echo "consentry: the IPv$family rule against $2 is refused: $said" >&2
        status=1
    done
}}
{rules}

nft -f - <<'END' || status=1
table inet {LOCK_TABLE}
flush table inet {LOCK_TABLE}
table inet {LOCK_TABLE} {{
    chain forward {{
        type filter hook forward priority -300; policy accept;
        {forward}
    }}
    chain input {{
        type filter hook input priority -300; policy accept;
        {own_services}
    }}
}}
END
exit $status
"""


def unlock(permit: int, lan: str, ports: Sequence[str] = ()) -> list[list[str]]:
    """Commands that undo `lock`; each may fail where its part is not there."""
    rules = [["iif", lan, "fwmark", f"0/0x{permit:x}"]]
    return [["nft", "delete", "table", "inet", LOCK_TABLE], *_without(rules), *unlock_ports(ports)]


def unlock_ports(ports: Iterable[str]) -> list[list[str]]:
    """Of interfaces that are no part of the phones' side any more."""
    return _without([["iif", port] for port in ports])


def closed(script: str) -> tuple[str, list[str]]:
    """What a script of `lock` closes: the phones' side ("" if that is no such script), and what is made part of it."""
    lan = re.search(r"^closed iif (\S+) fwmark ", script, re.MULTILINE)
    return lan[1] if lan else "", re.findall(r"^closed iif (\S+)$", script, re.MULTILINE)


def _without(rules: Iterable[list[str]]) -> list[list[str]]:
    return [["ip", f"-{family}", "rule", "del", "pref", "0", *rule, "blackhole"] for rule in rules for family in (4, 6)]
