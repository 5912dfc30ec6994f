"""One stage of a model in a process of its own, with files in the place of a tensor store.

    stage_process.py encode JOBS

`JOBS` is a JSON file: a list of model folders, each with a list of requests and a working folder.
The stage reads `WORK/<request>.<previous stage>` and writes `WORK/<request>.<stage>`, coded as in
the stores; decode writes `WORK/<request>.<picture>.png`. `WORK/<stage>.json` says what was loaded.

One process runs one stage of several models, one after another, since importing torch takes longer
than all the rest.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE
from tridentserve.domain.tensors import Tensor, TensorInfo
from tridentserve.domain.work import Generation
from tridentserve.stage.runner import Output, Task
from tridentserve.stage.settings import from_environment
from tridentserve.store import codec

SERVICES = {Stage.ENCODE: "encoder", Stage.DIFFUSE: "diffuser", Stage.DECODE: "decoder"}


def write(path: Path, output: Output) -> None:
    layout = codec.plan(output.tensors)
    path.write_bytes(b"".join(codec.pieces(layout, output.tensors)))
    infos = [[info.name, info.dtype, list(info.shape)] for info in layout.infos]
    path.with_suffix(path.suffix + ".json").write_text(json.dumps(infos))


def read(path: Path) -> dict[str, Tensor]:
    infos = json.loads(path.with_suffix(path.suffix + ".json").read_text())
    expected = [TensorInfo(name=n, dtype=dtype, shape=tuple(shape)) for n, dtype, shape in infos]
    return codec.read(memoryview(bytearray(path.read_bytes())), expected)


def serve(stage: Stage, folder: str, cases: list[dict[str, Any]], work: Path) -> None:
    settings = from_environment(
        {"TRIDENTSERVE_MODEL_DIR": folder, "TRIDENTSERVE_THREADS": "1"}, stages=stage
    )
    runner = import_module(f"tridentserve_{SERVICES[stage]}.runner").load(settings)
    for number, case in enumerate(cases):
        size = Shape(height=case.pop("height"), width=case.pop("width"))
        inputs = read(work / f"{number}.{stage.previous}") if stage.previous else {}
        task = Task(generation=Generation(**case, shape=size), inputs=inputs)
        (output,) = runner.run([task], SINGLE, lambda done, steps: None)
        write(work / f"{number}.{stage}", output)
        for index, media in enumerate(output.media):
            (work / f"{number}.{index}.png").write_bytes(media.data)
    components = runner._part._pipeline.components
    report = {
        "modules": sorted(n for n, c in components.items() if isinstance(c, torch.nn.Module)),
        "threads": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "digest": runner.model.digest,
    }
    (work / f"{stage}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    for job in json.loads(Path(sys.argv[2]).read_text()):
        serve(Stage(sys.argv[1]), job["folder"], job["cases"], Path(job["work"]))
