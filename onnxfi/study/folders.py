"""Reading folders of image files: labels.csv, class sub-folders, or images alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from onnxfi.errors import DataError
from onnxfi.study.raw import IMAGE_SUFFIXES, Raw, reason

FILE_COLUMNS = ("file", "filename", "path", "image")
LABEL_COLUMNS = ("class_id", "classid", "label", "class", "target", "y")
CLASS_COLUMNS = ("name", "class_name", "classname")


def read_folder(folder: Path) -> Raw:
    """A labels.csv decides where there is one; else class sub-folders; else images without labels."""
    listing = folder / "labels.csv"
    if listing.is_file():
        return _from_csv(folder, listing)
    children = sorted((child for child in folder.iterdir() if not child.name.startswith(".")), key=lambda c: c.name)
    loose = tuple(child for child in children if _is_image(child))
    kinds = [child for child in children if child.is_dir()]
    files = [(image, number) for number, kind in enumerate(kinds) for image in _images_in(kind)]
    if loose and files:
        raise DataError(
            f"{folder} holds both images ({loose[0].name}) and class folders; sort the images into classes."
        )
    if loose:
        return Raw(folder, loose, names=tuple(file.name for file in loose), note=" (no labels)")
    if not files:
        raise DataError(f"{folder} holds no images ({' '.join(IMAGE_SUFFIXES)}); put them there or in class folders.")
    _check_numbered(folder, [kind.name for kind in kinds])
    return Raw(
        folder,
        tuple(image for image, _ in files),
        np.array([number for _, number in files], np.int64),
        tuple(f"{image.parent.name}/{image.name}" for image, _ in files),
        {number: kind.name for number, kind in enumerate(kinds)},
        label_places=tuple(f"{image.parent}: the class" for image, _ in files),
        note=f" ({len(kinds)} class folders)",
    )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _images_in(folder: Path) -> list[Path]:
    return sorted((c for c in folder.iterdir() if not c.name.startswith(".") and _is_image(c)), key=lambda c: c.name)


def _check_numbered(folder: Path, names: list[str]) -> None:
    """Folders 0, 1, 10, 2: by name 10 is class 2, by number it is class 10, and nobody can tell which was meant."""
    if all(name.isdecimal() for name in names) and names != sorted(names, key=int):
        raise DataError(
            f"{folder} has numbered class folders that sort by name as {', '.join(names[:4])}, ...; "
            "give them leading zeros, or write a labels.csv."
        )


def _from_csv(folder: Path, listing: Path) -> Raw:
    table = _csv_rows(listing)
    if not table:
        raise DataError(f"{listing} lists no images; give one row an image.")
    for row in table:
        if not row.file or not (folder / row.file).is_file():
            raise DataError(f"{listing}, line {row.line}: no file {row.file!r} in {folder}; correct or remove the row.")
    files = tuple(folder / row.file for row in table)
    labels = [_csv_label(row.label, f"{listing}, line {row.line}") for row in table]
    unlisted = len(set(_images_in(folder)) - set(files))
    return Raw(
        folder,
        files,
        np.array(labels, np.int64),
        tuple(row.file for row in table),
        _csv_classes(labels, [row.name for row in table]),
        label_places=tuple(f"{listing}, line {row.line}: the label" for row in table),
        note=" (labels.csv" + (f"; images left out because it does not list them: {unlisted})" if unlisted else ")"),
    )


class _Row(NamedTuple):
    line: int
    file: str
    label: str
    name: str


def _csv_rows(listing: Path) -> list[_Row]:
    """The columns that count, found by their usual names; others are passed over. `name` is '' where there is none."""
    try:
        with listing.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text)
            columns = {name.strip().lower(): name for name in rows.fieldnames or []}
            file, label, name = (
                next((columns[known] for known in names if known in columns), None)
                for names in (FILE_COLUMNS, LABEL_COLUMNS, CLASS_COLUMNS)
            )
            if file is None or label is None:
                raise DataError(
                    f"{listing} has the columns {', '.join(columns) or '(none)'}, but needs a file column "
                    f"({', '.join(FILE_COLUMNS)}) and a label column ({', '.join(LABEL_COLUMNS)}); rename them."
                )
            return [
                _Row(rows.line_num, *((row.get(c or "") or "").strip() for c in (file, label, name))) for row in rows
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{listing} cannot be read ({reason(error)}); write it as comma-separated UTF-8.") from error


def _csv_label(text: str, where: str) -> int:
    try:
        return int(np.int64(int(text)))
    except (ValueError, OverflowError):
        raise DataError(f"{where}: the label {text!r} is no class number; give whole numbers from 0.") from None


def _csv_classes(labels: list[int], names: list[str]) -> dict[int, str]:
    """Class names from a column of names; none where one class has two names, for then they name something else."""
    classes: dict[int, str] = {}
    for label, name in zip(labels, names, strict=True):
        if not name or classes.setdefault(label, name) != name:
            return {}
    return classes
