"""Shims over the system's library, which scripts are run with."""

import os
import shutil
import subprocess
import sysconfig

import pytest
from support import ISOLATED


def build_shim(folder, name):
    """The library that is built of that file."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    compiler = shutil.which(compiler) or shutil.which("cc")
    if compiler is None:
        pytest.skip(f"no C compiler (the interpreter's, or cc) to build {name} with")
    library = folder / f"{name}.so"
    source = ISOLATED / f"{name}.c"
    command = [compiler, "-shared", "-fPIC", "-O1", "-pthread", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def preload(monkeypatch, shim):
    """Have all programs that are started from here on use it; sanitizers insist on being first."""
    preloaded = [*os.environ.get("LD_PRELOAD", "").split(), str(shim)]
    monkeypatch.setenv("LD_PRELOAD", ":".join(preloaded))
