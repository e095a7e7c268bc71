"""Models on the Hugging Face Hub: fetched by their id, and handed there."""

import logging
import re
from pathlib import Path

from kmerl_jax.evaluation import release

log = logging.getLogger(__name__)


def locate(path: str | Path) -> Path:
    """The folder of a model: the one that is named, or a copy of what the Hub has under USER/NAME.

    Raises:
        FileNotFoundError: neither is there, or the Hub cannot be reached.
    """
    folder = Path(path)
    # A folder that is misspelt is no model of a stranger's.
    if folder.is_dir() or folder.parent.is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)):
        return folder
    import huggingface_hub  # half a second that a folder need not wait for

    try:
        found = Path(huggingface_hub.snapshot_download(str(path), allow_patterns=release.FILES))
    except Exception as error:  # of the network, of the Hub and of the cache
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise FileNotFoundError(
            f"there is no folder {path}, and no such model can be had from the Hugging Face Hub "
            f"({type(error).__name__}: {reason})"
        ) from error
    log.info(f"{path} is from the Hugging Face Hub, revision {found.name}")
    return found


def push(folder: Path, name: str) -> str:
    """Hands a model to the Hub, as USER/NAME: a private one, unless it is there already.

    Returns:
        Its address.

    Raises:
        ValueError: the Hub did not take it; the folder is as it was.
    """
    import huggingface_hub

    release.check(folder)
    try:
        huggingface_hub.create_repo(name, private=True, exist_ok=True)
        huggingface_hub.upload_folder(repo_id=name, folder_path=folder, allow_patterns=release.FILES)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ValueError(
            f"{name} was not pushed ({type(error).__name__}: {reason}); {folder} is whole: log in with "
            "`hf auth login` and give --push again"
        ) from error
    return f"https://huggingface.co/{name}"
