"""How a hub id ("org/name", optionally "org/name@revision") becomes a local folder.

Downloads go through huggingface_hub into its shared cache, so HF_TOKEN, HF_HOME, HF_ENDPOINT and
HF_HUB_OFFLINE hold. The small files come first: a model that cannot be loaded is refused before
its weights are downloaded, and of the weights only the files that the index names are.
"""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelLoadError
from .config import read_config
from .generation import GENERATION_FILE
from .huggingface import CONFIG_FILE
from .json_text import shown
from .weight_files import INDEX_FILE, SINGLE_FILE, no_weights, read_weight_map

_SMALL_FILES = (
    CONFIG_FILE,
    GENERATION_FILE,
    INDEX_FILE,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,254}}))?")


@dataclass(frozen=True)
class HubId:
    """A model on the hub."""

    repo: str  # "org/name"
    revision: str | None = None  # branch, tag or commit; None is the default branch

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def parse_hub_id(text: str) -> HubId | None:
    """The hub id that `text` spells, None if it is not of that form."""
    match = _HUB_ID.fullmatch(text)
    if match is None or ".." in text or "--" in match[1]:
        return None
    return HubId(match[1], match[2])


def download(hub_id: HubId) -> Path:
    """The folder of the shared cache with what loading `hub_id` needs; fetches what is not there.

    A progress bar is shown on stderr where that is a terminal.

    Raises ModelLoadError, each with the next step: not found, no access, offline and not cached,
    no network, only pickled weights, and whatever `read_config` refuses.
    """
    folder = _snapshot(hub_id, None, _SMALL_FILES)
    if not (folder / CONFIG_FILE).exists():
        raise _incomplete(hub_id, folder, [CONFIG_FILE])
    read_config(folder / CONFIG_FILE)
    index = folder / INDEX_FILE
    weights = sorted(set(read_weight_map(index).values())) if index.exists() else [SINGLE_FILE]
    # The cache names a snapshot after its commit: the weights are of the same one.
    folder = _snapshot(hub_id, folder.name, weights)
    missing = [name for name in weights if not (folder / name).exists()]
    if missing:
        raise _incomplete(hub_id, folder, missing)
    return folder


def _snapshot(hub_id: HubId, commit: str | None, names: Iterable[str]) -> Path:
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            hub_id.repo,
            revision=commit or hub_id.revision,
            allow_patterns=[glob.escape(name) for name in names],
            library_name="tritium",
            tqdm_class=_progress_bar(),
        )
    # Transport errors of its HTTP library reach us too, and which one that is has changed.
    except Exception as error:
        raise ModelLoadError(f"[hub] {hub_id}: {_explain(hub_id, error)}") from error
    return Path(folder)


def _progress_bar() -> type[Any]:
    from huggingface_hub.utils import tqdm

    class TerminalBar(tqdm):
        """A bar on stderr, silent where that is not a terminal."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if sys.stderr is None or not sys.stderr.isatty():
                kwargs["disable"] = True
            super().__init__(*args, **kwargs)

    return TerminalBar


def _explain(hub_id: HubId, error: Exception) -> str:
    """What went wrong and what to do next."""
    from huggingface_hub import constants
    from huggingface_hub import utils as errors

    page = f"{constants.ENDPOINT}/{hub_id.repo}"
    if isinstance(error, errors.GatedRepoError):
        return f"access is restricted; accept the conditions at {page} and set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"no such model at {constants.ENDPOINT}; check the spelling, and set HF_TOKEN if it "
            "is private"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"no such revision; see the branches and tags at {page}"
    if isinstance(error, errors.LocalEntryNotFoundError):
        if constants.HF_HUB_OFFLINE:
            return (
                f"not complete in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids "
                "to download it; unset HF_HUB_OFFLINE once, or pass the path of a local folder"
            )
        return (
            f"{constants.ENDPOINT} cannot be reached and the model is not complete in the cache "
            f"{constants.HF_HUB_CACHE}; check the network, or pass the path of a local folder"
        )
    reason = " ".join(str(error).split())
    return f"the download failed ({type(error).__name__}: {shown(reason)}); try again"


def _incomplete(hub_id: HubId, folder: Path, missing: list[str]) -> ModelLoadError:
    """The error for files that the hub, or the cache when the hub is out of reach, lacks."""
    import huggingface_hub
    from huggingface_hub import constants

    try:
        names = huggingface_hub.list_repo_files(hub_id.repo, revision=folder.name)
    except Exception as error:  # offline; only the words of another error depend on it
        return ModelLoadError(
            f"[hub] {hub_id}: {shown(missing)} not in the cache {folder}, and "
            f"{constants.ENDPOINT} does not answer ({type(error).__name__}); check the network, or "
            "unset HF_HUB_OFFLINE once"
        )
    if missing == [SINGLE_FILE]:
        return no_weights(f"{hub_id} on the hub", names)
    return ModelLoadError(
        f"[hub] {hub_id}: the model has no {shown(missing)}; expected config.json and safetensors "
        "weights as transformers saves them"
    )
