"""What the extension has to know of numpy, which is imported when there is an array.

The extension calls the function here; see src/python/codec_array.c.
"""

from typing import Any

# numpy's characters for the kinds of numbers that the machine computes with.
_NUMBERS = "?bBhHiIlLqQefdgFDG"


def load_arrays() -> tuple[Any, tuple[Any, ...]]:
    """The type of arrays, and the dtypes whose arrays are sent without pickle."""
    import numpy  # type: ignore[import-not-found, unused-ignore]

    return numpy.ndarray, tuple(numpy.dtype(character) for character in _NUMBERS)
