from __future__ import annotations

from rules.countries import COUNTRIES, country_name


def test_every_code_is_two_letters_and_an_unknown_one_is_shown_as_it_is() -> None:
    assert len(COUNTRIES) == 249
    assert all(len(code) == 2 and code.isupper() and name for code, name in COUNTRIES.items())
    assert (country_name("cn"), country_name("ZW"), country_name("XX")) == ("China", "Zimbabwe", "XX")
