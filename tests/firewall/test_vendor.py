from __future__ import annotations

import subprocess
import sys

import pytest

from firewall.vendor import is_random, vendor


@pytest.mark.parametrize(("mac", "name"), [
    ("8cbebe000001", "Xiaomi Communications Co Ltd"), ("286c07123456", "XIAOMI Electronics,CO.,LTD"), ("3c5ab4ffffff", "Google, Inc."),
    ("000000000001", "XEROX CORPORATION"),  # the first line of the index
])
def test_what_the_registry_says(mac: str, name: str) -> None:
    assert vendor(bytes.fromhex(mac)) == name


@pytest.mark.parametrize("mac", ["8ebebe000001", "020000000101", "01005e000001", "ffffffffffff", "fcfffe000000", "", "8cbebe"])
def test_a_random_a_group_an_unknown_and_half_a_mac_have_none(mac: str) -> None:
    assert vendor(bytes.fromhex(mac)) == ""


@pytest.mark.parametrize(("mac", "random"), [("8cbebe000001", False), ("8ebebe000001", True), ("020000000101", True), ("ffffffffffff", False), ("", False)])
def test_a_mac_that_was_made_up_says_so(mac: str, random: bool) -> None:
    assert is_random(bytes.fromhex(mac)) is random


def test_every_prefix_is_what_netaddr_says() -> None:
    """A sample from the whole registry, against the package's own reading; it has to be the same after an update."""
    code = """
import random
from netaddr import OUI
from netaddr.eui import ieee
from firewall.vendor import _NOT_A_VENDOR, vendor
from firewall.text import inert
for prefix in random.Random(1).sample(sorted(ieee.OUI_INDEX), 400):
    mac = prefix.to_bytes(3) + bytes(3)
    if not mac[0] & 3:
        org = OUI(prefix).registration(0).org
        assert vendor(mac) == ("" if org in _NOT_A_VENDOR else inert(org)), (hex(prefix), org, vendor(mac))
print("same")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "same\n"


def test_looking_one_up_loads_no_library() -> None:
    code = "import sys; from firewall.vendor import vendor; assert vendor(bytes.fromhex('8cbebe000001')); print('netaddr' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
