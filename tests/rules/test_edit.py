from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules import owner
from rules.edit import Edit, Edited, EditError, apply
from rules.expression import ExpressionError
from rules.store import compiled, load_packs

PACKS = load_packs()
TEXT = """\
# My house.

# the children's
[[rule]]
action = "block"   # for now
match = "phone:tablet"
note = "since May"

# --- the rest ---

[[rule]]
id = "tv"
action = "allow"
match = "name:tv.example"
enabled = false  # winter
"""


def do(file: str, act: str, rule: str = "", **more) -> Edited:
    return apply(file, Edit(act, rule, **more), PACKS)


def rules(text: str) -> list[tuple[str, str, str, bool]]:
    return [(rule.id, str(rule), rule.note, rule.enabled) for rule in owner.read("rules.toml", text, PACKS).rules]


def test_a_new_rule_goes_on_top_below_the_head_of_the_file() -> None:
    done = do(TEXT, "add", text="block name:a.example", note="why")
    assert done.text == TEXT.replace("# the children's", '[[rule]]\naction = "block"\nmatch = "name:a.example"\nnote = "why"\n\n# the children\'s')
    assert (done.position, done.words) == (1, "added block name:a.example at 1")
    assert rules(done.text)[0][0] == done.id


@pytest.mark.parametrize("text", ["", "\n", "# [[rule]]\n# match = \"\"\n", "# no newline", '[packs]\noff = ["xiaomi"]\n'])
def test_a_first_rule(text: str) -> None:
    after = do(text, "add", text='allow phone:"tv upstairs"').text
    assert text in after or after.startswith(text)
    assert [row[1] for row in rules(after)] == ['allow phone:"tv upstairs"']
    assert [row[1] for row in rules(do(after, "add", text="ask", at=2).text)] == ['allow phone:"tv upstairs"', "ask"]


def test_a_changed_rule_keeps_its_id_and_everything_around_it() -> None:
    before = rules(TEXT)[0][0]
    done = do(TEXT, "change", "1", text="ask phone:tablet port:443")
    assert rules(done.text)[0][:2] == (before, "ask phone:tablet port:443")
    assert done.text == TEXT.replace('"block"', '"ask"').replace('"phone:tablet"', '"phone:tablet port:443"').replace('"since May"\n', f'"since May"\nid = "{before}"\n')


def test_the_ids_of_others_stay_also_where_they_say_the_same() -> None:
    text = '[[rule]]\naction="allow"\nmatch="port:1"\n' * 3
    ids = [row[0] for row in rules(text)]
    assert [row[0] for row in rules(do(text, "remove", "1").text)] == ids[1:]
    assert [row[0] for row in rules(do(text, "add", text="allow port:1").text)][1:] == ids
    assert [row[0] for row in rules(do(text, "change", ids[0], text="ask").text)] == ids
    assert [row[0] for row in rules(do(text, "move", ids[2], at=1).text)] == [ids[2], *ids[:2]]


def test_moving_and_removing_take_the_comments_along() -> None:
    moved = do(TEXT, "move", "tv", at=1)
    assert moved.text.startswith('# My house.\n\n[[rule]]\nid = "tv"\n')
    assert "# --- the rest ---\n\n# the children's\n[[rule]]" in moved.text
    removed = do(TEXT, "remove", "1")
    assert "children" not in removed.text and "# --- the rest ---" in removed.text and "# My house." in removed.text


def test_switching_an_own_rule() -> None:
    assert do(TEXT, "enable", "tv").text == TEXT.replace("enabled = false", "enabled = true")
    off = do(TEXT, "disable", "1").text
    assert off == TEXT.replace('"since May"\n', '"since May"\nenabled = false\n')
    assert do(off, "enable", "1").text == TEXT


