"""Generates pictures through a pipeline's router, with a progress bar.

| exit status | |
| --- | --- |
| 0 | the pictures are written |
| 1 | it failed in the pipeline, or a file could not be written |
| 2 | the command line is wrong |
| 3 | the request is wrong, or too large for the workers; the message says what is |
| 4 | refused for now: the queue is full, or the deadline cannot be met |
| 5 | nobody there: no router, no workers yet, or they went away |
| 6 | the timeout has passed |
| 7 | somebody else cancelled it |
| 130 | cancelled with Ctrl-C |
"""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import grpc

from tridentserve import errors
from tridentserve.client.finding import find_endpoint
from tridentserve.client.generation import GenerationClient, Metadata, checked_metadata
from tridentserve.client.values import Event, Request, Result, StageStarted, Step

INVALID, REFUSED, UNAVAILABLE, DEADLINE, CANCELLED = 3, 4, 5, 6, 7


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "exit status:\n" + "\n".join(
        line.strip("| ").replace(" | ", "  ")
        for line in (__doc__ or "").splitlines()[4:]
        if line.startswith("|")
    )
    parser.add_argument("--prompt", required=True, help="what to draw")
    parser.add_argument("--negative-prompt", default="", help="what to avoid")
    parser.add_argument("--height", type=int, help="pixels (the model's default)")
    parser.add_argument("--width", type=int, help="pixels (the model's default)")
    parser.add_argument("--steps", type=int, help="denoising steps (the model's default)")
    parser.add_argument("--guidance", type=float, help="how strictly (the model's default)")
    parser.add_argument("--seed", type=int, help="equal seeds give equal pictures (drawn)")
    parser.add_argument("--count", type=int, default=1, help="how many pictures (1)")
    parser.add_argument(
        "--deadline-seconds", type=float, help="when it should be done (the pipeline's SLO)"
    )
    parser.add_argument("--timeout-seconds", type=float, help="when to give up (never)")
    parser.add_argument("--output-format", default="", help="mime type (image/png)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("out.png"), help="file; several get -1, -2, …"
    )
    parser.add_argument("--json", action="store_true", help="tell how it went as one JSON object")
    where = parser.add_argument_group("where", "without --endpoint, through the kubeconfig")
    where.add_argument("--endpoint", help="host:port of the router, or of what stands before it")
    where.add_argument(
        "--tls", action="store_true", help="what stands before the router ends TLS (plain text)"
    )
    where.add_argument(
        "--tls-ca", type=Path, help="file of the authorities to trust, PEM; turns --tls on"
    )
    where.add_argument(
        "--header", action="append", default=[], help="NAME: VALUE to send along; may be repeated"
    )
    where.add_argument("--pipeline", help="its name (the only one there)")
    where.add_argument("-n", "--namespace", help="its namespace (the context's)")
    where.add_argument("--kubeconfig", help="file (KUBECONFIG, then ~/.kube/config)")


def run(args: argparse.Namespace) -> int:
    """Generate and write; the exit status."""
    try:
        files = _files(args.output, args.count)
        result = asyncio.run(_generate(args))
        for file, data in zip(files, result.media, strict=True):
            file.write_bytes(data)
    except (errors.TridentServeError, OSError) as error:
        print(f"tridentserve generate: {error}", file=sys.stderr)
        return _exit_status(error)
    print(_as_json(files, result) if args.json else _as_text(files, result))
    return 0


def _exit_status(error: Exception) -> int:
    match error:
        case errors.InvalidFieldError() | errors.TooLargeError():
            return INVALID
        case errors.ExhaustedError() | errors.AlreadyExistsError():
            return REFUSED
        case errors.UnavailableError() | errors.NotFoundError():
            return UNAVAILABLE
        case errors.DeadlineExceededError():
            return DEADLINE
        case errors.CancelledError():
            return CANCELLED
        case _:
            return 1


