"""Ours against DuckDB, Polars and csv.DictReader on local files, then end to end over HTTP.

python -m bench [--rows N] [--rounds N] [--only NAME ...]: prints the tables; a run of everything
also puts them into docs/performance.md.
"""

import argparse
import asyncio
import sys
from datetime import UTC, datetime

from bench import end_to_end, engines
from bench.inputs import INPUTS, make
from bench.tables import ROOT, keep, machine

FOLDER = ROOT / "tmp" / "bench"
END_TO_END = "end-to-end"
PARTS = (*INPUTS, END_TO_END)


def main(rows: int, rounds: int, only: list[str]) -> None:
    """Run the parts that were asked for."""
    parts = tables(rows, rounds, only)
    about = (
        f"**{rows:,} rows**, medians of {rounds} rounds, "
        f"`python -m bench --rows {rows} --rounds {rounds}`, {datetime.now(UTC):%Y-%m-%d}. "
        f"{machine('duckdb', 'polars', 'numba', 'numpy', 'aiohttp')}"
    )
    text = "\n\n".join([about, *parts])
    print(text)
    if set(only) == set(PARTS):
        keep("bench", text)


def tables(rows: int, rounds: int, only: list[str]) -> list[str]:
    """The tables of these parts."""
    compared, parts = [], []
    for kind in (kind for name, kind in INPUTS.items() if name in only):
        say(f"{kind.title} ...")
        made = make(kind, rows, FOLDER)
        runs = engines.compare(kind, made, rounds)
        compared.append((kind, made, runs))
        if kind.name == "clean":
            say("the slow ones ...")
            parts.append(engines.slow_ones(engines.once(kind, made), made, runs[engines.OURS]))
    if compared:
        parts.insert(0, engines.comparison(compared))
    if END_TO_END in only:
        say("end to end ...")
        made = make(INPUTS["clean"], rows, FOLDER)
        parts.append(end_to_end.report(asyncio.run(end_to_end.run(made, rounds))))
    return parts


def say(text: str) -> None:
    """Tell whoever waits what is being run."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    main(**vars(parser.parse_args()))
