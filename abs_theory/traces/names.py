"""What the names of columns mean: words for roles, clocks, summaries and metrics, and units at the end of a name."""

import re
from collections.abc import Collection, Sequence

from abs_theory.traces.columns import unit_name

__all__ = [
    "CLOCK",
    "CODES",
    "DERIVED",
    "END",
    "ERRORS",
    "FLAGS",
    "METRIC",
    "NO",
    "ROUND",
    "ROW_NUMBER",
    "SECONDS",
    "START",
    "STATUS",
    "SUMMARIES",
    "UNIT_AT_END",
    "WORKER",
    "YES",
    "alike",
    "base_of",
    "key_of",
    "words_of",
]


def _set_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names without spaces, underscores, hyphens, slashes and dots, in lower case.
ROUND = _set_of(
    "round step iteration iter globalstep trainingstep trainstep trainerglobalstep epoch batch trial t # schritt runde "
    "roundid roundnumber stepid communicationround serverround currentround globalround updatestep"
)
ROW_NUMBER = frozenset(["", "index", "row", "#"])
WORKER = _set_of(
    "worker rank workerid workerrank globalrank node nodeid nodename host hostname client clientid clientname cid "
    "replica replicaid device deviceid gpu gpuid process processid pid actor actorid machine instance pod arbeiter "
    "rechner knoten"
)
SECONDS = _set_of(
    "seconds duration steptime elapsed elapsedtime latency runtime delay delays tasktime iterationtime itertime "
    "batchtime timetaken traintime trainingtime fittime fitduration dauer sekunden"
)
START = _set_of("start starttime started startedat starttimestamp startts begin begintime beginn")
END = _set_of("end endtime ended endedat endtimestamp endts finish finishtime finished finishedat stop stoptime ende")
STATUS = _set_of("status state outcome result")
# Columns that say in another way which attempts did not deliver.
CODES = STATUS | _set_of(
    "code statuscode httpstatus httpcode httpstatuscode responsecode grpccode exitcode returncode rc"
)
FLAGS = {
    **dict.fromkeys(("success", "succeeded", "successful", "ok", "delivered", "completed"), True),
    **dict.fromkeys(("failed", "failure", "timedout", "timeout", "lost", "dropped", "iserror", "error"), False),
}  #: what yes means
YES, NO = _set_of("true yes y t 1 1.0"), _set_of("false no n f 0 0.0")
ERRORS = _set_of("error exception errormessage errormsg failure failurereason exceptionmessage")
CLOCK = _set_of(
    "time timestamp walltime date datetime datum zeit uhrzeit zeitstempel ts relativetime relativetimeprocess runtime "
    "created createdat"
)
SUMMARIES = {
    "max": "max", "maximum": "max", "slowest": "max", "min": "min", "minimum": "min", "fastest": "min",
    "mean": "mean", "avg": "mean", "average": "mean", "mittelwert": "mean", "mittel": "mean", "median": "median",
    "sum": "sum", "total": "sum", "summe": "sum", "gesamt": "sum", "std": "std", "stdev": "std", "stddev": "std",
}  # fmt: skip
METRIC = re.compile(
    r"(?<![a-z])(val|train|test|eval)?(loss|accuracy|acc|lr|learningrate|gradnorm|reward|perplexity|throughput"
    r"|(samples|tokens|steps|items)per(s|sec|second)|memory)(?![a-z])"
    r"|(loss|accuracy|reward|entropy|perplexity|utilization|percent|watts|temperature|bytes|flops|mfu)$"
    r"|^system(gpu|cpu|memory|disk|network|proc)"
)
DERIVED = re.compile(r"__(min|max|mean|std)$", re.IGNORECASE)  # columns beside each curve in the export of a tracker
UNIT_AT_END = re.compile(r"(.*?)(?:[\s_]*[\[(]\s*([a-zA-Z\u00b5\u03bc]+)\s*[\])]|[\s_]+([a-zA-Z\u00b5\u03bc]+))$")


def key_of(name: object) -> str:
    """The name without what separates its words, in lower case; "" if a table reader made it up."""
    text = "".join(character for character in str(name).lower() if character not in " _-/.\t")
    return "" if text.startswith("unnamed:") else text


def base_of(name: object) -> tuple[str, str | None]:
    """The key of a name without the unit at its end, and that unit.

    >>> base_of("Step time (ms)"), base_of("num_tokens")
    (('steptime', 'ms'), ('numtokens', None))
    """
    match = UNIT_AT_END.fullmatch(str(name).strip())
    if match:
        unit = unit_name((match[2] or match[3]).lower())
        if unit is not None and match[1]:
            return key_of(match[1]), unit
    return key_of(name), None


def words_of(name: object) -> str:
    """The key of the metric in a name such as "run - metric"."""
    return re.sub(r"[\s_\-/.]+", "", str(name).lower().rpartition(" - ")[2])


def alike(names: Sequence[str]) -> bool:
    """Whether the names, without numbers and a common folder, agree in half of their characters at their ends."""
    plain = {re.sub(r"\d+", "", name) for name in names}
    if len({name.rpartition("/")[0] for name in plain}) == 1:
        plain = {name.rpartition("/")[2] for name in plain}
    ends = _beginning(plain) + _beginning({name[::-1] for name in plain})
    return len(plain) == 1 or ends >= max(map(len, plain)) / 2


def _beginning(texts: Collection[str]) -> int:
    """Characters that all texts begin with."""
    first, last = min(texts), max(texts)
    return next((i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
