"""Laws as text: what is read is the law that was meant, and what cannot be read is explained."""

import pytest

from abs_theory import delays
from abs_theory.delays import (
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    HyperExponential,
    LocalSteps,
    LogNormal,
    Mixture,
    Pareto,
)
from abs_theory.delays import text as delay_texts


@pytest.mark.parametrize(
    "text, law",
    [
        ("gamma:shape=4,scale=0.25", Gamma(4.0, 0.25)),
        ("GAMMA: scale = 0.25 , shape = 4 ", Gamma(4.0, 0.25)),
        ("hyper-exponential:probs=.9|.1,means=1/3|7", HyperExponential((0.9, 0.1), (1 / 3, 7.0))),
        ("HyperExponential:probs=1,means=2", HyperExponential((1.0,), (2.0,))),
        ("lognormal:median=1,sigma=1e-1", LogNormal(1.0, 0.1)),
        ("log-normal:median=1,sigma=.1", LogNormal(1.0, 0.1)),
        ("erlang:steps=3,scale=2", Erlang(3, 2.0)),
        ("local-steps:delay=(pareto:minimum=1,index=3),steps=4", LocalSteps(Pareto(1.0, 3.0), 4)),
        (
            "mixture:weights=.9|.1,components=(log_normal:median=1,sigma=.3)|(gamma:shape=100,scale=.1)",
            Mixture((0.9, 0.1), (LogNormal(1.0, 0.3), Gamma(100.0, 0.1))),
        ),
    ],
)
def test_a_law_is_read(text, law):
    assert delay_texts.delay_law(text) == law


def test_every_law_of_the_library_can_be_named():
    laws = [getattr(delays, name) for name in delays.__all__]
    laws = [law for law in laws if isinstance(law, type) and issubclass(law, delays.Delay) and law is not delays.Delay]
    assert len(laws) >= 14
    for law in laws:
        kebab = "".join(f"-{letter}" if letter.isupper() else letter for letter in law.__name__).lower().strip("-")
        with pytest.raises(ValueError, match=f"write {kebab}:.*=\\.\\.\\.|is missing"):
            delay_texts.delay_law(kebab)


def test_measured_delays_are_read_from_a_file(tmp_path):
    for content in ("seconds\n1.5\n2\n\n0.25\n", "1.5\n2\n0.25"):
        (tmp_path / "a.csv").write_text(content)
        law = delay_texts.delay_law(f"empirical:{tmp_path / 'a.csv'}")
        assert law.mean == Empirical((1.5, 2.0, 0.25)).mean == 1.25
    for content, message in (("1\nx\n2", "it has 'x'"), ("1,2\n3,4", "2 columns"), ("", "empty|No columns")):
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(ValueError, match=message):
            delay_texts.delay_law(f"empirical:{tmp_path / 'a.csv'}")


def test_laws_of_unequal_workers_are_counted():
    quick, slow = Exponential(1.0), Exponential(3.0)
    assert delay_texts.delay_laws(["exponential:mean=1 x 3", "exponential:mean=3 x2"], 5) == [quick] * 3 + [slow] * 2
    assert delay_texts.delay_laws(["exponential:mean=1", "exponential:mean=3"], 2) == [quick, slow]
    assert delay_texts.delay_laws(["exponential:mean=1"], 7) == quick
    assert delay_texts.delay_laws(["exponential:mean=1 x 2"], 2) == [quick] * 2


@pytest.mark.parametrize(
    "texts, message",
    [
        (["gama:shape=4"], "no delay law named 'gama'; did you mean 'gamma'. there are .*hyper-exponential"),
        (["Log_Normall:sigma=1"], "did you mean 'log-normal'"),
        (["xyz:shape=4"], "no delay law named 'xyz'; there are .*hyper-exponential"),
        ([""], "no delay law named ''"),
        ([], "give a delay law"),
        (["gamma:shape=4"], "'scale' is missing: write gamma:shape=...,scale=..."),
        (["gamma:shape=4,rate=2"], "'rate' is not known: write gamma:shape"),
        (["gamma:shape=4,shape=2"], "'shape' is twice"),
        (["gamma:4,2"], "'4' is without a value: write gamma:shape"),
        (["gamma:shape=4,scale=__import__('os')"], "scale must be a number"),
        (["gamma:shape=4,scale=1|2"], "scale takes one value"),
        (["gamma:shape=4,scale=inf"], "scale must be finite"),
        (["gamma:shape=4,scale=1/0"], "scale must be a number"),
        (["erlang:steps=2.5,scale=1"], "steps must be a whole number"),
        (["gamma:shape=-4,scale=1"], "shape must be a finite number > 0"),
        (["local-steps:delay=(gamma:shape=4,steps=2"], "parentheses do not match"),
        (["local-steps:delay=gamma:shape=4,steps=2"], "delay must be a number or"),
        (["local-steps:delay=3,steps=2"], "delay must be"),
        (["exponential:mean=1 x 3"], "for 3 workers and n=5; write how many"),
        (["exponential:mean=1 x 4", "exponential:mean=2"] * 2, "for 10 workers and n=5"),
    ],
)
def test_what_cannot_be_read_is_explained(texts, message):
    with pytest.raises(ValueError, match=message):
        delay_texts.delay_laws(texts, 5)


@pytest.mark.parametrize("text", ["exponential:mean=1 x 3", "exponential:mean=1 x3", "exponential:mean=1   x  3 "])
def test_a_count_stands_after_the_law(text):
    assert delay_texts.split_count(text) == ("exponential:mean=1", 3)
    assert delay_texts.split_count("exponential:mean=1") == ("exponential:mean=1", None)
    assert delay_texts.split_count("exponential x") == ("exponential x", None)
    assert delay_texts.split_count(" " * 100_000 + "x") == (" " * 100_000 + "x", None)  # at once
