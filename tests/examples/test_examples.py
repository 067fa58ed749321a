"""The programs in examples/ print what stands beside them, on the standard library and on cmp."""

import sys

import pytest
from support import folders, launch, session
from support.notebook import with_import_form
from support.places import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("way", launch.WAYS)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_prints_what_stands_beside_it(example, way, tmp_path):
    script = example
    if way == "import":
        script = tmp_path / example.name
        script.write_text(with_import_form(example.read_text(encoding="utf-8")), encoding="utf-8")
    ended = session.run(launch.command(way, script), cwd=tmp_path).check()
    assert ended.stdout == example.with_suffix(".out").read_bytes().decode()
    assert ended.stderr == ""


@pytest.mark.parametrize("way", ["stdlib", "alias"])
def test_copy_folder_copies_the_folder_it_is_given(way, tmp_path):
    source = folders.make_nested(tmp_path / "from")
    copy = [str(source), str(tmp_path / "to")]
    session.run([*launch.command(way, ROOT / "examples" / "copy_folder.py"), *copy], cwd=tmp_path).check()
    folders.same_folders(source, tmp_path / "to")


def test_the_list_of_examples_is_complete():
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    listed = {line.split("](")[1].split(")")[0] for line in text.splitlines() if line.startswith("| [")}
    assert listed == {path.name for path in EXAMPLES}
    assert sys.executable and all(path.with_suffix(".out").exists() for path in EXAMPLES)
