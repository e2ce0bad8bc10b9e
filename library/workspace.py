"""The one place that names every file and folder of a library."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from library.errors import LeverError
from library.files import files_below

HOME = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Workspace:
    """The folder that holds a library, and the names of everything in it.

    Attributes:
        root: any folder; by default the one of the scripts.
    """

    root: Path = HOME

    @property
    def states(self) -> Path:
        """Recorded runs, one folder a target: what preparation reads."""
        return self.root / "states_f"

    @property
    def generation_record(self) -> Path:
        """The arguments that the demonstration library was generated with."""
        return self.states / "generation.json"

    @property
    def data(self) -> Path:
        """What preparation learned about the policies."""
        return self.root / "data"

    @property
    def canonical_states(self) -> Path:
        """float32 (64 a world, d): phi of the canonical states, the worlds in alphabetical order.

        Where worlds differ in their number of features, the columns that one lacks are NaN.
        """
        return self.data / "canonical_states.npy"

    @property
    def processed_states(self) -> Path:
        """A row a policy."""
        return self.data / "processed_states.csv"

    @property
    def regressor_training_data(self) -> Path:
        """Embeddings and rewards that the regressor was fitted to."""
        return self.data / "regressor_training_data.json"

    @property
    def model_checksums(self) -> Path:
        """The checksum of every successor model."""
        return self.data / "psi_models.sha256"

    @property
    def psi_models(self) -> Path:
        """Successor models, one file a policy."""
        return self.root / "psi_models"

    @property
    def models(self) -> Path:
        """Models that serve the whole library."""
        return self.root / "models"

    @property
    def reward_regressor(self) -> Path:
        """The reward regressor."""
        return self.models / "reward_regressor.pkl"

    @property
    def regressor_plot(self) -> Path:
        """Predicted against actual reward on held-out seeds."""
        return self.models / "reward_regressor.png"

    @property
    def faiss_index(self) -> Path:
        """The vector database."""
        return self.root / "faiss_index"

    @property
    def policy_index(self) -> Path:
        """The Faiss index over the distinct texts of the objectives."""
        return self.faiss_index / "policy.index"

    @property
    def metadata(self) -> Path:
        """What is known of the objectives, and which fields the policies have."""
        return self.faiss_index / "metadata.pkl"

    def policy_column(self, name: str) -> Path:
        """A field of all policies, an array that a search memory-maps."""
        return self.faiss_index / "policies" / f"{quote(name, safe='')}.npy"

    def world_arrays(self, world: str, name: str) -> Path:
        """An array with a row for each policy of a world, memory-mapped by a search."""
        return self.faiss_index / "worlds" / quote(world, safe="()=,") / f"{name}.npy"

    @property
    def manifest(self) -> Path:
        """What belongs to this library; written last, so its presence means a whole one."""
        return self.faiss_index / "manifest.json"

    @property
    def text_encoder(self) -> Path:
        """The exported text encoder: graph, weights, tokenizer and record."""
        return self.faiss_index / "text_encoder"

    @property
    def staging(self) -> "Workspace":
        """Where a preparation builds the next library before it takes the place of this one."""
        return Workspace(self.root / ".preparation")

    @property
    def lock(self) -> Path:
        """There while a preparation or reset runs, and after one that was killed."""
        return self.root / ".preparation.lock"

    def finished(self, world: str) -> Path:
        """What an interrupted preparation has computed of a world; only in a staging folder."""
        return self.root / f"{quote(world, safe='()=,')}.npz"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that preparation writes to; each may be a link that the user made."""
        return (self.data, self.psi_models, self.models, self.faiss_index)

    def built_files(self) -> list[Path]:
        """List the files in the data folders but hidden ones, which are unfinished, and foreign."""
        return [path for folder in self.folders for path in files_below(folder)]

    def _refuse_links(self) -> None:
        """Refuse links that would lead a preparation elsewhere, but those to whole data folders."""
        below = [self.lock, self.text_encoder, self.staging.root, *self.staging.root.rglob("*")]
        for path in below:
            if path.is_symlink():
                raise LeverError(f"{path} is a symbolic link; delete it")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the library; the lock dies with its process.

        Raises:
            LeverError: another process has it, or a symbolic link leads out of the workspace.
        """
        self._refuse_links()
        with warnings.catch_warnings():
            # Where files can't be locked, filelock takes one that is there while its process is.
            warnings.simplefilter("ignore")
            from filelock import FileLock, Timeout, UnixFileLock  # a search does without

            lock = FileLock(self.lock, blocking=False)
            try:
                lock.acquire()
            except Timeout:
                raise LeverError(
                    f"a preparation or reset of {self.root} is running; wait until it has ended"
                ) from None
        try:
            yield
        finally:
            # While it is held: whoever opened the file before gets no lock on one that is gone.
            if isinstance(lock, UnixFileLock):
                with suppress(OSError):
                    self.lock.unlink()
            lock.release()
