"""Where a page holds a generated table: between two comments that name it and the script that makes it."""


def filled(text: str, name: str, script: str, table: str) -> str:
    """``text`` with ``table`` between the marks of ``name``."""
    begin, end = f"<!-- {name}: python docs/{script} -->\n", f"<!-- end of {name} -->\n"
    head, rest = text.split(begin)
    return f"{head}{begin}{table}{end}{rest.split(end)[1]}"
