"""[pure] Which part of a name somebody has registered: what is left of a public suffix (publicsuffix.org)."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


@lru_cache(maxsize=4_096)
def registrable(name: str) -> str:
    """`xiaomi.com` of `api.account.xiaomi.com`, `b.co.uk` of `a.b.co.uk`; "" if nobody can register it."""
    return _suffixes().privatesuffix(name.lower()) or ""


@cache
def _suffixes() -> PublicSuffixList:
    """Takes 40 ms."""
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415  whoever imports this does not wait for it

    return PublicSuffixList()
