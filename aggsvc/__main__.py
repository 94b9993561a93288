"""Run the service: `python -m aggsvc`. With `token`, manage the tokens that it takes."""

import sys

import structlog

from aggsvc.commands import run_command
from aggsvc.errors import StartRefused
from aggsvc.logs import configure_logging
from aggsvc.settings import misspelt, read_settings


def main() -> int:
    """Run until SIGTERM or Ctrl-C, or the command that is given; returns the exit status."""
    try:
        if sys.argv[1:]:
            return run_command()
        from aggsvc.server import serve  # noqa: PLC0415 - a command starts sooner without it

        settings = read_settings()
        configure_logging(settings.log_level)
        for name, meant in misspelt().items():
            structlog.get_logger("aggsvc").warning("unknown variable", name=name, meant=meant)
        serve(settings)
    except StartRefused as error:
        for line in str(error).splitlines():
            print(f"aggsvc: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
