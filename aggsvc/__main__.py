"""Run the service: `python -m aggsvc`. With `token`, manage the tokens that it takes."""

import os
import signal
import sys

INTERRUPTED = 130  # as a shell tells of Ctrl-C


def main() -> int:
    """Run until SIGTERM or Ctrl-C, or the command that is given; returns the exit status."""
    # Until the server has a way to stop, there is nothing to bring to an end.
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from aggsvc.errors import StartRefused  # noqa: PLC0415 - imports take a second, with Ctrl-C

    try:
        if sys.argv[1:]:
            from aggsvc.commands import run_command  # noqa: PLC0415 - as above

            return run_command()
        _serve()
    except StartRefused as error:
        for line in str(error).splitlines():
            print(f"aggsvc: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # once more, when all was over
        return INTERRUPTED
    return 0


def _serve() -> None:
    import structlog  # noqa: PLC0415 - as above

    from aggsvc.logs import configure_logging  # noqa: PLC0415
    from aggsvc.server import serve  # noqa: PLC0415
    from aggsvc.settings import misspelt, read_settings  # noqa: PLC0415

    settings = read_settings()
    configure_logging(settings.log_level)
    for name, meant in misspelt().items():
        structlog.get_logger("aggsvc").warning("unknown variable", name=name, meant=meant)
    serve(settings)


if __name__ == "__main__":
    status = main()
    if sys.argv[1:]:
        sys.exit(status)
    os._exit(status)  # waits for no thread: the engine may still be compiled
