"""The folder of a study: its study.json, the lock of its one writer, and sentences for what can be wrong with it."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxfi.errors import StudyError
from onnxfi.study.identity import SCHEMA, Identity

STUDY, JOURNAL, LOCK = "study.json", "journal.sqlite", "journal.lock"
PART = f"{STUDY}.part"  # study.json on its way: what a kill may leave behind

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def read_study(folder: Path) -> tuple[Identity, dict[str, Any]]:
    """The identity in study.json, and its notes; StudyError where it is missing, torn or of another version."""
    path = folder / STUDY
    if not path.is_file():
        raise StudyError(f"{folder} is not a study: it has no {STUDY}; give the folder that a study was written to.")
    with trouble(path):
        text = path.read_bytes()
    try:
        whole = json.loads(text)
        stated, values, about = whole["study"], whole["identity"], whole["about"]
        if values.get("schema") != SCHEMA:
            raise StudyError(
                f"{path} was written by another version of onnxfi (schema {values.get('schema')}, not {SCHEMA}); "
                "go on with that version, or give another folder."
            )
        identity = Identity.parse(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StudyError(
            f"{path} is torn or not a study's ({error}); it is left as it is: give another folder."
        ) from error
    if identity.id != stated:
        raise StudyError(
            f"{path} was changed after it was written; it is left as it is: put it back or give another folder."
        )
    return identity, dict(about)


def write_study(folder: Path, identity: Identity, about: Mapping[str, Any]) -> None:
    """Write study.json whole or not at all."""
    whole = {"study": identity.id, "about": dict(about), "identity": json.loads(identity.text)}
    part, path = folder / PART, folder / STUDY
    with trouble(path):
        with part.open("wb") as file:
            file.write(json.dumps(whole, indent=1, allow_nan=False).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


def claim(folder: Path, identity: Identity) -> bool:
    """Make sure that the folder can hold this study; True when it already does.

    Nothing is written but the folder itself. StudyError when it is a file, holds other things, or another study.
    """
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder} is a file; give a folder for the study.")
    with trouble(folder):
        folder.mkdir(parents=True, exist_ok=True)
        names = {child.name for child in folder.iterdir()}
    if STUDY in names:
        there, _ = read_study(folder)
        if difference := there.difference(identity):
            name, theirs, ours = difference
            raise StudyError(
                f"{folder} holds another study: {name} is {theirs} there and {ours} here; give another folder, or the "
                "settings it was begun with."
            )
        return True
    if JOURNAL in names:
        raise StudyError(f"{folder} holds a {JOURNAL} but no {STUDY}; it is left as it is: give another folder.")
    if others := sorted(name for name in names - {PART, LOCK} if not name.startswith(".")):
        listed = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise StudyError(f"{folder} holds other things ({listed}); give an empty or a new folder for the study.")
    return False


def lock(folder: Path) -> sqlite3.Connection:
    """Hold the folder for one writer until the connection is closed or the process dies, kill -9 included.

    A transaction held on an empty database is the lock that works alike on every system; readers do not look at it.
    StudyError where another process holds it, or the folder or a file in it cannot be written: SQLite alone would find
    that out at the first unit.
    """
    # Asked, not tried: closing a file of its own would drop the locks that this process holds on it through SQLite.
    effective = os.access in os.supports_effective_ids
    for path in (folder, folder / LOCK, folder / JOURNAL):
        if path.exists() and not os.access(path, os.W_OK, effective_ids=effective):
            raise StudyError(_read_only(path))
    with trouble(folder / LOCK):
        held = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None)
        try:
            held.execute("PRAGMA journal_mode = MEMORY")  # nothing is written: no file beside it either
            held.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error:
            held.close()
            raise
    return held


@contextmanager
def trouble(path: Path) -> Iterator[None]:
    """Turn what the disk or SQLite says into a StudyError that names the path and what to do."""
    try:
        yield
    except OSError as error:
        raise StudyError(_os_sentence(path, error)) from error
    except sqlite3.Error as error:
        raise StudyError(_sqlite_sentence(path, error)) from error


def _os_sentence(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return _no_space(path)
    if error.errno in _FORBIDDEN:
        return _read_only(path)
    return f"{path} cannot be used ({error.strerror or error}); give another folder."


def _sqlite_sentence(path: Path, error: sqlite3.Error) -> str:
    whole = getattr(error, "sqlite_errorcode", 0)
    code = whole & 0xFF  # the low byte is the kind, the rest the detail
    if code == sqlite3.SQLITE_FULL or whole == sqlite3.SQLITE_IOERR_SHMSIZE:
        return _no_space(path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return _read_only(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path.parent} is being written by another process; wait until it is done, or give another folder."
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return torn(path, str(error))
    return f"{path} could not be read or written ({error}); see to the disk and run the same command again."


def torn(path: Path, what: str) -> str:
    """The sentence for a file that is not as it was written."""
    return f"{path} is torn ({what}); it is left as it is: put a copy back or give another folder."


def _no_space(path: Path) -> str:
    return f"No space is left to write {path}; make room and run the same command again, what was written is kept."


def _read_only(path: Path) -> str:
    return f"{path} cannot be opened for writing (read-only); give a folder that can be written."
