"""[pure] Why hostapd or dnsmasq did not come up, in one sentence, and what to do: from what they said last.

The texts are those of hostapd 2.10 and dnsmasq 2.90 (Debian 12); the first line of the table that fits is the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST: Final = 160  # characters of what a program said


class Fault(NamedTuple):
    """What a person is told."""

    reason: str
    remedy: str


_SETUP: Final = "sudo consentry setup"
_HOLDER: Final = "sudo nmcli device set {port} managed no; sudo systemctl disable --now wpa_supplicant@{port}"
_UNKNOWN: Final = "look into its log: journalctl -u consentry-keeper, or keeper.log beside the history"

# (texts of which one was said, reason, remedy)
_HOSTAPD: Final = (
    (
        ("rfkill: WLAN soft blocked", "rfkill: WLAN hard blocked", "Operation not possible due to RF-kill"),
        "the radio {port} is switched off (rfkill)",
        "sudo rfkill unblock wifi; if that is not enough, the switch or key on the box",
    ),
    (
        ("-16 (Device or resource busy)", "Device or resource busy", "Match already configured"),
        "the radio {port} is busy: another program uses it", _HOLDER,
    ),
    (
        ("does not support AP", "Operation not supported", "Driver does not support AP"),
        "the driver of {port} cannot be an access point",
        f"another radio: {_SETUP} --radio NAME (without a name it lists those that can)",
    ),
    (
        ("Could not set channel for kernel driver", "not allowed for AP mode", "not found from the channel list",
         "Hardware does not support configured channel", "Could not select hw_mode and channel",
         "Could not determine operating frequency", "NO_IR", "no channel", "ACS: Unable to"),
        "the radio {port} may not use this channel in this country",
        f"another channel, or your country: {_SETUP} --channel 6 --country DE",
    ),
    (
        ("Failed to set country code", "Invalid country_code", "without setting the country_code"),
        "the country is missing, or not accepted", f"{_SETUP} --country DE, with the two letters of yours",
    ),
    (
        ("Radar detected", "DFS-RADAR-DETECTED", "DFS start_dfs_cac() failed", "DFS radar"),
        "radar is heard on the channel, or has to be listened for",
        f"wait a minute, or: {_SETUP} --band 5 --channel 36",
    ),
    (
        ("'nl80211' generic netlink not found",),
        "this kernel has no Wi-Fi",
        "sudo modprobe mac80211; where that fails, a kernel with Wi-Fi (Debian: linux-image-amd64)",
    ),
    (
        ("No such device", "does not exist"),
        "the radio {port} is not there", "plug it in; it is used as soon as it is there",
    ),
    (
        ("into bridge", "add interface to bridge"),
        "the radio {port} cannot be put into the bridge {lan}", "sudo iw dev {port} set 4addr off",
    ),
    (
        ("'SAE'", "sae_require_mfp", "sae_pwe"),
        "this hostapd knows no WPA3", f"{_SETUP} --security wpa2, or a newer hostapd",
    ),
    (
        ("errors found in configuration file",),
        "hostapd does not accept its settings", f"{_SETUP} writes them anew",
    ),
    (
        ("Could not configure driver mode", "driver initialization failed"),
        "the radio {port} does not become an access point: another program holds it, or its driver cannot", _HOLDER,
    ),
)
_DNSMASQ: Final = (
    (
        ("Address already in use",),
        "another DHCP server has port 67 of this box",
        "who it is: sudo ss -ulpn 'sport = :67'; stop it there, and disable it",
    ),
    (("unknown interface",), "{lan} is not there yet", "it is made within a second; else the bridge says why not"),
    (
        ("cannot open or create lease file", "cannot open or create leases file", "failed to write"),
        "the leases cannot be written", "make room on the disk, or mend the rights of /var/lib/consentry",
    ),
    (
        ("bad dhcp-range", "inconsistent DHCP range", "bad option", "bad command line", "junk found"),
        "dnsmasq does not accept its settings", f"{_SETUP} writes them anew",
    ),
    (
        ("Operation not permitted", "Permission denied", "setting capabilities failed"),
        "dnsmasq lacks rights", "start the keeper as root: sudo consentry run, or its systemd unit",
    ),
)
_TABLES: Final = {"hostapd": _HOSTAPD, "dnsmasq": _DNSMASQ}


def fault(program: str, said: Sequence[str], *, port: str, lan: str) -> Fault:
    """What its last words mean; those words themselves where the table does not know them."""
    text = "\n".join(said).lower()
    for signs, reason, remedy in _TABLES[program]:
        if any(sign.lower() in text for sign in signs):
            return Fault(reason.format(port=port, lan=lan), remedy.format(port=port, lan=lan))
    return Fault(f"{program} ended; it said: {_last(said)}", _UNKNOWN)


def slow(program: str, said: Sequence[str]) -> Fault:
    """It runs, and has not come up: radar may have to be listened for, for a minute or ten."""
    return Fault(f"{program} takes its time; it said: {_last(said)}", _UNKNOWN)


def _last(said: Sequence[str]) -> str:
    last = next((line.strip() for line in reversed(said) if line.strip()), "")
    return inert(last)[:LONGEST] or "nothing"


def not_installed(program: str) -> Fault:
    package = {"dnsmasq": "dnsmasq-base"}.get(program, program)
    return Fault(f"{program} is not installed", f"sudo apt-get install {package}")
