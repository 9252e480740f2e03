from __future__ import annotations

import gzip
import os
import socket
import time
from pathlib import Path

import maxminddb
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mmdb import made

from firewall import geo
from firewall.cli import main
from firewall.geo import ATTRIBUTIONS, KINDS, Places
from rules.observation import NOWHERE, Place
from rules.operators import OPERATORS

GOOGLE = {"autonomous_system_number": 15169, "autonomous_system_organization": "GOOGLE"}


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


@pytest.fixture(scope="module")
def ours() -> Places:
    return Places(None)


@pytest.fixture(scope="module")
def australia(tmp_path_factory) -> Places:
    """By a database that says so of everything."""
    folder = tmp_path_factory.mktemp("places")
    everything = dict.fromkeys(["0.0.0.0/1", "128.0.0.0/1", "2000::/3", "8000::/1"], {"country_code": "AU"})
    put(folder, "country.mmdb", made(everything))
    return Places(folder)


def put(folder: Path, name: str, data: bytes) -> None:
    """As `cp` and editors that write a new file do it."""
    new = folder / f".{name}"
    new.write_bytes(data)
    new.replace(folder / name)


def trouble(places: Places) -> list[str]:
    return [row["trouble"] for row in places.status()]


@pytest.mark.parametrize(("addr", "country", "operator_country", "asn"), [
    ("42.62.48.207", "CN", "CN", 23724),
    ("218.241.97.42", "CN", "CN", 24151),
    ("47.241.0.1", "SG", "CN", 45102),
    ("54.179.140.65", "SG", "US", 16509),
    ("18.193.233.122", "DE", "US", 16509),
    ("203.119.24.1", "CN", "", 24406),
    ("2001:dc7::1", "CN", "CN", 24409),
    ("58.68.235.232", "CN", "", 0),
])
def test_what_ours_say_of_addresses_that_matter(ours, addr, country, operator_country, asn) -> None:
    assert ours.look_up(packed(addr))[:3] == (country, operator_country, asn)


@pytest.mark.parametrize("addr", ["::ffff:42.62.48.207", "64:ff9b::42.62.48.207", "2002:2a3e:30cf::1", "2001:0:102:304:8000:1:d5c1:cf30"])
def test_what_leads_to_an_address_stands_where_it_stands(ours, addr: str) -> None:
    assert ours.look_up(packed(addr)) == ours.look_up(packed("42.62.48.207"))


@pytest.mark.parametrize("addr", [
    "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.31.255.255", "192.168.1.1", "192.0.2.1", "198.51.100.1", "203.0.113.255", "224.0.0.251",
    "239.255.255.250", "255.255.255.255", "0.0.0.0", "::", "::1", "fe80::1", "fd00::1", "ff02::fb", "2001:db8::1", "64:ff9b::10.0.0.1", "::ffff:192.168.1.1", "2002:c0a8:101::",
])
def test_addresses_that_are_nobodys_are_never_looked_up(australia, addr: str) -> None:
    assert australia.look_up(packed("8.8.8.8")).country == australia.look_up(packed("2620:fe::fe")).country == "AU"
    assert australia.look_up(packed(addr)) is NOWHERE


@given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
def test_every_address_has_an_answer(ours, addr: bytes) -> None:
    place = ours.look_up(addr)
    assert isinstance(place, Place)
    assert len(place.country) in (0, 2) and len(place.operator_country) in (0, 2) and place.asn >= 0


def test_known_addresses_cost_next_to_nothing(ours) -> None:
    addr = packed("8.8.8.8")
    ours.look_up(addr)
    best = min(_timed(lambda: ours.look_up(addr)) for _ in range(20))
    assert best < 1.5e-6, f"{best * 1e6:.2f} us"
    assert maxminddb.open_database.__module__ == "maxminddb" and maxminddb._extension, "the C extension is missing"


def _timed(call) -> float:
    began = time.perf_counter()
    for _ in range(2_000):
        call()
    return (time.perf_counter() - began) / 2_000


