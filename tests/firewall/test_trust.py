from __future__ import annotations

import re

from firewall import trust
from firewall.trust import Trust, boot_id, kernel_is_synchronised


def test_what_was_believed_once_is_believed_and_the_kernel_is_not_asked_all_the_time() -> None:
    answers = [False, False, True, False]
    asked = []
    trust = Trust(believed=False, synchronised=lambda: asked.append(1) or answers.pop(0))
    assert [trust(boot) for boot in (10.0, 10.5, 11.0, 11.9, 12.0, 13.0, 99.0)] == [False, False, False, False, True, True, True]
    assert len(asked) == 3


def test_the_owners_word_is_enough() -> None:
    assert Trust(believed=True, synchronised=lambda: False)(1.0) is True


def test_the_kernel_tells() -> None:
    assert kernel_is_synchronised() in {True, False}
    assert re.fullmatch("[0-9a-f-]{36}", boot_id())
    assert boot_id() == boot_id()


def test_where_the_kernel_does_not_tell_which_boot_it_is_every_process_is_of_another(monkeypatch, tmp_path) -> None:
    for content in (None, "\n"):
        file = tmp_path / "boot_id"
        if content is not None:
            file.write_text(content)
        monkeypatch.setattr(trust, "BOOT_ID", file)
        assert trust.boot_id() != trust.boot_id()
        assert trust.boot_id()
