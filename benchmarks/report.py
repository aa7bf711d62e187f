"""The page of results and its plots, made from the files that the benchmarks write.

python benchmarks/report.py [--output FOLDER]
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from results import Record, Results, Target, X, load, show

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "results"
PAGE = HERE / "README.md"
MARKER = "<!-- results: report.py writes everything below -->"

# In the order of the page, and in which run_all.py runs them.
QUESTIONS = (
    "overhead",
    "break_even",
    "payloads",
    "startup",
    "latency",
    "blocking",
    "threads_limit",
    "mixed",
    "cpu_only",
    "uneven",
    "idle",
    "item_count",
    "process_count",
)

Document = tuple[dict[str, Any], Results, list[Target]]


def default_output(size: str) -> Path:
    """Short runs must not replace what the page shows."""
    return FOLDER if size in ("standard", "full") else HERE / f"results-{size}"


def table(rows: list[list[str]]) -> str:
    """Rows as Markdown, the first of them the head."""
    rows = [rows[0], ["---"] + ["---:"] * (len(rows[0]) - 1), *rows[1:]]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def describe_cell(record: Record | None, own: float | None) -> str:
    if record is None:
        return ""
    if record.median is None:
        return record.failure or "not measured"
    ratio = f" ({show(record.median / own)})" if own and record.label != "fast_map" else ""
    return show(record.median) + ratio


def show_x(x: X) -> str:
    return x if isinstance(x, str) else f"{x:,.10g}"


def panel_table(results: Results, panel: str) -> str:
    xs = results.xs(panel)
    unit = next(record.unit for record in results if record.panel == panel)
    rows = [[f"{panel}: {unit}", *map(show_x, xs)]]
    for label in results.labels(panel):
        name = f"**{label}**" if label == "fast_map" else label
        found = [(results.find(panel, x, label), results.median(panel, x, "fast_map")) for x in xs]
        rows.append([name, *(describe_cell(record, own) for record, own in found)])
    return table(rows)


def describe_settings(record: Record) -> str:
    found = ", ".join(f"{name}={value}" for name, value in record.settings.items())
    amount = f"{record.amount:,.0f} {'bytes' if record.unit == 'GB/s' else 'items'}"
    runs = f"{len(record.values)} runs"
    return ", ".join(filter(None, [found, amount if record.amount != 1 else "", runs]))


def settings_list(results: Results) -> str:
    """What each contender was run with: folded away, since it is long."""
    lines = [
        f"- {record.panel}, {show_x(record.x)}, {record.label}: {describe_settings(record)}"
        for record in results
        if record.values
    ]
    head = "<details><summary>Settings found, amounts and numbers of runs</summary>"
    return "\n".join([head, "", *lines, "", "</details>"])


def question_section(folder: Path, page: Path, document: Document) -> str:
    facts, results, targets = document
    name = facts["name"]
    size = "" if facts["size"] == "standard" else f" --size {facts['size']}"
    parts = [f"### {facts['title']}", facts["explanation"]]
    parts.append(f"`python benchmarks/{name}.py{size}` ({facts['seconds']:.0f} s)")
    plot = folder / f"{name}.png"
    if plot.exists():
        parts.append(f"![{facts['title']}]({plot.relative_to(page.parent)})")
    parts += [panel_table(results, panel) for panel in results.panels()]
    if targets:
        parts.append(target_table(targets))
    return "\n\n".join([*parts, settings_list(results)])


def target_table(targets: Iterable[Target]) -> str:
    return table([["target", "bound", "measured", ""], *(target.cells() for target in targets)])


def machine_lines(documents: list[Document]) -> str:
    lines = []
    for facts, _, _ in documents:
        machine = facts["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        lines.append(f"{machine['date']}, {machine['summary']}; {versions}.")
    return "\n\n".join(dict.fromkeys(lines))


def list_results(folder: Path) -> list[str]:
    """What there are files of, in the order of the page; others than ours at the end."""
    found = {path.stem for path in folder.glob("*.json")}
    return [*filter(found.__contains__, QUESTIONS), *sorted(found.difference(QUESTIONS))]


def write_results(folder: Path, page: Path) -> str:
    documents = [load(folder / f"{name}.json") for name in list_results(folder)]
    if not documents:
        return "No results yet."
    parts = ["## Results", machine_lines(documents)]
    if any(facts["size"] in ("tiny", "quick") for facts, _, _ in documents):
        parts.append("**From a short run, which tells whether everything works, and no more.**")
    parts.append(
        "Medians; in parentheses as a multiple of fast_map's. Where a contender gave no result,"
        " the table says why."
    )
    if targets := [target for _, _, found in documents for target in found]:
        parts += ["### Targets", target_table(targets)]
    return "\n\n".join(parts + [question_section(folder, page, each) for each in documents])


def update(folder: Path, names: Iterable[str]) -> None:
    """Draw these questions anew, and write the page."""
    try:
        from plots import draw
    except ModuleNotFoundError as error:
        print(f"\nno plots: {error.name} is not installed")
    else:
        for name in names:
            facts, results, _ = load(folder / f"{name}.json")
            draw(facts, results, folder / f"{name}.png")
    page = PAGE if folder.resolve() == FOLDER else folder / "README.md"
    text = page.read_text() if page.exists() else f"# Benchmarks: a run of its own\n\n{MARKER}\n"
    head = text.partition(MARKER)[0]
    page.write_text(f"{head}{MARKER}\n\n{write_results(folder, page)}\n")
    print(f"\nwritten: {page}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=FOLDER, help="default: %(default)s")
    folder = parser.parse_args().output
    update(folder, list_results(folder))


if __name__ == "__main__":
    main()
