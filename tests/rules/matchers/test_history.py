from __future__ import annotations

import pytest

from rules.expression import ExpressionError, parse_filter
from rules.matchers.history import LastMatcher, VerdictMatcher


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3_600), ("7d", 604_800)])
def test_spans(text: str, seconds: int) -> None:
    assert LastMatcher.parse([text]).seconds == seconds


@pytest.mark.parametrize("text", ["1", "h", "0h", "1w", "-1h", "1.5h", "1h2m", "1000000d", "1h,2h"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ExpressionError, match="no span|one span"):
        parse_filter(f"last:{text}")


def test_refused_means_asked_or_blocked() -> None:
    assert VerdictMatcher.parse(["refused"]).words == {"ask", "block"}
    assert VerdictMatcher.parse(["allow", "refused"]).words == {"allow", "ask", "block"}
    with pytest.raises(ExpressionError, match="no verdict") as caught:
        parse_filter("verdict:allow,dropped")
    assert (caught.value.start, caught.value.remedy) == (14, "one of allow, ask, block, consent, watch, held, refused")
