"""The fitted error of the mean field: what its file says, and that its program finds the like again."""

import json
import math
from importlib import resources

import numpy as np
import pytest

from abs_theory.delays import Exponential, Uniform
from abs_theory.steady_state import errors, mean_field
from abs_theory.workers import as_workers
from benchmarks import calibrate


def test_the_file_has_a_provenance_and_covers_fresh_cells():
    content = json.loads(resources.files("abs_theory.steady_state").joinpath("mean_field_errors.json").read_text())
    assert tuple(content["signs"]) == errors.SIGNS
    assert {"program", "cells", "seed", "check", "covered", "median error"} <= set(content["provenance"])
    assert min(content["provenance"]["covered"].values()) >= 0.975
    for fitted in errors.coefficients().values():
        assert set(fitted) == set(errors.QUANTITIES)
        assert all(len(values) == len(errors.SIGNS) and min(values) >= 0 for values in fitted.values())


def test_the_docstring_has_the_table_of_the_file():
    assert calibrate.table_of(json.loads(calibrate.FILE.read_text())) in (errors.__doc__ or "")


def test_signs_are_what_the_table_says():
    """Two estimates that are apart are a sign, .5 at most, unless the limit stands in for them."""
    workers, k = as_workers([Uniform(1.0, 1.1)] * 5 + [Exponential(2.0)] * 3, 8), np.array([1, 2, 4, 7])
    state = mean_field.steady_state(workers, k, np.full(4, 2.0))
    apart, lost, misplaced = np.array([0.2, 0.9, 0.2, 0.9]), np.array([0.0, 0.0, 0.25, 1.0]), np.full(4, 0.1)
    found = dict(zip(errors.SIGNS, errors.signs(workers, state, k, apart, lost, misplaced).T, strict=True))
    width = 0.05 / 1.35 / 1.05  # distance of the quartiles over 1.35 medians
    share = state.participation
    expected = {
        "1": 1.0,
        "in step": math.exp(-25 * width**2) / 2,
        "apart": [0.2, 0.5, 0.15, 0.0],
        "fallback": lost,
        "misplaced": misplaced,
        "unequal": np.abs(share[:, 0] - share[:, -1]) / share.max(axis=1),
        "broad early": math.log(2) / k,
        "broad late": math.log(2) / (8 - k),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)
        if f"{name}/n" in found:
            np.testing.assert_allclose(8 * found[f"{name}/n"], values, rtol=1e-9, err_msg=name)


@pytest.mark.slow
def test_a_refit_finds_errors_of_the_same_size_and_the_file_covers_other_cells():
    table = calibrate.differences(calibrate.random_cells(400, seed=5))
    assert min(calibrate.covered(table).values()) >= 0.95
    refit = calibrate.fit(calibrate.differences(calibrate.ANCHORS), table)
    signs = table[list(errors.SIGNS)].to_numpy(float)
    for bounded, kind in ((True, "bounded"), (False, "unbounded")):
        cells = signs[(table["bounded"] == bounded).to_numpy()]
        one, other = (np.median(cells @ np.array(fit[kind]["round_time"])) for fit in (refit, errors.coefficients()))
        assert 0.4 < one / other < 2.5
