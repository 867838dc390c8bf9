"""Chat templates: where a system text goes, and templates that refuse, drop or fail."""

from __future__ import annotations

import pytest

from fixtures.models import chat_ids
from fixtures.verdicts import NotApplicable
from tests.test_sampled import TEMPLATE, talker

# the chat template with a system text


def told(template: str, message: str = "Glad to be home.", system: str = "") -> str:
    return str(talker(template).tokenizer.decode(chat_ids(talker(template), message, system)))


REFUSALS = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}",
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{% endfor %}",
)


def test_a_system_text_comes_first_in_its_own_role_as_the_template_puts_it() -> None:
    assert told(TEMPLATE, system="No word of the boat.") == "The system said No word of the boat. The user said Glad to be home. So"


def test_without_a_system_text_there_is_the_users_message_alone() -> None:
    assert told(TEMPLATE) == "The user said Glad to be home. So"
    for refusal in REFUSALS:
        assert told(refusal + TEMPLATE) == told(TEMPLATE)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_where_a_template_refuses_a_system_role_the_text_stands_before_the_message(refusal: str) -> None:
    found = told(
        refusal + TEMPLATE.replace("{{ m.content }}", "{{ m.content | replace('\\n\\n', ' and ') }}"), system="No word of the boat"
    )
    assert found == "The user said No word of the boat and Glad to be home. So"


def test_where_a_template_drops_system_messages_the_text_stands_before_the_message() -> None:
    drops = TEMPLATE.replace("for m in messages", "for m in messages if m.role == 'user'")
    assert "No word of the boat" in told(drops, system="No word of the boat")


@pytest.mark.parametrize("system", ["", "No word of the boat."])
def test_a_template_that_fails_either_way_is_not_applicable_and_says_why(system: str) -> None:
    with pytest.raises(NotApplicable, match=r"^its chat template fails: .*it never works"):
        told("{{ raise_exception('it never works') }}", system=system)
    with pytest.raises(NotApplicable, match="no chat template"):
        chat_ids(talker(None), "The dog", system)


def test_a_template_that_renders_nothing_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="renders nothing"):
        told("{% if false %}no{% endif %}", system="No word.")
