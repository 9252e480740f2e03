"""What is found is what a plain look at every row finds, on whichever way; and pages never overlap or leave a gap."""

from __future__ import annotations

import contextlib
import functools
import random
from pathlib import Path

import pytest
from judge import wait_for
from samples import NOW, row

from firewall.history import History, schema, search, sums
from firewall.history.rows import Shelf
from firewall.history.search import Cursor, Search
from rules.expression import parse_filter
from rules.observation import Name, Place, Source
from tui.offers import exactly

ORGANISATIONS = ("org 0", 'the "best", net', "org 2", "", "org 4")
FILTERS = (
    "", "phone:p1", "-phone:p1,p2", "verdict:refused", "-verdict:allow phone:p0", "service:s1", "-service:s1", "rule:r3", "rule:r3,r4 -phone:p0",
    "name:example", "name:b.example", "name:=b.example", "-name:b.example", "name:cdn.b.example", "name:x.invalid", "name:b.example,c.example phone:p2",
    "addr:198.51.100.0/25", "addr:198.51.100.7", "-addr:198.51.100.0/25", "addr:2001:db8::/32", "addr:203.0.113.9", "port:443", "port:80-90,5228",
    "-port:443", "proto:udp", "via:http", "via:ambiguous", "last:1h", "-last:1h", "last:2h -last:1h verdict:block", "name:b.example addr:198.51.100.0/25 port:443",
    "country:CN", "-country:CN", "country:DE -phone:p1", "operator-country:US", "-operator-country:US", "group:kids", "-group:kids name:b.example", "asn:64502", "-asn:64502",
    "to:b.example", "-to:b.example", "to:198.51.100.7,2001:db8::7", "to:none,a.example", 'run-by:"org 2",cnnic', "-run-by:none", "country:none", "-country:none,DE", "service:none,s1",
    "cdn", "-CDN", "198.51.100.7 block", "p1,r3", "-p1 r3 last:1h", '"the ""best"', "nothing-at-all", "kids name:b.example", "cnnic phone:p2", '"2001:db8"',
)


@functools.cache
def rows() -> list:
    chance, found = random.Random(3), []
    for n in range(1, 1_201):
        name = chance.choice(["a.example", "b.example", "x.cdn.b.example", "c.example", "ab.example", ""])
        source = chance.choice([Source.HTTP, Source.SNI])
        found.append(row(
            n, phone=f"p{n % 4}", verdict=chance.choice(["allow", "ask", "block", "watch"]), service=f"s{n % 3}", rule=f"r{n % 7}", name=name,
            names=(Name(name, source),) if name else (), answered=((name,),) if name else (("k.example",), ("l.example",)) if n % 2 else (),
            via=str(source) if name else "ambiguous" if n % 2 else "none", dport=chance.choice([443, 80, 5228]), proto="dns" if n % 50 == 0 else chance.choice(["tcp", "udp"]),
            dst="" if n % 50 == 0 else chance.choice([f"198.51.100.{n % 256}", "2001:db8::7", "64:ff9b::cb00:7109", "::ffff:198.51.100.7", "2001:0:c633:6407:8000:1:f5b2:fffe"]),
            last=NOW - chance.randrange(4) * 2_000 - chance.randrange(40), bytes_up=n, bytes_down=2 * n, count=n % 5,
            place=Place(chance.choice(["CN", "DE", ""]), "US", 64_500 + n % 5, ORGANISATIONS[n % 5]), operator="cnnic" if n % 7 == 0 else "", group=chance.choice(["", "kids"]),
        ))
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "history.db"
    with contextlib.closing(schema.connect(path)) as db:
        db.execute("BEGIN")
        Shelf(db).put(rows())
        db.commit()
    return path


@pytest.mark.parametrize("many", [0, 1_000])
@pytest.mark.parametrize("text", FILTERS)
def test_all_ways_find_the_same_and_pages_fit_together(file: Path, text: str, many: int, monkeypatch) -> None:
    monkeypatch.setattr(search, "MOST_SUBJECTS", many)
    monkeypatch.setattr(search, "MOST_KINDS", many)
    monkeypatch.setattr(search, "FEW", 3)
    wanted = parse_filter(text)
    plain = sorted((one for one in rows() if wanted.matches(one, NOW)), key=lambda one: (one.last, one.id), reverse=True)
    found, more = [], None
    with contextlib.closing(schema.reader(file)) as db:
        while True:
            page = Search(db, wanted, NOW).page(97, more, None)
            found += page.rows
            if page.more is None:
                break
            assert len(page.rows) == 97
            more = Cursor.parse(str(page.more))
    assert found == plain


