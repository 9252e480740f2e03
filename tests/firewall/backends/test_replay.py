"""Recordings with known content through the gate's own code: made by ourselves, and other people's where they are."""

from pathlib import Path

import captures
import corpora
import pytest

from firewall.capture import Capture


@pytest.mark.parametrize("name", captures.CASES)
def test_what_is_in_a_recording_is_found(name: str, tmp_path: Path) -> None:
    data, wanted = captures.CASES[name]
    file = tmp_path / name
    file.write_bytes(data)
    rows = list(corpora.replayed(Capture(file), name))
    told = [{key: row[key] for key in want} for row, want in zip(rows, wanted, strict=False)]
    assert told == wanted
    assert len(rows) == len(wanted)


def test_there_are_enough_recordings_of_our_own() -> None:
    assert len(captures.CASES) >= 30


@pytest.mark.skipif(not corpora.CORPORA.exists(), reason="../shared/data/pcaps is not here: other people's captures")
@pytest.mark.parametrize("variant", [list, corpora.reversed_segments, corpora.duplicated])
def test_names_of_other_peoples_captures_match(variant, capsys: pytest.CaptureFixture) -> None:
    scores = corpora.measure(variant)
    with capsys.disabled():
        print(*("\n" + line for line in corpora.report(variant.__name__, scores)), sep="")
    assert scores["TLS"].of >= 300
    assert scores["HTTP"].of >= 175
    for kind in corpora.MEASURED:
        assert scores[kind].share >= 0.99, kind
