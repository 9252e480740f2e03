"""The texts are real ones: of hostapd 2.10 in the guest and as people posted them in public trackers, of dnsmasq 2.90 here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.box.words import fault, not_installed

SAID = {
    "rfkill": (["rfkill: WLAN soft blocked", "wlan0: interface state UNINITIALIZED->DISABLED", "wlan0: AP-DISABLED"], "rfkill", "rfkill unblock wifi"),
    "busy": (["Could not set interface wlan0 flags (UP): Device or resource busy", "nl80211: Could not configure driver mode", "nl80211 driver initialization failed."], "busy", "nmcli device set wlan0 managed no"),
    "driver": (["nl80211: Failed to set interface 5 to mode 3: -95 (Operation not supported)", "nl80211: Could not configure driver mode"], "cannot be an access point", "--radio NAME"),
    "held": (["nl80211: Could not configure driver mode", "nl80211: deinit ifname=wlan0 disabled_11b_rates=0", "nl80211 driver initialization failed."], "another program holds it", "wpa_supplicant@wlan0"),
    "country": (["wlan0: IEEE 802.11 Configured channel (12) not found from the channel list of current mode (1) IEEE 802.11g", "wlan0: IEEE 802.11 Hardware does not support configured channel", "Could not select hw_mode and channel. (-3)"], "may not use this channel", "--country DE"),
    "rfkill, begun": (["rfkill: WLAN soft blocked", "wlan0: INTERFACE-DISABLED ", "Failed to set beacon parameters", "wlan0: Could not connect to kernel driver", "Interface initialization failed"], "switched off (rfkill)", "rfkill unblock"),
    "another hostapd": (["nl80211: kernel reports: Match already configured", "nl80211: Could not configure driver mode", "nl80211 driver initialization failed."], "busy", "wpa_supplicant@wlan0"),
    "radar": (["Frequency 5500 (primary) not allowed for AP mode, flags: 0x10095b NO-IR RADAR", "Primary frequency not allowed", "Could not select hw_mode and channel. (-3)"], "may not use this channel", "--channel 6"),
    "channel 13 in the US": (["wlan0: interface state UNINITIALIZED->COUNTRY_UPDATE", "Frequency 2472 (primary) not allowed for AP mode, flags: 0x1", "Primary frequency not allowed", "wlan0: IEEE 802.11 Configured channel (13) or frequency (2472) (secondary_channel=0) not found from the channel list of the current mode (1) IEEE 802.11g", "wlan0: IEEE 802.11 Hardware does not support configured channel", "Could not select hw_mode and channel. (-3)", "wlan0: interface state COUNTRY_UPDATE->DISABLED", "wlan0: AP-DISABLED "], "may not use this channel", "--country DE"),
    "channel 52, unheard": (["Frequency 5260 (primary) not allowed for AP mode, flags: 0x10979 RADAR", "Primary frequency not allowed", "Could not select hw_mode and channel. (-3)"], "may not use this channel", "--channel 6"),
    "no country": (["Cannot enable IEEE 802.11d without setting the country_code", "1 errors found in configuration file '/run/consentry/hostapd.conf'", "Failed to set up interface with /run/consentry/hostapd.conf", "Failed to initialize interface"], "the country is missing", "--country DE"),
    "kernel": (["nl80211: 'nl80211' generic netlink not found", "Failed to initialize driver 'nl80211'", "wl0: AP-DISABLED "], "has no Wi-Fi", "modprobe mac80211"),
    "gone": (["Could not read interface wlan0 flags: No such device", "nl80211: Driver does not support authentication/association or connect commands", "nl80211: deinit ifname=wlan0 disabled_11b_rates=0"], "is not there", "plug it in"),
    "settings": (["Line 9: invalid line 'xx'", "1 errors found in configuration file '/run/consentry/hostapd.conf'", "Failed to set up interface with /run/consentry/hostapd.conf"], "does not accept its settings", "setup"),
}


@pytest.mark.parametrize("case", SAID)
def test_hostapds_words(case: str) -> None:
    said, reason, remedy = SAID[case]
    found = fault("hostapd", ["Configuration file: /run/consentry/hostapd.conf", *said], port="wlan0", lan="consentry0")
    assert reason in found.reason
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("dnsmasq: failed to bind DHCP server socket: Address already in use", "another DHCP server has port 67"),
        ("dnsmasq: unknown interface consentry0", "consentry0 is not there yet"),
        ("dnsmasq: cannot open or create lease file /x/leases: No such file or directory", "leases cannot be written"),
        ("dnsmasq: bad dhcp-range at line 6 of /run/consentry/dnsmasq.conf", "does not accept its settings"),
    ],
)
def test_dnsmasqs_words(said: str, reason: str) -> None:
    assert reason in fault("dnsmasq", ["", said], port="eth1", lan="consentry0").reason


def test_what_nobody_knows_is_said_as_it_is() -> None:
    found = fault("hostapd", ["wlan0: something {new} \x1b[31m", ""], port="wlan0", lan="consentry0")
    assert found.reason == "hostapd ended; it said: wlan0: something {new} ‹U+001B›[31m"
    assert fault("dnsmasq", [], port="wlan0", lan="consentry0").reason == "dnsmasq ended; it said: nothing"
    assert not_installed("dnsmasq").remedy == "sudo apt-get install dnsmasq-base"


@given(st.sampled_from(["hostapd", "dnsmasq"]), st.lists(st.text()))
def test_no_text_is_an_exception(program: str, said: list[str]) -> None:
    found = fault(program, said, port="wlan0", lan="consentry0")
    assert found.reason
    assert found.remedy
    assert "{" not in found.remedy