def _files(output: Path, count: int) -> list[Path]:
    """Where the pictures go; looked at before anything is asked for."""
    if not output.parent.is_dir():
        raise errors.InvalidFieldError("--output", f"there is no folder {output.parent}")
    files = [output]
    if count > 1:
        names = (f"{output.stem}-{n}{output.suffix}" for n in range(1, count + 1))
        files = [output.with_name(name) for name in names]
    for file in (output, *files):
        if file.is_dir():
            raise errors.InvalidFieldError("--output", f"{file} is a folder; name a file in it")
    for file in files:
        written = file if file.exists() else file.parent
        if not os.access(written, os.W_OK):
            raise errors.InvalidFieldError("--output", f"nothing can be written to {written}")
    return files


def _credentials(args: argparse.Namespace) -> grpc.ChannelCredentials | None:
    if args.endpoint is None and (args.tls or args.tls_ca):
        raise errors.InvalidFieldError(
            "--tls", "needs --endpoint: the router that a kubeconfig leads to speaks plain text"
        )
    if args.tls_ca is None:
        return grpc.ssl_channel_credentials() if args.tls else None
    try:
        return grpc.ssl_channel_credentials(args.tls_ca.read_bytes())
    except OSError as error:
        raise errors.InvalidFieldError("--tls-ca", str(error)) from None


def _metadata(headers: list[str]) -> Metadata:
    pairs = []
    for header in headers:
        name, colon, value = (part.strip() for part in header.partition(":"))
        if not colon:
            raise errors.InvalidFieldError("--header", f"{header!r}; must be NAME: VALUE")
        pairs.append((name, value))
    return checked_metadata(pairs, "--header")


async def _generate(args: argparse.Namespace) -> Result:
    credentials, metadata = _credentials(args), _metadata(args.header)
    endpoint = args.endpoint or await find_endpoint(
        pipeline=args.pipeline, namespace=args.namespace, kubeconfig=args.kubeconfig
    )
    request = Request(
        prompt=args.prompt,
        negative_prompt=args.negative_prompt,
        height=args.height,
        width=args.width,
        steps=args.steps,
        guidance=args.guidance,
        seed=args.seed,
        count=args.count,
        deadline_s=args.deadline_seconds,
        output_format=args.output_format,
    )
    client = GenerationClient(endpoint, credentials=credentials, metadata=metadata)
    async with client:
        with _Progress() as progress:
            return await client.generate(
                request, timeout_s=args.timeout_seconds, on_event=progress.show
            )


class _Progress:
    """A bar on standard error: the stage, and its steps where it tells of them."""

    def __enter__(self) -> Self:
        try:
            from tqdm import tqdm
        except ImportError:
            raise errors.UnavailableError(
                "the progress bar needs one more package; run `pip install tridentserve[client]`"
            ) from None

        self._bar: tqdm[NoReturn] = tqdm(desc="waiting", unit="step", file=sys.stderr, leave=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def show(self, event: Event) -> None:
        """Move to what an event says."""
        match event:
            case StageStarted(stage=stage, attempt=attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                self._bar.reset()
                self._bar.set_description(f"{stage or 'working'}{again}")
            case Step(step=step, steps=steps):
                self._bar.total = steps
                self._bar.n = step
                self._bar.refresh()
            case _:
                pass


def _as_text(files: list[Path], result: Result) -> str:
    finished = result.finished
    lines = [f"{', '.join(map(str, files))}  seed {finished.seed}  {finished.total_s:.2f} s"]
    lines += [
        f"  {timing.stage:<8} {timing.run_s:8.3f} s  on {timing.worker} ({timing.node})"
        + (f"  {timing.input_bytes} bytes through {timing.input_store}" * bool(timing.input_store))
        for timing in finished.timings
    ]
    return "\n".join(lines)


def _as_json(files: list[Path], result: Result) -> str:
    return json.dumps({"files": [str(file) for file in files], **asdict(result.finished)})
