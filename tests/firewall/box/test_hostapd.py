from __future__ import annotations

from dataclasses import replace

import pytest
from plans import PLAN

from firewall.box.hostapd import Station, config, joined, left, qr_text, station

GOLDEN = """\
interface=wlan0
bridge=consentry0
driver=nl80211
ctrl_interface=/run/consentry/hostapd
ssid=home-guard
utf8_ssid=1
country_code=DE
ieee80211d=1
hw_mode=g
channel=6
ieee80211n=1
wmm_enabled=1
auth_algs=1
wpa=2
wpa_key_mgmt=WPA-PSK SAE
rsn_pairwise=CCMP
ieee80211w=1
wpa_passphrase=correct horse battery
wpa_disable_eapol_key_retries=1
sae_require_mfp=1
sae_pwe=2
ap_isolate=1
disassoc_low_ack=1
logger_syslog=0
logger_stdout=-1
logger_stdout_level=2
"""


def test_the_whole_file() -> None:
    assert config(PLAN, "/run/consentry/hostapd") == GOLDEN


@pytest.mark.parametrize(
    ("change", "there", "absent"),
    [
        ({"security": "wpa2"}, {"wpa_key_mgmt=WPA-PSK", "ieee80211w=1"}, {"sae_pwe=2"}),
        ({"security": "wpa3"}, {"wpa_key_mgmt=SAE", "ieee80211w=2"}, {"wpa_key_mgmt=WPA-PSK SAE"}),
        ({"band": "5", "channel": 36}, {"hw_mode=a", "channel=36", "ieee80211ac=1", "ieee80211h=1"}, {"hw_mode=g"}),
        ({"ssid": "Müllers Café"}, {"ssid2=4dc3bc6c6c65727320436166c3a9"}, {"ssid=Müllers Café"}),
        ({"ssid": " x"}, {"ssid2=2078"}, {"ssid= x"}),
    ],
)
def test_what_changes_with_the_plan(change: dict[str, object], there: set[str], absent: set[str]) -> None:
    assert PLAN.wifi is not None
    lines = set(config(replace(PLAN, wifi=replace(PLAN.wifi, **change)), "/run/x").splitlines())
    assert there <= lines
    assert not absent & lines
    assert "ap_isolate=1" in lines


def test_nothing_in_a_name_or_passphrase_begins_a_line_of_its_own() -> None:
    assert PLAN.wifi is not None
    with pytest.raises(ValueError, match="ssid"):
        replace(PLAN.wifi, ssid="x\nap_isolate=0")
    with pytest.raises(ValueError, match="passphrase"):
        replace(PLAN.wifi, passphrase="12345678\nap_isolate=0")


def test_events() -> None:
    assert joined("<3>AP-STA-CONNECTED 02:00:00:00:01:00") == bytes.fromhex("020000000100")
    assert joined("wlan0: AP-STA-CONNECTED 02:00:00:00:01:00 auth_alg=sae") == bytes.fromhex("020000000100")
    assert left("<3>AP-STA-DISCONNECTED 02:00:00:00:01:00") == bytes.fromhex("020000000100")
    for line in ("", "<3>AP-STA-CONNECTED", "<3>AP-STA-CONNECTED zz:00:00:00:01:00", "<3>AP-STA-POSSIBLE-PSK-MISMATCH 02:00:00:00:01:00"):
        assert joined(line) is left(line) is None


def test_stations() -> None:
    told = "02:00:00:00:01:00\nflags=[AUTH][ASSOC][AUTHORIZED][WMM]\naid=1\nsignal=-41\n"
    assert station(told) == Station(bytes.fromhex("020000000100"), -41)
    assert station(told.replace("signal=-41", "signal=loud")) == Station(bytes.fromhex("020000000100"), None)
    assert station(told.replace("[AUTHORIZED]", "")) is None
    assert station("FAIL\n") is station("") is None


def test_a_camera_reads_odd_names_too() -> None:
    assert PLAN.wifi is not None
    assert qr_text(replace(PLAN.wifi, ssid='a;b,"c"', passphrase=r"x\y:zzzz")) == r'WIFI:T:WPA;S:a\;b\,\"c\";P:x\\y\:zzzz;;'
