"""The page of the explorer in a real browser: sliders are moved, numbers are read and compared with the library."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulations import __main__ as command
from simulations.explore import Explorer, Setting, answer

pytest.importorskip("panel", reason="the explorer needs panel")
webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and its driver")
ROOT = Path(__file__).parents[3]
SETTING = Setting("exponential:mean=1", 6, 2, 1)

FIND_ALL = """
const found = []
const walk = root => {
    for (const element of root.querySelectorAll("*")) {
        if (element.matches(arguments[0])) found.push(element)
        if (element.shadowRoot) walk(element.shadowRoot)
    }
}
walk(document)
return found
"""


class Page:
    """The page in a browser."""

    def __init__(self, driver):
        self.driver = driver

    def all(self, selector):
        return self.driver.execute_script(FIND_ALL, selector)

    def numbers(self):
        """The rows of the table: name -> texts of its columns."""
        script = FIND_ALL.replace(
            "return found", "return found.map(row => Array.from(row.cells, cell => cell.innerText))"
        )
        return {name: values for name, *values in self.driver.execute_script(script, "tr")}

    def wait_for(self, holds, seconds=20.0):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, self.numbers()
            time.sleep(0.05)

    def move(self, place, key, times=1):
        """Press an arrow key on the slider of this place, from 0 on: n, k, threshold."""
        handle = self.all(".noUi-handle")[place]
        for _ in range(times):
            handle.send_keys(key)


@pytest.fixture(scope="module")
def address():
    command = "-m simulations explore --no-browser --delay exponential:mean=1 -n 6 -k 2 --max-staleness 1"
    server = subprocess.Popen(
        [sys.executable, *command.split()], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    line = ""
    while "Ctrl-C" not in line:
        line = server.stdout.readline()
        assert line, "the server ended"
    yield line.split()[0]
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    server.stdout.close()


@pytest.fixture(scope="module")
def page(address):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_window_size(1300, 1200)
    driver.get(address)
    page = Page(driver)
    page.wait_for(lambda: "round time (s)" in page.numbers(), 60)
    yield page
    driver.quit()


def shown(setting, name, method="auto"):
    value, error = answer(setting, method).numbers[name]
    return f"{value:.4g} ± {error:.2g}"


@needs_browser
@pytest.mark.slow  # a server and a browser start; continuous integration runs it
def test_sliders_move_and_the_numbers_are_those_of_the_library(page):
    right = webdriver.Keys.ARROW_RIGHT
    assert page.numbers()["round time (s)"] == [shown(SETTING, "round time (s)")]
    page.move(1, right)
    wanted = Setting(SETTING.delay, 6, 3, 1)
    page.wait_for(lambda: page.numbers()["k of n, threshold"] == ["3 of 6, 1"])
    for name in ("round time (s)", "mean staleness (updates)", "restarts per round", "messages per round"):
        page.wait_for(lambda name=name: page.numbers()[name] == [shown(wanted, name)])
    page.move(0, right, 2)
    page.move(2, right)
    wanted = Setting(SETTING.delay, 8, 3, 2)
    page.wait_for(lambda: page.numbers()["k of n, threshold"] == ["3 of 8, 2"])
    page.wait_for(lambda: page.numbers()["round time (s)"] == [shown(wanted, "round time (s)")])
    assert wanted.command in " ".join(element.text for element in page.all("pre"))

    page.move(3, right, 2)
    slow = Setting(SETTING.delay, 8, 3, 2, update_seconds=0.1)
    page.wait_for(lambda: page.numbers()["round time (s)"] == [shown(slow, "round time (s)")])
    page.move(3, webdriver.Keys.ARROW_LEFT, 2)
    page.wait_for(lambda: page.numbers()["update time (s)"] == ["0"])

    # two settings beside each other
    next(button for button in page.all("button") if "Keep" in button.text).click()
    page.wait_for(lambda: page.numbers().get("") == ["this setting", "kept"])
    page.move(1, right)
    page.wait_for(lambda: page.numbers()["k of n, threshold"] == ["4 of 8, 2", "3 of 8, 2"])

    # a law as text, first a wrong one
    box = next(element for element in page.all("input[type=text]") if element.is_displayed())
    for text, holds in (
        ("gamma:shape=4", lambda: "scale" in " ".join(element.text for element in page.all("p.error"))),
        ("gamma:shape=4,scale=.25", lambda: page.numbers().get("k of n, threshold", [""])[0] == "4 of 8, 2"),
    ):
        box.send_keys(webdriver.Keys.END, webdriver.Keys.BACKSPACE * 60)
        box.send_keys(text, webdriver.Keys.ENTER)
        page.wait_for(holds)
    wanted = Setting("gamma:shape=4,scale=.25", 8, 4, 2)
    page.wait_for(lambda: page.numbers()["round time (s)"][0] == shown(wanted, "round time (s)"))

    # the animation plays, and the page fits every screen
    play = next(button for button in page.all("button") if button.text == "Play")
    play.click()
    page.wait_for(lambda: any(button.text == "Stop" for button in page.all("button")))
    for width in (500, 800, 1600):
        page.driver.set_window_size(width, 1000)
        time.sleep(0.5)
        wide, window = page.driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= window

    # nothing is asked of any other machine, and the console has no error
    logs = page.driver.get_log("performance")
    messages = [json.loads(entry["message"])["message"] for entry in logs]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not re.match(r"(http://127\.0\.0\.1:\d+/|data:|blob:)", url)] == []
    assert [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@needs_browser
@pytest.mark.slow
def test_only_this_machine_can_connect(address):
    port = re.search(r":(\d+)/", address)[1]
    listening = Path("/proc/net/tcp").read_text() if Path("/proc/net/tcp").exists() else ""
    own = [line.split()[1] for line in listening.splitlines()[1:] if line.split()[1].endswith(f":{int(port):04X}")]
    assert own == [] or set(own) == {f"0100007F:{int(port):04X}"}


def test_the_same_object_works_without_a_server():
    explorer = Explorer(SETTING)
    explorer.k.value = 4
    assert explorer.answer.setting == Setting(SETTING.delay, 6, 4, 1)
    assert explorer.answer.numbers == answer(explorer.answer.setting).numbers
    explorer.n.value = 3
    assert explorer.answer.setting == Setting(SETTING.delay, 3, 3, 1)  # k cannot be larger than n
    explorer.law.value = "uniform"
    assert explorer.answer.setting.delay == "uniform:low=.5,high=1.5"
    explorer.text.value = "no law"
    assert "no law" in explorer.numbers.object
    assert explorer.__panel__() is explorer.view


@pytest.mark.parametrize(
    "words, said",
    {
        "--port 99999": "--port must be",
        "--max-staleness soon": "--max-staleness must be a number",
        "-n 3 -k 5": "k must be a whole number in 1..n, got k=5 with n=3",
        "--delay nothing:mean=1": "nothing",
    }.items(),
)
def test_bad_options_are_refused_in_one_line(words, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["simulations", "explore", "--no-browser", *words.split()])
    with pytest.raises(SystemExit) as end:
        command.run()
    printed = capsys.readouterr()
    assert (end.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert said in printed.err
