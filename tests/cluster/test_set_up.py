"""The SLURM of the tests keeps away from any other (no daemon is started here)."""

from pathlib import Path

import pytest
import slurm


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Look at another folder than /etc/slurm, and at no daemon of this machine."""
    monkeypatch.setattr(slurm, "ETC", tmp_path)
    monkeypatch.setattr(slurm, "HOME", tmp_path / "run")
    monkeypatch.setattr(slurm, "processes", lambda *names: [])
    monkeypatch.delenv("SLURM_CONF", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["slurm.conf", "gres.conf"])
def test_configuration_of_somebody_else_is_refused_and_kept(elsewhere: Path, name: str) -> None:
    (elsewhere / name).write_text("ClusterName=theirs\n")
    with pytest.raises(slurm.Foreign, match=f"{name} was not written by these tests"):
        slurm.install()
    with pytest.raises(slurm.Foreign, match=name), slurm.running():
        pass
    slurm.stop()
    assert [p.name for p in elsewhere.iterdir()] == [name]
    assert (elsewhere / name).read_text() == "ClusterName=theirs\n"


def test_another_configuration_by_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/cluster/slurm.conf")
    with pytest.raises(slurm.Foreign, match="SLURM_CONF names /cluster/"):
        slurm.refuse_foreign()


def test_cluster_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "shell", lambda command, check: "main* up infinite 5 idle n[1-5]")
    with pytest.raises(slurm.Foreign, match="sinfo shows a cluster"):
        slurm.refuse_foreign()


def test_daemon_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "processes", lambda *names: [12345])
    with pytest.raises(slurm.Foreign, match="12345"):
        slurm.refuse_foreign()


def test_what_an_earlier_test_left_is_removed(elsewhere: Path) -> None:
    (elsewhere / "run").mkdir()
    for name, text in slurm.FILES.items():
        (elsewhere / name).write_text(text)
    slurm.refuse_foreign()
    slurm.stop()
    assert list(elsewhere.iterdir()) == []


def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert slurm.unavailable() == "SLURM's daemons are started by root"
    assert slurm.install() == "SLURM is installed with apt-get, by root"
