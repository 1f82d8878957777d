"""``python -m runtime classify|stream|add-class|bench|...``: the device commands, on argparse."""

from __future__ import annotations

import argparse
import sys

from runtime.commands.terminal import Stopped, complain, drop_output, show_everything, stoppable
from runtime.errors import EdgeError
from runtime.files.home import expanded
from runtime.files.system import require_current_folder, system_fault

FAILED = 2
INTERRUPTED = 128 + 2  # as a shell counts signals: SIGINT


def main(argv: list[str] | None = None) -> int:
    """Runs one command; an error is one line on stderr and exit code 2."""
    show_everything()
    try:
        with stoppable():
            require_current_folder()
            args = _parser().parse_args(expanded(sys.argv[1:] if argv is None else argv))
            code: int = args.command(args)
            if sys.stdout is not None:  # closed by the caller
                sys.stdout.flush()
            return code
    except BrokenPipeError:  # head or less has left
        drop_output()
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Stopped as stop:
        complain(str(stop))
        return 128 + stop.number
    except EdgeError as error:
        complain(f"error: {error}")
    except (OSError, MemoryError) as error:
        fault = system_fault(error)
        complain(f"error: {fault.what} · got {fault.got} · {fault.remedy}" if fault else error)
        drop_output()
    return FAILED


def _parser() -> argparse.ArgumentParser:
    # slow: inside stoppable
    from runtime.commands import add_class, bench, classify, doctor, engine, stream, verify

    about = "Use a clip2edge bundle on this machine."
    parser = argparse.ArgumentParser(prog="python -m runtime", description=about)
    names = "classify|stream|add-class|bench|verify|engine|doctor"
    commands = parser.add_subparsers(required=True, metavar=names)
    for command in (classify, stream, add_class, bench, verify, engine, doctor):
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
