"""The fitted error of the mean field: what its file says, and that its program finds the like again."""

import json
from importlib import resources

import numpy as np
import pytest

from abs_theory.steady_state import errors
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
