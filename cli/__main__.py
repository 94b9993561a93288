"""Run the command line: `python -m cli`, or `aggsvc` where it is installed."""

import asyncio
import os
import sys

from cli.client import ClientFailed
from cli.main import ExitStatus, cli
from cli.render import show_failure


def main() -> None:
    """Run a command, and end with its exit status."""
    try:
        asyncio.run(cli.main(prog_name="aggsvc"))
    except ClientFailed as error:
        show_failure(str(error))
        sys.exit(ExitStatus.FAILED)
    except KeyboardInterrupt:
        sys.stderr.write("\naggsvc: interrupted\n")
        sys.exit(ExitStatus.INTERRUPTED)
    except BrokenPipeError:
        _say_no_more()  # the reader has seen enough
    except OSError as error:
        show_failure(_of_the_system(error))
        _say_no_more()


def _of_the_system(error: OSError) -> str:
    if error.filename is not None:
        return f"{error.filename} cannot be read ({error.strerror}); check the file"
    return f"the output cannot be written ({error.strerror}); write it elsewhere"


def _say_no_more() -> None:
    # Python would complain again when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(ExitStatus.FAILED)


if __name__ == "__main__":
    main()
