"""From rows as they were read to usable attempts: clocks, calls that never came back, and what looks odd."""

from abs_theory.traces.cleaning.attempts import clean

__all__ = ["clean"]
