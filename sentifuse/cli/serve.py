"""The command `serve`: a page and a JSON endpoint for a model."""

import argparse
import ipaddress
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.cli.predict import add_bundle_options, model_of, places
from sentifuse.errors import UserError
from sentifuse.runtime import numerics
from sentifuse.runtime.threads import cores

if TYPE_CHECKING:
    from sentifuse.deploy.serving.guards import Access
    from sentifuse.deploy.serving.limits import Limits


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
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds the token that requests have to bring; or set SENTIFUSE_TOKEN",
    )
    add("--log", choices=("text", "json"), default="text", help="(default: %(default)s)")
    add(
        "--stop-within",
        type=_at_least(0, float),
        default=20.0,
        metavar="N",
        help="seconds to finish what was taken, after SIGTERM (default: %(default)s)",
    )
    _add_limits(parser.add_argument_group("limits of a request"))
    _add_load(parser.add_argument_group("load"))


def _add_limits(group: "argparse._ArgumentGroup") -> None:
    for option, kind, default, unit in (
        ("--max-bytes", _at_least(1, int), 10_000_000, "bytes"),
        ("--max-pixels", _at_least(1, int), 40_000_000, "pixels of the image"),
        ("--max-characters", _at_least(1, int), 2_000, "characters of the text"),
        ("--timeout", _at_least(0.1, float), 30.0, "seconds to arrive, and again to be answered"),
    ):
        group.add_argument(
            option, type=kind, default=default, metavar="N", help=f"{unit} (default: %(default)s)"
        )


def _add_load(group: "argparse._ArgumentGroup") -> None:
    for option, kind, default, unit in (
        (
            "--workers",
            _at_least(1, int),
            cores(),
            "threads that predict a batch each, with one model for all of them (default: one per core)",
        ),
        ("--queue", _at_least(0, int), 64, "requests that may wait (default: %(default)s)"),
        ("--max-batch", _at_least(1, int), 8, "requests in a batch (default: %(default)s)"),
        (
            "--max-delay-ms",
            _at_least(0, float),
            2.0,
            "milliseconds that a request waits for others while a worker is free (default: %(default)s)",
        ),
    ):
        group.add_argument(option, type=kind, default=default, metavar="N", help=unit)


def run(arguments: argparse.Namespace) -> None:
    """Serves until it is told to stop."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(
            f"serve: {error.name} is not installed: run `pip install -r requirements-serve.txt`"
        ) from None
    access = _access(arguments)
    arguments.model = model_of(arguments)
    numerics.hold_as_trained(arguments.model)
    from sentifuse.deploy import opening
    from sentifuse.deploy.serving import app, logs, server

    limits = _limits(arguments)
    # One thread for each worker: those of one graph wait for each other, and badly on a busy machine.
    predictor = opening.open_model(arguments.model, places(arguments.backbone), limits.pixels, 1)
    logs.set_up(arguments.log)
    served = app.create_app(predictor, limits, access, opening.digest(arguments.model))
    config = uvicorn.Config(
        served,
        host=arguments.host,
        port=arguments.port,
        server_header=False,
        access_log=False,
        log_config=None,
        lifespan="off",
    )
    server.serve(config, served.state.batches, arguments.stop_within)


def _access(arguments: argparse.Namespace) -> "Access":
    """Who may ask; warns where that is everybody."""
    from sentifuse.deploy.serving import tokens
    from sentifuse.deploy.serving.guards import Access

    token = tokens.read(arguments.token_file)
    local = _is_loopback(arguments.host)
    if not local:
        whoever = "whoever reaches this machine can use the page; there is no password and"
        print(
            f"warning: --host {arguments.host}: "
            f"{whoever if token is None else 'the token and all that is sent travel with'} no encryption",
            file=sys.stderr,
        )
    # A server that is open to others may have any name, unless --allow-host lists its names.
    hosts = {"localhost", "127.0.0.1", "::1", arguments.host, *arguments.allow_host}
    return Access(hosts if local or arguments.allow_host else None, token)


def _limits(arguments: argparse.Namespace) -> "Limits":
    from sentifuse.deploy.serving.limits import Limits

    return Limits(
        upload_bytes=arguments.max_bytes,
        pixels=arguments.max_pixels,
        text_characters=arguments.max_characters,
        seconds=arguments.timeout,
        workers=arguments.workers,
        queue=arguments.queue,
        batch=arguments.max_batch,
        delay=arguments.max_delay_ms / 1000,
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
