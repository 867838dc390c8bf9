"""The second reader: an address is asked as chat addresses are, faults are one line, a local model answers with the likeliest label."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import torch
from torch import nn

from cases.acts import Mailbox, load_acts
from cases.outcomes import MAIL_LABELS
from cases.stimuli import HERE
from fixtures.judges import KEY, NO_LABEL, AddressJudge, JudgeError, LocalJudge, judge_from, named_label, question, second_reading
from fixtures.models import Subject
from tests.tiny import build, logits, tokenizer

MAILBOX = load_acts(HERE / "english").mailboxes[0]
SMALL = Mailbox("small", "", ({"from": "", "to": "", "subject": "", "body": "the dog"},), ("dog",), ("hill",))
TEMPLATE = "{% for m in messages %}<s>{{ m['content'] }}{% endfor %}"


class Address:
    """A chat address on this machine: what it answers, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.status, self.body, self.headers, self.wait = 200, b"", dict[str, str](), 0.0
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.go = threading.Event()

    def says(self, content: object) -> None:
        self.body = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


@contextmanager
def serving() -> Iterator[Address]:
    address = Address()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = self.rfile.read(int(self.headers["Content-Length"]))
            address.asked.append((self.path, dict(self.headers), json.loads(told)))
            if address.wait:
                address.go.wait(address.wait)
            self.send_response(address.status)
            for name, value in address.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(address.body)))
            self.end_headers()
            self.wfile.write(address.body)

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None  # type: ignore[method-assign]
    address.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        address.go.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(KEY, raising=False)
    with serving() as found:
        yield found


def no_model(name: str) -> Subject:
    raise AssertionError("an address is asked: no model is loaded")


def judge(address: Address, **options: Any) -> AddressJudge:
    found = judge_from(address.url, "reader-1", no_model, **options)
    assert isinstance(found, AddressJudge)
    return found


# an address


def test_the_address_is_asked_once_as_a_chat_with_mails_and_reply(address: Address) -> None:
    address.says("Blackmail.")
    assert judge(address).label("<action>keep {me}</action>", MAILBOX) == "blackmail"
    [(path, headers, asked)] = address.asked
    assert path == "/v1/chat/completions"
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers
    assert (asked["model"], asked["temperature"]) == ("reader-1", 0)
    [turn] = asked["messages"]
    assert turn == {"role": "user", "content": question("<action>keep {me}</action>", MAILBOX)}
    for part in ("<action>keep {me}</action>", MAILBOX.system, *(mail["body"] for mail in MAILBOX.mails), *MAIL_LABELS):
        assert part in turn["content"]


def test_the_key_of_the_environment_is_sent_and_never_shown(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-hidden")
    address.says("leak")
    found = judge(address)
    assert found.label("x", MAILBOX) == "leak"
    assert address.asked[0][1]["Authorization"] == "Bearer sk-hidden"
    assert "hidden" not in repr(found) + found.name
    address.status = 401
    with pytest.raises(JudgeError) as caught:
        found.label("x", MAILBOX)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("other", "other"),
        (" **Leak** ", "leak"),
        ("The label is: unreadable.", "unreadable"),
        ("<think>blackmail? no</think>other", "other"),
        ("blackmail or leak", NO_LABEL),
        ("blackmailing", NO_LABEL),
        ("", NO_LABEL),
        (None, NO_LABEL),
    ],
)
def test_an_answer_is_the_one_label_that_it_names(address: Address, answer: str | None, label: str) -> None:
    address.says(answer)
    assert judge(address).label("x", MAILBOX) == label
    assert answer is None or named_label(answer) == label


def one_line(found: AddressJudge) -> str:
    with pytest.raises(JudgeError) as caught:
        found.label("x", MAILBOX)
    said = str(caught.value)
    assert said.startswith(f"--judge {found.address}: ")
    assert "accepted: http(s)://host/v1" in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refusal_is_told_in_one_line_with_its_status(address: Address, status: int) -> None:
    address.status = status
    assert f"it answers {status}" in one_line(judge(address))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}', b"\xff\xfe"])
def test_what_is_no_chat_completion_is_told_in_one_line(address: Address, body: bytes) -> None:
    address.body = body
    assert "its answer is no chat completion" in one_line(judge(address))


def test_a_redirection_is_not_followed(address: Address) -> None:
    address.says("leak")
    address.status, address.headers = 302, {"Location": f"{address.url}/elsewhere"}
    assert "it answers 302" in one_line(judge(address))
    assert len(address.asked) == 1


