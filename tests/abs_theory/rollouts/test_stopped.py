"""Logs with answers that were stopped, and with means in place of lengths."""

import json

import numpy as np
import pandas as pd
import pytest

from abs_theory.rollouts import read_lengths


def log_of(tmp_path, **columns):
    path = tmp_path / "log.jsonl"
    rows = pd.DataFrame(columns).to_dict("records")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("word", ["aborted", "Status.ABORTED", "timed out", "cancelled"])
def test_answers_that_were_stopped_would_have_been_longer(tmp_path, word):
    """A third is stopped when its round ends; counted as whole answers they made the mean 19 % too short."""
    rng = np.random.default_rng(0)
    tokens = rng.lognormal(np.log(800), 1, 20_000).astype(int) + 1
    ends = rng.exponential(3000, tokens.size).astype(int) + 1
    seen = np.minimum(tokens, ends)
    stopped = ends < tokens
    path = log_of(tmp_path, response_length=seen, status=np.where(stopped, word, "completed"))
    read = read_lengths(str(path))
    assert seen.mean() < 0.85 * tokens.mean()
    assert read.law.mean == pytest.approx(tokens.mean(), rel=0.03)
    assert read.law.ppf(0.95) == pytest.approx(np.quantile(tokens, 0.95), rel=0.03)
    (told,) = read.notes
    assert told.startswith(f"By the column status, {stopped.sum()} answers (")
    assert told.endswith("had not ended: they would have been longer (Kaplan & Meier).")


@pytest.mark.parametrize("name", ["status", "finish_reason", "stop_reason"])
def test_answers_that_ended_count_as_they_are(tmp_path, name):
    tokens = np.arange(1, 101)
    words = np.where(tokens > 90, "length", "stop")
    read = read_lengths(str(log_of(tmp_path, tokens=tokens, **{name: words})))
    assert (read.law.mean, read.notes) == (50.5, ())


def test_in_groups_they_count_as_they_are_and_the_log_must_have_whole_answers(tmp_path):
    tokens, status = np.arange(1, 41), ["aborted", "completed"] * 20
    read = read_lengths(str(log_of(tmp_path, tokens=tokens, prompt_id=tokens // 4, status=status)), group=3)
    assert any("count in the groups as if they had ended" in note for note in read.notes)
    with pytest.raises(ValueError, match=r"by the column status of log\.jsonl no answer has ended"):
        read_lengths(str(log_of(tmp_path, tokens=tokens, status="aborted")))


def test_lengths_that_are_no_whole_numbers_are_doubted(tmp_path):
    """Means of steps, as trainers log them, differ much less than answers do."""
    lengths = np.random.default_rng(0).normal(1200.0, 100.0, 50)
    (told,) = read_lengths(str(log_of(tmp_path, tokens=lengths))).notes
    assert told.startswith("50 of 50 lengths are no whole numbers. Are they means of many answers?")
    assert read_lengths(str(log_of(tmp_path, tokens=lengths.round()))).notes == ()
    assert read_lengths(str(log_of(tmp_path, tokens=lengths, probability=1 / 50))).notes == ()
