"""[pure] What bytes say. Every reader answers with a value, NEED_MORE or NOT_MINE; none raises, none is unbounded.

The bytes come from phones and servers that may lie: a reader accepts what a lenient receiver would accept, because a
name that a server understands and we do not is a way around the gate.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal


class Outcome(Enum):
    """Why there is no value."""

    NEED_MORE = "a beginning: later bytes decide what it is"
    NOT_MINE = "something else, whatever follows"


NEED_MORE: Final = Outcome.NEED_MORE
NOT_MINE: Final = Outcome.NOT_MINE

NeedMore = Literal[Outcome.NEED_MORE]
NotMine = Literal[Outcome.NOT_MINE]
