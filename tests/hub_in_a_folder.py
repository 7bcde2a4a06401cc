"""huggingface_hub as far as kinemask uses it, with repositories that are folders: branch by branch, of files."""

from __future__ import annotations

import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


class RepositoryNotFoundError(OSError):
    pass


class RevisionNotFoundError(OSError):
    pass


class FolderHub:
    """What a Hub holds, in `root`/OWNER/NAME/BRANCH, and the calls that were made: (name, arguments)."""

    def __init__(self, root: Path):
        self.root, self.cache, self.calls = root / "hub", root / "cache", []

    def install(self, monkeypatch: Any) -> FolderHub:
        """Stand in for the package huggingface_hub."""
        hub, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
        kinds = {"RepositoryNotFoundError": RepositoryNotFoundError, "RevisionNotFoundError": RevisionNotFoundError}
        vars(errors).update(kinds)
        vars(hub).update(snapshot_download=self.snapshot_download, HfApi=self.api, errors=errors)
        monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
        monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
        return self

    def files(self, repository: str, branch: str = "main") -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / repository / branch).iterdir()}

    def snapshot_download(self, repo_id: str, **given: Any) -> str:
        self.calls.append(("snapshot_download", {"repo_id": repo_id, **given}))
        if not (self.root / repo_id).is_dir():
            raise RepositoryNotFoundError("404 Client Error. Repository Not Found")
        branch = given["revision"] or "main"
        if not (self.root / repo_id / branch).is_dir():
            raise RevisionNotFoundError("404 Client Error. Revision Not Found")
        folder = self.cache / repo_id / branch
        folder.mkdir(parents=True, exist_ok=True)
        for path in (self.root / repo_id / branch).iterdir():
            if any(fnmatch(path.name, pattern) for pattern in given["allow_patterns"]):
                shutil.copy(path, folder)
        return str(folder)

    def api(self, **about: Any) -> Any:
        self.calls.append(("HfApi", about))
        return SimpleNamespace(
            create_repo=self.create_repo, create_branch=self.create_branch, upload_folder=self.upload_folder
        )

    def create_repo(self, repo_id: str, **given: Any) -> None:
        self.calls.append(("create_repo", {"repo_id": repo_id, **given}))
        (self.root / repo_id / "main").mkdir(parents=True, exist_ok=given["exist_ok"])

    def create_branch(self, repo_id: str, **given: Any) -> None:
        self.calls.append(("create_branch", {"repo_id": repo_id, **given}))
        (self.root / repo_id / given["branch"]).mkdir(exist_ok=given["exist_ok"])

    def upload_folder(self, **given: Any) -> Any:
        self.calls.append(("upload_folder", given))
        branch = given["revision"] or "main"
        for path in Path(given["folder_path"]).iterdir():
            shutil.copy(path, self.root / given["repo_id"] / branch)
        return SimpleNamespace(commit_url=f"https://hub/{given['repo_id']}/commit/{branch}")
