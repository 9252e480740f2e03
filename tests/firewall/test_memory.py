from __future__ import annotations

from pathlib import Path

import pytest

from firewall import memory
from firewall.gateway import Gateway
from firewall.inputs import FlowKey, LiveFlow, Now, Remembered
from firewall.phones import Phones
from rules.observation import Name, Sign, Source
from rules.verdict import Decision, Verdict

MAC = b"\2\0\0\0\1\1"
V4 = FlowKey(6, bytes([10, 77, 0, 10]), 40000, bytes([198, 18, 7, 7]), 443)
V6 = FlowKey(17, bytes(15) + b"\1", 40000, bytes(15) + b"\2", 443)
DECISION = Decision(Verdict.ALLOW, "default", "no rule speaks of it", "", 4)


async def test_a_picture_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SLICE", 1)
    gateway = Gateway(Phones(given={MAC: "phone1"}))
    phone = gateway.phones.named("phone1")
    assert phone is not None
    watched = DECISION.__class__(Verdict.WATCH, "xiaomi/1", 'a "quoted" ‹name›\n', "xiaomi-account", 4)
    flows = (
        LiveFlow(V4, MAC, (Name("bücher.example", Source.SNI),), False, True, 1, DECISION, 10, 20),
        LiveFlow(V6, MAC, (), True, False, 0, watched, 0, 0, (), (Sign.TUNNEL,)),
    )
    gateway.handle([Remembered(flows, (), "digest", frozenset((V4, V6)))], Now(100.0, 1e9, trusted=True))
    gateway.names.learn(phone, ("a.example", "b.example"), (V4.dst,), 1e9, 100.0)
    file = tmp_path / "live.json"
    await memory.save(file, gateway)
    again = memory.load(file, {V4: Verdict.CONSENT, V6: Verdict.ALLOW})
    assert again.flows == flows
    assert again.consented == {V4}
    (name,) = again.names
    assert (name.mac, name.addr, name.chain) == (MAC, V4.dst, ("a.example", "b.example"))
    assert (again.digest, again.alive) == ("digest", {V4, V6})


@pytest.mark.parametrize("text", ["", "no json", "{}", '{"digest": 1}\n{"flow": [1]}', '{"digest": ""}\n{"mac": "x"}', "[]\n[]", '{"digest": "d"}\n{"flow": [6, "zz", 1, "", 2]}', '{"digest": "d"}\n3'])
def test_what_cannot_be_read_is_not_remembered(tmp_path: Path, text: str) -> None:
    file = tmp_path / "live.json"
    file.write_text(text)
    again = memory.load(file, {V4: Verdict.ALLOW})
    assert (again.flows, again.names) == ((), ())
    assert again.alive == {V4}


async def test_an_old_picture_is_removed_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour, after a reboot, or from a boot time that has not come yet."""
    gateway, file = Gateway(Phones(given={MAC: "phone1"})), tmp_path / "live.json"
    gateway.handle([Remembered((LiveFlow(V4, MAC, (), False, False, 0, DECISION, 0, 0),), (), "d", frozenset((V4,)))], Now(1.0, 1e9, trusted=True))
    now, boots = [10_000.0], ["this boot"]
    monkeypatch.setattr(memory, "clock", lambda: Now(now[0], 1e9, trusted=True))
    monkeypatch.setattr(memory, "boot_id", lambda: boots[0])
    for later, boot, remembered in ((3_599.0, "this boot", 1), (3_601.0, "this boot", 0), (-1.0, "this boot", 0), (1.0, "the next", 0)):
        now[0], boots[0] = 10_000.0, "this boot"
        await memory.save(file, gateway)
        now[0], boots[0] = 10_000.0 + later, boot
        assert len(memory.load(file, {V4: Verdict.ALLOW}).flows) == remembered
        assert file.exists() is bool(remembered)


async def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    await memory.save(tmp_path / "none" / "live.json", Gateway(Phones()))
    assert memory.load(tmp_path / "none" / "live.json", {}) == Remembered((), (), "", frozenset())
