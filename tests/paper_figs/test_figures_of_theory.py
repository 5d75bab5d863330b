"""The figures of the theory: the claim under each holds on its own numbers, and its drawing stays on the page."""

import inspect
import json
from functools import cache

import joblib
import numpy as np
import pytest

from abs_theory.choose import time_optimal_threshold
from abs_theory.choose.result import AS_GOOD
from paper_figs import laws, style
from paper_figs.figures import bound, choice, local_steps, rollouts, round_time, scaling, staleness, threshold

FIGURES = {
    "round-time": round_time,
    "staleness": staleness,
    "threshold": threshold,
    "local-steps": local_steps,
    "scaling": scaling,
    "bound": bound,
    "choice": choice,
    "rollouts": rollouts,
}
# seconds of work are slow at any size; continuous integration runs them at the quick one
PROFILES = ["QUICK", pytest.param("DEFAULT", marks=pytest.mark.slow)]
by_profile = pytest.mark.parametrize("profile", PROFILES)
SURE = 3.0  # 95 % half-widths beyond which chance is out of the question for the replicates at hand


@cache
def table_of(name, profile):
    """The table a figure is drawn from, and a check that it can be: within its page, no word outside."""
    figure = FIGURES[name]
    with joblib.parallel_config(backend="sequential"):
        table = figure.compute(**getattr(figure, profile))
    with style.applied():
        drawing = figure.draw(table)
        drawing.draw_without_rendering()
        page = drawing.bbox.padded(2)
        boxes = [ax.get_tightbbox() for ax in drawing.axes] + [legend.get_window_extent() for legend in drawing.legends]
    for box in boxes:
        assert page.contains(*box.min), f"{name} leaves its page: {box}"
        assert page.contains(*box.max), f"{name} leaves its page: {box}"
    return table


def assert_follows(theory, stated, simulation, half_width):
    """Nine of ten 95 % intervals, widened by the stated errors, reach the theory; none is far from it."""
    theory, stated, simulation, half_width = (
        np.asarray(x, dtype=float) for x in (theory, stated, simulation, half_width)
    )
    assert np.isfinite(theory).all()
    off = np.abs(simulation - theory)
    rounding = 1e-12
    assert np.mean(off <= stated + half_width + rounding) >= 0.9
    assert (off <= stated + SURE * half_width + rounding).all()


@pytest.mark.parametrize("name", FIGURES)
def test_profiles_have_the_knobs_of_compute_and_can_be_written_down(name):
    figure = FIGURES[name]
    knobs = set(inspect.signature(figure.compute).parameters)
    for profile in (figure.QUICK, figure.DEFAULT, figure.FULL):
        assert set(profile) == knobs
        assert json.loads(json.dumps(profile)) == profile
    assert figure.FULL.get("replicates", 30) >= 30
    assert figure.CLAIM.endswith(".")


@pytest.mark.slow
@by_profile
def test_claim_of_round_time(profile):
    table = table_of("round-time", profile)
    seen = table.dropna(subset="simulation")
    best = seen["exact"].fillna(seen["mean_field"])
    error = seen["mean_field_error"].where(seen["exact"].isna(), 0.0)
    assert_follows(seen["mean_field"], seen["mean_field_error"], seen["simulation"], seen["half_width"])
    assert_follows(best, error, seen["simulation"], seen["half_width"])
    known = table.dropna(subset="exact")
    assert ((known["exact"] - known["mean_field"]).abs() <= known["mean_field_error"] + 1e-9).all()

    late = table[table["k"] < table["k"].max()]
    for column in ("mean_field", "simulation"):
        time = late.dropna(subset=column).pivot(index=["law", "k"], columns="method", values=column)
        slack = 0.0 if column == "mean_field" else 0.06
        increasing, decreasing = (time.loc[f"{law} hazard"] for law in ("increasing", "decreasing"))
        assert (increasing["K-sync"] > increasing["K-async"] * (1 - slack)).all()
        assert (increasing["ABS"] >= increasing["K-async"] * (1 - slack - 1e-3)).all()
        assert increasing["ABS"].iloc[0] > 3 * increasing["K-async"].iloc[0]
        assert (decreasing["K-sync"] < decreasing["K-async"]).all()
        assert (decreasing["ABS"] < decreasing["K-async"]).all()
        assert decreasing["ABS"].iloc[0] < decreasing["K-async"].iloc[0] / 2
    exact = late[late["law"] == "constant hazard"].pivot(index="k", columns="method", values="exact")
    np.testing.assert_allclose(exact["ABS"], exact["K-async"], rtol=1e-12)
    np.testing.assert_allclose(exact["K-sync"], exact["K-async"], rtol=1e-12)


