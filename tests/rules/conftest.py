from __future__ import annotations

import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest

from rules.consent import Grant, Subject
from rules.expression import parse_rule
from rules.observation import NOWHERE, Name, Observation, Source
from rules.policy import Policy, compile_policy
from rules.rule import Rule
from rules.store import load_packs
from rules.verdict import Verdict

PACKS = load_packs()


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def seen(*, phone="phone1", proto="tcp", addr="198.51.100.9", port=443, dns=(), sni=(), http=(), open_=False, unfinished=False, group="", place=NOWHERE, consents=()) -> Observation:
    """`dns`: one tuple of names per question, or one name for the only question. `consents`: "service:a", "name:b"; their ids count from 7."""
    chains = ((dns,),) if isinstance(dns, str) else tuple(dns)
    said = tuple(Name(n, Source.SNI) for n in ([sni] if isinstance(sni, str) else sni))
    said += tuple(Name(n, Source.HTTP) for n in ([http] if isinstance(http, str) else http))
    return Observation(phone, proto, packed(addr) if addr else None, port, chains, said, open_, unfinished, group, place, grants(*consents) if consents is not None else None)


def grants(*subjects: str) -> tuple[Grant, ...]:
    return tuple(Grant(number, Subject.parse(text)) for number, text in enumerate(subjects, 7))


def policy(*rules: str, packs: bool = False, services: bool = False) -> Policy:
    """`policy("allow name:a", "block")`. `services`: those of the packs without their rules."""
    made = []
    for n, text in enumerate(rules, 1):
        action, _, match = text.partition(" ")
        made.append(Rule(f"r{n}", Verdict(action), parse_rule(match)))
    shipped = [pack if packs else replace(pack, rules=()) for pack in PACKS] if packs or services else []
    return compile_policy(made, shipped, revision=7)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    return SimpleNamespace(seen=seen, grants=grants, policy=policy, packed=packed)
