from __future__ import annotations

import pytest

from rules.expression import IN_FILTERS, parse_filter
from rules.matchers import known
from rules.verdict import Answer

ONE_OF_EACH = {"phone": "tv", "name": "=a.example", "addr": "192.0.2.0/24", "service": "xiaomi-ads", "proto": "tcp", "port": "80-90", "via": "dns", "verdict": "refused", "group": "kids", "country": "CN", "operator-country": "HK", "operator": "alibaba", "asn": "4538", "rule": "xiaomi/1", "last": "1h", "to": "192.0.2.7", "run-by": "cnnic"}


def test_a_missing_fact_leaves_the_answer_open() -> None:
    assert known(None, matches=True) is known(None, matches=False) is Answer.NOT_YET
    assert (known(0, matches=True), known("", matches=False)) == (Answer.YES, Answer.NO)


@pytest.mark.parametrize("key", IN_FILTERS)
def test_every_matcher_prints_what_it_reads_and_compares_by_value(key: str) -> None:
    matcher = IN_FILTERS[key].parse([ONE_OF_EACH[key]])
    assert matcher.values == (ONE_OF_EACH[key],)
    assert matcher == IN_FILTERS[key].parse(matcher.values)
    assert hash(matcher) == hash(IN_FILTERS[key].parse(matcher.values))
    assert str(parse_filter(f"-{key}:{ONE_OF_EACH[key]}").expression) == f"-{key}:{ONE_OF_EACH[key]}"