def test_packs_are_switched_in_a_table_of_their_own() -> None:
    one = do(TEXT, "disable", "xiaomi/2")
    assert one.text == TEXT + '\n[packs]\noff = ["xiaomi/2"]\n'
    whole = do(one.text, "disable", "xiaomi")
    enabled = {rule.id: rule.enabled for rule in compiled("", whole.text, 1).rules}
    assert not any(on for id_, on in enabled.items() if id_.startswith("xiaomi/"))
    back = do(do(whole.text, "enable", "xiaomi/1").text, "disable", "xiaomi/1")
    assert back.text == whole.text
    assert {rule.id: rule.enabled for rule in compiled("", do(whole.text, "enable", "xiaomi").text, 1).rules}["xiaomi/2"]
    position = next(at for at, rule in enumerate(compiled("", TEXT, 1).rules, 1) if rule.id == "xiaomi/2")
    assert do(TEXT, "disable", str(position)).text == one.text


@pytest.mark.parametrize(("edit", "said"), [
    (Edit("remove", "9999"), "there is no rule '9999'"),
    (Edit("remove", "xiaomi/1"), "rule xiaomi/1 is of pack xiaomi"),
    (Edit("move", "tv", at=3), "at: 3 is not among your rules; they stand at 1 to 2"),
    (Edit("move", "tv", at=2), "rule tv is at 2 already"),
    (Edit("add", text="block", at=4), "they stand at 1 to 3"),
    (Edit("add"), "the rule is missing"),
    (Edit("disable", "tv"), "rule tv is disabled already"),
    (Edit("enable", "xiaomi"), "pack xiaomi is enabled already"),
    (Edit("change", "tv", text="allow name:tv.example"), "says that already"),
    (Edit("remove", "tv", was="block name:tv.example"), "it was 'block name:tv.example', it is 'allow name:tv.example'"),
    (Edit("explode", "tv"), "none of add, change"),
])
def test_what_cannot_be_done_is_said(edit: Edit, said: str) -> None:
    with pytest.raises(EditError, match=re.escape(said)):
        apply(TEXT, edit, PACKS)


def test_a_mistake_has_its_place_in_what_was_typed() -> None:
    with pytest.raises(ExpressionError) as caught:
        do(TEXT, "change", "tv", text="block service:xiaomi-acount")
    assert (caught.value.start, caught.value.remedy) == (14, "did you mean xiaomi-account?")


@pytest.mark.parametrize(("text", "edit"), [
    ('rule = [{action="allow", match=""}]\n', Edit("add", text="block")),
    ('packs.off = ["xiaomi"]\n', Edit("disable", "baseline")),
])
def test_a_file_written_in_another_way_is_left_alone(text: str, edit: Edit) -> None:
    with pytest.raises(EditError, match="only be edited by hand"):
        apply(text, edit, PACKS)


# -- any edits of any file ---------------------------------------------------------------------------------------------

SENTENCES = ["allow", "block name:a.example", "ask port:443", 'block phone:"tv upstairs"', "allow service:xiaomi-account -proto:udp"]
NOTES = ["", "why", 'a "quoted" [[rule]] # no comment', "two\nlines"]


