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
from hyperfitting.preference.judging.endpoint import FAILURES, EndpointJudge
from hyperfitting.preference.judging.judge import Reply, fill, read_choice, read_prompt, run_judge
from hyperfitting.preference.study import Assignment, Item, Pair, Study, Vote
from hyperfitting.terminal import Progress, make_console


class StandIn(http.server.ThreadingHTTPServer):
    """A stand-in for a model behind an endpoint: prefers the text "of the first kind", wherever it stands.

    `troubles` are what comes first, one for each request: a status, or `slow`, `malformed`, `list`, `empty` or `cut`.
    """

    def __init__(self, troubles=(), always=None):
        super().__init__(("127.0.0.1", 0), Answers)
        self.troubles, self.always, self.requests, self.lock = list(troubles), always, [], threading.Lock()
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

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers), body))
            trouble = self.server.troubles.pop(0) if self.server.troubles else None
        prompt = body["messages"][0]["content"]
        first = prompt.index("of the first kind") < prompt.index("of the other kind")
        said = self.server.always or f"I compared both.\n\n**Answer: {'A' if first else 'B'}**"
        reply = json.dumps(
            {
                "model": "stand-in",
                "choices": [{"message": {"content": said}, "finish_reason": "stop"}],
                "usage": {"total_tokens": 9},
            }
        )
        if trouble == "slow":
            time.sleep(1.5)
        elif trouble == "cut":
            self.close_connection = True
            return
        reply = {"malformed": "{", "list": "[]", "empty": '{"choices": [{"message": {"content": null}}]}'}.get(
            trouble, reply
        )
        self.send_response(trouble if isinstance(trouble, int) else 200)
        if trouble == 429:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply.encode())


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
        server.always = "Both have their charm."
        second = ask(study, server)
    assert second.judge != first.judge and second.unreadable == 12 and second.stored == 0
    words = [str(study.folder), "--endpoint", server.url, "--model", "some-model", "--max_tokens", "64"]
    assert preference_judge.main(words) == 0  # nothing left to ask: what was answered is read again
    shown = capsys.readouterr().out
    assert "12 answers name no choice" in shown and "the same in both orders: no pairs" in shown


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("Answer: A", "A"),
        ("**Answer:** B", "B"),
        ("Let me answer: A is long, but\nAnswer: **tie**.", "tie"),
        ("answer: Tie", "tie"),
        (" B.\n", "B"),
        ("tie", "tie"),
        ("Answer: A\nOn second thought, Answer: B", "B"),
        ("A is better.", None),
        ("Answer: Apple", None),
        ("To answer a question", None),
        ("", None),
    ],
)
def test_reading_a_choice(answer, choice):
    assert read_choice(answer) == choice


def test_what_stands_in_a_text_is_no_field_of_the_prompt(tmp_path):
    item = Item("x", 0, "{b} {a}", "first {context}", "second {a}")
    prompt = fill(read_prompt(tmp_path), item)
    assert "{b} {a}" in prompt and "first {context}" in prompt and "second {a}" in prompt


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
