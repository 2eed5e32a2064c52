"""The command `serve`: a page and a JSON endpoint to try a model."""

import argparse
import ipaddress
import sys
from collections.abc import Callable

from sentifuse.cli.predict import add_bundle_options, places
from sentifuse.errors import UserError
from sentifuse.runtime import numerics


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_bundle_options(parser)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=_port, default=8000, help="0 for any free one (default: %(default)s)")
    add(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names that a proxy asks this machine by, beside --host and localhost",
    )
    limits = parser.add_argument_group("limits of a request")
    for option, kind, default, unit in (
        ("--max-bytes", _at_least(1, int), 10_000_000, "bytes"),
        ("--max-pixels", _at_least(1, int), 40_000_000, "pixels of the image"),
        ("--max-characters", _at_least(1, int), 2_000, "characters of the text"),
        ("--timeout", _at_least(0.1, float), 30.0, "seconds"),
        ("--workers", _at_least(1, int), 1, "requests worked on at the same time"),
        ("--queue", _at_least(0, int), 8, "requests that may wait"),
    ):
        limits.add_argument(
            option, type=kind, default=default, metavar="N", help=f"{unit} (default: %(default)s)"
        )


def run(arguments: argparse.Namespace) -> None:
    """Serves until it is interrupted."""
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(
            f"serve: {error.name} is not installed: run `pip install -r requirements-serve.txt`"
        ) from None
    numerics.hold_as_trained(arguments.model)
    from sentifuse.deploy.opening import open_model
    from sentifuse.deploy.serving.app import create_app
    from sentifuse.deploy.serving.limits import Limits

    local = _is_loopback(arguments.host)
    if not local:
        print(
            f"warning: --host {arguments.host}: whoever reaches this machine can use the page; there "
            "is no password and no encryption",
            file=sys.stderr,
        )
    limits = Limits(
        upload_bytes=arguments.max_bytes,
        pixels=arguments.max_pixels,
        text_characters=arguments.max_characters,
        seconds=arguments.timeout,
        workers=arguments.workers,
        queue=arguments.queue,
    )
    predictor = open_model(arguments.model, places(arguments.backbone), limits.pixels)
    # A server that is open to others may have any name, unless --allow-host lists its names.
    hosts = {"localhost", "127.0.0.1", "::1", arguments.host, *arguments.allow_host}
    named = local or arguments.allow_host
    uvicorn.run(
        create_app(predictor, limits, hosts if named else None),
        host=arguments.host,
        port=arguments.port,
        server_header=False,
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _at_least(least: float, kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text}: expected {least} or more")
        return value

    return parse


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError(f"{text}: expected 0..65535")
    return port
