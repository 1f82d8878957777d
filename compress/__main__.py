"""``compress`` and ``python -m compress``."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; without the packages of ``[build]``, says which command works here."""
    try:
        from compress.cli.app import main as command_line
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        if sys.argv[1:2] == ["doctor"]:
            from compress.cli.doctor import doctor

            raise SystemExit(doctor("--json" in sys.argv[2:])) from None
        mend = "pip install 'clip2edge[build]' (on a device: python -m runtime)"
        print(f"compress needs {error.name}: {mend}", file=sys.stderr)
        raise SystemExit(2) from error
    command_line()


if __name__ == "__main__":
    main()
