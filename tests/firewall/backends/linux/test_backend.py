"""What is decided in the backend itself, without a kernel: what becomes of words that came during a whole load."""

from __future__ import annotations

import asyncio

import pytest

from firewall.backends.linux.backend import LinuxBackend
from firewall.commands import Exempt, KernelState, Reconcile, RefuseAddress

PAIR = (bytes.fromhex("020000000101"), bytes([93, 184, 216, 34]))


@pytest.mark.parametrize(("keep", "left"), [(False, []), (True, [RefuseAddress(*PAIR, 60)])])
def test_what_waits_for_a_load_does_not_come_back_over_newer_rules(keep: bool, left: list) -> None:
    """A phone was strict when it learnt an address, and is not any more when the load that was under way is over."""
    backend = object.__new__(LinuxBackend)
    backend._learned = {PAIR: 1e9}
    backend._exempted = {3}
    backend._meanwhile = [RefuseAddress(*PAIR, 60), Exempt(3, exempt=True)]
    backend._spawn = lambda work: work.close()
    backend._whole = asyncio.Lock()
    backend._reconcile(Reconcile(KernelState(2, False, (), (), keep)))
    assert backend._meanwhile == left
    assert backend._exempted == set()
    assert (PAIR in backend._learned) is keep
