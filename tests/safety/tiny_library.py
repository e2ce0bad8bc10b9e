"""A library that is made in seconds, and manifests as a hostile author would write them."""

import json
from dataclasses import replace
from pathlib import Path

from faiss_utils.text_encoder import EMBEDDED, GRAPH, INPUTS, OUTPUT, RECORD, TOKENIZER
from library.errors import UnusableLibrary
from library.manifest import Manifest, read_manifest, write_manifest
from library.publishing import describe_library
from library.workspace import Workspace
from tests.conftest import N_EPISODES, SEEDS, run
from tests.safety.workers import PREPARE, QUERY
from understanding.english import words_of
from worlds.gridworld.generate_states import OBJECTIVES, generate

SEED_SETS = ("0036,0038", "0038,0040")  # two libraries that share a seed


def make_library(root, encoder=None):
    """Record short trainings and prepare a library of a few seeds.

    Args:
        root: where; a new folder.
        encoder: writes a text encoder to a folder; None for the real one, which takes 20 s.
    """
    workspace = Workspace(Path(root))
    generate(workspace, seeds=SEEDS, n_episodes=N_EPISODES)
    if encoder:
        encoder(workspace.text_encoder)
        seal(workspace)
    result = run(f"{PREPARE}.py", "--seeds", SEED_SETS[0], workspace=workspace, timeout=600)
    assert result.returncode == 0, result.stderr
    return workspace


def write_tiny_encoder(folder):
    """Write a text encoder that is quick: the mean of a random vector a word, normalised."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save_model
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    objectives = json.loads(OBJECTIVES.read_text("utf-8")).values()
    texts = [text for o in objectives for text in (o["description"], *o["phrasings"], QUERY)]
    words = ["[PAD]", "[UNK]", "[CLS]", *sorted({w for t in texts for w in words_of(t)})]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A", special_tokens=[("[CLS]", 2)]
    )
    table = np.random.default_rng(0).normal(size=(len(words), 32)).astype(np.float32)
    table[2] *= 0.1
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["vectors", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "words"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], [OUTPUT], axis=-1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "length"]) for n in INPUTS],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 32])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([-1]), "last"),
            numpy_helper.from_array(np.array([1]), "words"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    folder.mkdir(parents=True)
    external = {"save_as_external_data": True, "location": f"{GRAPH}.data", "size_threshold": 1000}
    save_model(model, str(folder / GRAPH), **external)
    tokenizer.save(str(folder / TOKENIZER))
    (folder / RECORD).write_text(json.dumps({"name": EMBEDDED, "max_tokens": 64}))


def seal(workspace):
    """Write the manifest that a hostile author would: every file as it is now."""
    files = describe_library(workspace)
    try:
        manifest = replace(read_manifest(workspace), files=files)
    except UnusableLibrary:
        manifest = Manifest(fingerprint="", text_encoder=EMBEDDED, index_factory=None, files=files)
    write_manifest(workspace, manifest)
