from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firewall.box.iw import abilities, country, joined

INFO = """Wiphy phy0
    Supported Ciphers:
       * CCMP-128 (00-0f-ac:4)
       * CMAC (00-0f-ac:6)
    Supported interface modes:
        * managed
        * AP
        * AP/VLAN
        * monitor
    Band 1:
        Frequencies:
           * 2412 MHz [1] (20.0 dBm)
           * 2437.0 MHz [6] (20.0 dBm)
           * 2484 MHz [14] (disabled)
    Band 2:
        Frequencies:
           * 5180 MHz [36] (20.0 dBm)
           * 5260 MHz [52] (20.0 dBm) (radar detection)
           * 5745 MHz [149] (20.0 dBm) (no IR)
    Band 4:
        Frequencies:
           * 5955 MHz [1] (12.0 dBm)
    software interface modes (can always be added):
        * AP/VLAN
"""


def test_a_radio_that_can_all() -> None:
    can = abilities(INFO)
    assert can.access_point
    assert can.wpa3
    assert can.channels == {"2.4": (1, 6), "5": (36,)}


def test_a_radio_that_cannot() -> None:
    can = abilities(INFO.replace("        * AP\n", "").replace("CMAC (00-0f-ac:6)", "WEP40 (00-0f-ac:1)"))
    assert not can.access_point
    assert not can.wpa3


def test_country_and_link() -> None:
    assert country("global\ncountry 00: DFS-UNSET\n") == ""
    assert country("global\ncountry DE: DFS-ETSI\n\t(2400 - 2483 @ 40)\n") == "DE"
    assert joined("Connected to 02:00:00:00:00:00 (on wlan0)\n\tSSID: my net\n\tfreq: 2412\n") == "my net"
    assert joined("Not connected.\n") == ""


@given(st.text())
def test_no_text_is_an_exception(text: str) -> None:
    assert isinstance(abilities(text).access_point, bool)
    assert isinstance(country(text) + joined(text), str)
