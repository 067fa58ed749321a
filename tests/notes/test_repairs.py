"""The table of repairs: each of them is needed, and there are no more changes than these."""

import builtins

import pytest
from support import launch, notebook
from support.catalogue import PROGRAMS
from support.repairs import REPAIRS


def programs_with(repair):
    return [program for program in PROGRAMS if repair in program.source.repairs and not program.broken]


@pytest.mark.parametrize("repair", REPAIRS, ids=lambda repair: f"{repair.note}-{repair.line}-{repair.why}")
def test_repair_is_needed(repair, notes, tmp_path):
    (program,) = programs_with(repair)
    text = program.source.program(notes, without=repair)
    error = getattr(builtins, repair.without)
    if issubclass(error, SyntaxError):
        with pytest.raises(error):
            compile(text, "example", "exec")
    else:
        run = launch.run(program, "stdlib", notes, tmp_path / "run", without=repair)
        assert f"{repair.without}: name" in run.ended.stderr
        with pytest.raises(AssertionError):
            program.check(run)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_repaired_program_is_python(program, notes):
    compile(program.source.program(notes), program.name, "exec")


RANGES = [program for program in PROGRAMS if not program.source.text]


@pytest.mark.parametrize("program", RANGES, ids=lambda program: program.name)
def test_only_the_lines_of_the_table_are_changed(program, notes):
    """Common indentation aside, a program that stands in its note differs from it in repaired lines only."""
    source = program.source
    lines = notebook.lines_of(notes, source.note)[source.first : source.last + 1]
    made = source.program(notes).split("\n")
    grown = {repair.line: repair.to.count("\n") for repair in source.repairs if "\n" in repair.to}
    for number, line in enumerate(lines, source.first):
        got = made.pop(0)
        for _ in range(grown.get(number, 0)):
            made.pop(0)
        if number not in {repair.line for repair in source.repairs}:
            assert line.endswith(got) and not line.removesuffix(got).strip(), number
    assert made == [""]
