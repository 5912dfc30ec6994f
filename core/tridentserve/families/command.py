"""Work with model folders: build tiny random ones, and tell their content digest."""

import argparse
from pathlib import Path

from tridentserve.errors import InvalidFieldError
from tridentserve.families import building, libraries, registry
from tridentserve.families.digest import content_digest
from tridentserve.families.folder import INDEX


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the two verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True)
    tiny = verbs.add_parser("tiny", help="build a random model of the real classes, for tests")
    tiny.add_argument("--family", required=True, choices=registry.family_names())
    tiny.add_argument("--size", default="tiny", choices=building.SIZE_NAMES)
    tiny.add_argument("--variant", default="", help="sd3: without-t5; flux: schnell")
    tiny.add_argument("--seed", type=int, default=0, help="of the random weights")
    tiny.add_argument("folder", type=Path, help="a new or empty folder")
    digest = verbs.add_parser("digest", help="print the content digest of a model folder")
    digest.add_argument("folder", type=Path)


def run(args: argparse.Namespace) -> int:
    """Do it.

    Raises:
        InvalidFieldError: the folder cannot be used, and why.
    """
    if args.verb == "digest":
        if not (args.folder / INDEX).is_file():
            raise InvalidFieldError(str(args.folder), f"holds no {INDEX}")
        print(content_digest(args.folder))
        return 0
    print("importing torch and diffusers", flush=True)
    build(args.folder, family=args.family, size=args.size, variant=args.variant, seed=args.seed)
    print(f"{args.folder}: a random {args.family} ({args.size}), {content_digest(args.folder)}")
    return 0


def build(
    folder: Path, *, family: str, size: str = "tiny", variant: str = "", seed: int = 0
) -> None:
    """Build a random model; the same arguments make the same bytes.

    Raises:
        InvalidFieldError: an argument is unknown, or the folder is not empty.
    """
    chosen = registry.family_by_name(family)
    if folder.exists() and not folder.is_dir():
        raise InvalidFieldError(str(folder), "is not a folder; name a new one")
    if folder.exists() and any(folder.iterdir()):
        raise InvalidFieldError(str(folder), "is not empty; name a new folder")
    libraries.tame()
    import torch

    # Forked, so that whoever calls this keeps his own random numbers.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chosen.build(folder, size=size, variant=variant)
