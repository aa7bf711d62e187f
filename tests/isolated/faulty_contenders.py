"""A benchmark of functions that fail in every way; those that run for too long leave their pids.

Arguments are the runner's. FAULTS_FOLDER says where the pids go.
"""

import os
import time
from pathlib import Path

from host import Task
from runner import Entry, Group, Plot, Question, run_question

LIMIT = 3.0


def hang(value):
    Path(os.environ["FAULTS_FOLDER"], str(os.getpid())).touch()
    time.sleep(600)


def end_process(value):
    os._exit(3)


def fail(value):
    raise LookupError(f"no {value}")


def identity(value):
    return value


def make_task(how):
    functions = {"hang": hang, "end": end_process, "fail": fail}
    expected = 4 if how == "lose" else 3
    return Task(functions.get(how, identity), lambda: range(3), expected)


def make_groups(size):
    limit = 600.0 if os.environ.get("FAULTS_LAST") else LIMIT
    ways = ["hang"] if os.environ.get("FAULTS_LAST") else ["hang", "end", "fail", "lose", "work"]
    entries = [
        Entry(how, contender, {"how": how}, limit=limit)
        for contender, how in zip(["Pool.imap", *["map"] * 4], ways, strict=False)
    ]
    absent = Entry("absent", "fast_map of PyPI", {"how": "work"})
    later = Entry("hang", "Pool.imap", {"how": "work"})
    return [Group("faults", 1, [*entries, absent]), Group("faults", 2, [later])]


QUESTION = Question(
    "faulty_contenders", "What fails?", "", Plot("lines", "n"), make_groups, {"tiny": 1.0}
)

if __name__ == "__main__":
    run_question(QUESTION)
