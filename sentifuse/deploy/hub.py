"""A bundle to and from a repository of the Hugging Face Hub, its files as they are.

The token is that of `huggingface_hub`: the environment's `HF_TOKEN`, or what `hf auth login` has stored.
This module needs no torch.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.deploy import bundle
from sentifuse.deploy.model_card import LIBRARY
from sentifuse.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES = (bundle.WEIGHTS, bundle.CONFIG, bundle.CARD)
_LOGIN = "set HF_TOKEN, or run `hf auth login`"


def push(folder: Path, repo: str, branch: str | None, public: bool) -> str:
    """Uploads a bundle in one commit; makes the repository and the branch where there are none.

    Args:
        folder: of the bundle.
        repo: `OWNER/NAME`.
        branch: the default branch if None.
        public: whether everybody sees a repository that is new; one that exists stays as it is.

    Returns:
        The address of the commit; of the last one, if the repository has these files already.

    Raises:
        UserError: no sound bundle, a card that the hub could not file, no token or not the right to write
            there, or no network.
    """
    from huggingface_hub import CommitOperationAdd, get_token

    api = _api(repo)
    bundle.verify(folder)
    _check_card(folder / bundle.CARD)
    if get_token() is None:
        raise UserError(f"{repo}: no token for the hub: {_LOGIN}")
    with _told(api, repo):
        api.create_repo(repo, private=not public, exist_ok=True)
        if branch is not None:
            api.create_branch(repo, branch=branch, exist_ok=True)
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(name, folder / name) for name in FILES],
            commit_message="Upload a bundle of sentifuse",
            revision=branch,
        )
    return str(commit.commit_url)


def pull(repo: str, folder: Path, revision: str | None) -> str:
    """Downloads a bundle; `folder` appears when all of its files are there and sound.

    Args:
        repo: `OWNER/NAME`.
        folder: to make; nothing must be there.
        revision: a branch, a tag or a commit; the default branch if None.

    Returns:
        The commit that it is of.

    Raises:
        UserError: no such repository or revision, no sound bundle there, or no network.
    """
    api = _api(repo)
    if os.path.lexists(folder):
        raise UserError(f"{folder}: is there already: choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as partial:
        fetched = Path(partial) / "bundle"
        with _told(api, repo):
            commit = str(api.model_info(repo, revision=revision).sha)
            for name in FILES:
                api.hf_hub_download(repo, name, revision=commit, local_dir=fetched)
        shutil.rmtree(fetched / ".cache")  # the hub's notes of what it has fetched
        try:
            bundle.verify(fetched)
        except UserError as error:
            raise UserError(str(error).replace(str(fetched), f"{repo}@{commit[:8]}")) from None
        fetched.rename(folder)
    return commit


def _api(repo: str) -> "HfApi":
    """The hub's client; refuses what cannot be the name of a repository, and to work offline."""
    from huggingface_hub import HfApi, is_offline_mode
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError:
        valid = False
    else:
        valid = repo.count("/") == 1
    if not valid:
        raise UserError(f"{repo!r}: not a repository of the hub: expected OWNER/NAME, as me/mood")
    if is_offline_mode():
        raise UserError(f"{repo}: HF_HUB_OFFLINE is set: unset it to reach the hub")
    return HfApi()


def _check_card(path: Path) -> None:
    """Refuses a card without the metadata by which the hub files a model."""
    import yaml
    from huggingface_hub import metadata_load

    again = "run `dvc repro package`, which writes it"
    try:
        metadata = metadata_load(path) or {}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: a bundle has a model card: {again}") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: its metadata cannot be read ({reason}): {again}") from None
    if not metadata.get("license"):
        raise UserError(
            f"{path}: no `license` in its metadata: set package.license in params.yaml and {again}"
        )
    if metadata.get("library_name") != LIBRARY:
        raise UserError(
            f"{path}: library_name {metadata.get('library_name')!r}, expected {LIBRARY!r}: {again}"
        )


@contextmanager
def _told(api: "HfApi", repo: str) -> Iterator[None]:
    """Says in one line what the hub, or the way to it, refuses."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError:
        raise UserError(f"{repo}: no such revision: expected a branch, a tag or a commit") from None
    except errors.RemoteEntryNotFoundError as error:
        name = error.response.url.path.rpartition("/")[2]
        raise UserError(f"{repo}: no {name} there: not a bundle of sentifuse") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{repo}: no such repository, or it is private: {_LOGIN}") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        said = (error.server_message or error.response.reason_phrase).splitlines()[0]
        todo = f": see what your token may do: {_LOGIN}" if status in (401, 403) else ""
        raise UserError(f"{repo}: the hub answers {status}: {said}{todo}") from None
    except ValueError as error:  # what is wrong with a card, or with a large file
        raise UserError(f"{repo}: the hub refuses it: {' '.join(str(error).split())}") from None
    except (httpx2.HTTPError, errors.LocalEntryNotFoundError, RuntimeError) as error:
        # The library tells the reason of a failed download or upload as its cause.
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"{api.endpoint} cannot be reached ({reason}): check the network") from None
