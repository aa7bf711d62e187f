"""Where the figures come from: the machine, the interpreter, the versions of all contenders."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

from contenders import CPUS, NAMESAKE, NAMESAKE_FOLDER

PACKAGES = ("fast_map", "joblib", "mpire", "pebble", "numpy")


def find_version(package: str, **where: Any) -> str | None:
    found = importlib.metadata.distributions(name=package, **where)
    return next((distribution.version for distribution in found), None)


def read_processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def describe_machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {package: find_version(package) for package in PACKAGES}
    versions[NAMESAKE] = find_version("fast_map", path=[str(NAMESAKE_FOLDER)])
    return {
        "summary": f"CPython {platform.python_version()}, Linux {platform.release()}, {CPUS} CPUs "
        f"({read_processor()}), {memory:.0f} GiB",
        "versions": {name: version for name, version in versions.items() if version},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
