"""The list of code versions that trained a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from clever.errors import UserError
from clever.job_code import digest, training_code
from clever.pretraining import code_history
from clever.pretraining.code_history import (
    changed,
    described,
    execution,
    extended,
    refuse_other_threads,
    training_sources,
)
from clever.pretraining.recipe import RunRecipe

ONE = {"device": "cpu", "threads": 1, "processes": 1}
TWO = ONE | {"threads": 2}


def test_the_list_grows_only_when_the_code_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_history, "source_commit", lambda: ("a" * 40, False))
    monkeypatch.setattr(code_history, "training_sources", lambda _: "1" * 16)
    first = extended([], 0, 0, ONE, None)
    began = {"git_commit": "a" * 40, "git_dirty": False, "sources": "1" * 16, "from_step": 0, "from_epoch": 0}
    assert first == [began | ONE]
    assert extended(first, 7, 2, ONE, None) == first
    monkeypatch.setattr(code_history, "training_sources", lambda _: "2" * 16)
    second = extended(first, 7, 2, ONE, None)
    assert [(entry["from_step"], entry["from_epoch"]) for entry in second] == [(0, 0), (7, 2)]
    monkeypatch.setattr(code_history, "source_commit", lambda: ("b" * 40, True))
    third = extended(second, 9, 3, ONE, None)
    assert described(third[-1]) == f"commit {'b' * 12} with uncommitted changes, sources {'2' * 16}"
    assert [entry["from_step"] for entry in third] == [0, 7, 9]
    assert changed(*third[-2:]).startswith("the code has changed (commit aaaaaaaaaaaa, sources 2222222222222222; now")


def test_a_changed_number_of_threads_starts_a_new_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_history, "source_commit", lambda: ("a" * 40, False))
    parts = extended(extended([], 0, 0, ONE, None), 7, 2, TWO, None)
    assert [(entry["threads"], entry["from_step"], entry["from_epoch"]) for entry in parts] == [(1, 0, 0), (2, 7, 2)]
    assert changed(*parts) == "threads 1 so far, 2 from here on"
    on_gpu = extended(parts, 9, 3, {"device": "cuda", "threads": None, "processes": 1}, None)
    assert changed(*on_gpu[-2:]) == "device cpu so far, cuda from here on, threads 2 so far, None from here on"


def test_a_changed_number_of_threads_is_rejected_only_on_a_cpu() -> None:
    expected = r"state: was trained with threads = 1, this process has threads = 2: .* --threads 1, or go on with --acc"
    with pytest.raises(UserError, match=expected):
        refuse_other_threads([ONE], TWO, "state")
    with pytest.raises(UserError, match="was trained with processes = 1, this process has processes = 4"):
        refuse_other_threads([ONE], ONE | {"processes": 4}, "state")
    on_gpu = {"device": "cuda", "threads": None, "processes": 1}
    for before in ([], [{"git_commit": "of an earlier version"}], [TWO, ONE], [on_gpu]):
        refuse_other_threads(before, ONE, "state")
    refuse_other_threads([ONE], on_gpu | {"processes": 4}, "state")


def test_threads_count_only_on_a_cpu() -> None:
    threads = torch.get_num_threads()
    assert execution(torch.device("cpu"), 2) == {"device": "cpu", "threads": threads, "processes": 2}
    assert execution(torch.device("cuda:1"), 1) == {"device": "cuda", "threads": None, "processes": 1}


def test_sources_are_the_training_code(make_recipe: Callable[..., RunRecipe]) -> None:
    method = make_recipe(equivariance="ddcl").method
    assert training_sources(method) == digest(training_code("dino", "ddcl"))
    assert training_sources(None) == digest(training_code(None, None)) != training_sources(method)