@pytest.mark.slow
@by_profile
def test_claim_of_staleness(profile):
    config, table = getattr(staleness, profile), table_of("staleness", profile)
    assert_follows(table["theory"], table["theory_error"], table["simulation"], table["half_width"])
    exact = table[table["solved"] == "exact"]
    assert set(exact["law"]) == {"constant hazard", "decreasing hazard"}
    assert_follows(table["theory"], 0.01, table["simulation"], table["half_width"])  # nearer than it promises

    means = table.drop_duplicates(["law", "method"])
    free = means[means["method"] == "K-async"]
    assert free["mean"].tolist() == [(config["n"] - config["k"]) / config["k"]] * len(laws.LAWS)
    assert_follows(means["mean"], means["mean_error"], means["simulated_mean"], means["mean_half_width"])
    assert table.loc[table["method"] == "ABS", "staleness"].max() == config["max_staleness"]
    assert np.allclose(table[table["method"] == "ABS"].groupby("law")["simulation"].sum(), 1)
    tail = 1 - table[table["method"] == "K-async"].groupby("law")[["theory", "simulation"]].sum()
    order = ["increasing hazard", "constant hazard", "neither", "decreasing hazard"]
    assert tail["theory"].loc[order].is_monotonic_increasing
    assert tail["simulation"].loc[order].is_monotonic_increasing


@pytest.mark.slow
@by_profile
def test_claim_of_threshold(profile):
    config, table = getattr(threshold, profile), table_of("threshold", profile)
    seen = table.dropna(subset="round_time_simulated")
    for name in threshold.QUANTITIES:
        assert_follows(seen[name], seen[f"{name}_error"], seen[f"{name}_simulated"], seen[f"{name}_half_width"])
    for law, rows in table.groupby("law"):
        rows = rows.set_index("max_staleness")
        free, bounded = rows.loc[np.inf], rows.drop(np.inf)
        assert (bounded["mean_staleness"] < free["mean_staleness"]).all()
        assert bounded["restarts"].is_monotonic_decreasing
        assert bounded["restarts"].min() > free["restarts"] == 0
        best = rows.index[rows["time_optimal"]].item()
        assert rows.loc[best, "round_time"] <= 1.005 * rows["round_time"].min(), law
        expected = {"increasing hazard": np.inf, "constant hazard": np.inf, "decreasing hazard": 0.0, "neither": 3.0}
        assert best == expected[law]
        times = rows["round_time_simulated"].dropna()
        assert times.get(best, np.inf) <= 1.03 * times.min(), law
    lognormal = table[table["law"] == "neither"].set_index("max_staleness")["round_time_simulated"]
    assert lognormal[3.0] < 0.95 * min(lognormal[0.0], lognormal[np.inf])
    assert 3 in config["bounds"]
    assert time_optimal_threshold(laws.LAWS["neither"], 15, config["n"]) == 0  # "at this k"


@pytest.mark.slow
@by_profile
def test_claim_of_local_steps(profile):
    table = table_of("local-steps", profile)
    seen = table.dropna(subset="simulation")
    assert_follows(seen["theory"], seen["theory_error"].fillna(0.02), seen["simulation"], seen["half_width"])
    times = table[table["quantity"] == "round_time"].pivot(index="x", columns="steps", values="theory")
    chances = table[table["quantity"] == "delivers"].pivot(index="x", columns="steps", values="theory")
    assert np.ptp(times[1]) <= 1e-12
    assert np.ptp(chances[1]) <= 1e-9
    for steps in times.columns.drop(1):
        assert times[steps].is_monotonic_decreasing
        assert times[steps].iloc[0] > 1.5 * times[steps].iloc[-1]
        assert chances[steps].is_monotonic_increasing
    simulated = table[table["quantity"] == "round_time"].pivot(index="x", columns="steps", values="simulation")
    assert simulated[10].iloc[0] > 2.5 * simulated[10].iloc[-1]
    assert abs(simulated[1].iloc[0] / simulated[1].iloc[-1] - 1) < 0.1


@pytest.mark.slow
@by_profile
def test_claim_of_scaling(profile):
    table = table_of("scaling", profile)
    errors, times = (table[table["what"] == what] for what in ("error", "time"))
    corrected = errors[errors["name"] == "corrected"]
    assert_follows(0 * corrected["value"], corrected["stated"], corrected["value"], corrected["half_width"])
    limit = errors[errors["name"] == "limit"].set_index(["law", "n"])[["value", "half_width"]]
    for law in scaling.SHOWN:
        few, some, many = (limit.loc[(law, n)] for n in (4, 16, 256))
        assert few["value"] - few["half_width"] > 0.05
        assert 2.5 < few["value"] / some["value"] < 7  # 4 if the error is proportional to 1/n
        assert (limit.loc[law].loc[256:, "value"].abs() < 0.01).all()
        assert many["half_width"] < 0.01
        seconds = times[times["law"] == law].pivot(index="n", columns="name", values="value")
        assert seconds.index[-1] == 10**6
        assert (np.diff(np.log(seconds["synchronous"])) > 0.03).all()
        settled = seconds.loc[1000:].drop(columns="synchronous")
        assert (settled.max() < 1.01 * settled.min()).all()


