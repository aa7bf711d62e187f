"""Building C parts of the project for the tests, apart from the installed package."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tool(name):
    """The program of the `test` extra, beside the interpreter, or else the system's."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is missing: install fast_map[test]"
    return found


def run(*command):
    """What the command prints; it runs without the sanitizers that may be loaded into ours."""
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1100, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_once(tmp_path_factory, name, *options):
    """The folder in which that is built; all processes of one run of the tests share it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / name, shared / f"{name}.done"
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            build(folder, *options)
            done.touch()
    return folder


def build(folder, *options):
    """Build into the folder what the options ask for; the extension is not among it."""
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    options = ["-DFM_EXTENSION=OFF", *options]
    run(tool("cmake"), "-S", str(ROOT), "-B", str(folder), *generator, *options)
    run(tool("cmake"), "--build", str(folder), "--parallel", "2")
