"""The Hugging Face Hub (the extra `hub`): one file of weights and its card, from a repository and to one.

Only the file that is named is downloaded, and it is safetensors: nothing that comes from the Hub is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import yaml

from kinemask.errors import shorten
from kinemask.files import write_atomically
from kinemask.version import __version__

CARD = "README.md"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_US = {"library_name": "kinemask", "library_version": __version__}


def here_or_fetched(source: str | Path, file: str, revision: str | None = None, token: str | None = None) -> Path:
    """A file or folder that is here, as it is; else the folder with `file` of the repository OWNER/NAME on the Hub.

    Raises ValueError for what is neither, for a repository, a revision or a file that is not there or not to be seen,
    and where huggingface_hub is absent; OSError where the Hub is not reached.
    """
    if Path(source).exists():
        if revision is not None:
            raise ValueError(f"{source} is here, so revision {revision} would have no effect")
        return Path(source)
    repository = _named(source, f"{source} is not here, and no repository on the Hub either, which is OWNER/NAME")
    hub = _hub(f"{source} is not here, and to look for it on the Hub")
    try:
        found = hub.snapshot_download(repository, revision=revision, token=token, allow_patterns=[file], **_US)
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError) as error:
        raise ValueError(shorten(f"{repository} cannot be had from the Hub: {error}")) from None
    folder = Path(found)
    if not (folder / file).is_file():
        raise ValueError(f"{repository} on the Hub has no {file}")
    return folder


def push(
    write: Callable[[Path], None],
    repository: str,
    *,
    private: bool | None,
    revision: str | None,
    message: str,
    token: str | None,
) -> str:
    """Commit what `write` puts into a folder to a repository on the Hub, made where it is not there; its address.

    private: None leaves it to the owner's settings. revision: the branch, made where it is not there; None for main.
    """
    _named(repository, f"{repository!r} is no repository on the Hub; expected OWNER/NAME")
    with TemporaryDirectory(prefix="kinemask-") as folder:
        write(Path(folder))
        api = _hub("To push").HfApi(token=token, **_US)
        api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        done = api.upload_folder(repo_id=repository, folder_path=folder, revision=revision, commit_message=message)
    return str(done.commit_url)


def write_card(folder: Path, licence: str | None, tags: Sequence[str], sections: Sequence[str]) -> None:
    """Write a model card: a header that the Hub reads, and Markdown. licence: as the Hub names it, None for none."""
    about: dict[str, Any] = {"library_name": "kinemask", **({"license": licence} if licence else {}), "tags": [*tags]}
    text = "\n\n".join([f"---\n{yaml.safe_dump(about, sort_keys=False)}---", *sections]) + "\n"
    write_atomically(folder / CARD, lambda path: path.write_text(text, encoding="utf-8"))


def code(value: object) -> str:
    """A name within a line of Markdown, in which none of its characters mean anything."""
    return f"`{' '.join(str(value).replace('`', chr(39)).split()) or ' '}`"


def words(text: str) -> str:
    """A sentence out of a file, as Markdown that is nothing but a sentence."""
    return " ".join(re.sub(r"[^\w\s.,:;%()+-]", " ", text).split())


def licence_section(licence: str | None) -> str:
    """What the card says of its licence; kinemask's own says nothing of weights that others have trained."""
    told = "None is stated. The rights of those who recorded the training set hold; ask them, or whoever pushed this."
    return f"## Licence\n\n{told if licence is None else code(licence)}"


def _named(source: str | Path, otherwise: str) -> str:
    name = str(source)
    if not _REPOSITORY.fullmatch(name) or name.startswith("."):
        raise ValueError(shorten(otherwise))
    return name


def _hub(what: str) -> ModuleType:
    try:
        import_module("huggingface_hub.errors")
        return import_module("huggingface_hub")
    except ImportError:
        raise ValueError(f"{what} takes huggingface_hub: pip install 'kinemask[hub]'") from None
