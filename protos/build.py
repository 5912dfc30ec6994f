"""Generate the Python code of the protocol whenever the project is built or installed.

Having edited a .proto file, run `pip install --no-deps --editable .` again.
"""

from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtocHook(BuildHookInterface[Any]):
    """Runs protoc before hatchling collects the files to pack."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write modules and their type stubs into core/tridentserve/rpc/v1, which git ignores."""
        protos, output = Path(self.root, "protos"), Path(self.root, "core")
        options = [
            f"--proto_path={protos}",
            f"--proto_path={Path(protoc.__file__).parent / '_proto'}",
            f"--python_out={output}",
            f"--grpc_python_out={output}",
            f"--mypy_out=quiet:{output}",
            f"--mypy_grpc_out=quiet:{output}",
        ]
        sources = sorted(str(path) for path in protos.rglob("*.proto"))
        if protoc.main(["protoc", *options, *sources]) != 0:
            raise RuntimeError("protoc failed; its messages are above")
        build_data["artifacts"].append("*_pb2*.py*")
