"""Install the package of PyPI that has our name into a folder of its own.

    python benchmarks/peers.py

Beside ours it would replace it; the other peers come with `pip install '.[bench]'`.
"""

import subprocess
import sys

from contenders import NAMESAKE_FOLDER

# The last pure-Python version.
REQUIREMENT = "fast_map==0.3.1"


def main() -> int:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--upgrade"]
    command += ["--target", str(NAMESAKE_FOLDER), REQUIREMENT]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