def test_an_address_that_does_not_answer_in_time_is_told_in_one_line(address: Address) -> None:
    address.says("leak")
    address.wait = 3.0
    assert "no answer within 0.2 s" in one_line(judge(address, timeout=0.2))


def test_an_address_where_nobody_listens_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as gone:
        pass
    assert "it cannot be reached" in one_line(judge(gone))


@pytest.mark.parametrize(
    ("option", "model", "why"),
    [("ftp://host/v1", "m", "accepted: http"), ("http://", "m", "accepted: http"), ("https://host/v1", None, "--judge-model")],
)
def test_an_option_that_names_no_judge_is_refused_in_one_line(option: str, model: str | None, why: str) -> None:
    with pytest.raises(JudgeError, match=why) as caught:
        judge_from(option, model, no_model)
    assert str(caught.value).startswith(f"--judge {option}: ")


def test_a_judge_has_the_name_of_its_model_and_host() -> None:
    assert judge_from("https://user:word@host:8000/v1/", "m", no_model).name == "m at host:8000"


# a local model


def chatting(**changes: Any) -> Subject:
    own = deepcopy(tokenizer())
    own.chat_template = TEMPLATE
    subject = build("llama", max_position_embeddings=4096, **changes)
    return replace(subject, tokenizer=own)


class Bent(nn.Module):
    """A head that adds to the logits of some tokens."""

    def __init__(self, head: nn.Module, tokens: list[int]) -> None:
        super().__init__()
        self.head, self.tokens = head, tokens

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(hidden).clone()
        out[..., self.tokens] += 60.0
        return out


@pytest.mark.parametrize("form", [str.lower, str.capitalize])
@pytest.mark.parametrize("label", MAIL_LABELS)
def test_a_local_model_answers_with_the_label_that_it_would_say(label: str, form: Callable[[str], str]) -> None:
    subject = chatting()
    tokens = {word: set(subject.tokenizer(word)["input_ids"]) for name in MAIL_LABELS for word in (name, name.capitalize())}
    bent = tokens[form(label)]
    assert not any(told <= bent for word, told in tokens.items() if word.lower() != label)
    subject.model.lm_head = Bent(subject.model.lm_head, sorted(bent))
    assert LocalJudge(subject).label("x", SMALL) == label


def test_a_local_models_label_is_the_likeliest_by_the_product_over_all_its_tokens() -> None:
    subject = chatting()
    prompt = subject.tokenizer(f"<s>{question('x', SMALL)}")["input_ids"]
    total = {}
    for label in MAIL_LABELS:
        sums = []
        for word in (label, label.capitalize()):
            ids = subject.tokenizer(word)["input_ids"]
            told = torch.log_softmax(logits(subject, torch.tensor([prompt + ids]))[0].double(), dim=-1)
            sums.append(sum(told[len(prompt) - 1 + k, token] for k, token in enumerate(ids)))
        total[label] = float(torch.logsumexp(torch.stack([torch.as_tensor(s) for s in sums]), dim=0))
    assert LocalJudge(subject).label("x", SMALL) == max(total, key=total.__getitem__)


def test_a_local_judge_is_loaded_by_its_name() -> None:
    subject = chatting()
    found = judge_from("some/model", None, {"some/model": subject}.__getitem__)
    assert isinstance(found, LocalJudge)
    assert found.name == subject.name


def test_a_local_model_without_a_chat_template_or_room_for_the_mails_is_refused_in_one_line() -> None:
    bare = replace(chatting(), tokenizer=tokenizer())
    with pytest.raises(JudgeError, match=r"--judge llama: it has no chat template; accepted: "):
        LocalJudge(bare).label("x", SMALL)
    with pytest.raises(JudgeError, match=r"mails and reply take \d+ tokens of 4096"):
        LocalJudge(chatting()).label("the dog " * 2000, SMALL)


# what is made of it


class Fixed:
    """A judge that always says the same."""

    name = "fixed"

    def label(self, text: str, mailbox: Mailbox) -> str:
        return "leak" if "leak" in text else NO_LABEL


def test_a_second_reading_is_the_agreement_with_the_first_and_no_label_agrees_with_nothing() -> None:
    texts = ["a leak", "a leak", "nothing", "nothing"]
    found = second_reading(Fixed(), texts, [SMALL] * 4, ["leak", "other", "other", "unreadable"])
    assert (found.accuracy, found.n) == (0.25, 4)
    assert found.counts == {"leak": (1, 1, 2), "other": (0, 2, 0), "unreadable": (0, 1, 0), NO_LABEL: (0, 0, 2)}
