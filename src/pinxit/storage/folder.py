"""The data folder, before anything is kept in it."""

from pathlib import Path

from pinxit.errors import StartupError

PICTURES_FOLDER = "pictures"
UNFINISHED = ".restoring"
"""A file that says that a backup is being put back into this folder, or was, and is not all there."""


def prepare_data_folder(folder: Path) -> None:
    """Make the data folder if it is missing, and see that it can be written. Raises StartupError."""
    if (folder / UNFINISHED).exists():
        raise StartupError(f"A backup was not put back into {folder} to the end: run `pinxit restore` again.")
    probe = folder / ".write-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StartupError(
            f"The data folder {folder} cannot be written ({error.strerror}): "
            "give this user the right to write there, or choose another with PINXIT_DATA_DIR."
        ) from error
