"""What the README says of the options agrees with the function."""

import ast
import inspect
import re
from pathlib import Path

from fast_map import fast_map

README = Path(__file__).parents[1] / "README.md"

PARAMETERS = inspect.signature(fast_map).parameters
OPTIONS = {name: each for name, each in PARAMETERS.items() if each.kind is each.KEYWORD_ONLY}


def table_of_options():
    """Its rows, each a list of cells."""
    text = README.read_text(encoding="utf-8")
    table = re.search(r"^\| option \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [re.split(r" *\| *", line.strip("| ")) for line in table[1].splitlines()]


def code(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_option_is_in_the_table():
    told = {name for row in table_of_options() for cell in row for name in code(cell)}
    missing = OPTIONS.keys() - told
    assert not missing


def test_the_table_has_no_option_that_is_none():
    unknown = {name for row in table_of_options() for name in code(row[0])} - OPTIONS.keys()
    assert not unknown


def test_the_defaults_in_the_table_are_those_of_the_function():
    told = {name: code(row[1]) for row in table_of_options() for name in code(row[0])}
    wrong = {
        name: default
        for name, default in told.items()
        if name in OPTIONS and default and ast.literal_eval(default[0]) != OPTIONS[name].default
    }
    assert not wrong
