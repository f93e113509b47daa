"""``python -m flambeau.utils.tensorboard show DIR`` and ``export DIR``: a log directory without a browser."""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import sys
import time

import numpy as np

from flambeau.utils.tensorboard import _storage as storage
from flambeau.utils.tensorboard.reader import Scalars, SummaryReader

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bits of a Braille character, by row and column


def curve(series: Scalars, width: int, height: int) -> list[str]:
    """A plot in Braille characters, two by four dots each, with the range of values on the left and of steps below.

    Where several steps fall on one column, it shows the least and the greatest value among them, and all between.
    """
    finite = np.isfinite(series.values)
    steps, values = series.steps[finite], series.values[finite]
    if len(values) == 0:
        return ["no finite value"]
    low, high = float(values.min()), float(values.max())
    if low == high:
        return [f"{low:.6g} throughout"]
    labels = [f"{high:.4g}", f"{low:.4g}"]
    margin = max(map(len, labels)) + 1
    columns, rows = 2 * max(width - margin - 1, 1), 4 * height
    first, last = int(steps.min()), int(steps.max())
    x = np.rint((steps - float(first)) * (columns - 1) / max(float(last) - first, 1)).astype(int)
    y = np.rint((high - values) / (high - low) * (rows - 1)).astype(int)
    top, bottom = np.full(columns, rows), np.full(columns, -1)
    np.minimum.at(top, x, y)
    np.maximum.at(bottom, x, y)

    cells = np.zeros((height, columns // 2), int)
    for column in range(columns):
        for row in range(top[column], bottom[column] + 1):
            cells[row // 4, column // 2] |= _DOTS[row % 4][column % 2]
    lines = ["".join(chr(0x2800 + cell) for cell in row) for row in cells.tolist()]
    left = [labels[0], *[""] * (height - 2), labels[1]] if height > 1 else [labels[0]]
    plot = [f"{label:>{margin - 1}} │{line}" for label, line in zip(left, lines, strict=True)]
    gap = columns // 2 - len(str(first)) - len(str(last))
    return [*plot, f"{'':>{margin}}└{'─' * (columns // 2)}", f"{'':>{margin + 1}}{first}{' ' * max(gap, 1)}{last}"]


def readers(directory: str, run_pattern: str) -> dict[str, SummaryReader]:
    runs = [run for run in storage.runs(directory) if re.search(run_pattern, run)]
    if not runs:
        raise SystemExit(f"no event files in {directory}" + (f" in a run that matches {run_pattern!r}" if run_pattern else ""))
    return {run: SummaryReader(directory if run == "." else storage.join(directory, run)) for run in runs}


def show(arguments: argparse.Namespace) -> None:
    width = arguments.width or shutil.get_terminal_size().columns
    for run, reader in readers(arguments.directory, arguments.run).items():
        tags = reader.tags()
        lost = f", {reader.bytes_lost} bytes of damaged records skipped" if reader.bytes_lost else ""
        print(f"{run}: {len(tags)} series{lost}")
        for tag in tags:
            if re.search(arguments.tag, tag):
                series = reader.scalars(tag)
                print(f"\n  {tag}: {len(series.steps)} values", end="")
                if len(series.steps):
                    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(series.wall_times[-1]))
                    print(f", the last one {series.values[-1]:.6g} at step {series.steps[-1]}, {when}", end="")
                print()
                print(*("  " + line for line in curve(series, width - 2, arguments.height)), sep="\n")
        print()


def export(arguments: argparse.Namespace) -> None:
    found = readers(arguments.directory, arguments.run)
    out = open(arguments.output, "w", newline="") if arguments.output else sys.stdout  # noqa: SIM115 (closed below)
    try:
        table = csv.writer(out)
        table.writerow(["run", "tag", "step", "wall_time", "value"])
        for run, reader in found.items():
            for tag in reader.tags():
                if re.search(arguments.tag, tag):
                    for row in zip(*(column.tolist() for column in reader.scalars(tag)), strict=True):
                        table.writerow([run, tag, *row])
    finally:
        if arguments.output:
            out.close()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m flambeau.utils.tensorboard", description="Looks into TensorBoard's log directories.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, text in ((show, "list the runs, and draw their scalars"), (export, "write the scalars as CSV")):
        subparser = commands.add_parser(command.__name__, help=text)
        subparser.set_defaults(command=command)
        subparser.add_argument("directory", help="directory, or fsspec URL, with event files in it or below it")
        subparser.add_argument("--run", default="", metavar="REGEX", help="only runs that match")
        subparser.add_argument("--tag", default="", metavar="REGEX", help="only tags that match")
        if command is show:
            subparser.add_argument("--width", type=int, help="in characters; default: the terminal's")
            subparser.add_argument("--height", type=int, default=8, help="of a curve, in lines; default: 8")
        else:
            subparser.add_argument("--output", metavar="FILE", help="default: standard output")
    parsed = parser.parse_args(arguments)
    try:
        parsed.command(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # as with `| head`: nobody wants the rest, nor to hear of it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
