"""Which part of a name somebody has registered: it is told in the rules, for the gate asks as well."""

from rules.domain import registrable

__all__ = ["registrable"]
