"""The models cite the stores they stand for, and no store of the modelled C is forgotten."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "cmp"
MODELS = sorted((ROOT / "models").glob("*.pml"))

# What the models are of: each file's labels are in a model or in not_modelled.txt.
MODELLED = """shm/eventcount.c shm/mutex.c shm/queue.c shm/queue_put.c shm/queue_take.c shm/queue_repair.c shm/record.c
              shm/sweep.c shm/pooltable.c py/worker.c py/roster.c py/engine.c py/lead.c py/supervisor.c""".split()


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


LABELLED = load("raw_atomics").LABELLED
models = load("models")


def labels_of(path: Path) -> set[str]:
    return set(LABELLED.findall(path.read_text()))


def cited() -> dict[str, set[str]]:
    return {path.stem: set(re.findall(r"\[([a-z_]+\.[a-z0-9_]+)\]", path.read_text())) for path in MODELS}


def not_modelled() -> dict[str, str]:
    lines = (ROOT / "models" / "not_modelled.txt").read_text().splitlines()
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))


def test_there_is_a_model_of_each_protocol():
    assert [path.stem for path in MODELS] == ["eventcount", "joinable", "pool", "queue"]


def test_every_label_of_the_modelled_files_is_in_a_model_or_said_not_to_be():
    there = {label for name in MODELLED for label in labels_of(SOURCES / name)}
    known = set().union(*cited().values(), not_modelled())
    assert there - known == set()


def test_every_label_that_a_model_cites_is_a_store_in_the_code():
    everywhere = {label for path in SOURCES.glob("*/*.c") for label in labels_of(path)}
    for model, labels in cited().items():
        assert labels - everywhere == set(), model


def test_no_label_is_both_modelled_and_not():
    assert set().union(*cited().values()) & set(not_modelled()) == set()


def test_every_label_said_not_to_be_modelled_is_in_the_modelled_files_and_has_a_reason():
    there = {label for name in MODELLED for label in labels_of(SOURCES / name)}
    for label, why in not_modelled().items():
        assert label in there
        assert len(why.split()) > 2


def test_a_label_is_cited_where_the_model_makes_its_change():
    """Not in the essay at the head only: on a line that assigns, or on the one that such a step ends with."""
    for path in MODELS:
        body = path.read_text().split("*/", 1)[1]
        body = re.sub(r"^#define \w+ \d+ +/\*.*$", "", body, flags=re.MULTILINE)
        assert cited()[path.stem] - set(re.findall(r"\[([a-z_]+\.[a-z0-9_]+)\]", body)) == set(), path.stem


def test_every_model_names_mutants_and_has_bounds_for_them():
    for path in MODELS:
        assert len(models.mutants(path.stem)) >= 7
        assert path.stem in models.MUTANT_BOUNDS
        assert path.stem in {run.model for run in models.RUNS}
        named = set(re.findall(r"MUTANT [!=]= (\w+)", path.read_text()))
        assert named - {"0"} == set(models.mutants(path.stem)), path.stem


def test_states_are_counted_however_many_there_are():
    assert models.stored_states("  9525949 states, stored\n") == 9_525_949
    assert models.stored_states("1.0421442e+08 states, stored (1.2e+08 visited)\n") == 104_214_420


@pytest.mark.skipif(shutil.which("spin") is None or shutil.which("cc") is None, reason="no spin, or no compiler")
@pytest.mark.timeout(300)
def test_spin_finds_nothing_in_a_small_model_and_something_in_its_mutant():
    bounds = {"PRODUCERS": 1, "CONSUMERS": 2, "ITEMS": 2, "KILLS": 0}
    assert models.check("eventcount", bounds).error == ""
    assert "invalid end state" in models.check("eventcount", bounds | {"MUTANT": "NO_LOOK_AFTER_PREPARE"}).error
