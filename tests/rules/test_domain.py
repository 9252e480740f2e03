import pytest

from rules.domain import registrable


@pytest.mark.parametrize(("name", "domain"), [
    ("api.account.xiaomi.com", "xiaomi.com"), ("xiaomi.com", "xiaomi.com"), ("a.b.c.co.uk", "c.co.uk"), ("WWW.Example.ORG", "example.org"),
    ("x.y.github.io", "y.github.io"), ("com", ""), ("co.uk", ""), ("router", ""), ("", ""), ("a.tracker.example", "tracker.example"),
])
def test_what_somebody_has_registered(name, domain):
    assert registrable(name) == domain
