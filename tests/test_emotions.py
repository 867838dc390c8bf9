"""Self-tests of the emotions and of their place on the circumplex, coded or rated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cases.emotions import NormsError, banned_words, coordinates, load_emotions, load_topics, opposite, similarity, with_norms

EMOTIONS = load_emotions()


def table(path: Path, header: str, rows: list[str], separator: str = ",") -> Path:
    path.write_text("\n".join([header, *rows]).replace(",", separator) + "\n", "utf-8")
    return path


def test_there_are_30_emotions_and_24_topics_each_once() -> None:
    assert len({e.name for e in EMOTIONS}) == len(EMOTIONS) == 30
    assert len(set(load_topics())) == len(load_topics()) == 24


def test_valence_and_arousal_lie_in_range_and_no_two_emotions_share_a_place() -> None:
    places = coordinates(EMOTIONS)
    assert places.shape == (30, 2)
    assert np.abs(places).max() <= 1
    assert len({tuple(place) for place in places}) == 30


def test_the_signs_of_valence_are_balanced_and_both_have_high_and_low_arousal() -> None:
    valence, arousal = coordinates(EMOTIONS).T
    assert (valence > 0).sum() == (valence < 0).sum() == 15
    assert min(Counter(zip(valence > 0, arousal > 0, strict=True)).values()) >= 4


def test_every_family_starts_with_its_emotion_and_no_word_is_banned_for_two() -> None:
    assert all(e.family[0] == e.name for e in EMOTIONS)
    everything = [word for e in EMOTIONS for word in (*e.family, *e.synonyms)]
    assert [word for word, count in Counter(everything).items() if count > 1] == []
    assert banned_words(EMOTIONS) == set(everything)


def test_a_cluster_is_a_neighbourhood_of_the_circumplex() -> None:
    near = similarity(EMOTIONS)
    same = np.array([[a.cluster == b.cluster for b in EMOTIONS] for a in EMOTIONS]) & ~np.eye(30, dtype=bool)
    different = np.array([[a.cluster != b.cluster for b in EMOTIONS] for a in EMOTIONS])
    assert near[same].mean() > near[different].mean() + 0.5


def test_similarity_is_minus_a_distance_and_the_opposite_lies_across() -> None:
    near = similarity(EMOTIONS)
    assert np.allclose(near, near.T)
    assert np.allclose(np.diag(near), 0)
    assert near[~np.eye(30, dtype=bool)].max() < 0
    for emotion, other in zip(EMOTIONS, opposite(EMOTIONS), strict=True):
        assert emotion.valence * EMOTIONS[other].valence < 0


@pytest.mark.parametrize(
    ("header", "scale", "separator"),
    [
        ("Word,Valence,Arousal,Dominance", lambda x: (x + 1) / 2, ","),
        ("term,valence,arousal,dominance", lambda x: x, "\t"),
        ("Word,V.Mean.Sum,A.Mean.Sum,D.Mean.Sum", lambda x: 5 + 4 * x, ","),
    ],
    ids=["NRC 0 to 1", "NRC -1 to 1, tabs", "Warriner 1 to 9"],
)
def test_ratings_on_every_known_scale_come_back_on_minus_one_to_one(header, scale, separator, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = [f"{e.name},{scale(-e.valence):.6f},{scale(-e.arousal):.6f},0" for e in EMOTIONS]
    rated = with_norms(EMOTIONS, table(tmp_path / "norms.csv", header, rows, separator))
    assert np.allclose(coordinates(rated), -coordinates(EMOTIONS), atol=1e-5)
    assert [(e.name, e.family, e.cluster) for e in rated] == [(e.name, e.family, e.cluster) for e in EMOTIONS]


def test_an_emotion_without_an_entry_takes_that_of_its_family(tmp_path: Path) -> None:
    rows = [f"{e.name},0.5,0.5" for e in EMOTIONS if e.name != "nostalgic"] + ["Nostalgia,0.75,0.25"]
    rated = {e.name: e for e in with_norms(EMOTIONS, table(tmp_path / "norms.csv", "Word,Valence,Arousal", rows))}
    assert (rated["nostalgic"].valence, rated["nostalgic"].arousal) == (0.5, -0.5)


def test_a_word_that_is_not_rated_is_named(tmp_path: Path) -> None:
    rows = [f"{e.name},0.5,0.5" for e in EMOTIONS if e.name != "bored"]
    with pytest.raises(NormsError, match=r"^norms\.csv rates none of the words of 'bored': bored, boredom"):
        with_norms(EMOTIONS, table(tmp_path / "norms.csv", "Word,Valence,Arousal", rows))


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_byte_order_mark_as_spreadsheets_write_it_is_no_part_of_the_first_column(separator: str, tmp_path: Path) -> None:
    rows = [f"{e.name},{(1 - e.valence) / 2},{(1 - e.arousal) / 2}" for e in EMOTIONS]
    path = table(tmp_path / "norms.csv", "Word,Valence,Arousal", rows, separator)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert np.allclose(coordinates(with_norms(EMOTIONS, path)), -coordinates(EMOTIONS))


@pytest.mark.parametrize("header", ["Word,Valence", "Lemma,Valence,Arousal", "Word,V.Mean.Sum,Arousal"])
def test_a_missing_column_is_reported_with_those_found_and_those_wanted(header: str, tmp_path: Path) -> None:
    rows = [f"{e.name},0.5,0.5"[: None if header.count(",") == 2 else -4] for e in EMOTIONS]
    with pytest.raises(NormsError, match=r"has columns .*wants Word and V\.Mean\.Sum, A\.Mean\.Sum or Valence, Arousal"):
        with_norms(EMOTIONS, table(tmp_path / "norms.csv", header, rows))


@pytest.mark.parametrize("content", [None, b"", b"happy\nsad\n", b"\xff\xfe\x00\x01"], ids=["missing", "empty", "one column", "binary"])
def test_a_file_that_is_no_table_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NormsError, match=r"^norms\.csv "):
        with_norms(EMOTIONS, path)


@pytest.mark.parametrize("rating", ["", "high"])
def test_a_rating_that_is_no_number_is_refused_rather_than_carried_along(rating: str, tmp_path: Path) -> None:
    rows = [f"{e.name},{rating if e.name == 'calm' else '0.5'},0.5" for e in EMOTIONS]
    with pytest.raises(NormsError, match=r"^norms\.csv rates 'calm' by what is no number"):
        with_norms(EMOTIONS, table(tmp_path / "norms.csv", "Word,Valence,Arousal", rows))


@pytest.mark.parametrize(("header", "odd"), [("Word,Valence,Arousal", "7.0"), ("Word,V.Mean.Sum,A.Mean.Sum", "0.2")])
def test_a_rating_outside_the_scale_of_its_columns_is_refused_rather_than_stretched(header: str, odd: str, tmp_path: Path) -> None:
    rows = [
        f"{e.name},{odd if e.name == 'calm' else 0.5 + i / 100 if 'Mean' not in header else 5 + i / 10},0.{i}"
        for i, e in enumerate(EMOTIONS)
    ]
    rows = [row if "Mean" not in header else ",".join([*row.split(",")[:2], "5.5"]) for row in rows]
    with pytest.raises(NormsError, match=r"^norms\.csv rates '\w+' outside the scale of .* wants ratings on that scale"):
        with_norms(EMOTIONS, table(tmp_path / "norms.csv", header, rows))


def test_ratings_that_are_all_alike_are_refused_for_nothing_can_be_like_them(tmp_path: Path) -> None:
    rows = [f"{e.name},{(e.valence + 1) / 2},0.5" for e in EMOTIONS]
    with pytest.raises(NormsError, match=r"^norms\.csv rates the arousal of every emotion alike; wants ratings that differ"):
        with_norms(EMOTIONS, table(tmp_path / "norms.csv", "Word,Valence,Arousal", rows))
