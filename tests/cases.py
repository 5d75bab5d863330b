"""Many cases for little time: all in one test, or by turns in the fast suite and all in the slow one."""

import functools
import inspect
import itertools

import pytest


def every_case(name, values, label=repr):
    """Run the test for every value of the argument; the first failure names its case, and how many others fail.

    Like ``pytest.mark.parametrize``, for cases that take less time than a test of their own would add.  Fixtures are
    shared by the cases.  A case that calls ``pytest.skip`` skips the others too: leave it out of ``values`` instead.
    """

    def decorate(test):
        @functools.wraps(test)
        def over_all(*args, **kwargs):
            failures = []
            for value in values:
                try:
                    test(*args, **kwargs, **{name: value})
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"in the case {name} = {label(value)}")
                    failures.append(error)
            if failures:
                failures[0].add_note(f"{len(failures)} of {len(values)} cases of {name} fail")
                raise failures[0]

        signature = inspect.signature(test)
        parameters = [parameter for key, parameter in signature.parameters.items() if key != name]
        over_all.__signature__ = signature.replace(parameters=parameters)
        return over_all

    return decorate


def by_turns(*lists, rounds=1):
    """Every combination of the lists, for parametrize; the fast suite has each value of the longest ``rounds`` times.

    The values of the other lists take turns beside it, so that none is missed; all other combinations are slow.
    """
    lists = [list(values) for values in lists]
    by_length = sorted(range(len(lists)), key=lambda j: -len(lists[j]))
    fast = set()
    for i in range(rounds * len(lists[by_length[0]])):
        place, shift = [0] * len(lists), i
        for j in by_length:
            place[j] = shift % len(lists[j])
            shift += i // len(lists[j])
        fast.add(tuple(place))
    return [
        pytest.param(
            *(values[j] for values, j in zip(lists, place, strict=True)),
            marks=() if place in fast else pytest.mark.slow,
        )
        for place in itertools.product(*(range(len(values)) for values in lists))
    ]


def first_fast(values, number):
    """The values, for parametrize; those after the first ``number`` are slow."""
    return [
        value if i < number else pytest.param(value, marks=pytest.mark.slow) for i, value in enumerate(list(values))
    ]
