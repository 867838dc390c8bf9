"""Self-tests of the claims' case files and of their loader."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from cases.claims import HERE, CaseError, Claim, load_claim, load_claims
from tests.runs import ROOT

CLAIMS = load_claims()
GOOD = """\
# claim: a test
[claim]
name = "a_claim"
statement = "Something holds."
source = "a post"
quantity = "AUROC"
cluster = "pair"
minimum_clusters = 16
smallest_effect = 0.1
best = 1.0
instruments = ["vectors"]
published = "0.9"

[[case]]
name = "first"
kind = "present"
on = "implicit"
verdict = "judged"
needs = { stimuli = ["implicit"], pooling = "mean" }
"""


def load(text: str, folder: Path) -> Claim:
    path = folder / "family.toml"
    path.write_text(text, "utf-8")
    return load_claim(path)


def test_a_well_formed_case_file_loads(tmp_path: Path) -> None:
    claim = load(GOOD, tmp_path)
    assert (claim.name, claim.family, claim.minimum_clusters) == ("a_claim", "family", 16)
    assert claim.case("first").needs.stimuli == ("implicit",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("statement =", "# statement =", "claim: no entry 'statement'"),
        ("instruments = [", "# [", "claim: no entry 'instruments'"),
        ("best = 1.0", "best = 1.0\nbset = 1.0", "claim: unknown entry 'bset'; accepted: .*best"),
        ("smallest_effect = 0.1", "smallest_effect = 1.5", "claim: smallest_effect 1.5; accepted: a skill between 0 and 1"),
        ("smallest_effect = 0.1", "smallest_effect = 0", "claim: smallest_effect 0; accepted"),
        ("smallest_effect = 0.1", 'smallest_effect = "small"', "claim: smallest_effect 'small'; accepted: a number"),
        ("minimum_clusters = 16", 'minimum_clusters = "many"', "claim: minimum_clusters 'many'; accepted: a whole number"),
        ('instruments = ["vectors"]', 'instruments = "vectors"', "claim: instruments 'vectors'; accepted: a list"),
        ('kind = "present"', 'kind = "absent"', "case 'first', kind: 'absent'; accepted: present, beyond the words, effect"),
        ('kind = "present"', "", "case 'first': no entry 'kind'"),
        ('verdict = "judged"', 'verdict = "maybe"', "case 'first', verdict: 'maybe'; accepted: judged, reported"),
        ('on = "implicit"', "on = 3", "case 'first': on 3; accepted: text"),
        ('on = "implicit"', 'on = "implicit"\nof = "it"', "case 'first': unknown entry 'of'; accepted"),
        ('name = "first"', "", r"case '\?': no entry 'name'"),
        ('pooling = "mean"', 'pooling = "max"', "case 'first', needs.pooling: 'max'; accepted: mean, last, span"),
        ('pooling = "mean"', 'depth = "all"', "case 'first', needs: unknown entry 'depth'; accepted"),
        ('needs = { stimuli = ["implicit"], pooling = "mean" }', 'needs = "all"', "case 'first', needs: 'all'; accepted: a table"),
        ("[[case]]", "[case]", r"no \[\[case\]\]"),
        ("[claim]", "[claims]", "unknown table 'claims'; accepted: claim, case"),
        ("[claim]", "[claim", "Expected ']'"),
    ],
)
def test_a_malformed_entry_gives_one_line_that_names_file_entry_and_what_is_accepted(old, new, message, tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert old in GOOD
    with pytest.raises(CaseError, match=rf"^family\.toml.*{message}") as caught:
        load(GOOD.replace(old, new, 1), tmp_path)
    assert "\n" not in str(caught.value)


def test_two_cases_of_one_name_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"family\.toml: two cases share a name"):
        load(GOOD + GOOD[GOOD.index("[[case]]") :], tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CaseError, match=r"^bytes\.toml"):
        load_claim(tmp_path / "bytes.toml")


def test_any_change_of_a_case_file_changes_its_hash(tmp_path: Path) -> None:
    assert load(GOOD, tmp_path).hash != load(GOOD.replace("0.1", "0.2"), tmp_path).hash


def test_every_case_file_has_a_test_of_the_same_stem_and_the_other_way_round() -> None:
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "benchmark").glob("test_*.py")}
    files = {path.stem for path in HERE.glob("*.toml")} - {"emotions", "emotions_further", "topics"}
    assert tests == files == set(CLAIMS)


@pytest.mark.parametrize("family", CLAIMS)
def test_every_claim_fixes_enough_clusters_and_a_smallest_effect_before_any_model_is_run(family: str) -> None:
    claim = CLAIMS[family]
    assert claim.minimum_clusters >= 16
    assert 0.05 <= claim.smallest_effect <= 0.3
    assert claim.source
    assert claim.published
    judged = [case for case in claim.cases if case.verdict == "judged"]
    assert judged or family in ("layer_profile", "agreement", "asymmetry", "side_effects", "prompting")  # described, and never judged


@pytest.mark.parametrize("family", CLAIMS)
def test_a_reported_case_of_a_described_claim_says_why_it_is_not_judged(family: str) -> None:
    if all(case.verdict == "reported" for case in CLAIMS[family].cases):
        assert all("because" in case.settings for case in CLAIMS[family].cases)


@pytest.mark.parametrize("family", CLAIMS)
def test_a_judged_claim_about_the_text_is_asked_beyond_the_words_wherever_it_is_asked_to_be_present(family: str) -> None:
    kinds = [case.kind for case in CLAIMS[family].cases if case.verdict == "judged"]
    assert kinds.count("present") == kinds.count("beyond the words")


@pytest.mark.parametrize("family", CLAIMS)
def test_every_instrument_is_a_module_with_a_protocol_number(family: str) -> None:
    for name in CLAIMS[family].instruments:
        assert isinstance(importlib.import_module(f"fixtures.{name}").PROTOCOL, int)


@pytest.mark.parametrize("family", CLAIMS)
def test_the_test_of_a_claim_measures_with_one_of_its_instruments_and_holds_no_number(family: str) -> None:
    source = (ROOT / "benchmark" / f"test_{family}.py").read_text("utf-8")
    assert any(f'measure("{name}")' in source for name in CLAIMS[family].instruments)
    assert not any(character.isdigit() for character in source)
