"""Another wall clock for a lab's Python processes: seconds to add stand in the file $CONSENTRY_TEST_CLOCK (may change)."""

from __future__ import annotations

import contextlib
import os
import time

_file = os.environ.get("CONSENTRY_TEST_CLOCK")
if _file:
    _true, _known = time.time, {"looked": 0.0, "offset": 0.0}

    def _time() -> float:
        now = time.monotonic()
        if now - _known["looked"] > 0.05:
            _known["looked"] = now
            with contextlib.suppress(OSError, ValueError), open(_file) as file:
                _known["offset"] = float(file.read() or 0)
        return _true() + _known["offset"]

    time.time = _time