@pytest.mark.slow
@by_profile
def test_claim_of_bound(profile):
    table = table_of("bound", profile)
    assert_follows(table["exact"], table["exact_half_width"], table["simulation"], table["half_width"])
    assert (table["bound"] >= table["exact"]).all()
    assert (table["bound_given_timing"] >= table["exact"]).all()
    assert (table["bound"] >= table["simulation"]).all()
    end = table[table["updates"] == table["updates"].max()]
    assert (end["bound"] / end["exact"]).between(2, 6).all()
    forgotten = table[table["step_size"] * table["updates"] > 5]
    assert len(forgotten) >= 2
    assert (forgotten["estimate"] / forgotten["exact"]).between(1.0, 1.12).all()


@pytest.mark.slow
@by_profile
def test_claim_of_choice(profile):
    table = table_of("choice", profile)
    trained = table.dropna(subset="trained")
    assert np.isfinite(trained["trained"]).all()
    for law, rows in trained.groupby("law"):
        assert rows[["predicted", "trained"]].corr("spearman").iloc[0, 1] > 0.75, law
        pick = rows[rows["pick"]]
        assert len(pick) == 1
        assert pick["trained"].item() <= 1.15 * rows["trained"].min(), law
        fastest = table.loc[table["law"] == law, "predicted"].min()
        assert fastest <= pick["predicted"].item() <= (1 + AS_GOOD) * fastest  # ties are broken by other means
        assert 0.8 < pick["trained"].item() / pick["predicted"].item() < 1.25
    ratio = trained["trained"] / trained["predicted"]
    assert ratio.between(0.72, 1.7).all()
    everybody = ratio[trained["k"] == trained["k"].max()]
    assert (everybody > 1).all()
    if profile == "DEFAULT":  # the gain from a threshold that is not there
        both = trained[(trained["law"] == "increasing hazard") & trained["k"].between(8, 14)].set_index(["method", "k"])
        assert (both.loc["ABS", "predicted"] < both.loc["K-async", "predicted"]).all()
        assert (both.loc["ABS", "trained"] > both.loc["K-async", "trained"]).all()


@pytest.mark.slow
@by_profile
def test_claim_of_rollouts(profile):
    table = table_of("rollouts", profile)
    known = table[table["solved"] != "monte-carlo"]
    assert_follows(known["speed"], known["speed_error"], known["speed_simulated"], known["speed_half_width"])
    unseen = 0.0 if profile == "DEFAULT" else 0.15 * table["p99"]  # a short run ends before the oldest are done
    assert ((table["p99"] - table["p99_simulated"]).abs() <= 1.1 + unseen).all()
    modes = {mode: rows.set_index("knob") for mode, rows in table.groupby("mode")}
    ahead, stopped, dropped = (modes[name] for name in ("runs ahead", "stopped in flight", "dropped at arrival"))
    np.testing.assert_allclose(ahead["mean"], ahead.index)
    np.testing.assert_allclose(ahead["mean_simulated"], ahead.index, rtol=0.1)
    assert ahead.loc[1, "p99"] == 11
    assert ahead.loc[1, "largest_simulated"] > 12
    for rows in (stopped, dropped):
        assert (rows["largest_simulated"] <= rows.index).all()
        assert (rows.loc[:4, ["long", "long_simulated"]] < 0.02).all().all()
    assert (stopped.loc[:8, ["long", "long_simulated"]] < 0.02).all().all()
    in_order = modes["in order"]
    assert (in_order["largest_simulated"] == in_order.index).all()
    window = modes["in a window"]
    assert (window["largest_simulated"] <= window.index + 1).all()
    for rows in (in_order, window):
        assert (rows["speed"] < ahead.loc[rows.index, "speed"] / 3).all()
    tail = modes["tail batching"].iloc[0]
    assert (tail["p99_simulated"], tail["long"]) == (0, 1)
    assert tail["speed"] < ahead.loc[1, "speed"] / 3
    fair = table[(table["long"] > 0.9) & (table["mode"] != "runs ahead")]
    assert (fair["speed_simulated"] < ahead["speed_simulated"].max()).all()
