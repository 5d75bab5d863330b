"""From rows as they were read to usable attempts: clocks, calls that never came back, and what looks odd."""

from abs_theory.traces.cleaning.attempts import clean
from abs_theory.traces.cleaning.lost import lacking_last
from abs_theory.traces.cleaning.units import may_differ_in_unit

__all__ = ["clean", "lacking_last", "may_differ_in_unit"]
