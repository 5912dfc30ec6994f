"""GPUs that the environment does not name: what CUDA shows, or a sentence on why it does not."""

from types import SimpleNamespace

import pytest

from tridentserve.errors import InvalidFieldError
from tridentserve.families import gpus


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A CUDA that counts two GPUs."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    return monkeypatch


def test_gpus_are_named_as_a_device_plugin_names_them(cuda: pytest.MonkeyPatch) -> None:
    cuda.setattr(
        "torch.cuda.get_device_properties", lambda number: SimpleNamespace(uuid=f"{number}-a-b")
    )

    assert gpus.uuids() == ("GPU-0-a-b", "GPU-1-a-b")


def test_gpus_that_cannot_be_opened_are_a_sentence_with_cudas_own_words(
    cuda: pytest.MonkeyPatch,
) -> None:
    def refuse(number: int) -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    cuda.setattr("torch.cuda.get_device_properties", refuse)

    with pytest.raises(InvalidFieldError, match=r"cannot open .* driver on your system is too old"):
        gpus.uuids()
