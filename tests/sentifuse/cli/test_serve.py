import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from sentifuse.cli import serve as serve_command
from sentifuse.deploy import opening
from sentifuse.deploy.predictor import Predictor
from sentifuse.deploy.serving import app, logs, server, tokens
from sentifuse.deploy.serving.guards import Access
from sentifuse.deploy.serving.limits import Limits
from sentifuse.errors import UserError
from sentifuse.runtime.threads import cores

pytestmark = pytest.mark.servers


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve_command.add_options(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What would have been served, in a folder without any model."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}

    def load(folder: Path, backbone: str | dict[str, str] | None, max_pixels: int) -> str:
        found.update(folder=folder, backbone=backbone, max_pixels=max_pixels)
        return "predictor"

    monkeypatch.setattr(Predictor, "load", load)
    monkeypatch.delenv(tokens.VARIABLE, raising=False)
    monkeypatch.setattr(opening, "digest", lambda folder: "ab12")
    monkeypatch.setattr(logs, "set_up", lambda kind: found.update(log=kind))

    def create(predictor: str, limits: Limits, access: Access, digest: str) -> FastAPI:
        found.update(limits=limits, hosts=access.hosts, token=access.token, digest=digest)
        made = FastAPI()
        made.state.batches = "batches"
        return made

    def serve(config: uvicorn.Config, batches: str, seconds: float) -> None:
        found.update(host=config.host, port=config.port, batches=batches, stop_within=seconds)
        assert not config.access_log

    monkeypatch.setattr(app, "create_app", create)
    monkeypatch.setattr(server, "serve", serve)
    return found


def test_it_is_for_this_machine_only_by_default(
    served: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    serve_command.run(parsed())
    assert (served["host"], served["port"]) == ("127.0.0.1", 8000)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_loopback_has_many_names(
    served: dict[str, Any], capsys: pytest.CaptureFixture[str], host: str
) -> None:
    serve_command.run(parsed("--host", host))
    assert served["host"] == host
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ([], set()),
        (["--host", "127.0.0.2"], {"127.0.0.2"}),
        (["--allow-host", "a.example", "b.example"], {"a.example", "b.example"}),
        (["--host", "0.0.0.0", "--allow-host", "a.example"], {"0.0.0.0", "a.example"}),
        (["--host", "0.0.0.0"], None),
    ],
)
def test_on_this_machine_it_goes_by_its_names_only(
    served: dict[str, Any], options: list[str], more: set[str] | None
) -> None:
    serve_command.run(parsed(*options))
    names = {"localhost", "127.0.0.1", "::1"}
    assert served["hosts"] == (None if more is None else names | more)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_another_host_is_warned_of(
    served: dict[str, Any], capsys: pytest.CaptureFixture[str], host: str
) -> None:
    serve_command.run(parsed("--host", host))
    assert f"warning: --host {host}: whoever reaches this machine" in capsys.readouterr().err


def test_every_limit_is_an_option(served: dict[str, Any]) -> None:
    options = ["--max-bytes", "1", "--max-pixels", "2", "--max-characters", "3"]
    options += ["--timeout", "4.5", "--workers", "5", "--queue", "0", "--max-batch", "6"]
    options += ["--max-delay-ms", "7", "--stop-within", "8", "--log", "json"]
    serve_command.run(parsed(*options))
    assert served["limits"] == Limits(1, 2, 3, 4.5, 5, 0, 6, 0.007)
    assert served["max_pixels"] == 2
    assert (served["stop_within"], served["log"]) == (8, "json")
    assert (served["digest"], served["batches"]) == ("ab12", "batches")


def test_there_is_a_worker_for_each_core_by_default(served: dict[str, Any]) -> None:
    serve_command.run(parsed())
    assert served["limits"].workers == cores()


def test_a_token_is_taken_from_its_file(
    served: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret")
    file.chmod(0o600)
    serve_command.run(parsed("--token-file", str(file), "--host", "0.0.0.0"))
    assert served["token"] == "s3cret"
    assert "no encryption" in capsys.readouterr().err


def test_a_token_that_is_refused_stops_it_before_the_model_is_loaded(
    served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tokens.VARIABLE, "")
    with pytest.raises(UserError, match="SENTIFUSE_TOKEN: empty"):
        serve_command.run(parsed())
    assert served == {}


@pytest.mark.parametrize(
    ("options", "backbone"),
    [
        ([], None),
        (["--backbone", "folder"], "folder"),
        (["--backbone", "text_a=b", "--backbone", "image_c=d"], {"text_a": "b", "image_c": "d"}),
    ],
)
def test_encoders_may_be_elsewhere(
    served: dict[str, Any], options: list[str], backbone: str | dict[str, str] | None
) -> None:
    serve_command.run(parsed(*options))
    assert served["backbone"] == backbone


@pytest.mark.parametrize(
    "options",
    [
        *(["--port", "65536"], ["--workers", "0"], ["--queue", "-1"], ["--timeout", "nan"]),
        *(["--max-batch", "0"], ["--max-delay-ms", "-1"], ["--stop-within", "-1"]),
    ],
)
def test_a_limit_out_of_range_is_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(*options)
    assert f"{options[1]}: expected" in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-serve\.txt"):
        serve_command.run(parsed())
