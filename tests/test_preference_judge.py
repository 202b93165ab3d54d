"""Language models that vote: an endpoint that fails in every way, a tiny model here, and what their votes are worth."""

import http.server
import json
import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import HIDDEN, small_study

from hyperfitting.commands import preference_judge
from hyperfitting.errors import UserError
from hyperfitting.preference.judging import figures
from hyperfitting.preference.judging.completions import adapt, is_overlong
from hyperfitting.preference.judging.endpoint import FAILURES, LARGEST, EndpointJudge
from hyperfitting.preference.judging.judge import Reply, fill, read_prompt, run_judge
from hyperfitting.preference.study import Assignment, Item, Pair, Study, Vote
from hyperfitting.terminal import Progress, make_console


class StandIn(http.server.ThreadingHTTPServer):
    """A stand-in for a model behind an endpoint: prefers the text "of the first kind", wherever it stands.

    `troubles` are what comes first, one for each request: a status, the bytes of a body, both with headers as a tuple, or `slow`,
    `drips`, `malformed`, `list`, `empty` or `cut`. `refuses` may answer a request's body with a tuple; `message` is always sent, where
    it is set; `served` is what GET /models names.
    """

    def __init__(self, troubles=(), message=None, finish_reason="stop", refuses=lambda body: None, served=()):
        super().__init__(("127.0.0.1", 0), Answers)
        self.troubles, self.requests, self.lock = list(troubles), [], threading.Lock()
        self.message, self.finish_reason, self.refuses = message, finish_reason, refuses
        self.model, self.served = "stand-in", list(served)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, address):
        """A client that went away is no news."""


class Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def do_GET(self):
        self.answer(200, json.dumps({"object": "list", "data": [{"id": name} for name in self.server.served]}).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers), body))
            trouble = self.server.troubles.pop(0) if self.server.troubles else None
        prompt = body["messages"][0]["content"]
        first = prompt.index("of the first kind") < prompt.index("of the other kind")
        said = self.server.message or {"content": f"I compared both.\n\n**Answer: {'A' if first else 'B'}**"}
        choice = {"message": said, "finish_reason": self.server.finish_reason}
        reply = json.dumps({"model": self.server.model, "choices": [choice], "usage": {"total_tokens": 9}}).encode()
        if trouble == "slow":
            time.sleep(1.5)
        elif trouble == "cut":
            self.close_connection = True
            return
        elif trouble == "drips":
            self.answer(200, b"", {"Content-Length": "100"})
            for _ in range(100):
                time.sleep(0.05)
                self.wfile.write(b" ")
            return
        named = {
            "malformed": b"{",
            "list": b"[]",
            "empty": b'{"choices": [{"message": {"content": null}}]}',
            "slow": reply,
        }
        refused = self.server.refuses(body)
        if isinstance(trouble, int):
            self.answer(trouble, reply, {"Retry-After": "0"} if trouble == 429 else {})
        else:
            trouble = trouble or refused
            self.answer(*(trouble if isinstance(trouble, tuple) else (200, named.get(trouble, trouble or reply))))

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def study(tmp_path):
    return small_study(tmp_path / "study")


def ask(study, server, **changes):
    judge = EndpointJudge(
        server.url,
        "some-model",
        **{"max_tokens": 64, "concurrency": 4, "key_variable": "NO_KEY", "pause": 0.01, "timeout": 1.0} | changes,
    )
    return run_judge(study, judge, Progress(make_console(quiet=True)))


def of_judge(study, asked):
    return [vote for vote in study.votes("judge") if vote.annotator == asked.judge.annotator]


def test_both_orders_of_every_pair_are_asked_and_nothing_twice(study):
    with StandIn() as server:
        asked = ask(study, server)
        votes = of_judge(study, asked)
        assert asked.stored == 12 and Counter((v.pair, v.swapped) for v in votes) == Counter(
            (p, s) for p in range(6) for s in (False, True)
        )
        assert figures.verdicts(votes) == dict.fromkeys(range(6), 1.0)  # in each pair `text` is of the first kind
        assert ask(study, server).stored == 0 and len(server.requests) == 12
    everything = json.dumps([body for _, _, body in server.requests]).lower()
    assert not [name for name in HIDDEN if name in everything]
    assert {body["temperature"] for _, _, body in server.requests} == {0} and {
        path for path, _, _ in server.requests
    } == {"/v1/chat/completions"}
    assert study.progress(study.annotators()[0]) == (0, 7) and not study.votes()  # people's votes are people's


