"""[pure] How much one phone may ask, so that it cannot take the others' answers away."""

from __future__ import annotations

from collections import OrderedDict

RATE = 200.0  # questions a second, in the long run: one costs less than 100 us, and the longest answer 2 ms
BURST = 2_000.0  # at once: a phone that comes home asks for everything together, over both families
MOST_PHONES = 4_096  # remembered; beyond, who has been silent longest starts anew


class Rates:
    """A token bucket for each phone."""

    def __init__(self, rate: float = RATE, burst: float = BURST) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # phone -> tokens, at

    def allows(self, phone: bytes, now: float) -> bool:
        """Whether one more question of `phone` is within its rate; takes a token if so."""
        bucket = self._buckets.pop(phone, None)
        if bucket is None:
            tokens = self._burst
            if len(self._buckets) >= MOST_PHONES:
                self._buckets.popitem(last=False)
        else:
            tokens = min(self._burst, bucket[0] + (now - bucket[1]) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[phone] = (tokens - 1.0 if allowed else tokens, now)
        return allowed
