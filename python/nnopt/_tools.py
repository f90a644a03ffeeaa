"""The command line tools as entry points of the package."""
import os
import sys

from ._compile import tool


def main() -> None:
    """Becomes the tool of the name that it was called by."""
    name = os.path.basename(sys.argv[0])
    os.execv(tool(name), [name, *sys.argv[1:]])
