"""What the benchmarks share: the search for settings, repetitions in turns, the command line.

A question is a list of groups; a group is one point of a plot, with the contenders that meet there.
Before a group is measured every contender rehearses: it warms up, its results are counted, and of
its candidate settings the quickest is chosen. Then all take turns, so that whatever else the
machine does meets all of them; what is quoted is medians and their ratios.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import report
from contenders import KEEP_WORKERS
from hosts import Failure, Host, TimedOut
from machine import describe_machine
from results import NS_PER_ITEM, Record, Results, Target, Unit, X, align, save, show

HERE = Path(__file__).resolve().parent
SIZES = ("tiny", "quick", "standard", "full")
REPETITIONS = {"tiny": 1, "quick": 3, "standard": 7, "full": 11}
# As many even if the time for the group is over.
LEAST_REPETITIONS = {"tiny": 1, "quick": 1, "standard": 2, "full": 3}
# A candidate for the settings is given up when it has taken so many times what the best took.
PATIENCE = 2.0
LEAST_PATIENCE = 2.0

T = TypeVar("T")
Settings = dict[str, Any]


class Entry(NamedTuple):
    """A contender at one point. `parameters` go to the module's make_task or own measure.

    `rehearsal` replaces the parameters for the rehearsal, where a whole run would take too long.
    """

    label: str
    contender: str | None
    parameters: dict[str, Any]
    amount: float = 1.0
    candidates: tuple[Settings, ...] = ({},)
    limit: float = 30.0
    measure: str | None = None
    rehearsal: dict[str, Any] | None = None


class Group(NamedTuple):
    panel: str
    x: X
    entries: list[Entry]
    unit: Unit = NS_PER_ITEM
    weight: float = 1.0  # its part of the question's time
    least: int | None = None  # fewer repetitions than usual, where a run takes long


class Plot(NamedTuple):
    """How a question is drawn: "lines" over x, "dots" in a row for each x, or "bars"."""

    kind: str
    x: str = ""
    log_x: bool = True
    log_y: bool = True
    speedup_over: str | None = None


@dataclass
class Question:
    name: str
    title: str
    explanation: str
    plot: Plot
    groups: Callable[[str], list[Group]]
    seconds: dict[str, float]
    targets: Callable[[Results], list[Target]] = lambda results: []


def pick(size: str, tiny: T, quick: T, standard: T, full: T | None = None) -> T:
    """What belongs to the size; a full run differs from a standard one only where it says so."""
    values = {"tiny": tiny, "quick": quick, "standard": standard}
    return standard if size == "full" and full is None else values.get(size, full)  # type: ignore[return-value]


def grid(**choices: list[Any]) -> tuple[Settings, ...]:
    """All combinations of the choices, as candidates for settings."""
    return tuple(dict(zip(choices, values, strict=True)) for values in product(*choices.values()))


@dataclass
class Session:
    """One run of a question: its hosts, and what it knows of the contenders so far."""

    module: str
    hosts: dict[str | None, Host] = field(default_factory=dict)
    rehearsed: dict[str, Settings] = field(default_factory=dict)
    given_up: dict[tuple[str, str], str] = field(default_factory=dict)

    def ask(self, entry: Entry, settings: Settings, limit: float, rehearsal: bool) -> float:
        host = self.hosts.get(entry.contender)
        if host is None or not host.alive:
            host = self.hosts[entry.contender] = Host(entry.contender)
        replaced = rehearsal and entry.rehearsal is not None
        request = {
            "module": self.module,
            "measure": entry.measure,
            "contender": entry.contender,
            "settings": settings,
            "parameters": entry.rehearsal if replaced else entry.parameters,
            "rehearsal": rehearsal,
        }
        return host.ask(request, limit)

    def rehearse(self, entry: Entry) -> Settings:
        """The best of the candidates, each run once; Failure if none of them gets through."""
        key = json.dumps([entry.contender, entry.candidates, entry.rehearsal or entry.parameters])
        if key not in self.rehearsed:
            self.rehearsed[key] = self._search(entry)
        return self.rehearsed[key]

    def _search(self, entry: Entry) -> Settings:
        best: tuple[float, Settings] | None = None
        failure = Failure("no candidates")
        for settings in entry.candidates:
            limit = entry.limit
            if best:
                limit = min(limit, max(LEAST_PATIENCE, PATIENCE * best[0]))
            try:
                if entry.contender in KEEP_WORKERS:
                    self.ask(entry, settings, entry.limit, rehearsal=True)
                taken = self.ask(entry, settings, limit, rehearsal=True)
            except Failure as error:
                failure = error
                continue
            if best is None or taken < best[0]:
                best = taken, settings
        if best is None:
            raise failure
        return best[1]

    def prepare(self, group: Group, entry: Entry) -> Record:
        record = Record(group.panel, group.x, entry.label, group.unit.name, entry.amount)
        given_up = self.given_up.get((group.panel, entry.label))
        if given_up is not None and not isinstance(group.x, str):
            record.failure = given_up
            return record
        try:
            record.settings = self.rehearse(entry)
        except Failure as error:
            self.fail(record, error)
        return record

    def fail(self, record: Record, error: Failure) -> None:
        """One that is too slow at one size is not tried at the next, which is larger."""
        record.failure = str(error)
        if isinstance(error, TimedOut):
            self.given_up[record.panel, record.label] = f"not run, {error} at {record.x}"

    def run_group(self, group: Group, seconds: float, least: int, most: int) -> list[Record]:
        deadline = time.monotonic() + seconds
        records = [self.prepare(group, entry) for entry in group.entries]
        turns = list(zip(group.entries, records, strict=True))
        for repetition in range(most):
            if repetition >= least and time.monotonic() > deadline:
                break
            for entry, record in turns:
                self.run_once(group, entry, record)
            turns = turns[1:] + turns[:1]
        return records

    def run_once(self, group: Group, entry: Entry, record: Record) -> None:
        if record.failure is not None:
            return
        try:
            measured = self.ask(entry, record.settings, entry.limit, rehearsal=False)
        except Failure as error:
            self.fail(record, error)
            return
        record.values.append(group.unit.convert(measured, entry.amount))

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()


def print_group(group: Group, records: list[Record]) -> None:
    """What was measured at one point, and how many times as much as fast_map."""
    print(f"\n{group.panel}, {group.x}", flush=True)
    own = next((r.median for r in records if r.label == "fast_map"), None)
    rows = []
    for record in records:
        median = record.median
        if median is None:
            rows.append([record.label, record.failure or "", "", ""])
            continue
        ratio = f"{show(median / own)} x fast_map" if own else ""
        settings = " ".join(f"{key}={value}" for key, value in record.settings.items())
        rows.append([record.label, f"{show(median)} {record.unit}", ratio, settings])
    for line in align(rows):
        print(f"  {line}", flush=True)


def is_asked_for(entry: Entry, only: list[str]) -> bool:
    """What is no contender is what they are compared with."""
    return entry.contender is None or entry.contender in only


def choose(groups: list[Group], only: list[str]) -> list[Group]:
    """The groups with those contenders alone that were asked for."""
    if not only:
        return groups
    kept = [
        group._replace(entries=[each for each in group.entries if is_asked_for(each, only)])
        for group in groups
    ]
    if not any(group.entries for group in kept):
        raise SystemExit(f"no contender here is one of: {', '.join(only)}")
    return [group for group in kept if group.entries]


def measure_groups(question: Question, options: argparse.Namespace) -> Results:
    groups = choose(question.groups(options.size), options.only)
    least, most = LEAST_REPETITIONS[options.size], REPETITIONS[options.size]
    if options.repetitions is not None:
        least = most = max(1, options.repetitions)
    deadline = time.monotonic() + question.seconds[options.size]
    session = Session(question.name)
    results = Results()
    try:
        for number, group in enumerate(groups):
            left = deadline - time.monotonic()
            part = group.weight / sum(later.weight for later in groups[number:])
            records = session.run_group(group, left * part, min(least, group.least or least), most)
            print_group(group, records)
            results.records += records
    finally:
        session.close()
    return results


def parse_options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", choices=SIZES, default="standard", help="default: %(default)s")
    for short in ("quick", "full"):
        size.add_argument(f"--{short}", dest="size", action="store_const", const=short)
    parser.add_argument("--repetitions", type=int, help="default: as many as the time allows")
    parser.add_argument("--output", type=Path, help="folder for results; default: by size")
    parser.add_argument("--only", action="append", default=[], metavar="CONTENDER")
    options = parser.parse_args()
    options.output = options.output or report.default_output(options.size)
    return options


def run_question(question: Question) -> None:
    """Measure, print, save, draw, and write the page anew."""
    options = parse_options(question.title)
    # Ended from outside, it must still end its hosts.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    machine = describe_machine()
    print(f"{question.title}\n{machine['summary']}", flush=True)
    began = time.monotonic()
    results = measure_groups(question, options)
    targets = question.targets(results)
    if targets:
        print("\ntarget / bound / measured / reached or not")
        print("\n".join(align([target.cells() for target in targets])))
    document = {
        "name": question.name,
        "title": question.title,
        "explanation": " ".join(question.explanation.split()),
        "plot": question.plot._asdict(),
        "size": options.size,
        "seconds": round(time.monotonic() - began, 1),
        "machine": machine,
    }
    save(options.output / f"{question.name}.json", document, results, targets)
    report.update(options.output, [question.name])
