from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.problem import RuleError
from rules.store import LARGEST, load, load_packs


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    file = tmp_path / "rules.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RuleError) as caught:
        load(file, 1)
    return [str(problem) for problem in caught.value.problems]


def test_no_file_and_one_without_rules_mean_the_packs_alone(tmp_path: Path) -> None:
    packs = sum(len(pack.rules) for pack in load_packs())
    assert len(load(None, 1).rules) == packs
    assert len(load(tmp_path / "none.toml", 1).rules) == packs
    (tmp_path / "rules.toml").write_text("# nothing yet\n")
    assert len(load(tmp_path / "rules.toml", 1).rules) == packs


def test_the_owners_rules_come_first_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\naction="allow"\nmatch=""\nnote="n"\n[[rule]]\nid="second"\naction="block"\nmatch="port:23"\nenabled=false\n')
    first, second, *rest = load(file, 3).rules
    assert (str(first), first.note, first.source, len(first.id)) == ("allow", "n", "mine", 4)
    assert (second.id, second.enabled, str(second)) == ("second", False, "block port:23")
    assert all(rule.source != "mine" for rule in rest)


def test_ids_stay_when_rules_move(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    a, b = '[[rule]]\naction="allow"\nmatch="port:1"\n', '[[rule]]\naction="block"\nmatch="port:2"\n'
    file.write_text(a + b + a)
    before = [rule.id for rule in load(file, 1).rules[:3]]
    assert len(set(before)) == 3
    file.write_text(b + a)
    assert [rule.id for rule in load(file, 1).rules[:2]] == [before[1], before[0]]


def test_every_entry_of_a_pack_has_its_source_and_every_rule_a_note() -> None:
    for pack in load_packs():
        assert all(rule.note for rule in pack.rules)
        for service in pack.services:
            assert service.breaks
            assert service.entries
            for entry in service.entries:
                assert entry.source and entry.why and len(entry.date) == 10
                assert bool(entry.pattern) is not bool(entry.network)


@pytest.mark.parametrize(("text", "expected"), [
    ("[[rule]\n", "rules.toml:1:7: expected ']]' at the end of an array declaration (see docs/rules.md)"),
    ('[[rule]]\naction = "forbid"\nmatch = ""\n', "rules.toml:2:11: action: 'forbid' is none (one of allow, ask, block)"),
    ('[[rule]]\naction = "allow"\n', "rules.toml:1: match: a text is missing (match = \"\" matches everything)"),
    ('# c\n[[rule]]\naction = "allow"\nmatch = "port:80 nam:x"\n', "rules.toml:4:18: unknown term 'nam' (did you mean name:?)"),
    ('[[rule]]\naction = "ask"\nmatch = "service:xiaomi-acount"\n', "rules.toml:3:18: unknown service 'xiaomi-acount' (did you mean xiaomi-account?)"),
    ('[[rule]]\naction = "allow"\nmatch = ""\nnot = "x"\n', "rules.toml:4:8: unknown key 'not' (did you mean note?)"),
    ('title = "x"\n', "rules.toml:1: unknown key 'title' (rules stand under [[rule]])"),
    ('[rule]\naction = "allow"\n', "rules.toml:1: rule is no list of tables (write [[rule]] above each rule)"),
    ('[[rule]]\naction = "allow"\nmatch = "phone:\\"a b\\" nam:x"\n', "rules.toml:3:24: unknown term 'nam' (did you mean name:?)"),
    ('[[rule]]\naction = "ask"\nmatch = "name:xiaomi-acount service:xiaomi-acount"\n', "rules.toml:3:37: unknown service 'xiaomi-acount' (did you mean xiaomi-account?)"),
    ('[[rule]]\nid = "default"\naction = "ask"\nmatch = ""\n', "rules.toml:2:7: id 'default' stands for no rule at all (choose another)"),
    ('[[rule]]\nid = "A"\naction = "ask"\nmatch = ""\n', "rules.toml:2:7: 'A' is no id (up to 32 characters of a-z, 0-9 and -)"),
    ('[[rule]]\nid = "a"\naction = "ask"\nmatch = ""\n[[rule]]\nid = "a"\naction = "ask"\nmatch = "port:1"\n', "rules.toml:6:7: id 'a' is taken by a rule above (choose another)"),
    ('[[rule]]\naction = ["ask"]\nmatch = ""\n', "rules.toml:2:10: action: ['ask'] is none (one of allow, ask, block)"),
    (b"# \xff\n", "rules.toml:1: is not UTF-8 (save it as UTF-8)"),
    ('[[rule]]\naction = "allow"\nmatch = ""\nenabled = "yes"\n', "rules.toml:4:12: enabled is neither true nor false (write true or false, without quotes)"),
])
def test_mistakes_are_named_with_place_and_remedy(tmp_path: Path, text, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    assert len(problems(tmp_path, '[[rule]]\naction="x"\nmatch="y"\n[[rule]]\naction="z"\nmatch="port:0-99999"\n')) == 4


def test_files_that_others_could_write_or_that_are_none_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("")
    file.chmod(0o666)
    with pytest.raises(RuleError, match="can be written by everybody"):
        load(file, 1)
    with pytest.raises(RuleError, match="no regular file"):
        load(tmp_path, 1)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RuleError, match="no regular file"):
        load(tmp_path / "fifo", 1)


def test_an_id_that_the_owner_chose_is_never_given_to_another_rule(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    rule = '[[rule]]\naction="allow"\nmatch="port:1"\n'
    file.write_text(rule)
    made = load(file, 1).rules[0].id
    file.write_text(rule + f'[[rule]]\naction="block"\nmatch=""\nid="{made}"\n')
    ids = [rule.id for rule in load(file, 1).rules[:2]]
    assert ids[1] == made != ids[0]


def test_the_size_of_the_file_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("#" * LARGEST)
    assert load(file, 1)
    assert problems(tmp_path, "#" * (LARGEST + 1)) == [f"rules.toml: is larger than {LARGEST} bytes (use packs for many names)"]


@given(st.text(alphabet='[]rule="\'\n acton mtch:.#\\', max_size=120))
def test_no_text_is_an_error_of_ours(tmp_path_factory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.toml"
    file.write_text(text)
    try:
        load(file, 1)
    except RuleError as error:
        assert error.problems


