"""Calls of another library. Arguments: what comes before each, and the calls; a line for each."""

import sys

from coming_from import run

if __name__ == "__main__":
    setup, *calls = sys.argv[1:]
    try:
        results = [run(setup, call) for call in calls]
    except ImportError as error:
        sys.exit(f"not here: {error}")
    if hasattr(sys.modules.get("fast_map"), "FastMap"):
        sys.exit("this was ours, not the other one of the name")
    print("", *results, sep="\n")
