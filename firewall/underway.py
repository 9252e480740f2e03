"""A renaming is two writes: the rules in rules.toml, the phone in state.db. A power cut between them must leave none
alone, for a rule about a phone that nobody is called would refuse nothing.

So the renaming is in state.db first, as what is under way. At the start the file tells whether it was written: then the
rest is done, else all of it is dropped.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING

from firewall.inputs import Author
from firewall.rulesfile import RulesFile
from firewall.state import UNDERWAY, Revision, StateError, StoredPhone
from rules.problem import RuleError

if TYPE_CHECKING:
    from pathlib import Path

    from firewall.state import State


def begin(state: State, new: bytes, revision: Revision, phone: StoredPhone) -> None:
    """Before the file becomes `new`; `State.add_revision` ends it. Raises StateError."""
    told = {
        "file": sha256(new).hexdigest(), "revision": asdict(revision),
        "phone": asdict(phone) | {"macs": [mac.hex() for mac in phone.macs]},
    }
    state.set_word(UNDERWAY, json.dumps(told))


def finish(state: State, rules: Path) -> None:
    """At the start, before the phones are read. What cannot be read or written is left for the next start."""
    with suppress(StateError, RuleError):
        if not (word := state.word(UNDERWAY)):
            return
        found = sha256(RulesFile(rules).read()).hexdigest()
        try:
            told = json.loads(word)
            phone = StoredPhone(**told["phone"] | {"macs": tuple(map(bytes.fromhex, told["phone"]["macs"]))})
            revision = Revision(**told["revision"])
            wanted = told["file"]
        except (ValueError, TypeError, KeyError):  # as another version wrote it: no reason never to start again
            wanted = ""
        if found != wanted:
            state.set_word(UNDERWAY, "")
            return
        who, text = Author(revision.who, revision.uid), revision.text or ""
        number, undoes = revision.number, revision.undoes
        state.add_revision(number, revision.at, who, revision.act, revision.digest, text, undoes, (phone,))
