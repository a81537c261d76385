"""`.npz` files, written array by array and read without trusting their content."""

import contextlib
import errno
import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, Self

import numpy as np
import numpy.typing as npt

from keras_bigbatch.callbacks._whole_files import write_whole

StoredArray = npt.NDArray[np.generic]

MEND = "Pass another `path`, or delete the file and train from the start."


def write_arrays(path: str, arrays: Iterable[tuple[str, StoredArray]]) -> str:
    """Writes the whole file, with one array at a time in memory, and returns its digest."""
    digests = []

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            digests.append(_digest(archive))

    write_whole(path, write)
    return digests[0]


class StoredArrays:
    """The arrays of a file, each read on demand.

    A context manager that closes the file.

    Raises:
        ValueError: Here or in `read`, if the file is damaged or of another kind.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = open(path, "rb")  # noqa: SIM115 (closed in `__exit__`)
        try:
            with self._trusting_nothing():
                self._archive = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise
        self.names = [name.removesuffix(".npy") for name in self._archive.namelist()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def digest(self) -> str:
        """A hash of the content that tells two files apart. It needs no reading."""
        return _digest(self._archive)

    def read(self, name: str) -> StoredArray:
        """Returns one of the arrays."""
        with self._trusting_nothing(), self._archive.open(f"{name}.npy") as member:
            array = np.lib.format.read_array(member, allow_pickle=False)
            # The checksum is verified where the content ends.
            if member.read(1):
                raise ValueError(f"array '{name}' is longer than it says")
            return array

    def damaged(self, why: object) -> ValueError:
        """Returns the error for a file that is not as `WeightDistance` writes it."""
        return ValueError(
            f"'{self.path}' is not a file that WeightDistance wrote, or it is damaged ({why}). "
            f"{MEND}"
        )

    @contextlib.contextmanager
    def _trusting_nothing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # zipfile, zlib, struct and NumPy have many for a damaged file.
            # Seeking an impossible place means damage; a failing disk is another matter.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            raise self.damaged(repr(error)) from error


def _digest(archive: zipfile.ZipFile) -> str:
    """Returns a hash of the checksums that the file has for its arrays."""
    content = [(info.filename, info.file_size, info.CRC) for info in archive.infolist()]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:32]
