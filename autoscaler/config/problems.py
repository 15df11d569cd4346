"""Problems found in policy files: where, which field, what rule, what was found."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from autoscaler.config.nodes import Mark, Path, clean, dotted

_MOST_LISTED = 200
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to change.

    Attributes:
        file: The file, as it was named.
        text: Field, rule and value found.
        mark: Where; None for the file as a whole.
        path: The field; empty where the text says enough.
        exact: Whether the column helps: it does where the file cannot be read at all.
    """

    file: str
    text: str
    mark: Mark | None = None
    path: Path = ()
    exact: bool = False

    @property
    def place(self) -> str:
        """File and line, for a problem that points here."""
        return f"{self.file}:{self.mark.line}" if self.mark else self.file

    def __str__(self) -> str:
        where = clean(self.file, 4096)
        if self.mark is not None:
            where += f":{self.mark.line}"
            if self.exact:
                where += f":{self.mark.column}"
        text = clean(self.text, len(self.text))
        return f"{where}: {dotted(self.path)}: {text}" if self.path else f"{where}: {text}"


def in_file_order(problems: Iterable[Problem], files: Iterable[str]) -> tuple[str, ...]:
    """Return one line a problem, each once: files in the order read, then from top to bottom."""
    order = {file: index for index, file in enumerate(dict.fromkeys(files))}
    start = Mark(0, 0)
    lines = tuple(
        dict.fromkeys(
            str(problem)
            for problem in sorted(
                problems, key=lambda it: (order.get(it.file, len(order)), it.mark or start)
            )
        )
    )
    if len(lines) <= _MOST_LISTED:
        return lines
    return (*lines[:_MOST_LISTED], f"and {len(lines) - _MOST_LISTED} problems more")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" where a known name is close, else nothing."""
    by_lower = {one.lower(): one for one in known}
    close = get_close_matches(name[:_LONGEST_NAME].lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Return names with commas, or "none"."""
    return ", ".join(clean(name) for name in names) or "none"
