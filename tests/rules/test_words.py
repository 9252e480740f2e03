from __future__ import annotations

import pytest

from rules.expression import IN_FILTERS, parse_filter
from rules.sentence import parse_sentence
from rules.words import in_words, sentence

TITLES = {"xiaomi-account": "Xiaomi account and messaging", "xiaomi": "Xiaomi"}


@pytest.mark.parametrize(("text", "said"), [
    ("allow", "allow everything"),
    ("block -service:xiaomi-account phone:anna", "refuse everything, except service Xiaomi account and messaging, for phone anna"),
    ("ask name:miui.com,=x.com port:443,8000-8100", "refuse and ask about everything to miui.com and below or host x.com alone at port 443 or ports 8000 to 8100"),
    ("block -phone:tv,radio proto:udp,47", "refuse everything over UDP or protocol 47 for every phone but tv or radio"),
    ("block -name:good.com via:none", "refuse everything with no name at all, except good.com and below"),
    ("block country:CN,DE operator-country:CN", "refuse everything in China or Germany run from China"),
    ("ask operator:xiaomi asn:4808 -country:AT group:strict", "refuse and ask about everything run by Xiaomi run by AS4808, except in Austria, for group strict"),
    ("allow -group:home", "allow everything for every phone outside group home"),
    ("block addr:1.2.3.4,1.2.3.5,1.2.3.6,1.2.3.7,1.2.3.8", "refuse everything to 1.2.3.4, 1.2.3.5, 1.2.3.6 or 2 others"),
])
def test_a_rule_reads_as_a_sentence(text: str, said: str) -> None:
    assert sentence(*parse_sentence(text), TITLES) == said


def test_filters_read_as_well_and_every_term_has_a_phrase() -> None:
    assert in_words(parse_filter("verdict:refused last:1h rule:xiaomi/1").expression) == (
        "everything with verdict refused seen in the last hour decided by rule xiaomi/1"
    )
    examples = {"addr": "192.0.2.1", "port": "1", "proto": "tcp", "via": "dns", "verdict": "ask", "last": "15m", "country": "CN", "operator-country": "CN", "asn": "4808"}
    for key in IN_FILTERS:
        value = examples.get(key, "tencent" if key == "operator" else "x")
        try:
            read = in_words(parse_filter(f"{key}:{value}").expression)
        except ValueError:
            continue  # a value that this test does not know how to write
        assert f"with {key} " not in read or key == "verdict", key