def test_ours_are_read_at_once_and_lie_in_no_file() -> None:
    cpu = min(_cpu(lambda: Places(None)) for _ in range(3))
    assert cpu < 0.5, f"{cpu:.2f} s"
    assert not any(path.suffix == ".mmdb" for path in Path("firewall/places").iterdir())


def _cpu(call) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def test_their_age_is_that_of_the_data(ours, monkeypatch) -> None:
    june = geo._JUNE_17
    monkeypatch.setattr(geo.time, "time", lambda: june + 60 * geo.DAY)
    assert [(row["age_days"], row["stale"], row["trouble"]) for row in ours.status()] == [(76, True, ""), (60, False, ""), (60, False, "")]
    monkeypatch.setattr(geo.time, "time", lambda: june + 61 * geo.DAY)
    assert all(row["stale"] and row["built"] > 0 and row["what"] for row in ours.status())
    monkeypatch.setattr(geo.time, "time", lambda: 0.0)  # a clock that was never set
    assert not any(row["stale"] or row["age_days"] for row in ours.status())


@pytest.mark.parametrize(("name", "record", "expected"), [
    ("country.mmdb", {"country": {"iso_code": "se", "names": {"en": "Sweden"}}}, ("SE", "US", 15169)),
    ("country.mmdb", {"country": "Sweden", "country_code": "SE"}, ("SE", "US", 15169)),
    ("country.mmdb", {"country": "SE"}, ("SE", "US", 15169)),
    ("operator-country.mmdb", {"country_code": "SE"}, ("US", "SE", 15169)),
    ("asn.mmdb", {"autonomous_system_number": 4538}, ("US", "US", 4538)),
    ("asn.mmdb", {"asn": "AS4538", "as_name": "CERNET"}, ("US", "US", 4538)),
])
def test_the_owners_file_takes_the_place_of_ours_in_every_dialect(tmp_path, name, record, expected) -> None:
    (tmp_path / name).write_bytes(made({"8.8.8.0/24": record}, built=1_795_000_000))
    places = Places(tmp_path)
    assert places.look_up(packed("8.8.8.8"))[:3] == expected
    (row,) = (row for row in places.status() if row["file"] == str(tmp_path / name))
    assert row["built"] == 1_795_000_000
    assert row["trouble"] == ""


def test_a_changed_file_is_noticed_and_what_was_remembered_forgotten(tmp_path) -> None:
    places = Places(tmp_path)
    look = places.look_up  # whoever holds on to it sees the change as well
    assert (look(packed("8.8.8.8")).country, places.reload()) == ("US", False)
    for code in ("SE", "FI"):
        put(tmp_path, "country.mmdb", made({"8.8.8.0/24": {"country_code": code}}))
        assert places.reload()
        assert not places.reload()
        assert look(packed("8.8.8.8")).country == code
    (tmp_path / "country.mmdb").write_bytes(made({"8.8.8.0/24": {"country_code": "NO"}}))  # in place: the same inode
    assert places.reload()
    assert look(packed("8.8.8.8")).country == "NO"


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda file: file.write_bytes(b""), "is no database that can be read"),
    (lambda file: file.write_bytes(b"\xab\xcd\xefMaxMind.com" + bytes(50)), "is no database that can be read"),
    (lambda file: os.truncate(file, 100), "is no database that can be read"),
    (lambda file: file.write_bytes(made({"8.8.8.0/24": GOOGLE})), "does not say where an address stands; is it another file?"),
    (lambda file: file.write_bytes(gzip.compress(made({"8.8.8.0/24": {"country_code": "SE"}}))), "is no database that can be read"),
    (lambda file: file.unlink(), "is gone; what it said is kept until the next start"),
    (lambda file: (file.unlink(), file.mkdir()), "Is a directory"),
])
def test_a_broken_swapped_or_missing_file_changes_nothing_but_what_is_said(tmp_path, spoil, said: str) -> None:
    file = tmp_path / "country.mmdb"
    file.write_bytes(made({"8.8.8.0/24": {"country_code": "SE"}, "9.9.9.0/24": {"country_code": "FI"}}))
    places = Places(tmp_path)
    assert places.look_up(packed("8.8.8.8")).country == "SE"
    spoil(file)
    assert not places.reload()
    assert said in trouble(places)[0] and str(file) in trouble(places)[0]
    assert places.look_up(packed("8.8.8.8")).country == "SE"
    assert places.look_up(packed("9.9.9.9")).country == "FI", "not asked before: read from what is kept"
    assert trouble(places)[1:] == ["", ""]
    if file.is_dir():
        file.rmdir()
    put(tmp_path, "country.mmdb", made({"8.8.8.0/24": {"country_code": "DK"}}))
    assert places.reload()
    assert (places.look_up(packed("8.8.8.8")).country, trouble(places)[0]) == ("DK", "")


