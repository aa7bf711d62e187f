"""Objects of classes that are not as plain here as where their objects were sent from.

The extension calls the function here; see src/python/codec_instance.c.
"""

import io
import pickle
from typing import Any

_find_class = pickle.Unpickler(io.BytesIO()).find_class


def make_instance(module: str, name: str, attributes: dict[str, Any]) -> Any:
    """As pickle does: imports the module if need be, and lets the class have its say."""
    kind = _find_class(module, name)
    instance = kind.__new__(kind)
    if attributes and hasattr(instance, "__setstate__"):
        instance.__setstate__(attributes)
    else:
        instance.__dict__.update(attributes)
    return instance
