"""The command ``python -m simulations examples``: the example files, wherever the package is installed."""

from pathlib import Path
from typing import Annotated

from abs_theory.checks import explains_types
from abs_theory.command_line import Command, check_folder, new_app, option, run_app, warn
from abs_theory.files import replacing

__all__ = ["example_files", "run_command"]

HERE = Path(__file__).parent
PLACES = (HERE / "example_files", HERE.parent / "examples")  # of an installed package, of a copy of the repository

app = new_app()


@explains_types
def example_files() -> list[Path]:
    """The example files of this package: experiments, sweeps, and a trace of measured delays.

    >>> [path.name for path in example_files() if path.suffix == ".csv"]
    ['trace.csv']
    """
    folder = next(place for place in PLACES if place.is_dir())
    return sorted(path for path in folder.iterdir() if path.suffix in (".csv", ".toml"))


@app.command(cls=Command, help="Copy the example files, such as run.toml and trace.csv, to a folder.")
def command(out: Annotated[Path, option("FOLDER", "folder to copy them to")] = Path("examples")) -> None:
    check_folder("--out", out)
    out.mkdir(parents=True, exist_ok=True)
    for path in example_files():
        content, copy = path.read_bytes(), out / path.name
        if copy.exists() and (not copy.is_file() or copy.read_bytes() != content):
            warn("simulations examples", f"{copy} is another file: left as it is")
            continue
        with replacing(copy) as file:
            file.write(content)
        print(copy)


def run_command() -> None:
    """The command; one line on stderr and status 2 for what the caller can mend."""
    run_app(app, "simulations examples", OSError, ValueError)
