"""Kernels that an image brings along are laid where numba may write, once, whole, and never at the price of a start."""

import threading
from pathlib import Path

import pytest

from tandem.kernels import lay_out


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The folder that an image holds."""
    folder = tmp_path / "image"
    (folder / "quant_1").mkdir(parents=True)
    (folder / "quant_1" / "hurst.nbi").write_bytes(b"index")
    return folder


def environ(image: Path, target: Path) -> dict[str, str]:
    """Of a pod."""
    return {"TANDEM_KERNELS": str(image), "NUMBA_CACHE_DIR": str(target)}


def test_the_kernels_are_copied_to_a_folder_that_is_not_there(image: Path, tmp_path: Path) -> None:
    """With the folders above it; nothing else stays behind."""
    target = tmp_path / "pod" / "kernels"
    assert lay_out(environ(image, target))
    assert (target / "quant_1" / "hurst.nbi").read_bytes() == b"index"
    assert [path.name for path in target.parent.iterdir()] == ["kernels"]


def test_a_folder_that_is_there_is_left_as_it_is(image: Path, tmp_path: Path) -> None:
    """What another process of the pod has compiled meanwhile stays."""
    target = tmp_path / "kernels"
    target.mkdir()
    assert not lay_out(environ(image, target))
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("missing", ["TANDEM_KERNELS", "NUMBA_CACHE_DIR"])
def test_without_both_variables_nothing_happens(image: Path, tmp_path: Path, missing: str) -> None:
    """Every Python of the image comes here."""
    pod = environ(image, tmp_path / "kernels")
    del pod[missing]
    assert not lay_out(pod)
    assert not (tmp_path / "kernels").exists()


def test_an_image_without_kernels_is_no_fault(tmp_path: Path) -> None:
    """Built without the recording that they are compiled by."""
    assert not lay_out(environ(tmp_path / "nothing", tmp_path / "kernels"))


def test_a_target_that_cannot_be_written_is_told_and_does_not_stop_the_start(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the way stands for a file system that is read-only: the tests may run as root, whom no mode stops."""
    (tmp_path / "file").write_text("")
    assert not lay_out(environ(image, tmp_path / "file" / "kernels"))
    assert "cannot be laid out" in capsys.readouterr().err


def test_of_processes_that_start_together_one_lays_out_and_all_find_everything(image: Path, tmp_path: Path) -> None:
    """A study with several workers in one pod."""
    target = tmp_path / "kernels"
    barrier, done = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        done.append(lay_out(environ(image, target)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8
    assert done.count(True) == 1
    assert [path.name for path in tmp_path.iterdir() if path != image] == ["kernels"]
    assert (target / "quant_1" / "hurst.nbi").exists()
