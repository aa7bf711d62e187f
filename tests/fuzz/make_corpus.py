"""Write what the fuzzer starts from: `make_corpus.py FOLDER`, with codec_harness on the path.

Whole payloads of every kind go to FOLDER/corpus, and to FOLDER/dictionary the numbers that bounds
break at.
"""

import pickle
import struct
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import codec_harness


class Unknown:
    """Nothing has that name where the fuzzer decodes it."""

    def __init__(self):
        self.number = 1
        self.parts = ["text", ModuleSpec("name", None)]


VALUES = [
    *(None, True, False, 0, -1, 2**63 - 1, 2**64, -(2**200), 1.5, float("nan"), 1j),
    *("", "ascii", "naïve", "Ωmega", "🙂 wide", b"", b"bytes", b"x" * 300, "y" * 300),
    *((), [], {}, (1, (2.5, ("three",))), [None, True, b"4", ["五"]], {"key": [1], 2: {"🙂": ()}}),
    [[[[[[[[0]]]]]]]],
    *(Unknown(), ModuleSpec("name", None, origin="naïve"), {"a": ModuleSpec("b", None)}),
    *({1, 2}, bytearray(b"mutable" * 20), Path("/tmp")),
    [pickle.PickleBuffer(b"read-only"), pickle.PickleBuffer(bytearray(b"writable" * 9))],
    pickle.PickleBuffer(bytearray(b"large enough to be lent" * 3000)),
]

# Of two dimensions; there is no numpy where the fuzzer decodes it.
ARRAY_TAG = codec_harness.encode(Unknown())[0] + 1
ARRAY = struct.pack("<BBBBqq", 1, 3, 2, 0, 2, 3) + b"matter"

# The flags of fuzz_decoder.c.
WAYS = range(8)

EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x10FFFF, 0x110000, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]


def dictionary():
    numbers = [struct.pack("<I", n) for n in EDGES if n < 2**32]
    numbers += [struct.pack("<Q", n) for n in EDGES]
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in n) + '"\n' for n in numbers)


def main(folder):
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    payloads = [*map(codec_harness.encode, VALUES), (ARRAY_TAG, ARRAY)]
    for number, (tag, payload) in enumerate(payloads):
        for way in WAYS:
            (corpus / f"{number}-{way}").write_bytes(bytes([tag, way]) + payload)
    (folder / "dictionary").write_text(dictionary())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
