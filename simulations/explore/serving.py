"""The command ``python -m simulations explore``: the page from this machine, for this machine."""

import logging
import math
import socket
import warnings
import webbrowser
from typing import Annotated

import typer

from abs_theory.checks import check_flag, explains_types
from abs_theory.command_line import Command, new_app, option, run_app
from simulations.explore.setting import LAWS, Setting

__all__ = ["run_command", "serve"]

ADDRESS = "127.0.0.1"  # of this machine, which no other can reach

app = new_app()


@app.command(
    cls=Command,
    help="Open a page in the browser with sliders for n, k, the delay law and the threshold. It is served by this "
    "machine to this machine only, and loads nothing from elsewhere. Ctrl-C ends it.",
)
def command(
    delay: Annotated[str | None, option("LAW", "to begin with, such as gamma:shape=4,scale=.25")] = None,
    n: Annotated[int, option("N", "workers to begin with", "-n", min=2)] = 20,
    k: Annotated[int, option("K", "workers waited for, to begin with", "-k", min=1)] = 5,
    max_staleness: Annotated[str, option("UPDATES", "threshold to begin with; none: nobody restarts")] = "2",
    port: Annotated[int, option("PORT", "of this machine; 0: any that is free", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="whether to open the page")] = True,
) -> None:
    law = delay or LAWS["hyper-exponential (rare long stalls)"]
    try:
        threshold = math.inf if max_staleness == "none" else float(max_staleness)
    except ValueError:
        raise ValueError(f'--max-staleness must be a number >= 0, or "none", got {max_staleness!r}') from None
    serve(Setting(law, n, k, threshold), port, browser)


@explains_types
def serve(setting: Setting | None = None, port: int = 0, browser: bool = True) -> None:
    """Serve the explorer at ``http://127.0.0.1:port`` until Ctrl-C; print this address, and open it if ``browser``.

    Only this machine can connect, and each page that is opened has sliders of its own.  ``port`` 0 is any free one.
    Raises ValueError without the extra "explore", OSError if the port is in use.

    >>> serve(port=-1)
    Traceback (most recent call last):
    ValueError: port must be in 0..65535, got -1
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be in 0..65535, got {port}")
    check_flag("browser", browser)
    if setting is not None and not isinstance(setting, Setting):
        raise ValueError(f"setting must be a Setting or None, got {setting!r}")
    from simulations.explore.page import Explorer, panel

    setting = setting or Setting()
    pn = panel()
    with socket.socket() as tried:  # a port that is in use is refused in words
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((ADDRESS, port))
        port = tried.getsockname()[1]
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bokeh, about pages that are closed while they load
        server = pn.serve(
            {"/": lambda: Explorer(setting).view}, address=ADDRESS, port=port, show=False, start=False, verbose=False,
            title="Straggler explorer", websocket_origin=[f"{host}:{port}" for host in (ADDRESS, "localhost")],
        )  # fmt: skip
        address = f"http://{ADDRESS}:{port}/"
        print(f"{address}   (Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(address)
        server.start()
        server.io_loop.start()


def run_command() -> None:
    """The command; one line on stderr and status 2 for what the caller can mend."""
    run_app(app, "simulations explore", OSError, ValueError, interrupted="ended")
