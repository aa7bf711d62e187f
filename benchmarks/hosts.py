"""The runner's side of the processes that contenders run in.

Each contender has a host of its own, in a session of its own, so that one that hangs can be ended
with everything it has started, and none sees what another leaves behind.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from contenders import NAMESAKE, NAMESAKE_FOLDER

HOST = Path(__file__).resolve().with_name("host.py")
SECONDS_TO_END = 2.0


class Failure(Exception):
    """Why there is no measurement; its text goes into the table."""


class TimedOut(Failure):
    """The contender took longer than it may."""


class Host:
    def __init__(self, contender: str | None) -> None:
        environment = dict(os.environ)
        if contender == NAMESAKE:
            path = [str(NAMESAKE_FOLDER), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        self._process = subprocess.Popen(
            [sys.executable, "-B", str(HOST)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], limit: float) -> float:
        """What the host measures, or Failure; after TimedOut, nothing of the host is left."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            reply = self._read_reply(time.monotonic() + limit)
        except TimedOut:
            self.kill()
            raise TimedOut(f"over {limit:.3g} s") from None
        except (OSError, EOFError):
            raise Failure(self._tell_end()) from None
        if "error" in reply:
            raise Failure(reply["error"])
        return float(reply["value"])

    def _read_reply(self, deadline: float) -> dict[str, Any]:
        """A host that has died may leave children that hold its pipe: so look at both."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut
            if select.select([descriptor], [], [], min(left, 0.25))[0]:
                chunk = os.read(descriptor, 65536)
                if not chunk:
                    raise EOFError
                line += chunk
            elif not self.alive:
                raise Failure(self._tell_end())
        found: dict[str, Any] = json.loads(line)
        return found

    def _tell_end(self) -> str:
        self.kill()
        status = self._process.returncode
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited: {status}"

    def kill(self) -> None:
        """End the host and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def close(self) -> None:
        """Let the host end by itself, as libraries may have files to remove; then make sure."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        self.kill()
