"""What of offloading can be seen without a kernel that offloads; the rest is in tests/guest."""

from __future__ import annotations

import re

from firewall.backends.linux import marks, nftables, offload
from firewall.backends.linux.nftables import Held, Ruleset
from firewall.commands import KernelState, Watch
from rules.verdict import Verdict


def rendered(monkeypatch, *, possible: bool, wan: str = "lo") -> str:
    monkeypatch.setattr(Ruleset, "_find_queue", lambda _: ("nft queue", ()))
    monkeypatch.setattr(nftables, "accepted", lambda _: possible)
    return Ruleset("lo", wan, 66, ssh=False).render(KernelState(1, False, (), (), True), Held(), masquerade6=False)


def test_a_kernel_that_cannot_has_the_same_way_as_ever(monkeypatch) -> None:
    text = rendered(monkeypatch, possible=False)
    assert "flowtable bulk" not in text
    assert "flow add" not in text
    assert f"meta mark & 0x{marks.PASS:08x} == 0x{marks.PASS:08x} accept" in text


def test_only_what_is_allowed_for_good_and_bulk_is_offloaded(monkeypatch) -> None:
    text = rendered(monkeypatch, possible=True)
    assert 'devices = { "lo", "lo" }; counter;' in text
    (rule,) = re.findall(r".*flow add.*", text)
    mask, value = (int(word, 16) for word in re.search(r"ct mark & (0x\w+) == (0x\w+) ct bytes > 65536", rule).groups())
    offloaded = {(v, w) for v in Verdict for w in Watch if marks.connection(v, w) & mask == value}
    assert offloaded == {(Verdict.ALLOW, Watch.NONE), (Verdict.WATCH, Watch.NONE)}
    assert text.index("goto bulk") > text.index("chain decide")


def test_whose_name_it_comes_in_is_looked_at_before_the_flowtable(monkeypatch) -> None:
    text = rendered(monkeypatch, possible=True)
    table, sender = (int(re.search(rf"{what} priority (-?\d+)", text)[1]) for what in ("hook ingress", 'ingress device "lo"'))
    assert sender < table
    chain = text[text.index("chain sender") :]
    assert chain.index("@slots4 accept") < chain.index("goto spoofed") < chain.index("}\n")


def test_an_interface_that_has_gone_does_not_keep_the_gate_from_being_loaded(monkeypatch) -> None:
    text = rendered(monkeypatch, possible=True, wan="gone0")
    assert "flowtable bulk" not in text
    assert "flow add" not in text


def test_a_kernel_that_cannot_take_it_back_does_not_offload() -> None:
    told = {release: offload.is_there(lambda _: True, release) for release in ("6.12.117+deb12-amd64", "6.4.0", "7.0-rc1", "6.1.0-56-amd64", "5.15.0", "odd")}
    assert told == {"6.12.117+deb12-amd64": True, "6.4.0": True, "7.0-rc1": True, "6.1.0-56-amd64": False, "5.15.0": False, "odd": False}
    assert not offload.is_there(lambda _: False, "6.12.1")


def test_the_words_are_whole() -> None:
    assert offload.words("lo", "lo", possible=True).keys() == offload.words("lo", "lo", possible=False).keys()
