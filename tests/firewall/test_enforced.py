from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from firewall.commands import RefuseAddress
from firewall.consents import Consents
from firewall.enforced import RETRY_SECONDS, Enforced
from firewall.names import NameTable
from firewall.phones import Phones
from rules import store
from rules.observation import NOWHERE

MAC = b"\2\0\0\0\1\1"
MOVED = ip_address("54.179.140.65").packed


@pytest.fixture
def house(tmp_path: Path):
    phones, names = Phones(given={MAC: "phone1"}), NameTable()
    return phones, names, Enforced(phones, names, Consents(), lambda _: NOWHERE), store.load(tmp_path / "none.toml", 1)


def test_a_learnt_refusal_lasts_until_another_name_comes_up(house) -> None:
    phones, names, enforced, policy = house
    phone = phones.named("phone1")
    names.learn(phone, ("api.account.xiaomi.com",), (MOVED,), 60, 0.0)
    assert list(enforced.learn(policy, phone, MAC, MOVED, 660, 0.0)) == [RefuseAddress(MAC, MOVED, 660)]
    names.learn(phone, ("en.wikipedia.org",), (MOVED,), 60, 0.0)
    assert list(enforced.learn(policy, phone, MAC, MOVED, 660, 0.0)) == [RefuseAddress(MAC, MOVED, 0)]
    assert list(enforced.learn(policy, phone, MAC, MOVED, 660, 0.0)) == []


def test_what_has_ended_by_itself_is_not_taken_back(house) -> None:
    phones, names, enforced, policy = house
    phone = phones.named("phone1")
    names.learn(phone, ("api.account.xiaomi.com",), (MOVED,), 60, 0.0)
    list(enforced.learn(policy, phone, MAC, MOVED, 660, 0.0))
    enforced.expire(660.0)
    names.learn(phone, ("en.wikipedia.org",), (MOVED,), 60, 660.0)
    assert list(enforced.learn(policy, phone, MAC, MOVED, 660, 660.0)) == []


def test_the_kernel_keeps_what_it_learnt_while_the_same_is_refused(house) -> None:
    phones, _, enforced, policy = house
    first = enforced.whole(policy, locked=False).desired
    assert first.refused4
    assert first.teredo  # no pack tells Teredo from NAT64
    assert not first.keep_learned  # nobody knows what it holds
    assert enforced.whole(policy, locked=True).desired.keep_learned
    phones.change(phones.edited("phone1", group="kids"))
    assert not enforced.whole(policy, locked=False).desired.keep_learned
    enforced.failed(0.0)
    assert not enforced.whole(policy, locked=False).desired.keep_learned


def test_only_the_newest_generation_ends_the_retries(house) -> None:
    _, _, enforced, policy = house
    old = enforced.whole(policy, locked=False).desired.generation
    new = enforced.whole(policy, locked=False).desired.generation
    enforced.failed(10.0)
    assert not enforced.applied(old)
    assert not enforced.due(10.0)
    assert enforced.due(10.0 + RETRY_SECONDS)
    assert enforced.applied(new)
    assert not enforced.due(100.0)


def test_without_rules_nothing_is_refused_by_the_kernel(house) -> None:
    _, _, enforced, _ = house
    desired = enforced.whole(None, locked=True).desired
    assert (desired.refused4, desired.refused6, desired.locked, desired.teredo) == ((), (), True, False)
