"""What pyproject.toml cannot say: the folder ``examples`` goes into the package, so that an installed one has it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithExamples(build_py):
    """Builds the packages, and copies the examples into one of them."""

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copytree("examples", Path(self.build_lib, "simulations", "example_files"), dirs_exist_ok=True)


setup(cmdclass={"build_py": WithExamples})
