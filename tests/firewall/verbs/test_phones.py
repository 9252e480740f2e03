from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from owners import House

from firewall.consents import Life
from firewall.control import Peer
from firewall.granting import Wanted
from firewall.inputs import Author
from firewall.verbs.phones import PhonesVerbs, to_store
from rules.consent import Subject

ROOT = Peer(1, 0, 0, frozenset())


@pytest.mark.parametrize(("args", "tvs"), [({}, [1]), ({"consents": True}, [1]), ({"consents": False}, [])])
async def test_who_joins_two_phones_says_whether_consents_move(tmp_path: Path, args: dict, tvs: list[int]) -> None:
    house = House(tmp_path)
    house.state.save_phones(map(to_store, house.phones))
    app = SimpleNamespace(
        gateway=house.gateway, granting=house.granting, engine=SimpleNamespace(deliver=house.deliver), need_state=lambda: house.state,
        saving=asyncio.Lock(),
    )
    await house.granting.grant([Wanted(1, "", "anna", Subject.parse("name:a.example"), Life.H1, "cli")], Author("anna"))
    async for _ in PhonesVerbs(app).join(ROOT, {"phone": "anna", "into": "tv"} | args):
        pass
    assert house.grants("tv") == tvs
    await house.granting.store(all_of_it=True)
    house.start()
    assert house.grants("tv") == tvs
    assert [one.consent.why for one in house.granting.ended(5)] == ([] if tvs else ["the phone was forgotten"])