@st.composite
def files(draw) -> tuple[str, list[tuple[str, str, bool]], list[str]]:
    """A file, what it means, and its comments, each with a number of its own."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    comments: list[str] = []

    def comment(indent: str = "") -> str:
        comments.append(f"# comment {len(comments)} [[rule]] ' \"")
        return indent + comments[-1]

    lines: list[str] = []
    model = []
    if draw(st.booleans()):
        lines += [comment(), comment(), ""]
    for _ in range(draw(st.integers(0, 5))):
        lines += [comment() for _ in range(draw(st.integers(0, 2)))]
        sentence, note, enabled = draw(st.sampled_from(SENTENCES)), draw(st.sampled_from(NOTES[:3])), draw(st.booleans())
        action, _, match = sentence.partition(" ")
        body = [f'action = "{action}"', f"match = '{match}'"]
        if note:
            body.append(f"note = '''{note}'''")
        if not enabled:
            body.append("enabled = false")
        lines.append("[[rule]]" + (f" {comment()}" if draw(st.booleans()) else ""))
        for line in draw(st.permutations(body)):
            lines.append(line + (f"  {comment()}" if draw(st.booleans()) else ""))
            lines += [comment("  ")] if draw(st.booleans()) else []
        lines += draw(st.sampled_from([[], [""], ["", ""], ["", "SECTION", ""]]))
        lines = [comment() if line == "SECTION" else line for line in lines]
        model.append((sentence, note, enabled))
    if draw(st.booleans()):
        lines += ["", comment(), "[packs]", 'off = ["xiaomi/1"]']
    text = newline.join(lines) + (newline if draw(st.booleans()) else "")
    return text, model, comments


ACTS = st.tuples(st.sampled_from(["add", "change", "note", "move", "enable", "disable", "remove", "pack"]), st.integers(0, 5), st.integers(0, 6), st.sampled_from(SENTENCES), st.sampled_from(NOTES))


@given(files(), st.lists(ACTS, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_edits_do_what_they_say_and_nothing_else(file: tuple[str, list, list[str]], acts: list[tuple]) -> None:
    text, model, comments = file
    packs_off = {"xiaomi/1"} if "[packs]" in text else set()
    assert [row[1:] for row in rules(text)] == model
    ids = [row[0] for row in rules(text)]
    for act, which, at, sentence, note in acts:
        before = text
        rule = str(which + 1)
        mine = which < len(model)
        try:
            match act:
                case "add":
                    text = do(text, "add", text=sentence, at=at + 1, note=note).text
                    model.insert(at, (sentence, note, True))
                    ids.insert(at, None)
                case "change" if mine:
                    text = do(text, "change", rule, text=sentence).text
                    model[which] = (sentence, *model[which][1:])
                case "note" if mine:
                    text = do(text, "change", ids[which], note=note).text
                    model[which] = (model[which][0], note, model[which][2])
                case "move" if mine:
                    text = do(text, "move", rule, at=at + 1).text
                    model.insert(at, model.pop(which))
                    ids.insert(at, ids.pop(which))
                case "enable" | "disable" if mine:
                    text = do(text, act, rule).text
                    model[which] = (*model[which][:2], act == "enable")
                case "remove" if mine:
                    gone = rules(text)[which]
                    text = do(text, "remove", gone[0]).text
                    del model[which], ids[which]
                    comments = [comment for comment in comments if comment in text]
                case "pack":
                    off = "xiaomi/1" in packs_off
                    text = do(text, "enable" if off else "disable", "xiaomi/1").text
                    packs_off ^= {"xiaomi/1"}
        except EditError:
            assert text == before
            continue
        found = rules(text)
        assert [row[1:] for row in found] == model
        assert all(id_ in (None, row[0]) for id_, row in zip(ids, found, strict=True))  # ids are for ever
        ids = [row[0] for row in found]
        assert set(owner.read("", text, PACKS).off) == packs_off
        assert all(text.count(comment + "\r") + text.count(comment + "\n") + text.endswith(comment) == 1 for comment in comments)
        assert "\r\n" not in before or "\n" not in text.replace("\r\n", "")


def test_a_phone_is_renamed_wherever_a_rule_of_the_owners_names_it() -> None:
    file = TEXT + '\n[[rule]]\nid = "z"\naction = "ask"\nmatch = "-phone:\\"tv upstairs\\",tablet,anna port:80"\n\n[packs]\non = ["tiktok"]\n'
    done = do(file, "rename", "tablet", text="anna")
    assert done.words == 'renamed "tablet" to "anna", in 2 rules'
    assert [rule for _, rule, _, _ in rules(done.text)] == ["block phone:anna", "allow name:tv.example", 'ask -phone:"tv upstairs",anna port:80']
    assert [id_ for id_, *_ in rules(done.text)] == [id_ for id_, *_ in rules(file)]  # hits and history go on
    assert (done.text.count("# for now"), done.text.count("# the children's")) == (1, 1)
    assert do(file, "rename", "tv upstairs", text="tv").words.endswith("in 1 rule")
    with pytest.raises(EditError, match="names 'nobody'"):
        do(file, "rename", "nobody", text="x")
