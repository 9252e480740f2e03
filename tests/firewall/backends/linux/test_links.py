"""What a box was like before is written down first, and comes back."""

from __future__ import annotations

import pytest

from firewall.backends.linux import links

THRESHOLDS = [f"{family}/neigh/default/gc_thresh3" for family in ("ipv4", "ipv6")]


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """As /proc/sys/net is, with other values than ours."""
    root = tmp_path / "net"
    monkeypatch.setattr(links, "_PROC", root)
    names = [
        "netfilter/nf_conntrack_tcp_loose", "netfilter/nf_conntrack_acct", "netfilter/nf_conntrack_events",
        "netfilter/nf_conntrack_checksum", "ipv4/conf/wan0/src_valid_mark", "ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit",
        "ipv6/conf/wan0/accept_ra", *THRESHOLDS,
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1024\n")
    return root


def test_all_of_it_comes_back(proc, tmp_path) -> None:
    before = {file: file.read_text().strip() for file in proc.rglob("*") if file.is_file()}
    switches = links.Sysctls(tmp_path / "before.json")
    switches.close("wan0")
    assert {(proc / name).read_text() for name in THRESHOLDS} == {str(links.NEIGHBOURS)}
    switches.close("wan0")  # again: what was remembered stays
    switches.restore()
    assert {file: file.read_text().strip() for file in before} == before


def test_a_larger_table_of_neighbours_stays_and_a_namespace_has_none(proc, tmp_path) -> None:
    larger, missing = (proc / name for name in THRESHOLDS)
    larger.write_text("100000\n")
    missing.unlink()
    links.Sysctls(tmp_path / "before.json").close("wan0")
    assert larger.read_text() == "100000\n"
    assert not missing.exists()


def test_an_interface_made_anew_is_the_phones_before_anybody_has_looked(monkeypatch) -> None:
    """A packet to another phone would else be judged as one to the internet, and let pass by the default."""
    named = {"lan0": 2, "wan0": 3}
    monkeypatch.setattr(links, "_index_or_0", lambda name: named.get(name, 0))
    monkeypatch.setattr(links, "_name_or_none", {2: "lan0", 3: "wan0", 4: "ppp1", 9: "lan0"}.get)
    sides = links.Sides("lan0", "wan0")
    assert [sides.is_lan(number) for number in (2, 3, 4, 0)] == [True, False, False, False]
    named["lan0"] = 9
    assert sides.is_lan(9)
    sides.look()
    assert [sides.is_lan(number) for number in (9, 3)] == [True, False]
