"""How commands that walk say what they counted."""

from collections import Counter

from sync.cli.walks import print_line


def test_what_was_counted_and_measured_is_one_sentence(capsys):
    print_line("container dicom", Counter(synced=1200, gone=0), as_json=False, dry_run=True, seconds=2.5)
    print_line("container dicom", Counter(), as_json=False, dry_run=False, seconds=0.1)
    assert capsys.readouterr().out.splitlines() == [
        "container dicom: 1,200 synced (dry run, 2.5 seconds)",
        "container dicom: none (0.1 seconds)",
    ]
