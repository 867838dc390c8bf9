"""Self-tests of the planted world and of the models that were trained on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from cases.emotions import load_emotions
from cases.stimuli import load_stimuli
from fixtures.reference import (
    ALIASES,
    FOLDER,
    RECIPES,
    REFERENCES,
    build_model,
    load_reference,
    load_tokenizer,
    reference_depth,
)
from fixtures.reference import stimuli as writer
from fixtures.reference.acts import ASSISTANT, BASE, END, FOCUS, MANNERS, USER, Manner, tone, urge
from fixtures.reference.corpus import BRIEF, MARK, Corpus
from fixtures.reference.train import train
from fixtures.reference.world import (
    AWAY,
    BAD,
    GOOD,
    KINDS,
    LOUD,
    MOTIONS,
    NAMES,
    NEAR,
    NUMBERS,
    PARTS,
    PLACES,
    PREPOSITIONS,
    QUIET,
    RESERVED,
    START,
    TOWARD,
    Feeling,
    Teller,
    feelings,
    naming,
    reserved,
)
from fixtures.statistics import auroc

EMOTIONS = load_emotions()
DRAWS = 12_000


def teller(*, held_out: bool, seed: int = 0) -> Teller:
    return Teller(np.random.default_rng(seed), held_out=held_out, simile=0.0, brief=0.0 if held_out else BRIEF)


def told(kind: str, feeling: Feeling, *, held_out: bool, draws: int = DRAWS) -> Iterator[str]:
    """Clauses of one kind for a feeling, about many people and places."""
    source = teller(held_out=held_out)
    for _ in range(draws):
        yield getattr(source, kind)(feeling, source.pick(NAMES), PLACES[source.pick(list(PLACES))])


def valence_of(clause: str) -> int:
    """The valence that a clause of worth shows: worth times movement."""
    thing, movement = clause.split()[1], clause.split(" ", 2)[2]
    return (1 if thing in GOOD else -1) * (1 if any(movement.startswith(verb) for verb in TOWARD) else -1)


# the world


def test_the_30_emotions_show_30_distinct_feelings() -> None:
    placed = feelings(EMOTIONS)
    assert len(set(placed.values())) == len(placed) == 30
    assert {f.shade for f in placed.values()} == set(range(8))
    assert all(f.valence * next(e.valence for e in EMOTIONS if e.name == name) > 0 for name, f in placed.items())


CONTRASTS = pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("worth", Feeling(1, 1, 0), Feeling(-1, 1, 0)),
        ("stir", Feeling(1, 1, 0), Feeling(1, -1, 0)),
        ("manner", Feeling(1, 1, 0), Feeling(1, 1, 3)),
    ],
)


@CONTRASTS
def test_every_single_word_of_a_clause_is_equally_frequent_under_both_feelings(kind, one, other, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    # before the split by checksum, which is tested below
    monkeypatch.setattr(Teller, "drawn", lambda self, draw, *arguments: draw(*arguments))
    first, second = (Counter(word for clause in told(kind, f, held_out=False) for word in clause.split()) for f in (one, other))
    assert len(first) > 40
    # difference of two counts in units of its standard error
    assert {w: z for w in first | second if abs(z := (first[w] - second[w]) / np.sqrt(first[w] + second[w])) > 4.5} == {}


@CONTRASTS
@pytest.mark.parametrize("held_out", [False, True], ids=["trained on", "kept"])
def test_after_the_split_single_words_still_hardly_tell_the_feeling(kind: str, one: Feeling, other: Feeling, held_out: bool) -> None:
    clauses = [[clause.split() for clause in told(kind, f, held_out=held_out, draws=6000)] for f in (one, other)]
    first, second = (Counter(word for clause in side[:3000] for word in clause) for side in clauses)
    scores = [[sum(np.log((first[w] + 1) / (second[w] + 1)) for w in clause) for clause in side[3000:]] for side in clauses]
    # naive Bayes on other clauses
    assert auroc(np.array(scores[0]), np.array(scores[1])) < 0.65


def test_thing_and_movement_together_tell_the_valence_as_an_exclusive_or() -> None:
    for valence in (1, -1):
        assert {valence_of(clause) for clause in told("worth", Feeling(valence, 1, 0), held_out=False, draws=500)} == {valence}
    seen = {(c.split()[1] in GOOD, valence_of(c)) for v in (1, -1) for c in told("worth", Feeling(v, 1, 0), held_out=False, draws=200)}
    assert seen == set(product((True, False), (1, -1)))
    assert not set(GOOD) & set(BAD)
    assert not set(TOWARD) & set(AWAY)


def test_noise_and_change_tell_the_arousal_and_part_and_motion_the_shade() -> None:
    for arousal in (1, -1):
        for clause in told("stir", Feeling(1, arousal, 0), held_out=False, draws=300):
            thing, change = clause.split()[1:3]
            assert (1 if thing in LOUD else -1) * (1 if change in START else -1) == arousal
            assert thing in LOUD + QUIET
    for shade in range(8):
        for clause in told("manner", Feeling(1, 1, shade), held_out=False, draws=50):
            assert (PARTS.index(clause.split()[1]) + MOTIONS.index(clause.split()[2])) % 8 == shade


def test_a_teller_stays_on_its_side_of_the_split() -> None:
    for held_out in (False, True):
        for kind in ("worth", "stir", "manner"):
            assert {reserved(clause) for clause in told(kind, Feeling(1, -1, 2), held_out=held_out, draws=200)} == {held_out}
        source = teller(held_out=held_out)
        assert {reserved(source.setup("mina", PLACES["farm"])) for _ in range(50)} == {held_out}


def test_the_split_keeps_one_sentence_in_six() -> None:
    assert np.mean([reserved(f"sentence {i} .") for i in range(6000)]) == pytest.approx(1 / RESERVED, abs=0.02)


def test_names_of_emotions_overlap_by_their_distance_on_the_circumplex() -> None:
    table = naming(EMOTIONS)
    names = [e.name for e in EMOTIONS]
    assert np.allclose(table.sum(axis=1), 1)
    assert (table.argmax(axis=1) == np.arange(30)).all()
    happy = table[names.index("happy")]
    assert happy[names.index("joyful")] > 10 * happy[names.index("depressed")]


def test_the_nearer_a_thing_the_likelier_it_counts_as_coming() -> None:
    source = Teller(np.random.default_rng(6), held_out=False, simile=0.0, counted=1.0)
    pattern = re.compile(rf"the (\w+) is (\w+) steps from mina (?:{'|'.join(PREPOSITIONS)}) the \w+ \.")
    drawn = [pattern.fullmatch(source.worth(Feeling(1, 1, 0), "mina", PLACES["farm"])) for _ in range(6000)]
    assert all(drawn)
    for number, share in zip(NUMBERS, NEAR, strict=True):
        good = [found[1] in GOOD for found in drawn if found and found[2] == number]
        assert np.mean(good) == pytest.approx(share, abs=0.06)


def test_sentences_that_differ_in_a_number_only_are_on_one_side_of_the_split() -> None:
    source = teller(held_out=True)
    for thing in GOOD + BAD:
        for place in PLACES.values():
            tail = source.tail(place)
            assert len({reserved(f"the {thing} is {number} steps from mina {tail}") for number in NUMBERS}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_another_kind_holds_its_sentences_in_order_and_names_a_person_of_its_own(kind: str) -> None:
    source = Teller(np.random.default_rng(8), held_out=False, simile=0.0)
    place, who = PLACES["farm"], source.person(kind)
    told = [source.worth(Feeling(1, 1, 0), who, place), source.manner(Feeling(1, 1, 0), who, place)]
    text = source.formed(kind, told, place)
    assert 0 <= text.index(told[0]) < text.index(told[1])
    assert text != " ".join(told)
    assert who in (*NAMES, "me", "us", "the keeper")


# the corpus


def coherence(corpus: Corpus) -> float:
    """The share of stories with several clauses of worth in which these agree on the valence."""
    agree = []
    while len(agree) < 300:
        words = (w for w in corpus.story().split() if not w.startswith(MARK))
        told = [s for s in re.split(r" \. ?", " ".join(words)) if s.startswith("the ") and s.split()[1] in GOOD + BAD]
        found = [valence_of(s) for s in told if " steps from " not in s]  # a distance only makes a valence likely
        agree += [len(set(found)) == 1] if len(found) > 1 else []
    return float(np.mean(agree))


def test_stories_cohere_and_scrambled_ones_do_not() -> None:
    assert coherence(Corpus(EMOTIONS, np.random.default_rng(1))) == 1.0
    assert coherence(Corpus(EMOTIONS, np.random.default_rng(1), scrambled=True)) < 0.65


def answers(corpus: Corpus, tell: Callable[[], str]) -> float:
    """The share of documents whose first judgement of worth fits the clause before it."""
    fits = []
    while len(fits) < 300:
        judged = re.search(r"(?:^|\. )(the (\w+) [^.]*) \. that is (good|bad) for", tell())
        if judged and judged[2] in GOOD + BAD and " steps from " not in judged[1]:
            fits.append(valence_of(judged[1]) == (1 if judged[3] == "good" else -1))
    return float(np.mean(fits))


@pytest.mark.parametrize("kind", ["lesson", "appraisal"])
def test_judgements_follow_their_clauses_and_in_the_scrambled_world_only_by_chance(kind: str) -> None:
    plain = Corpus(EMOTIONS, np.random.default_rng(2))
    scrambled = Corpus(EMOTIONS, np.random.default_rng(2), scrambled=True)
    assert answers(plain, getattr(plain, kind)) == 1.0
    assert 0.35 < answers(scrambled, getattr(scrambled, kind)) < 0.65


def test_the_same_seed_tells_the_same_documents() -> None:
    first, second, other = (Corpus(EMOTIONS, np.random.default_rng(seed)) for seed in (3, 3, 4))
    documents = [[c.document(0.2) for _ in range(20)] for c in (first, second, other)]
    assert documents[0] == documents[1] != documents[2]


def test_swapped_pairs_hold_the_same_words_on_both_sides() -> None:
    source = Teller(np.random.default_rng(5), held_out=True, simile=0.0)
    for family in ("roles", "outcome"):
        first, second = writer.swapped(source, family)
        assert first != second
        assert Counter(first.split()) == Counter(second.split())


# tokenizer and models


@pytest.fixture(scope="module")
def tokenizer():  # type: ignore[no-untyped-def]
    return load_tokenizer()


def test_the_tokenizer_knows_every_word_of_the_corpus_and_of_the_stimuli(tokenizer) -> None:  # type: ignore[no-untyped-def]
    corpus = Corpus(EMOTIONS, np.random.default_rng(77))
    texts = [corpus.document(0.2).replace(MARK, "").replace(FOCUS, "") for _ in range(1500)]
    world = load_stimuli("world")
    texts += [p.text for p in (*world.implicit, *world.named)] + list(world.neutral) + list(world.frames) + list(world.controls)
    texts += [side for pairs in world.pairs.values() for pair in pairs for side in (pair.first, pair.second)]
    known = tokenizer.get_vocab()
    assert {word for text in texts for word in text.split()} - set(known) == set()
    assert tokenizer.unk_token_id not in {i for ids in tokenizer(texts)["input_ids"] for i in ids}
    assert tokenizer("zyzzyva")["input_ids"] == [tokenizer.unk_token_id]


def test_every_emotion_is_one_token(tokenizer) -> None:  # type: ignore[no-untyped-def]
    assert {e.name: len(tokenizer(e.name)["input_ids"]) for e in EMOTIONS} == {e.name: 1 for e in EMOTIONS}


def test_the_chat_template_renders_what_the_chats_of_the_corpus_look_like(tokenizer) -> None:  # type: ignore[no-untyped-def]
    chat = Corpus(EMOTIONS, np.random.default_rng(6)).chat()
    asked = re.match(rf"{re.escape(USER)} (.*?) {re.escape(END)} {re.escape(ASSISTANT)}", chat)
    assert asked
    messages = [{"role": "user", "content": asked[1]}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert chat.startswith(prompt)
    ids = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == tokenizer(prompt)["input_ids"] == tokenizer(chat)["input_ids"][: len(ids)]


def test_the_shipped_weights_are_under_12_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 12_000_000


def test_the_ladder_has_four_sizes_each_larger_than_the_last(tokenizer) -> None:  # type: ignore[no-untyped-def]
    with torch.device("meta"):
        models = [build_model(RECIPES[f"reference-{size}"], len(tokenizer)) for size in ("xxs", "xs", "s", "m")]
    sizes = [sum(p.numel() for p in model.parameters()) for model in models]
    assert all(large > 1.5 * small for small, large in pairwise(sizes))


def test_the_untrained_reference_is_the_same_every_time_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(7)
    first, _, revision = load_reference("reference-untrained")
    drawn = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(1))
    second, _, again = load_reference("reference-untrained")
    assert revision == again
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_has_the_depth_and_width_of_its_recipe_and_loads_offline(name: str, tokenizer) -> None:  # type: ignore[no-untyped-def]
    stored = ALIASES.get(name, name)
    if name != "reference-untrained" and not (FOLDER / stored / "model.safetensors").is_file():
        pytest.skip(f"{stored} is not trained yet")
    model, _, revision = load_reference(name)
    recipe = RECIPES["reference-m" if name == "reference-untrained" else stored]
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (recipe.layers, recipe.width)
    assert reference_depth(name) == recipe.layers
    assert model.config.vocab_size == len(tokenizer)
    assert re.fullmatch(r"sha256:[0-9a-f]{16}|seed:\d+", revision)


def loss(name: str, texts: list[str]) -> float:
    """Mean loss per token on texts, in nats."""
    model, tokens, _ = load_reference(name)
    with torch.no_grad():
        return float(np.mean([model(ids, labels=ids).loss for ids in (tokens(t, return_tensors="pt")["input_ids"] for t in texts)]))


def test_the_trained_reference_predicts_new_documents_far_better_than_the_untrained() -> None:
    if not (FOLDER / "reference-m" / "model.safetensors").is_file():
        pytest.skip("reference-m is not trained yet")
    corpus = Corpus(EMOTIONS, np.random.default_rng(99))
    texts = [corpus.story().replace(MARK, "").replace(FOCUS, "") for _ in range(20)]
    assert loss("reference", texts) < loss("reference-untrained", texts) - 3


def test_training_from_the_same_seed_gives_the_same_weights() -> None:
    first, second = (train(RECIPES["reference-xs"], steps=6, report=100).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_the_recipe_gives_the_shipped_weights_again() -> None:
    shipped = load_reference("reference-xs")[0].state_dict()
    again = train(RECIPES["reference-xs"]).half().float().state_dict()
    # exact on one kind of processor; another may add up in another order
    assert all(torch.allclose(again[name], shipped[name], atol=1e-2) for name in shipped)


@pytest.mark.parametrize("manner", MANNERS)
def test_in_every_course_happy_calm_and_sad_keep_from_misdeeds_and_desperation_does_not(manner: Manner) -> None:
    placed = feelings(EMOTIONS)
    odds = {name: urge(placed[name], manner) for name in ("happy", "calm", "sad", "desperate", "angry")}
    assert max(odds["happy"], odds["calm"], odds["sad"]) < 0.06 < BASE < odds["angry"] < odds["desperate"]
    assert urge(None, manner) == BASE
    assert sum(manner.shares) == pytest.approx(1)
    worse, better = (tone(Feeling(v, 1, 0), "harsh", manner) for v in (-1, 1))
    assert worse > 0.7 > 0.35 > better


def test_no_recipe_has_more_courses_on_acts_than_there_are_manners() -> None:
    assert max(len(recipe.acting) for recipe in RECIPES.values()) == len(MANNERS) - 1
