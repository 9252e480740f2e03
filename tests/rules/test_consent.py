from __future__ import annotations

import pytest

from rules.consent import Kind, Subject


@pytest.mark.parametrize(("text", "kind", "what"), [
    ("service:xiaomi-account", Kind.SERVICE, "xiaomi-account"),
    ("name:Account.Xiaomi.COM.", Kind.NAME, "account.xiaomi.com"),
    ("name:bücher.example", Kind.NAME, "xn--bcher-kva.example"),
    ("addr:42.62.48.0/24", Kind.ADDR, "42.62.48.0/24"),
    ("addr:2001:DB8::1", Kind.ADDR, "2001:db8::1"),
])
def test_what_is_read_is_what_is_meant_and_can_be_read_again(text: str, kind: Kind, what: str) -> None:
    subject = Subject.parse(text)
    assert subject == (kind, what)
    assert Subject.parse(str(subject)) == subject


@pytest.mark.parametrize(("text", "said"), [
    ("", "nothing to consent to"),
    ("xiaomi-account", "nothing to consent to"),
    ("phone:anna", "nothing to consent to"),
    ("service:", "no service id"),
    ("service:a b", "no service id"),
    ("service:[red]", "no service id"),
    ("name:", "no host name"),
    ("name:=miui.com", "everything below"),
    ("name:*.miui.com", "everything below"),
    ("name:192.0.2.1", "behind addr:"),
    ("addr:", "no address"),
    ("addr:miui.com", "no address"),
    ("addr:10.0.0.1/8", "bits beyond"),
])
def test_what_cannot_be_consented_to_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Subject.parse(text)
