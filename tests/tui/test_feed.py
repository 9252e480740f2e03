from __future__ import annotations

import time
from dataclasses import replace

import pytest

from rules.expression import parse_filter
from tui.feed import MOST_ROWS, Feed

NOW = time.time()


@pytest.fixture
def feed(episode):
    feed = Feed()
    for number in range(1, 6):
        feed.put(episode(number, f"n{number}.example.com", at=NOW + number, verdict="ask" if number % 2 else "allow").to_json())
    feed.settle(None, NOW)
    return feed


def ids(rows):
    return [row.id for row in rows]


def test_the_newest_is_on_top(feed):
    assert ids(feed.shown) == [5, 4, 3, 2, 1]


def test_a_new_try_rises_and_new_bytes_do_not(feed, episode):
    feed.put(episode(2, at=NOW + 9, count=7).to_json())
    feed.put(replace(episode(3, at=NOW + 3), bytes_up=900).to_json())
    rows = feed.settle(None, NOW)
    assert ids(rows) == [2, 5, 4, 3, 1]
    assert rows[0].count == 7
    assert rows[3].bytes_up == 900


def test_the_pinned_row_stays_where_it_is(feed, episode):
    feed.put(episode(2, at=NOW + 9, count=7).to_json())
    feed.put(episode(6, at=NOW + 10).to_json())
    rows = feed.settle(2, NOW)
    assert ids(rows) == [6, 5, 4, 3, 2, 1]
    assert rows[4].count == 7
    assert ids(feed.settle(None, NOW)) == [6, 2, 5, 4, 3, 1]


def test_rows_wait_until_they_are_settled(feed, episode):
    assert not feed.changed
    feed.put(episode(6, at=NOW + 6).to_json())
    feed.put(episode(5, at=NOW + 6).to_json())
    assert feed.changed
    assert feed.unseen == 1
    assert ids(feed.shown) == [5, 4, 3, 2, 1]


def test_at_most_2000_rows_are_kept(feed, episode):
    row = episode(0).to_json()
    for number in range(10, 10 + 3 * MOST_ROWS):
        feed.put(row | {"id": number, "last": NOW + number})
        if number % 1500 == 0:
            feed.settle(None, NOW)
    rows = feed.settle(None, NOW)
    assert len(rows) == MOST_ROWS
    assert rows[0].id == 9 + 3 * MOST_ROWS
    assert rows[-1].id == 10 + 2 * MOST_ROWS


def test_a_filter_hides_and_counts(feed, episode):
    feed.use(parse_filter("verdict:refused"), NOW)
    assert ids(feed.shown) == [5, 3, 1]
    assert feed.hidden == 2
    feed.put(episode(6, at=NOW + 6).to_json())
    feed.put(episode(4, at=NOW + 4, verdict="block").to_json())
    assert ids(feed.settle(None, NOW)) == [5, 4, 3, 1]
    feed.use(None, NOW)
    assert ids(feed.shown) == [6, 5, 4, 3, 2, 1]


def test_rows_grow_out_of_a_span_of_time(feed):
    feed.use(parse_filter("last:10s"), NOW)
    assert len(feed.shown) == 5
    assert ids(feed.settle(None, NOW + 13.5)) == [5, 4]


def test_another_gateway_begins_with_no_rows_and_the_same_filter(feed, episode):
    feed.use(parse_filter("verdict:refused"), NOW)
    feed.restart()
    assert feed.settle(None, NOW) == []
    feed.put(episode(1).to_json())
    feed.put(episode(2, verdict="ask").to_json())
    assert ids(feed.settle(None, NOW)) == [2]
