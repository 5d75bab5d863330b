"""Measured worker delays: read, checked, with a report of what was done to them.

``read`` takes a file or a folder, ``from_frame`` a pandas DataFrame.  Either one row per attempt, with the columns

    round, worker, and seconds or start and end                            needed
    status       ok, failed, cancelled or censored                         optional: ok
    unit         s, ms, us or ns, of seconds, start and end                optional: s, or the argument ``unit``
    k_waited, version_read, version_applied, compute_s, comm_s, dataset    optional

or a table of rounds x workers, or a profiler's timeline; ``FORMATS`` lists the kinds of files.
Faults of single rows are mended, or the rows are left out, and ``Trace.report`` says so.  A fault that makes the whole
trace unusable is a ValueError.  Nothing is rescaled, dropped or guessed without a word.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