def test_a_broken_file_at_the_start_leaves_ours(tmp_path) -> None:
    (tmp_path / "asn.mmdb").write_bytes(b"x" * 1_000)
    places = Places(tmp_path)
    assert places.look_up(packed("8.8.8.8")).asn == 15169
    assert trouble(places)[2].endswith("asn.mmdb (ours) is kept")


def test_what_never_was_valid_cannot_be_told(tmp_path, monkeypatch) -> None:
    """Nothing is taken for granted: not even our own files."""
    monkeypatch.setattr(geo, "KINDS", tuple(kind._replace(ours=f"none-{kind.ours}") for kind in KINDS))
    places = Places(tmp_path)
    assert places.look_up(packed("8.8.8.8")) == Place(None, None, None)
    assert [(row["built"], row["stale"]) for row in places.status()] == [(0.0, False)] * 3
    assert all("rules about it refuse" in text for text in trouble(places))
    put(tmp_path, "country.mmdb", made({"8.8.8.0/24": {"country_code": "SE"}}))
    assert places.reload()
    assert places.look_up(packed("8.8.8.8")) == Place("SE", None, None)


def test_damage_inside_a_database_is_met_and_told(tmp_path) -> None:
    data = made({"1.0.0.0/24": {"country_code": "SE"}, "8.8.8.0/24": {"country_code": "FI"}})
    at = data.rindex(b"country_code\x42FI") - 2
    (tmp_path / "country.mmdb").write_bytes(data[:at] + b"\xff\xff" + data[at + 2 :])
    places = Places(tmp_path)
    places.look_up(packed("8.8.8.8"))
    found = trouble(places)[0]
    assert "is damaged" in found or "ours) is kept" in found
    assert places.look_up(packed("8.8.8.8")).country in (None, "US")


def test_our_operators_are_called_by_the_numbers_that_the_database_has() -> None:
    """A number that nobody announces, or that has gone to somebody else, is found here."""
    words = {
        "cnnic": ["china internet network"], "bytedance": ["bytedance", "tiktok"], "alibaba": ["alibaba", "taobao"], "kingsoft": ["kingsoft"], "meta": ["facebook", "whatsapp"],
        "huawei": ["huawei"], "amazon": ["amazon"],
    }
    data = gzip.decompress((Path(geo.__file__).parent / "places" / "asn.mmdb.gz").read_bytes())
    names: dict[int, str] = {}
    for _, record in geo._mapped(data):
        names.setdefault(record["autonomous_system_number"], record["autonomous_system_organization"].lower())
    for operator in OPERATORS.values():
        for asn in operator.asns:
            assert any(word in names[asn] for word in words.get(operator.id, [operator.id])), (operator.id, asn, names.get(asn))


def test_about_names_whose_data_it_is(tmp_path) -> None:
    result = CliRunner().invoke(main, ["--socket", str(tmp_path / "none.sock"), "about"])
    assert result.exit_code == 0, result.output
    assert all(line in result.output for line in ATTRIBUTIONS)
    assert "dbip-country-lite.mmdb (ours): where an address stands, data of 01 Jun 2026" in result.output
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert all(word in readme for word in ("https://db-ip.com", "https://www.routeviews.org", "NRO", "https://iptoasn.com"))
