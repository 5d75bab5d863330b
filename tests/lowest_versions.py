"""Print the lowest version of each dependency that pyproject.toml allows, and of what the tests need, for pip."""

import tomllib
from pathlib import Path

FOR_TESTS = {"hypothesis", "mpmath", "openpyxl", "pyarrow", "pytest", "pytest-xdist", "simpy"}

if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    of_tests = [each for each in project["optional-dependencies"]["dev"] if each.partition(">=")[0] in FOR_TESTS]
    print(*(requirement.replace(">=", "==") for requirement in project["dependencies"] + of_tests), sep="\n")
