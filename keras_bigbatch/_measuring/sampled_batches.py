"""Batches of some of a data set's samples, different ones in each reading."""

from collections.abc import Generator, Iterator
from typing import Any

import keras
import numpy as np

from keras_bigbatch._measuring.batches import Batch, Batches, on_host


class SampledBatches(Batches):
    """A given number of full batches of one size, with samples drawn from the data.

    Rows of arrays are drawn at random with replacement, so batches are independent and estimates
    describe these data. A data set is read in its own order and cut into batches of this size. Each
    reading continues where the last one stopped, and starts over where the data end. One reading
    passes the start of the data at most once, so it has fewer batches if the data have fewer.

    Args:
        x: As for `Batches`.
        y: As for `Batches`.
        sample_weight: As for `Batches`.
        size: Samples per batch.
        count: Batches per reading.
        seed: Seed of the draws from arrays.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        size: int,
        count: int,
        seed: int = 0,
    ) -> None:
        super().__init__(x, y, sample_weight)
        self._size = size
        self._count = count
        self._seed = seed
        self.restart()

    def restart(self) -> None:
        """Makes the next reading the same as the first one."""
        self._random = np.random.default_rng(self._seed)
        self._rest: Iterator[tuple[int, Batch]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy starts at the data set's first batch: the place where a reading stopped cannot be
        # pickled.
        return {**self.__dict__, "_rest": None}

    def __iter__(self) -> Generator[tuple[int, Batch], None, None]:
        """As in `Batches`."""
        return self._drawn() if self._is_arrays else self._following()

    def _drawn(self) -> Generator[tuple[int, Batch], None, None]:
        for _ in range(self._count):
            rows = self._random.integers(self._samples, size=self._size)
            yield self._size, self._map(lambda leaf: _picked(leaf, rows), self._data)  # noqa: B023

    def _following(self) -> Generator[tuple[int, Batch], None, None]:
        begun = self._rest is None
        rest = self._cut() if self._rest is None else self._rest
        for _ in range(self._count):
            following = next(rest, None)
            if following is None and not begun:
                begun, rest = True, self._cut()
                following = next(rest, None)
            self._rest = None if following is None else rest
            if following is None:
                return
            yield following

    def _cut(self) -> Iterator[tuple[int, Batch]]:
        """Yields the stream's samples in batches of this size, and drops the rest at the end."""
        held, count = None, 0
        for samples, batch in super().__iter__():
            batch = keras.tree.map_structure(on_host, batch)
            held = batch if held is None else keras.tree.map_structure(_joined, held, batch)
            count += samples
            start = 0
            while count - start >= self._size:
                rows = slice(start, start + self._size)
                yield self._size, self._map(lambda leaf: leaf[rows], held)  # noqa: B023
                start = rows.stop
            held = self._map(lambda leaf: leaf[start:], held)  # noqa: B023
            count -= start


def _picked(leaf: Any, rows: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        return leaf[rows]
    if hasattr(leaf, "iloc"):
        return leaf.iloc[rows]
    # Arrays that read from files take single rows, or sorted ones without repetition.
    return np.stack([leaf[int(row)] for row in rows])


def _joined(held: Any, leaf: Any) -> Any:
    return None if leaf is None else np.concatenate([held, leaf])
