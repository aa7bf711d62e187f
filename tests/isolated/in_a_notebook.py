"""Sums numbers behind a bar in what tqdm takes for a notebook in which ipywidgets is missing."""

import sys
from types import SimpleNamespace

sys.modules["ipywidgets"] = None
sys.modules["ipykernel.zmqshell"] = sys  # what newer versions of tqdm look for
sys.modules["IPython"] = SimpleNamespace(
    get_ipython=lambda: SimpleNamespace(config={"IPKernelApp": {}}),
    html=None,
)

import with_progress  # noqa: E402, F401
