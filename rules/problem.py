"""What is wrong with what the owner wrote, said so that it can be mended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `str` reads `rules.toml:12:9: unknown service "x" (did you mean "y"?)`."""

    file: str
    line: int  # 1-based; 0: the file as a whole
    column: int  # 1-based, in characters; 0: the line as a whole
    message: str
    remedy: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{place}: {self.message}" + (f" ({self.remedy})" if self.remedy else "")


class RuleError(Exception):
    """The owner's rules cannot be used; `problems` say where and what would help."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
