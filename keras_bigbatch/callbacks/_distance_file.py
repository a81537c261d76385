"""The files in which `WeightDistance` keeps the first weights and the history.

For `path="walk.npz"`:

- `walk.w_0.npz` holds w_0, written once.
- `walk.npz` holds the history up to the end of the last epoch, and the digest of its w_0.
- `walk.journal` holds the measurements since then, one per line. Without it, a run that is killed
  between a backup and the end of this callback's epoch would lack that epoch's measurements.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from keras_bigbatch._typing import Tensor
from keras_bigbatch._user_warnings import warn_user
from keras_bigbatch.callbacks import _first_weights
from keras_bigbatch.callbacks._distance_record import Record, cut, named_record, read_record
from keras_bigbatch.callbacks._stored_arrays import (
    MEND,
    StoredArray,
    StoredArrays,
    write_arrays,
)
from keras_bigbatch.callbacks._whole_files import remove_leftovers


def checked_path(path: Any) -> str | None:
    """Returns `path` as a string (`None` stays), or raises a `ValueError`."""
    if path is None:
        return None
    if isinstance(path, str | os.PathLike):
        plain = os.fspath(path)
        if isinstance(plain, str) and plain.endswith(".npz"):
            return plain
    raise ValueError(
        f"`path` must be None or the name of one .npz file. Received: path={path!r}. "
        "For example 'run/weight_distance.npz'; missing folders are created."
    )


class DistanceFile:
    """The files of one training run.

    Args:
        path: The file of the history. The other files have the same name with other endings.
    """

    def __init__(self, path: str) -> None:
        stem = path.removesuffix(".npz")
        self.path = path
        self._weights_path = f"{stem}.w_0.npz"
        self._journal_path = f"{stem}.journal"
        self._digest = ""
        self._saved = 0  # How many measurements are on disk.
        self._failed = False
        self._warned = False

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Names the path in an `OSError` that the files cause when training starts."""
        try:
            yield
        except OSError as error:
            message = (
                f"`WeightDistance` cannot use '{self.path}': {error}. Pass a `path` where files "
                "can be read and written."
            )
            raise OSError(*filter(None, [error.errno]), message) from error

    def begin(self, variables: Sequence[Any], reference: Sequence[Tensor], record: Record) -> None:
        """Writes the files of a new training run, over those that exist."""
        # First an unfinished one, so that no history of another run ever lies beside this w_0.
        self._digest = ""
        self._write(record)
        self._digest = write_arrays(
            self._weights_path, _first_weights.named_weights(variables, reference)
        )
        self._write(record)

    def load(
        self, variables: Sequence[Any], layers: Sequence[str] | None, updates: int
    ) -> tuple[list[StoredArray], Record] | None:
        """Reads w_0 and the measurements up to `updates`. Warns and returns None if there are none.

        Args:
            variables: The model's trainable variables, which must match the files.
            layers: The keys of the history's `layers`, or None if there are none.
            updates: Later measurements are dropped, since their updates will be made again.
        """
        if not os.path.exists(self.path):
            if os.path.exists(self._weights_path):
                raise ValueError(
                    f"'{self._weights_path}' is there, but '{self.path}' is not. Restore it, "
                    "or delete both: distances are then from the current weights."
                )
            self._warn_of_nothing(updates)
            return None
        # Before the history, which gets a line before the journal loses it.
        journal = self._read_journal()
        with StoredArrays(self.path) as stored:
            record = read_record(stored, layers)
            if _first_weights.has_weights(stored):  # All in one file.
                weights = _first_weights.read_weights(stored, variables)
            else:
                self._digest = str(stored.read("w_0"))
                if not self._digest:
                    self._warn_of_nothing(updates)  # Killed when it began.
                    return None
                weights = self._read_weights(variables)
        self._add(journal, record)
        cut(record, updates)
        return weights, record

    def _warn_of_nothing(self, updates: int) -> None:
        warn_user(
            f"The optimizer has made {updates} updates, but '{self.path}' has no run to "
            "resume: the distances are from the current weights."
        )

    def go_on(
        self, variables: Sequence[Any], weights: Sequence[StoredArray], record: Record
    ) -> None:
        """Brings the files up to date with a resumed training run."""
        if not self._digest:
            self._digest = write_arrays(
                self._weights_path, _first_weights.named_weights(variables, weights)
            )
        self._write(record)

    def append(self, record: Record) -> None:
        """Writes the measurements since the last call, in a time that does not grow.

        The first call of this or `save` that cannot write warns, and the next one tries again.
        """
        if self._failed:
            self.save(record)
            return
        history = record.history
        columns = [history["update"], history["distance"], *history.get("layers", {}).values()]
        rows = zip(*(column[self._saved :] for column in columns), strict=True)
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        if not lines:
            return
        try:
            with open(self._journal_path, "a", encoding="ascii", newline="\n") as file:
                file.write(lines if file.tell() else f"{json.dumps(self._digest)}\n{lines}")
        except OSError as error:
            self._warn(error)
        self._saved = len(history["update"])

    def save(self, record: Record) -> None:
        """Writes the whole history; w_0 is already written."""
        try:
            self._write(record)
            self._failed = False
        except OSError as error:
            self._warn(error)

    def _write(self, record: Record) -> None:
        remove_leftovers(self.path, self._weights_path)
        write_arrays(self.path, named_record(record, self._digest))
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._journal_path)
        self._saved = len(record.history["update"])

    def _warn(self, error: OSError) -> None:
        self._failed = True
        if not self._warned:
            self._warned = True
            warn_user(
                f"`WeightDistance` could not write '{self.path}' ({error}). Training continues, "
                "`history` is complete, and the next measurement tries again. Until then a "
                "resumed run would lack what was measured since the file was last written."
            )

    def _read_weights(self, variables: Sequence[Any]) -> list[StoredArray]:
        if not os.path.exists(self._weights_path):
            raise ValueError(
                f"'{self.path}' is there, but its first weights, '{self._weights_path}', are not. "
                f"Move or rename both files together. {MEND}"
            )
        with StoredArrays(self._weights_path) as stored:
            if stored.digest != self._digest:
                raise ValueError(
                    f"'{self._weights_path}' does not belong to '{self.path}': it has the first "
                    "weights of another training run, or it is damaged. Move or rename both files "
                    f"together. {MEND}"
                )
            return _first_weights.read_weights(stored, variables)

    def _read_journal(self) -> list[bytes]:
        """Returns the lines, without a last one that was cut off when the process was killed."""
        try:
            with open(self._journal_path, "rb") as file:
                return file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return []

    def _add(self, journal: list[bytes], record: Record) -> None:
        """Adds the journal's measurements to the history, up to the first invalid line."""
        if journal[:1] != [json.dumps(self._digest).encode()]:
            return  # Empty, or of another run.
        history = record.history
        layers = list(history.get("layers", {}).values())
        rows: dict[int, list[Any]] = {}
        for line in journal[1:]:
            row = _row(line)
            if row is None or (layers and len(row) != 2 + len(layers)):
                break
            rows[row[0]] = row
        # Sorted and once each: ranks that share a path write the same lines at their own pace.
        for update in sorted(rows):
            if update > max(history["update"][-1:], default=record.origin):
                columns = [history["update"], history["distance"], *layers]
                for column, value in zip(columns, rows[update], strict=False):
                    column.append(value)


def _row(line: bytes) -> list[Any] | None:
    """Returns a line's measurement, or None if the line is invalid."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, list) or len(row) < 2 or not isinstance(row[0], int):
        return None
    return row if all(isinstance(each, int | float) for each in row) else None