def test_what_passes_is_tried_again(study):
    troubles = [429, 500, "malformed", "slow", "cut", "list", "empty", 503, 408]
    with StandIn(troubles) as server:
        asked = ask(study, server)
    assert asked.stored == 12 and asked.unanswered == 0 and len(server.requests) == 12 + len(troubles)


def test_an_endpoint_that_is_dead_ends_it_and_the_next_call_goes_on(study):
    with (
        StandIn([None] * 3 + [500] * 500) as server,
        pytest.raises(UserError, match=f"not answered {FAILURES} prompts in a row.*status 500"),
    ):
        ask(study, server, concurrency=1)
    assert len(study.votes("judge")) == 3
    with StandIn() as again:
        again.url = server.url  # the same judge, so the same name …
        judge = EndpointJudge(server.url, "some-model", 64, 2, "NO_KEY", pause=0.01)
        judge.url = f"http://127.0.0.1:{again.server_address[1]}/v1"  # … that can be reached again
        asked = run_judge(study, judge, Progress(make_console(quiet=True)))
    assert asked.stored == 9 and len(again.requests) == 9 and len(study.votes("judge")) == 12


def test_what_will_not_pass_ends_it_at_once(study, monkeypatch):
    monkeypatch.setenv("OUR_KEY", "sk-secret-of-ours")
    with StandIn([401] * 50) as server, pytest.raises(UserError, match="status 401") as refused:
        ask(study, server, key_variable="OUR_KEY")
    assert len(server.requests) <= 4 and "sk-secret" not in str(refused.value)
    assert server.requests[0][1]["Authorization"] == "Bearer sk-secret-of-ours"
    assert not [file for file in study.folder.rglob("*") if file.is_file() and b"sk-secret" in file.read_bytes()]


def test_answers_stand_in_a_file_before_their_votes_and_survive_a_kill(study):
    class Killed(Exception):
        pass

    class Kills:
        """Three answers, and it is killed between the third answer and its vote: the vote is taken away again below."""

        facts = {"judge": "one"}

        def ask(self, prompts):
            for number, (key, _) in enumerate(prompts):
                if number == 3:
                    raise Killed
                yield Reply(key, "Answer: tie", {})

    quiet = Progress(make_console(quiet=True))
    with pytest.raises(Killed):
        run_judge(study, Kills(), quiet)
    (raw,) = (study.folder / "judges").glob("*.jsonl")
    lines = raw.read_text().splitlines()
    assert len(lines) == 4 and json.loads(lines[1])["answer"] == "Answer: tie"
    items = list(study.items(study.annotators("judge")[0]))
    torn = json.dumps({"assignment": items[0].assignment, "answer": "Answer: B"}) + '\n{"assignment": "torn'
    raw.write_text("\n".join(lines) + "\n" + torn)
    asked_for = []

    class Goes(Kills):
        def ask(self, prompts):
            for key, _ in prompts:
                asked_for.append(key)
                yield Reply(key, "Answer: A", {})

    asked = run_judge(study, Goes(), quiet)
    assert asked.stored == 9 and items[0].assignment not in asked_for and len(asked_for) == 8
    assert Counter(vote.side for vote in study.votes("judge")) == {"tie": 3, "B": 1, "A": 8}
    assert all(json.loads(line) for line in raw.read_text().splitlines())


def test_another_prompt_is_another_judge_and_unreadable_answers_are_no_votes(study, capsys):
    with StandIn() as server:
        first = ask(study, server)
        prompt = study.folder / "judge_prompt.md"
        prompt.write_text("{a} or {b}, after {context}? {other} {{a}")
        with pytest.raises(UserError, match="each of {context}, {a} and {b} once"):
            ask(study, server)
        prompt.write_text("{a} or {b}, after {context}? {other}")
        server.message = {"content": "Both have their charm."}
        second = ask(study, server)
    assert second.judge != first.judge and second.unreadable == 12 and second.stored == 0
    words = [str(study.folder), "--endpoint", server.url, "--model", "some-model", "--max_tokens", "64"]
    assert preference_judge.main(words) == 0  # nothing left to ask: what was answered is read again
    shown = capsys.readouterr().out
    assert "12 answers name no choice" in shown and "the same in both orders: no pairs" in shown


