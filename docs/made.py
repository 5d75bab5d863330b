"""What the pages show and is made when they are built: the output of commands, the pictures, the notebooks.

All of it goes to ``docs/generated`` and ``docs/tutorials``, which are not kept.
"""

import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GENERATED, TUTORIALS = ROOT / "docs" / "generated", ROOT / "docs" / "tutorials"
FIGURES = GENERATED / "figures"

COMMANDS = {  # the page ``commands.md`` shows each of them with what it prints
    "round-time": "python -m abs_theory round-time"
    ' --delay "hyper-exponential:probs=.9|.1,means=1/3|7" -n 8 -k 3 --max-staleness 1',
    "choose": 'python -m abs_theory choose --delay "lognormal:median=1,sigma=1" -n 20'
    " --L 1 --sigma2 1 --gap 1 --target 0.05",
    "plan": "python -m abs_theory plan examples/trace.csv --rounds 10000 --price 2.5/h --for ray --out plan",
    "rollouts": "python -m abs_theory rollouts --lengths lognormal:median=800,sigma=1"
    " --batch 64 --slots 256 --trainer-seconds 5",
    "simulations": "python -m simulations examples/run.toml --out results",
    "live": "python -m simulations live examples/live.toml --time-scale .02 --out live",
    "figures": "python -m paper_figs timeline --out figures",
}


def everything() -> None:
    """Make what is missing or out of date."""
    GENERATED.mkdir(exist_ok=True)
    copy_notebooks()
    for name, command in COMMANDS.items():
        (GENERATED / f"{name}.txt").write_text(output_of(command))
    draw_figures()
    (GENERATED / "gallery.md").write_text(gallery())
    (GENERATED / "timeline.svg").write_text(timeline())
    import static_explorer  # loads what computes and draws

    (GENERATED / "explore.html").write_text(static_explorer.page())


def copy_notebooks() -> None:
    """The notebooks beside the pages, each only if it has changed: an unchanged one is not run again."""
    for path in sorted((ROOT / "notebooks").rglob("[!.]*.ipynb")):
        copy = TUTORIALS / path.relative_to(ROOT / "notebooks")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copy(path, copy)
    shutil.copytree(ROOT / "examples", ROOT / "docs" / "examples", dirs_exist_ok=True)


def output_of(command: str) -> str:
    """The command as it is typed, and what it prints, in an empty folder with the examples."""
    folder = GENERATED / "prompt"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "examples", folder / "examples")
    words = shlex.split(command)[1:]  # without python
    result = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=True, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
    )  # fmt: skip
    shutil.rmtree(folder)
    return f"$ {command}\n{result.stdout}"


def draw_figures() -> None:
    """All figures at their quick size; what is unchanged comes from the cache."""
    command = [sys.executable, "-m", "paper_figs", "--quick", "--out", str(FIGURES)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=1800, env=env)


def gallery() -> str:
    """A thumbnail of each figure, which leads to the section of the figure."""
    sys.path.insert(0, str(ROOT))
    from paper_figs.catalogue import FIGURES as ENTRIES

    parts = [
        f"[![{entry.title}](generated/figures/{name}.png){{.thumbnail}}](#{name})" for name, entry in ENTRIES.items()
    ]
    for name, entry in ENTRIES.items():
        parts.append(
            f"## {name}\n\n{entry.title}.\n\n![{entry.title}](generated/figures/{name}.png)\n\n{entry.claim}\n"
        )
    return "\n".join(parts)


def timeline() -> str:
    """The first seconds of three methods, as SVG."""
    from paper_figs import style
    from paper_figs.catalogue import FIGURES as ENTRIES

    figure = ENTRIES["timeline"].load()
    text = io.StringIO()
    with style.applied():
        drawing = figure.draw(figure.compute(**figure.DEFAULT))
        drawing.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
