"""Generated tables: each stands in its page between two comments that name it and the script that makes it."""

import argparse


def filled(text: str, name: str, script: str, table: str) -> str:
    """``text`` with ``table`` between the marks of ``name``."""
    begin, end = f"<!-- {name}: python docs/{script} -->\n", f"<!-- end of {name} -->\n"
    head, rest = text.split(begin)
    return f"{head}{begin}{table}{end}{rest.split(end)[1]}"


def command(description: str | None) -> None:
    """Read the command line of a script that has no arguments: ``--help`` prints ``description`` and ends."""
    formatter = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=description, formatter_class=formatter).parse_args()
