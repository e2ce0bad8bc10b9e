"""What a library's texts mean is learnt from them alone, however few, in any script."""

from dataclasses import replace

import numpy as np
import pytest

from library.objective import Objective
from tests.understanding.text_library import TextLibrary
from understanding import learning
from understanding.learning import (
    calibrate,
    contrast,
    fit,
    halves,
    learn_meanings,
    make_examples,
    own_texts,
    spell_out,
)
from understanding.matching import Matcher
from understanding.meanings import kernel
from understanding.offline_decomposition import decompose_offline
from understanding.spelling import Spelling
from worlds.measures import GENERIC

DIMENSION = 64


def encode(texts):
    """Encode texts as sums of a random vector a word: a tiny deterministic text encoder."""
    rows = []
    for text in texts:
        words = learning.words_of(text) or ["?"]
        seeds = [int.from_bytes(word.encode()[:8].ljust(8), "big") for word in words]
        rows.append(sum(np.random.default_rng(seed).normal(size=DIMENSION) for seed in seeds))
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


PUSH = Objective("push", "Push the green key.", ("shove the key", "press the green key forward"))
PULL = Objective("pull", "Pull the green key.")
CHINESE = Objective("jinbi", "收集金币", ("捡起所有的金币",))


def test_evidence_for_a_left_out_group_equals_that_of_fitting_without_it(monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    groups = np.array([0, 3, 0, 1, 2, 1, 2, 4, 0, 5, 2, 6])
    kinds = np.array([0, 0, 1, 2])
    monkeypatch.setattr(learning, "FOLDS", 7)  # as many as there are groups
    weights, (fitted, near) = fit(vectors, 1.0, labels, groups, kinds)
    shares = learning.shares(labels, kinds)
    cosines = vectors @ vectors.T
    similarities = kernel(cosines, 1.0)

    def solve(kept):
        ridge = learning.RIDGE * np.diag(1.0 / shares[kept])
        matrix = similarities[np.ix_(kept, kept)] + ridge
        return np.linalg.solve(matrix, np.eye(4)[labels[kept]])

    assert weights == pytest.approx(solve(np.arange(12)), abs=1e-5)
    for example, group in enumerate(groups):
        kept = np.flatnonzero(groups != group)
        assert fitted[example] == pytest.approx(similarities[example, kept] @ solve(kept), abs=1e-5)
        for name in range(4):
            of_class = cosines[example, kept[labels[kept] == name]]
            nearest = max([*of_class, 0.0]) if len(of_class) < 3 else of_class.max()
            mean = of_class.mean() if len(of_class) else 0.0
            assert near[example, name] == pytest.approx((nearest + mean) / 2.0 - 1.0, abs=1e-5)


def test_each_kind_has_its_share_and_its_classes_weigh_the_same():
    labels, kinds = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 2])
    weights = learning.shares(labels, kinds)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[:3].sum() == pytest.approx(weights[3])
    assert weights[4:].sum() / weights[:4].sum() == pytest.approx(0.4 / 0.4)


def test_calibration_gives_weight_to_what_tells_and_corrects_what_is_always_too_high():
    rng = np.random.default_rng(0)
    labels, kinds = np.repeat([0, 1, 2], 200), np.array([0, 0, 2])
    telling = np.eye(3)[labels] + rng.normal(0.0, 0.3, (600, 3))
    telling[:, 2] += 1.0  # none always has more than it should
    scales, offsets = calibrate(np.stack([telling, rng.normal(size=(600, 3))]), labels, kinds)
    assert scales[0] > 3.0 > 1.0 > abs(scales[1])
    assert offsets[:2].tolist() == [0.0, 0.0]
    assert offsets[2] == pytest.approx(-scales[0], rel=0.2)


def test_what_was_learned_from_the_same_is_taken_over_and_else_learned_anew():
    names, wordings = ("a", "b"), list(GENERIC)
    known = learn_meanings([PUSH, PULL], encode, names, wordings)
    same = learn_meanings([PUSH, PULL], pytest.fail, list(names), tuple(wordings), known)
    assert same is known
    for changed in (
        ([PULL, PUSH], names, wordings),
        ([PUSH, replace(PULL, phrasings=("tug",))], names, wordings),
        ([PUSH, PULL], ("a", "c"), wordings),
        ([PUSH, PULL], names, wordings[:1]),
    ):
        assert learn_meanings(changed[0], encode, *changed[1:], known) is not known


def test_the_expectation_counts_left_out_texts_or_says_that_they_are_too_few():
    few = TextLibrary([PUSH, PULL, CHINESE], encode).meanings
    assert few.found == [0, 0] and "too few to tell" in few.expectation()
    assert "found: 0 of 3," in replace(few, found=[0, 3]).expectation()
    many = tuple(f"shove the key number {i}" for i in range(12))
    found = TextLibrary([replace(PUSH, phrasings=many), PULL], encode).meanings
    assert found.found[1] == 14  # with the description and the name
    assert 12 <= found.found[0] <= 14
    assert f"found: {found.found[0]} of 14" in found.expectation()


@pytest.mark.parametrize("objectives", [(PULL,), (PUSH, PULL), (PUSH, PULL, CHINESE)])
def test_the_text_of_an_objective_means_it_whatever_else_is_near(objectives):
    matcher = TextLibrary(objectives, encode).matcher
    for number, objective in enumerate(objectives):
        for text in (*objective.texts, objective.target, objective.description.upper()):
            assert matcher.match([text], [True])[0].objective == number, text


