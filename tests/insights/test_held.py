"""One process at a time writes a folder of results."""

import pytest

from insights.cohort.results import ResultFolder
from insights.errors import CohortError
from sync.adapters.file_locks import held


def test_a_second_command_with_the_same_folder_leaves_the_files_of_the_first(tmp_path):
    with ResultFolder(tmp_path / "new" / "out") as first:
        (first / "report.md").write_text("first")
        with (
            pytest.raises(CohortError, match="another process writes it") as refused,
            ResultFolder(tmp_path / "new" / "out"),
        ):
            pass
        assert (first / "report.md").read_text() == "first"
    assert refused.value.code == "cohort.out"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["out"]


def test_a_refused_folder_is_free_again(tmp_path):
    (tmp_path / "out").mkdir()
    for _ in range(2):
        with pytest.raises(CohortError) as refused, ResultFolder(tmp_path / "out"):
            pass
        assert refused.value.code == "cohort.out_exists"


def test_a_system_without_such_locks_writes_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("sync.adapters.file_locks.fcntl", None)
    with held(tmp_path / "lock"), held(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []
