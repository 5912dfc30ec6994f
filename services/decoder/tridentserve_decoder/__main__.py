"""`tridentserve-decoder`: a worker that serves `decode`."""

import sys

from tridentserve.stage.__main__ import main as serve


def main() -> int:
    """Run until SIGTERM; the exit code."""
    return serve(["--stages", "decode"])


if __name__ == "__main__":
    sys.exit(main())