def test_what_stands_in_a_text_is_no_field_of_the_prompt(tmp_path):
    item = Item("x", 0, "{b} {a}", "first {context}", "second {a}")
    prompt = fill(read_prompt(tmp_path), item)
    assert "{b} {a}" in prompt and "first {context}" in prompt and "second {a}" in prompt


NO_ANSWERS = [
    b"<!doctype html><html>Bad gateway</html>",
    b"null",
    b'{"choices": []}',
    b'{"choices": {"0": 1}}',
    b'{"choices": [{"message": "Answer: A"}]}',
    b'{"choices": [{"message": {"content": [1, null]}}]}',
    b'{"error": {"message": "the upstream is busy"}}',
    b'{"choices": [{"message": {"content": "Answer: A"}}], "usage": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b"\xff\xfe\x00\xd8",
    b" " * (LARGEST + 1),
    (200, b"hello", {"Content-Encoding": "gzip"}),
    (429, b"", {"Retry-After": "\xb2"}),
    (503, b"", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    (500, b"Internal Server Error", {"Content-Type": "text/plain"}),
    "drips",
]


def test_whatever_is_no_answer_is_tried_again(study):
    with StandIn(NO_ANSWERS) as server:
        asked = ask(study, server, timeout=0.4, concurrency=6)
    assert asked.stored == 12 and asked.unanswered == 0 and len(server.requests) == 12 + len(NO_ANSWERS)


def test_what_no_answer_said_is_said(study):
    with StandIn([b"<html>\n<p>Bad \x1b[31mgateway</html>"] * 90) as server, pytest.raises(UserError) as refused:
        ask(study, server, pause=0.001)
    assert "8 prompts in a row (its answer is no chat completion" in str(refused.value)
    assert "'<html> <p>Bad [31mgateway</html>'" in str(refused.value) and not study.votes("judge")


def test_half_a_character_and_parts_of_an_answer(study):
    said = {"content": [{"type": "thinking", "thinking": "Answer: B"}, {"type": "text", "text": "Answer: A \ud800"}]}
    with StandIn(message=said) as server:
        asked = ask(study, server)
    assert asked.stored == 12 and {vote.side for vote in study.votes("judge")} == {"A"}


def refusal(parameter, words, **more):  # as OpenAI's reasoning models word it
    error = {"message": words, "type": "invalid_request_error", "param": parameter} | more
    return 400, json.dumps({"error": error}).encode()


def reasoning_model(body):
    if "max_tokens" in body:
        words = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return refusal("max_tokens", words, code="unsupported_parameter")
    if "temperature" in body:
        words = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."
        return refusal("temperature", words, code="unsupported_value")


def strict_server(body):
    if "temperature" in body:
        detail = [{"loc": ["body", "temperature"], "msg": "Input should be greater than 0", "input": body}]
        return 422, json.dumps({"detail": detail}).encode()


@pytest.mark.parametrize(
    ("refuses", "limit"), [(reasoning_model, "max_completion_tokens"), (strict_server, "max_tokens")]
)
def test_a_model_that_takes_other_parameters_is_asked_with_those(study, capsys, refuses, limit):
    with StandIn(refuses=refuses) as server:
        words = [str(study.folder), "--endpoint", server.url, "--model", "some-model", "--max_tokens", "64"]
        assert preference_judge.main([*words, "--concurrency", "3"]) == 0
    assert (
        len(study.votes("judge")) == 12 and len(server.requests) <= 12 + 6
    )  # each of three at a time may have to learn it
    last = server.requests[-1][2]
    assert last[limit] == 64 and set(last) == {"model", "messages", limit}
    shown = capsys.readouterr().out
    assert shown.count("takes no temperature 0") == 1
    assert shown.count("as max_completion_tokens") == (limit == "max_completion_tokens")


@pytest.mark.parametrize(
    "words",
    [
        "Temperature parameter is not allowed for reasoning models",
        "Range of temperature should be (0.0, 2.0)",
        "This model only supports temperature=1",
        "temperature cannot be set for this model",
    ],
)
def test_a_temperature_is_refused_in_many_words(words):
    asked = {"temperature": 0, "max_tokens": 64}
    assert adapt(asked, refusal("temperature", words)[1])[0] == {"max_tokens": 64}
    unknown = {
        "detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]
    }
    assert adapt(asked, json.dumps(unknown).encode())[0] == {"temperature": 0, "max_completion_tokens": 64}
    for other in ("max_tokens must be at most 4096", "max_tokens is too large: 50"):
        assert adapt(asked, refusal(None, other)[1]) is None


@pytest.mark.parametrize(
    "words", ["input length and `max_tokens` exceed context limit", "Range of input length should be [1, 30720]"]
)
def test_a_prompt_is_too_long_in_other_words(words):
    assert is_overlong(400, refusal(None, words)[1]) and adapt({"temperature": 0}, refusal(None, words)[1]) is None


def test_another_refusal_is_told_in_the_words_of_the_server(study):
    pinned = 400, json.dumps({"detail": "Server is pinned to 'one'; requested 'other'."}).encode()
    with StandIn(refuses=lambda body: pinned) as server, pytest.raises(UserError, match="Server is pinned to 'one'"):
        ask(study, server)
    assert FAILURES <= len(server.requests) <= FAILURES + 4  # none is tried again


OVERLONG = [  # llama.cpp's llama-server, llama-cpp-python and vLLM, TGI, a proxy
    (400, b'{"error":{"code":400,"message":"request (24031 tokens) exceeds the available context size (1024 tokens), try increasing it",'
    b'"type":"exceed_context_size_error","n_prompt_tokens":24031,"n_ctx":1024}}'),
    (400, b'{"error":{"message":"This model\'s maximum context length is 2048 tokens. However, you requested 24039 tokens (24031 in the '
    b'messages, 8 in the completion). Please reduce the length of the messages or completion.","type":"invalid_request_error",'
    b'"param":"messages","code":"context_length_exceeded"}}'),
    (422, b'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens","error_type"'
    b':"validation"}'),
    (413, b"<html>Request Entity Too Large</html>"),
]  # fmt: skip


@pytest.mark.parametrize("refused", OVERLONG, ids=["llama.cpp", "llama-cpp-python", "TGI", "413"])
def test_one_prompt_that_is_too_long_does_not_end_it(tmp_path, capsys, refused):
    study = small_study(tmp_path, contexts=2)
    with StandIn(refuses=lambda body: refused if "Beginning 1" in str(body) else None) as server:
        words = [str(study.folder), "--endpoint", server.url, "--model", "some-model"]
        assert preference_judge.main(words) == 1
        assert "2 prompts are longer than the model reads and were skipped" in capsys.readouterr().err
        assert len(study.votes("judge")) == 2 and len(server.requests) == 4
        server.refuses = lambda body: None
        assert preference_judge.main(words) == 0 and len(server.requests) == 6  # it reads more now


THOUGHTS = 'The user wants one line: "Answer: A", "Answer: B", or "Answer: tie". So\nAnswer: tie\nor'


@pytest.mark.parametrize(
    "message",
    [
        {"content": "<think>" + THOUGHTS},
        {"content": THOUGHTS},  # the prompt's template opened the thoughts
        {"content": None, "reasoning_content": THOUGHTS},
        {"content": "", "reasoning": THOUGHTS},
        {"content": "<|channel|>analysis<|message|>" + THOUGHTS},
        {"content": "Answer: A"},  # perhaps of "Answer: A tie"
    ],
)
def test_a_reply_that_was_cut_in_its_thoughts_is_no_vote(tmp_path, capsys, message):
    study = small_study(tmp_path, contexts=2)
    with StandIn(message=message, finish_reason="length") as server:
        words = [str(study.folder), "--endpoint", server.url, "--model", "some-model", "--max_tokens", "7"]
        for _ in range(2):  # what was answered is read again, and not asked for
            assert preference_judge.main(words) == 1
            shown = capsys.readouterr()
            assert "4 answers were cut" in shown.err and "more than --max_tokens 7" in shown.err
            assert "the same in both orders: no pairs" in shown.out and not study.votes("judge")
    assert len(server.requests) == 4


@pytest.mark.parametrize("echoes", [False, True])
def test_another_model_under_the_same_name_is_not_mixed_in(study, echoes):
    """Some servers answer with the name that was asked for (llama-cpp-python): what they list as served tells then."""
    with StandIn([None] * 5 + [401] * 50, served=["one.gguf"]) as server:
        with pytest.raises(UserError, match="401"):
            ask(study, server, concurrency=1)
        assert len(study.votes("judge")) == 5
        server.troubles, server.served = [], ["two.gguf"] if echoes else []
        server.model = server.model if echoes else "two.gguf"
        with pytest.raises(
            UserError, match="'two.gguf' answers, and the answers in .* are those of '(one.gguf|stand-in)'"
        ):
            ask(study, server)
        assert len(study.votes("judge")) == 5
        assert ask(study, server, max_tokens=65).stored == 12  # another judge
        server.model, server.served = "stand-in", ["one.gguf"]
        assert ask(study, server).stored == 7


def test_a_model_that_changes_while_it_is_asked_ends_it(study):
    other = json.dumps(
        {"model": "fallback", "choices": [{"message": {"content": "Answer: A"}, "finish_reason": "stop"}]}
    )
    with StandIn([None] * 4 + [other.encode()] * 8) as server, pytest.raises(UserError, match="'fallback' answers"):
        ask(study, server, concurrency=1)
    assert len(study.votes("judge")) == 4


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("localhost:8000/v1", "is http://localhost:8000/v1 meant"),
        ("file:///etc/passwd", "neither http"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://host:99999/v1", "[Pp]ort"),
        ("http://a host/v1", "spaces"),
        ("http://host/v1\n", "spaces"),
        ("http:///v1", "no host"),
        ("http://me:secret@host/v1", "password"),
        ("https://host/v1?api-version=1", "behind it"),
        ("https://host/v1/chat/completions/", "leave /chat/completions away"),
    ],
)
def test_an_address_that_nothing_can_be_sent_to_is_refused(address, why):
    with pytest.raises(UserError, match=f"--endpoint must be as https://host/v1.*{why}"):
        EndpointJudge(address, "some-model", 64, 1, "NO_KEY")


