"""One test over many small cases: parametrize, without what every test of its own costs."""

import functools
import inspect

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
