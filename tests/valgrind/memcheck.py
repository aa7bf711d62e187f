"""Run all_kinds.py under valgrind's memcheck: no process may have an error or a definite leak.

For the Python that runs this, with fast_map installed (with debug information, or nothing that is
found has a name). Forked workers are watched as well, but most are killed before all leaks have
been searched for, which takes longer than the time that they are given to end.
"""

import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent

OPTIONS = [
    "--error-exitcode=99",
    f"--suppressions={HERE / 'memcheck.supp'}",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--errors-for-leak-kinds=definite",
    "--num-callers=30",
]


def hand_over_pidfd(connection):
    (pid,) = struct.unpack("i", connection.recv(4))
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        connection.sendall(struct.pack("i", error.errno))
        return
    socket.send_fds(connection, [struct.pack("i", 0)], [pidfd])
    os.close(pidfd)


def serve(listener):
    with suppress(OSError):  # until the listener is shut down
        while True:
            connection, _ = listener.accept()
            with connection:
                hand_over_pidfd(connection)


@contextmanager
def pidfd_broker(path):
    """Opens pidfds for programs that can't do so themselves; see preload.c."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(64)
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def compile_preload(library):
    command = ["cc", "-shared", "-fPIC", "-O1", "-g", HERE / "preload.c", "-o", library, "-ldl"]
    subprocess.run(command, check=True)


def run_memcheck(folder):
    """True if it found nothing; prints the reports of the processes that it found something in."""
    compile_preload(folder / "preload.so")
    environment = os.environ | {
        "FM_PIDFD_BROKER": str(folder / "broker"),
        "LD_PRELOAD": str(folder / "preload.so"),
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(HERE.parent),
    }
    log = f"--log-file={folder / 'log'}.%p"
    command = ["valgrind", *OPTIONS, log, sys.executable, str(HERE / "all_kinds.py")]
    with pidfd_broker(folder / "broker"):
        done = subprocess.run(command, env=environment)
    reports = [path.read_text() for path in folder.glob("log.*")]
    complaints = [text for text in reports if re.search(r"ERROR SUMMARY: [1-9]", text)]
    print(*complaints, f"exit status {done.returncode}, {len(reports)} processes", sep="\n")
    return done.returncode == 0 and not complaints


def main():
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(not run_memcheck(Path(folder)))


if __name__ == "__main__":
    main()
