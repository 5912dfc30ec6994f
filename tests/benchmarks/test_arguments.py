"""What is measured for minutes is not lost for want of a folder to write it to."""

from pathlib import Path

import pytest

import overhead
import router_relay


@pytest.mark.parametrize("target", ["none/x.json", "."])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(router_relay, "run", lambda *_: iter(()))
    for main, option in ((overhead.main, "--out"), (router_relay.main, "--json")):
        monkeypatch.setattr("sys.argv", ["benchmark", option, target])
        monkeypatch.setattr(overhead, "sections", lambda args: iter(()))
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 2
        shown = capsys.readouterr()
        assert not shown.out
        assert f"argument {option}: {target} is no file that can be written" in shown.err
