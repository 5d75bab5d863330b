"""Regenerate the figures: ``python -m paper_figs [NAME ...] [--quick | --full] [--out DIR]``."""

from abs_theory import loading

if __name__ == "__main__":
    loading("paper_figs")

from concurrent.futures import BrokenExecutor  # a worker was killed
from pathlib import Path
from typing import Annotated

import typer

from abs_theory.command_line import check_folder, check_outputs, new_app, option, run_app
from paper_figs.catalogue import FIGURES
from paper_figs.making import is_stored, make, outputs_of, state_in_words, toolkit_for

app = new_app()
WIDTHS = ("column", "page", "talk")


@app.command(help=f"Regenerate figures (all if none is named) and their page. There are {', '.join(FIGURES)}.")
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", hidden=True)] = None,
    quick: Annotated[bool, typer.Option("--quick", help="few workers and replicates, for a look")] = False,
    full: Annotated[bool, typer.Option("--full", help="30 replicates and more, for print")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder to write to")] = Path("figures"),
    width: Annotated[
        str, option("WIDTH", "of the pictures: column or page of a paper, or talk, a slide with a title")
    ] = "page",
    svg: Annotated[bool, typer.Option("--svg", help="write NAME.svg as well")] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder with files of MNIST or CIFAR-10, for paper-setting")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="say what is cached and what is not, and stop")] = False,
) -> None:
    unknown = [name for name in names or [] if name not in FIGURES]
    if unknown:
        from abs_theory.checks import instead  # loads numpy, which the list does not need

        there_are = f"there are {', '.join(FIGURES)}"
        raise typer.BadParameter(f"no figure named {', '.join(unknown)}{instead(unknown[0], FIGURES, there_are)}")
    if quick and full:
        raise typer.BadParameter("--quick and --full are two sizes, give one of them or neither")
    if width not in WIDTHS:
        raise typer.BadParameter(f"--width must be {', '.join(WIDTHS[:-1])} or {WIDTHS[-1]}, got {width}")
    if data is not None:
        _check_data(data, names or list(FIGURES))
    size = "quick" if quick else "full" if full else "default"
    chosen = list(dict.fromkeys(names or FIGURES))
    if list_:
        toolkit = toolkit_for(out)
        for name in chosen:
            print(f"{name:<{max(map(len, FIGURES))}}  {size}  {state_in_words(toolkit, name, size, out, data)}")
        for other, options in {"quick": " --quick", "default": "", "full": " --full"}.items():
            if other != size and (count := sum(is_stored(name, other, out) for name in chosen)):
                print(f"{count} of these figures were computed in the size {other}: --list{options} says which")
        return
    check_folder("--out", out)
    outputs = outputs_of(chosen, out)
    own = {path.name for path in outputs}  # names that an earlier run may have written into the folder of data
    read = [] if data is None else [("--data", path) for path in data.iterdir() if path.name not in own]
    check_outputs([("--out", path) for path in outputs], read)
    out.mkdir(parents=True, exist_ok=True)
    print(*make(chosen, size, out, width, svg, data), sep="\n")


def _check_data(data: Path, names: list[str]) -> None:
    """Raise ValueError unless one of the figures trains on data of the user, and these can be read."""
    from simulations.problems import image_files

    if not any("data" in FIGURES[name].config("default") for name in names):
        raise typer.BadParameter(f"--data is for the figure paper-setting, got {', '.join(names)}")
    image_files.load(data)


def run() -> None:
    """The command: one line on stderr and status 2 for what the caller can mend."""
    kept = "what was computed is cached"
    run_app(app, "paper_figs", OSError, ValueError, BrokenExecutor, interrupted=f"interrupted; {kept}")


if __name__ == "__main__":
    run()
