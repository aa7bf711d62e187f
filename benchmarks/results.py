"""What was measured: records with their units, medians and ratios, targets, and their file."""

import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

X = float | str


class Unit(NamedTuple):
    """How the seconds of a run over so many items or bytes become what is shown."""

    name: str
    scale: float = 1.0
    is_rate: bool = False

    def convert(self, measured: float, amount: float) -> float:
        value = amount / measured if self.is_rate else measured / amount
        return value * self.scale


NS_PER_ITEM = Unit("ns per item", 1e9)
SECONDS = Unit("s")
MILLISECONDS = Unit("ms", 1e3)
MICROSECONDS = Unit("us", 1e6)
GB_PER_SECOND = Unit("GB/s", 1e-9, is_rate=True)
MIB = Unit("MiB", 1 / (1 << 20))


@dataclass
class Record:
    """One contender at one point; either values or the reason why there are none."""

    panel: str
    x: X
    label: str
    unit: str
    amount: float = 1.0
    settings: dict[str, Any] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    failure: str | None = None

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None


class Target(NamedTuple):
    """A figure that is aimed at; `measured` is None where this run could not tell."""

    what: str
    bound: float
    measured: float | None
    at_least: bool = False
    unit: str = ""

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        reached = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return "reached" if reached else "not reached"

    def cells(self) -> list[str]:
        sign = ">=" if self.at_least else "<="
        measured = "-" if self.measured is None else show(self.measured)
        unit = f" {self.unit}" if self.unit else ""
        return [self.what, f"{sign} {self.bound:g}{unit}", f"{measured}{unit}", self.verdict]


class Results:
    """The records of one question."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records = list(records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def find(self, panel: str, x: X, label: str) -> Record | None:
        wanted = (panel, x, label)
        return next((r for r in self if (r.panel, r.x, r.label) == wanted), None)

    def median(self, panel: str, x: X, label: str) -> float | None:
        record = self.find(panel, x, label)
        return record.median if record else None

    def ratio(self, panel: str, x: X, label: str, to: str) -> float | None:
        """The median of one contender as a multiple of another's at the same point."""
        own, other = self.median(panel, x, label), self.median(panel, x, to)
        return own / other if own is not None and other else None

    def best(self, panel: str, x: X, labels: Iterable[str]) -> float | None:
        """The least median of several contenders."""
        found = [self.median(panel, x, label) for label in labels]
        return min((value for value in found if value is not None), default=None)

    def panels(self) -> list[str]:
        return list(dict.fromkeys(record.panel for record in self))

    def labels(self, panel: str) -> list[str]:
        return list(dict.fromkeys(record.label for record in self if record.panel == panel))

    def xs(self, panel: str) -> list[X]:
        return list(dict.fromkeys(record.x for record in self if record.panel == panel))


def worst(values: Iterable[float | None], at_least: bool = False) -> float | None:
    """The one that is furthest from a target; None if one of them is missing."""
    found = list(values)
    if not found or None in found:
        return None
    return (min if at_least else max)(value for value in found if value is not None)


def show(value: float) -> str:
    """Three significant digits, without an exponent."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or not value else f"{value:.5f}"


def align(rows: list[list[str]]) -> list[str]:
    """The rows as lines of text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def save(path: Path, document: dict[str, Any], results: Results, targets: list[Target]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        **document,
        "targets": [target._asdict() for target in targets],
        "records": [asdict(record) for record in results],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def load(path: Path) -> tuple[dict[str, Any], Results, list[Target]]:
    document = json.loads(path.read_text())
    records = [Record(**record) for record in document.pop("records")]
    targets = [Target(**target) for target in document.pop("targets")]
    return document, Results(records), targets