def test_the_text_of_an_objective_is_not_split_and_means_it_even_where_it_only_asks():
    both = Objective("both", "Push the green key, pull the green key.")
    library = TextLibrary([PUSH, Objective("task", "The best agent."), both, PULL], encode)
    spelling = Spelling(library.meanings.words, lambda word: 0)
    meant = {"task": 1, "the best agent": 1, "the best policy": None, both.description: 2}
    for text, objective in meant.items():
        (piece,) = decompose_offline([text], library.matcher, spelling)
        assert piece.objective == objective, text


def test_any_script_is_learnt_and_matched():
    matcher = TextLibrary([PUSH, CHINESE], encode).matcher
    assert matcher.match(["收集金币"], [False])[0].objective == 1
    assert matcher.match(["捡起所有的金币，谢谢"], [False])[0].objective == 1


def test_a_negated_text_rules_an_objective_out_unless_its_nearest_text_is_negated_too():
    lava = Objective("lava", "Never touch the lava.", ("do not walk on the lava",))
    matcher = TextLibrary([PUSH, lava], encode).matcher
    ignored, avoided = matcher.match(["shove not the key", "do not touch the lava"], [True, True])
    assert (ignored.objective, ignored.ruled_out) == (None, 0)
    assert (avoided.objective, avoided.ruled_out) == (1, None)
    (asked,) = matcher.match(["shove not the key"], [False])
    assert (asked.objective, asked.ruled_out) == (0, None)


def test_a_nearest_text_of_another_aim_says_nothing_about_not():
    lava = Objective("lava", "Never touch the lava.")
    meanings = TextLibrary([PUSH, lava], encode).meanings
    texts = [*PUSH.texts, *lava.texts]
    vectors = encode(texts)

    def nearest_is_lava(vectors):
        return np.full(len(vectors), len(texts) - 1), np.ones(len(vectors), np.float32)

    matcher = Matcher([PUSH, lava], meanings, lambda _: vectors[:1], nearest_is_lava)
    (match,) = matcher.match(["do not shove it"], [True])
    assert (match.objective, match.ruled_out) == (None, 0)


def test_a_text_that_several_objectives_have_means_the_first():
    both = replace(PULL, phrasings=("shove the key",))
    (match,) = TextLibrary([PUSH, both], encode).matcher.match(["Shove the key!"], [False])
    assert match.objective == 0


def test_what_follows_the_first_clause_of_a_text_does_not_make_it_negative():
    careful = Objective("push", "Push the green key without a scratch.")
    (match,) = TextLibrary([careful, PULL], encode).matcher.match(["not push the key"], [True])
    assert (match.objective, match.ruled_out) == (None, 0)


def test_of_many_texts_an_even_choice_is_kept_and_one_of_each_aim(monkeypatch):
    monkeypatch.setattr(learning, "MAX_TEXTS", 4)
    many = replace(PUSH, phrasings=tuple(f"shove {i}" for i in range(8)))
    texts = own_texts([many, PULL], np.array([0, 1]), ["Pushing-v1", ""])
    assert texts == [[many.description, "shove 3", "shove 7"], [PULL.description]]
    monkeypatch.setattr(learning, "MAX_TEXTS", 100)
    texts = own_texts([many, PULL], np.array([0, 1]), ["Pushing-v1", ""])
    assert texts[0][-2:] == ["push", "Pushing v"] and len(texts[0]) == 11


def test_the_key_words_of_the_aims_are_used_in_other_senses():
    background = {"tasks": ["t"], "everyday": ["e"], "manners": ["m"], "senses": ["buy {}", "{}s"]}
    own = [["push the key", "press the key", "press it", "a key"], ["pull"]]
    senses = ["buy key", "keys", "buy press", "presss", "buy pull", "pulls"]
    assert contrast(own, background) == ["t", "e", "m", *senses]


def test_a_text_and_its_halves_are_left_out_together():
    texts = [["push", "push the key to the door"], ["pull"]]
    assert list(make_examples(texts)) == [
        (0, 0, "push"),
        (0, 1, "push the key to the door"),
        (0, 1, "push the key"),
        (0, 1, "to the door"),
        (1, 2, "pull"),
    ]


def test_objectives_with_equal_descriptions_are_one_aim():
    again = Objective("push_small_world", "push the green KEY.", ("shove it",))
    assert TextLibrary([PUSH, PULL, again], encode).meanings.aims.tolist() == [0, 1, 0]


def test_many_objectives_share_a_class_and_the_nearest_text_decides(monkeypatch):
    monkeypatch.setattr(learning, "MAX_AIMS", 2)
    library = TextLibrary([PUSH, PULL, CHINESE], encode)
    assert library.meanings.n_aims == 1 and library.meanings.aims.tolist() == [0, 1, 2]
    match = library.matcher.match(["please shove the key", "捡起所有的金币吧"], [False, False])
    assert [m.objective for m in match] in ([0, 2], [0, None])


def test_measures_are_classes_unless_the_library_is_about_them():
    names = {name for name, _ in TextLibrary([PUSH], encode, GENERIC).meanings.preferences}
    assert names == {"energy", "steps", "reward_std"}
    saving = Objective("saving", "Saving energy.", GENERIC[0].phrasings)
    kept = TextLibrary([PUSH, saving], encode, GENERIC).meanings.preferences
    assert ["energy", "least"] not in kept and ["steps", "least"] in kept


def test_names_are_spelled_out_and_long_texts_halved():
    assert spell_out("FrozenLake-v1") == "Frozen Lake v"
    assert spell_out("taxi_v3") == "taxi v"
    assert halves("one two three four five") == []
    assert halves("a b c d e f g h") == ["a b c d", "e f g h"]