@pytest.mark.parametrize("key", ["schlüssel", "sk-one\n", "sk one", "“sk-one”", "sk-\x7f"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("OUR_KEY", key)
    with pytest.raises(UserError, match="the key in OUR_KEY holds") as refused:
        EndpointJudge("https://host/v1", "some-model", 64, 1, "OUR_KEY")
    assert key.strip() not in str(refused.value)


def test_a_missing_key_is_named(study):
    with StandIn([401] * 9) as server, pytest.raises(UserError, match="status 401.*no key was sent: NO_KEY is not set"):
        ask(study, server)


def test_stopping_waits_for_no_answer(study):
    with StandIn([None, "slow", "slow", "slow"]) as server:
        judge = EndpointJudge(server.url, "some-model", 64, 4, "NO_KEY")
        replies = judge.ask([(str(number), "of the first kind, of the other kind") for number in range(4)])
        assert next(replies).answer.endswith("A**")
        began = time.monotonic()
        replies.close()
    assert time.monotonic() - began < 1.0


def test_ctrl_c_says_that_nothing_is_lost(study, capsys, monkeypatch):
    def stops(judge, prompts):
        yield Reply(next(iter(prompts))[0], "Answer: A", {})
        raise KeyboardInterrupt

    words = [str(study.folder), "--endpoint", "http://127.0.0.1:1/v1", "--model", "some-model"]
    with monkeypatch.context() as patch:
        patch.setattr(EndpointJudge, "ask", stops)
        assert preference_judge.main(words) == 130 and "stopped: answers so far are kept" in capsys.readouterr().err
    assert len(study.votes("judge")) == 1


def test_a_damaged_file_of_answers_is_named(study):
    with StandIn() as server:
        asked = ask(study, server)
        asked.raw.write_text(asked.raw.read_text() + '{"x": 1}\n')
        with pytest.raises(UserError, match=r"jsonl, answer 13 is damaged"):
            ask(study, server)


@pytest.mark.slow
def test_a_model_on_this_machine(tiny, tmp_path, capsys):
    pairs = [Pair("one", "two", "s", str(n), 8, f"the {n}", "a boat ran", "the dog slept") for n in range(3)]
    study = Study.create(tmp_path / "study", pairs, [[Assignment(n, False, "vote") for n in range(3)]], {})
    words = [str(study.folder), "--model", str(tiny / "fp32"), "--max_tokens", "4"]
    assert (
        preference_judge.main(words) == 2
    )  # the prompt that comes along is longer than the 128 positions of this model
    assert "beyond the 128" in capsys.readouterr().err
    (study.folder / "judge_prompt.md").write_text("{context}: {a} or {b}?")
    assert preference_judge.main(words) == 0
    raw = [file for file in (study.folder / "judges").glob("*.jsonl") if len(file.read_text().splitlines()) > 1]
    rows = [json.loads(line) for line in raw[0].read_text().splitlines()]
    assert (
        len(rows) == 7
        and "dtype:float32" in rows[0]["judge"]
        and all(row["answer"].startswith("Answer:") for row in rows[1:])
    )
    assert preference_judge.main(words) == 0  # greedy answers that are there are not made again
    assert [json.loads(line) for line in raw[0].read_text().splitlines()] == rows
    longer = Study.create(
        tmp_path / "longer",
        [*pairs, Pair("one", "two", "s", "3", 8, "word " * 200, "a", "b")],
        [[Assignment(n, False, "vote") for n in range(4)]],
        {},
    )
    (longer.folder / "judge_prompt.md").write_text("{context}: {a} or {b}?")
    assert preference_judge.main([str(longer.folder), *words[1:]]) == 1
    assert "2 prompts are longer than the model reads and were skipped" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ what their votes are worth


def vote(pair, outcome, annotator=0, swapped=False, kind="person", role="vote", context=None):
    side = "tie" if outcome == 0.5 else "AB"[(outcome == 1.0) == swapped]
    place = str(pair if context is None else context)
    return Vote(annotator, kind, pair, "m", "o", "news", place, 8, role, swapped, side, outcome, None, "", None, 0.0)


def judged(pair, one, other, **more):
    return [vote(pair, one, 9, False, "judge", **more), vote(pair, other, 9, True, "judge", **more)]


def test_consistency_and_verdicts():
    votes = [
        *judged(0, 1.0, 1.0),
        *judged(1, 0.0, 0.0),
        *judged(2, 1.0, 0.0),
        *judged(3, 0.5, 1.0),
        vote(4, 1.0, 9, False, "judge"),
    ]
    assert figures.verdicts(votes) == {
        0: 1.0,
        1: 0.0,
        2: 0.5,
        3: 0.5,
    }  # disagreement is a tie; one order alone is no verdict
    rate = figures.position_consistency(votes)
    assert (rate.value, rate.n, rate.contexts) == (0.5, 4, 4) and rate.low == 0.0 and rate.high == 1.0
    assert figures.position_consistency([]) is None and "bootstrap over contexts" in rate.signature


def test_agreement_with_people_and_of_people():
    judge = [*judged(0, 1.0, 1.0), *judged(1, 0.0, 1.0), *judged(2, 1.0, 1.0)]
    people = [vote(0, 1.0, 0), vote(0, 1.0, 1), vote(0, 0.0, 2), vote(1, 0.5, 0), vote(1, 0.0, 1), vote(3, 1.0, 0)]
    people += [vote(2, 1.0, 0, role="repeat"), vote(2, 1.0, 0, role="check")]  # never counted
    assert figures.agreement_with_people(judge, people).value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert figures.agreement_of_people(people).value == pytest.approx((1 / 3 + 0) / 2)
    assert figures.agreement_of_people(people, [0]).value == pytest.approx(1 / 3)
    assert figures.agreement_with_people(judge, []) is None and figures.agreement_of_people([vote(0, 1.0)]) is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=12))
def test_figures_hold_for_any_votes(outcomes):
    votes = [one for pair, (a, b) in enumerate(outcomes) for one in judged(pair, a, b, context=pair // 2)]
    rate = figures.position_consistency(votes)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1 and rate.contexts == (len(outcomes) + 1) // 2
    assert rate.value == pytest.approx(sum(a == b for a, b in outcomes) / len(outcomes))
    # People who say what the judge's verdict is agree wholly with it and with each other.
    people = [
        vote(pair, outcome, who, context=pair // 2)
        for pair, outcome in figures.verdicts(votes).items()
        for who in (0, 1)
    ]
    assert figures.agreement_with_people(votes, people).value == figures.agreement_of_people(people).value == 1.0
