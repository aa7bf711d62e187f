"""Nothing of any public call stays behind, however often it is used."""

import itertools
import json

import pytest
from leak_cases import CASES, public_names
from markers import time_limit
from support import run_script

ROUNDS = 3
USES = 5  # in a round

# What is lost in each use counts as a leak. Blocks of memory also go to caches that fill up slowly,
# a few in a use and ever fewer; what matters of them shows as objects, or in the heap.
LEAST_LEAK = {"memory blocks": 15 * USES}

# A few names may share a case.
NAMES = {case: name for name, case in CASES.items()}.values()

# The C library keeps the stacks of some threads that have ended, and memory for later use.
MAPPED_TOLERANCE = 20 << 20
HEAP_TOLERANCE = 10 << 10  # in a round
RESIDENT_TOLERANCE = 1 << 20


def test_every_public_name_has_a_leak_case():
    missing = public_names() - CASES.keys()
    assert not missing, f"write a @leak_case for {sorted(missing)} in tests/leak_cases.py"
    unknown = CASES.keys() - public_names()
    assert not unknown, f"nothing public is called {sorted(unknown)}; see tests/leak_cases.py"


def growth(reports):
    """What leaks: it grows in every round, once per use at least. By chance things come too."""
    counts = [report["objects"] | report["counts"] for report in reports]
    rounds = list(itertools.pairwise(counts))
    least = {
        name: min(after.get(name, 0) - before.get(name, 0) for before, after in rounds)
        for name in counts[-1]
    }
    return {name: count for name, count in least.items() if count >= LEAST_LEAK.get(name, USES)}


@pytest.mark.slow
@time_limit(120)
@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_use_leaks(name):
    status, out, err = run_script("leaks.py", name, ROUNDS, USES, timeout=110)
    assert status == 0, err
    reports = [json.loads(line) for line in out.splitlines()]
    first, last = reports[0], reports[-1]
    for what in ("children", "descriptors", "threads", "shared mappings", "references"):
        assert last[what] == first[what], what
    assert growth(reports) == {}
    # A leak grows in every round; a buffer of the system's that grows does so now and then.
    heaps = [report["heap"] for report in reports]
    assert min(after - before for before, after in itertools.pairwise(heaps)) <= HEAP_TOLERANCE
    assert last["mapped"] <= first["mapped"] + MAPPED_TOLERANCE
    assert last["resident"] <= first["resident"] + RESIDENT_TOLERANCE
