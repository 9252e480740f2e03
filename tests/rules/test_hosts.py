from __future__ import annotations

import pytest

from rules.hosts import normal, suffixes


@pytest.mark.parametrize(("written", "compared"), [
    ("MIUI.com", "miui.com"), ("miui.com.", "miui.com"), ("_dmarc.a.example", "_dmarc.a.example"), ("münchen.example", "xn--mnchen-3ya.example"),
    ("localhost", "localhost"), (".".join(["a" * 63] * 3 + ["a" * 61]), ".".join(["a" * 63] * 3 + ["a" * 61])),
])
def test_one_form_for_every_spelling(written: str, compared: str) -> None:
    assert normal(written) == compared


@pytest.mark.parametrize("text", ["", ".", "a..b", "a.b..", "-a.example", "a-.example", "a b", "a/b", "*", "a" * 64, ".".join(["a" * 63] * 4), "ü" * 64, "a\n"])
def test_nonsense_is_no_host_name(text: str) -> None:
    with pytest.raises(ValueError, match="no host name|internationalised"):
        normal(text)


def test_suffixes_end_at_labels() -> None:
    assert suffixes("a.b.example") == ["a.b.example", "b.example", "example"]