@pytest.mark.parametrize("word", ["p3", "kids", "watch", "ab.example", "64:ff9b::", "s2", "r6", "DE", "cnnic", "org 4"])
def test_a_word_is_found_in_whatever_a_row_shows(file: Path, word: str) -> None:
    with contextlib.closing(schema.reader(file)) as db:
        found = Search(db, parse_filter(f'"{word}"'), NOW).page(2_000, None, None).rows
    assert 0 < len(found) < 1_200
    assert all(word.casefold() in str(one.to_json()).casefold() for one in found)


@pytest.mark.parametrize("text", ["name:x.invalid -phone:p0", "via:ambiguous", "-name:example"])
def test_a_page_ends_in_time_and_the_next_goes_on(file: Path, text: str, monkeypatch) -> None:
    monkeypatch.setattr(search, "MOST_SUBJECTS", -1)
    wanted = parse_filter(text)
    plain = [one.id for one in rows() if wanted.matches(one, NOW)]
    found, more, pages = [], None, 0
    with contextlib.closing(schema.reader(file)) as db:
        while pages == 0 or more is not None:
            page = Search(db, wanted, NOW).page(1_000, more, 0.0)
            found += [one.id for one in page.rows]
            more, pages = page.more, pages + 1
    assert sorted(found) == plain
    assert pages > 3


def test_pages_stand_still_while_rows_come_in(tmp_path: Path) -> None:
    store = History(tmp_path / "history.db")
    old = [row(n, last=NOW - n) for n in range(1, 31)]
    store.append(old)
    first = store.page(parse_filter(""), 10, NOW)
    store.append([row(100 + n, last=NOW + n) for n in range(20)])
    second = store.page(parse_filter(""), 10, NOW, first.more)
    wait_for(lambda: not store._rows and not store._writing)
    third = store.page(parse_filter(""), 10, NOW, second.more)
    assert [one.id for page in (first, second, third) for one in page.rows] == list(range(1, 31))
    assert third.more is None
    store.close()


@pytest.mark.parametrize("text", ["", "-phone:p0 last:2h", "verdict:refused"])
@pytest.mark.parametrize("by", sums.BY)
def test_a_filter_can_say_each_group_exactly(file: Path, text: str, by: str) -> None:
    """What `enter` on a group asks: as many tries as the group counts, and all groups together are everything."""
    with contextlib.closing(schema.reader(file)) as db:
        groups = sums.Sums(db, parse_filter(text), NOW).groups(by)
        assert len(groups) >= 2
        for group in groups:
            narrowed = parse_filter(f"{text} {exactly(by, group['key'])}")
            found = Search(db, narrowed, NOW).page(5_000, None, None).rows
            assert found
            assert (sum(one.count for one in found), sum(one.bytes_up for one in found)) == (group["count"], group["up"]), group["key"]
            assert sums.Sums(db, narrowed, NOW).groups(by) == [group]


def test_sums(file: Path) -> None:
    wanted = parse_filter("-phone:p0")
    plain = [one for one in rows() if wanted.matches(one, NOW)]
    with contextlib.closing(schema.reader(file)) as db:
        hours = sums.Sums(db, wanted, NOW).hours(24)
        assert len(hours) == 24
        assert hours[-1]["hour"] == NOW // 3600 * 3600
        for word in ("allow", "ask", "block", "watch"):
            assert sum(hour[word] for hour in hours) == sum(one.count for one in plain if one.verdict == word)
        for by, key in (("phone", "phone"), ("service", "service"), ("rule", "rule")):
            groups = sums.Sums(db, wanted, NOW).groups(by)
            assert [group["count"] for group in groups] == sorted((group["count"] for group in groups), reverse=True)
            for group in groups:
                mine = [one for one in plain if getattr(one, key) == group["key"]]
                assert (group["count"], group["up"], group["down"]) == (sum(o.count for o in mine), sum(o.bytes_up for o in mine), sum(o.bytes_down for o in mine))
                assert (group["last"], group["phones"]) == (max(o.last for o in mine), len({o.phone for o in mine}))
                assert group["refused"] == sum(o.count for o in mine if o.verdict in ("ask", "block"))
        assert {group["key"] for group in sums.Sums(db, wanted, NOW).groups("operator")} == {*ORGANISATIONS, "cnnic"}
        assert {group["key"] for group in sums.Sums(db, wanted, NOW).groups("country")} == {"CN", "DE", ""}
        hurried = sums.Sums(db, wanted, NOW, seconds=-1.0)
        hurried.groups("name")
        assert hurried.since is not None
