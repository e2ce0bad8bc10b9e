"""The exported encoder gives the vectors of sentence-transformers."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from faiss_utils import text_encoder
from faiss_utils.text_encoder import (
    EMBEDDED,
    TextEncoder,
    export_encoder,
    identify_encoder,
    read_encoder_name,
)
from library.errors import LeverError, UnusableLibrary

pytestmark = pytest.mark.slow
TEXTS = [
    "Find the fastest exit",
    "gold",
    "",
    "Ünïcödé and 中文 and 🏆",
    "far too long " * 300,
    "x" * 300,
]


def test_vectors_equal_those_of_sentence_transformers(prepared):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(text_encoder._embedded_folder()), device="cpu")
    expected = model.encode(TEXTS, normalize_embeddings=True)
    found = TextEncoder(prepared.text_encoder).encode(TEXTS)
    assert found.dtype == np.float32
    assert (found * expected).sum(axis=1).min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_a_text_has_one_vector_whatever_its_company(prepared):
    encoder = TextEncoder(prepared.text_encoder)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, atol=1e-5)
    short = [text for text in TEXTS if len(text) < 100]
    many = encoder.encode(short * 20)
    np.testing.assert_allclose(many, np.tile(encoder.encode(short), (20, 1)), atol=1e-5)


@pytest.fixture(scope="module")
def tiny_gte(tmp_path_factory):
    """A randomly initialised gte as a sentence-transformers folder with CLS pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import GteConfig, GteModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("gte")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *sorted({"find", "the", "fastest", "exit", "collect", "gold"}),
    ]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    )
    config = GteConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,  # larger than usual, or all vectors look alike
        pad_token_id=0,
    )
    GteModel(config).save_pretrained(folder / "transformer")
    fast.save_pretrained(folder / "transformer")
    transformer = Transformer(str(folder / "transformer"), max_seq_length=64)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="cls")
    SentenceTransformer(modules=[transformer, pooling]).save(str(folder / "model"))
    return folder / "model"


def test_gte_is_exported_through_its_native_class(tiny_gte, tmp_path):
    from sentence_transformers import SentenceTransformer

    texts = ["find the fastest exit", "collect gold", "collect the exit gold gold"]
    expected = SentenceTransformer(str(tiny_gte), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    export_encoder(str(tiny_gte), tmp_path / "encoder")
    encoder = TextEncoder(tmp_path / "encoder")
    assert encoder.name == str(tiny_gte)
    assert (encoder.encode(texts) * expected).sum(axis=1).min() > 0.9999
    assert abs((expected @ expected.T)[0, 1]) < 0.99, "the test model tells texts apart"


def test_remote_code_is_never_run(tiny_gte, tmp_path):
    marker = tmp_path / "marker"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    config = {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "new"}))
    with pytest.raises(LeverError, match="can't be loaded"):
        export_encoder(str(folder), tmp_path / "encoder")
    assert not marker.exists() and read_encoder_name(tmp_path / "encoder") is None
    assert not list(tmp_path.glob(".encoder*"))


def test_embedded_weights_are_verified(monkeypatch, tmp_path):
    monkeypatch.setattr(text_encoder, "EMBEDDED_SHA256", "0" * 64)
    with pytest.raises(LeverError, match="are not those of"):
        export_encoder(EMBEDDED, tmp_path / "encoder")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "encoder.json"])
def test_a_damaged_export_is_an_error(prepared, tmp_path, name):
    for path in prepared.text_encoder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(UnusableLibrary, match=r"pi2vec_preparation\.py --force"):
        TextEncoder(tmp_path)


def test_other_weights_under_the_same_name_are_another_encoder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    first = identify_encoder(str(tmp_path))
    assert first.startswith(str(tmp_path)) and first == identify_encoder(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    assert identify_encoder(str(tmp_path)) != first
    assert identify_encoder(EMBEDDED) == EMBEDDED
    assert identify_encoder("nobody/has-this-model") == "nobody/has-this-model"


@pytest.mark.parametrize("length", [0.5, 2.0, np.nan])
def test_vectors_that_are_not_of_unit_length_are_refused(tmp_path, length):
    """Similarities of other vectors would be no cosines."""
    encoder, vector = object.__new__(TextEncoder), np.array([[0.6, 0.8]], np.float32)
    encoded = SimpleNamespace(ids=[1], attention_mask=[1])
    encoder._tokenizer = SimpleNamespace(encode_batch=lambda _: [encoded])
    encoder.folder = tmp_path
    encoder._session = SimpleNamespace(run=lambda *_: [vector])
    np.testing.assert_array_equal(encoder.encode(["gold"]), vector)
    encoder._session = SimpleNamespace(run=lambda *_: [length * vector])
    with pytest.raises(UnusableLibrary, match="not of unit length"):
        encoder.encode(["gold"])
