"""Bring one data set into the prepared form: arrays of bytes and a description."""

import argparse
from pathlib import Path

from forgetting import datasets, sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``prepare``."""
    parser.add_argument("--source", required=True, help="the data set, as sources.to_json says it")
    parser.add_argument("--data-dir", required=True, type=Path, help="where the user's files lie")
    parser.add_argument("--download", action="store_true", help="allow downloads into --data-dir")
    parser.add_argument("--code", default="", help="fingerprint of the code that prepares it")
    parser.add_argument("--out", required=True, type=Path, help="data/KEY.safetensors")
    parser.add_argument("--out-json", required=True, type=Path, help="data/KEY.json")


def run(arguments: argparse.Namespace) -> None:
    """Read the source, check it and write the prepared files."""
    source = sources.from_json(arguments.source)
    dataset = sources.load(source, arguments.data_dir, download=arguments.download)
    datasets.write(
        dataset,
        arguments.out,
        path_json=arguments.out_json,
        extra={"code": arguments.code},
    )
