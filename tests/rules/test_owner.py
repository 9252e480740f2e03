from __future__ import annotations

import pytest

from rules.owner import read, switched
from rules.problem import RuleError
from rules.store import compiled, load_packs

PACKS = load_packs()


def enabled(text: str) -> dict[str, bool]:
    return {rule.id: rule.enabled for rule in compiled("rules.toml", text, 1).rules}


def test_packs_and_single_rules_of_theirs_are_switched_and_the_rule_counts_more() -> None:
    shipped = enabled("")
    off = enabled('[packs]\noff = ["xiaomi"]\non = ["xiaomi/2"]\n')
    assert {id_ for id_, is_on in off.items() if is_on is not shipped[id_]} == {
        id_ for id_, is_on in shipped.items() if id_.startswith("xiaomi/") and is_on and id_ != "xiaomi/2"
    }
    assert enabled('[packs]\noff = ["baseline/1"]\n') == shipped | {"baseline/1": False}


def test_a_pack_can_be_shipped_off_and_switched_on() -> None:
    off = switched(PACKS, (), ("xiaomi",))
    assert not any(rule.enabled for pack in off if pack.name == "xiaomi" for rule in pack.rules)
    on = switched(off, ("xiaomi",), ())
    assert all(rule.enabled for pack in on if pack.name == "xiaomi" for rule in pack.rules)


@pytest.mark.parametrize(("text", "said"), [
    ('[[rule]]\naction = "allow"\nmatch = ""\n\n[packs]\noff = [\n  "xiaomi",\n  "xiaomy",\n]\n', "rules.toml:8:4: no pack, and no rule of a pack, is called 'xiaomy' (did you mean xiaomi?)"),
    ('[packs]\non = ["baseline/77"]\n', "rules.toml:2:8: no pack, and no rule of a pack, is called 'baseline/77' (did you mean baseline/"),
    ('[packs]\noff = "xiaomi"\n', 'rules.toml:2:1: off is no list of texts (write off = ["xiaomi/1"])'),
    ("[packs]\nof = []\n", "rules.toml:2:1: unknown key 'of' (known: on, off)"),
    ("packs = 3\n", "rules.toml:1: packs is no table"),
    ('[packs]\non = ["xiaomi"]\noff = ["xiaomi"]\n', "rules.toml:3:9: xiaomi is on and off (leave it in one of the two lists)"),
])
def test_a_wrong_switch_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(RuleError) as caught:
        read("rules.toml", text, PACKS)
    assert str(caught.value.problems[0]).startswith(said)
