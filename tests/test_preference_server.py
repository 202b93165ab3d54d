"""The server of a study under attack, on a full disk, killed and raced: what is refused, and that no vote is lost or doubled."""

import asyncio
import json
import socket
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from served import serving
from small_study import HIDDEN, small_study
from starlette.responses import JSONResponse

from hyperfitting.commands import preference_serve
from hyperfitting.errors import UserError
from hyperfitting.preference.page import PageOptions, make_page
from hyperfitting.preference.server.guard import Guard
from hyperfitting.preference.server.serving import Address
from hyperfitting.preference.study import Assignment, Study

CODE = "C0DE-at-the-end"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(study, server) for all tests that need no restart; each takes annotators of its own."""
    study = small_study(tmp_path_factory.mktemp("served") / "study", annotators=12)
    with serving(study.folder, "--completion_code", CODE) as server:
        yield study, server


@pytest.fixture(scope="module")
def numbers():
    return iter(range(12))


@pytest.fixture
def someone(served, numbers):
    """(annotator, client, assignments) of somebody who has agreed."""
    return agreed(*served, next(numbers))


def agreed(study, server, number):
    annotator = study.annotators()[number]
    client = server.client(annotator.secret)
    assert client.post("consent").status_code == 200
    return annotator, client, [item.assignment for item in study.items(annotator, open_only=False)]


def votes_of(study, annotator):
    return [(vote.side, vote.comment) for vote in study.votes() if vote.annotator == annotator.annotator]


pytestmark = pytest.mark.slow


# ---------------------------------------------------------------------------------------------------- what a client sees


def test_all_bytes_of_a_whole_study_hide_what_must_be_hidden(served, someone):
    study, server = served
    annotator, client, assignments = someone
    client.page()
    state = client.post("open").json()
    seen = []
    while state["item"]:
        assert set(state) - {"stored"} == {"consented", "done", "total", "item", "code"} and state["code"] is None
        assert set(state["item"]) == {"assignment", "context", "a", "b"}
        seen.append(state["item"]["assignment"])
        assert CODE.encode() not in client.bytes
        state = client.vote(seen[-1], "B", strength=None, comment="", seconds=1.5).json()
    assert seen == assignments and state == {
        "consented": True,
        "done": 7,
        "total": 7,
        "item": None,
        "code": CODE,
        "stored": True,
    }
    text = client.bytes.decode().lower()
    assert not [name for name in (*HIDDEN, *(one.secret.lower() for one in study.annotators())) if name in text]


def test_what_the_browser_is_allowed(served):
    page = served[1].client().page()
    policy = page.headers["content-security-policy"]
    assert (
        "default-src 'none'" in policy
        and "unsafe" not in policy
        and "http" not in policy
        and "frame-ancestors 'none'" in policy
    )
    for name in ("x-content-type-options", "x-frame-options", "referrer-policy", "cross-origin-resource-policy"):
        assert name in page.headers
    assert (
        page.headers["cache-control"] == "no-store"
        and "server" not in page.headers
        and "set-cookie" not in page.headers
    )
    assert (
        "https://" not in page.text.replace("https://app.prolific.com", "") and "http://" not in page.text
    )  # a link, in the end


# ------------------------------------------------------------------------------------------------------------ other people


def test_votes_with_another_link_or_guessed_ids_are_refused(served, someone, numbers):
    study, server = served
    annotator, client, assignments = someone
    other, thief, own = agreed(study, server, next(numbers))
    for assignment in (
        assignments[0],
        "A" * 32,
        own[0][:-1] + "!",
        "",
        None,
        3,
        {"$gt": ""},
        "' OR 1=1 --".ljust(32, "x"),
    ):
        answer = thief.vote(assignment)
        assert answer.status_code == 422 and "message" in answer.json(), assignment
    assert not votes_of(study, annotator) and not votes_of(study, other)


def test_a_vote_before_consent_is_refused(served, numbers):
    study, server = served
    annotator = study.annotators()[next(numbers)]
    client = server.client(annotator.secret)
    assert client.post("open").json() == {"consented": False}
    assert client.vote(next(study.items(annotator)).assignment).status_code == 422 and not votes_of(study, annotator)


def test_guessed_links_are_counted_and_one_who_was_let_in_stays(tmp_path):
    """By the address that a named proxy gives; `test_preference_study.py` has those of nobody that is known."""
    study = small_study(tmp_path / "study")
    first, second = study.annotators()
    with serving(study.folder, "--forwarded_allow_ips", "127.0.0.1") as server:
        near, far = {"X-Forwarded-For": "1.1.1.1, 203.0.113.9"}, {"X-Forwarded-For": "203.0.113.10"}
        inside = server.client(first.secret, **near)
        assert inside.post("open").status_code == 200
        codes = [server.client("x" * 32, **near).post("open").status_code for _ in range(22)]
        assert codes == [401] * 20 + [429] * 2
        late = server.client(second.secret, **near).post(
            "open"
        )  # right, but from an address that guesses: it has to wait
        assert late.status_code == 429 and 1 <= int(late.headers["retry-after"]) <= 61
        assert inside.post("open").status_code == 200
        assert server.client(second.secret, **far).post("open").status_code == 200


def test_an_address_without_a_secret_shows_nothing(served):
    client = served[1].client()
    assert client.post("open").status_code == 401 and client.post("register", {"panel": "x"}).status_code == 404
    assert client.http.get("/study.db").status_code == 404 and client.http.get("/api/vote").status_code == 405


# -------------------------------------------------------------------------------------------------------- the same vote again


def test_replayed_and_doubled_votes_count_once(served, someone):
    study, server = served
    annotator, client, assignments = someone
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda n: server.client(annotator.secret).vote(assignments[0], "AB"[n % 2]).json(), range(10))
        )
    assert sum(answer["stored"] for answer in answers) == 1 and {answer["done"] for answer in answers} == {1}
    (before,) = votes_of(study, annotator)
    assert not client.vote(assignments[0], "tie").json()["stored"] and votes_of(study, annotator) == [before]


def test_votes_after_the_end_change_nothing(served, someone):
    study, server = served
    annotator, client, assignments = someone
    for assignment in assignments:
        assert client.vote(assignment, "A").json()["stored"]
    answer = client.vote(assignments[3], "B").json()
    assert not answer["stored"] and answer["item"] is None and answer["done"] == 7
    assert votes_of(study, annotator) == [("A", "")] * 7


# ------------------------------------------------------------------------------------------------------------- odd requests


def test_comments_of_a_megabyte_and_odd_ones(served, someone):
    study, server = served
    annotator, client, assignments = someone
    assert client.vote(assignments[0], comment="x" * 1_000_000).status_code == 413 and not votes_of(study, annotator)
    odd = "nul \0, bidi \u202e, <script>, '); DROP TABLE votes;--"
    for assignment, comment in zip(assignments, ("y" * 2001, odd, "half \ud83d of it"), strict=False):
        assert client.vote(assignment, comment=comment).json()["stored"]
    assert [comment for _, comment in votes_of(study, annotator)] == ["y" * 2000, odd, "half ? of it"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("", 400),
        ("not JSON", 400),
        ("[1]", 400),
        ("[" * 60_000, 400),
        (b"\xff\xfe", 400),
        ('{"assignment": "%s", "choice": "C"}', 422),
        ('{"assignment": "%s", "choice": ["A"]}', 422),
        ('{"assignment": "%s", "choice": "A", "strength": 3}', 422),
        ('{"assignment": "%s", "choice": "A", "strength": true}', 422),
        ('{"assignment": "%s", "choice": "A", "seconds": NaN}', 422),
        ('{"assignment": "%s", "choice": "A", "seconds": -1}', 422),
        ('{"assignment": "%s", "choice": "A", "seconds": 1e999}', 422),
        ('{"assignment": "%s", "choice": "A", "seconds": 1' + "0" * 400 + "}", 422),
        ('{"assignment": "%s", "choice": "A", "comment": {}}', 422),
        ('{"assignment": "%s", "choice": "A", "annotator": 0}', 422),
    ],
)
def test_damaged_votes(served, content, status):
    study, server = served
    annotator, client, assignments = agreed(study, server, 0)
    before = votes_of(study, annotator)
    content = content.replace("%s", assignments[-1]) if isinstance(content, str) else content
    answer = client.post("vote", content=content)
    assert answer.status_code == status and "Traceback" not in answer.text and votes_of(study, annotator) == before


def raw(server, *lines):
    """The status of a request as it is written here."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(line.makefile("rb").readline().split()[1])


def test_a_wrong_host_header_is_refused(served):
    server = served[1]
    good = f"127.0.0.1:{server.port}"
    for host in (
        "evil.example",
        f"evil.example:{server.port}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"{good}.evil.example",
        f"x@{good}",
    ):
        assert raw(server, "GET / HTTP/1.1", f"Host: {host}", "Connection: close") == 421, host
    assert raw(server, "GET / HTTP/1.1", f"Host: localhost:{server.port}", "Connection: close") == 200
    assert raw(server, "GET / HTTP/1.0") == 421
    assert raw(server, "GET / HTTP/1.1", f"Host: {good}", "Host: evil.example", "Connection: close") in (400, 421)


def test_requests_from_other_sites_are_refused(served, someone):
    study, server = served
    annotator, client, assignments = someone
    body = {"assignment": assignments[0], "choice": "A"}
    for origin in ("https://evil.example", "null", f"http://evil.example:{server.port}"):
        assert client.post("vote", body, Origin=origin).status_code == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):  # what a page may send across sites unasked
        assert client.post("vote", body, **{"Content-Type": kind}).status_code == 415
    asked = client.http.options(
        "/api/vote", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert not [name for name in asked.headers if name.startswith("access-control")] and not votes_of(study, annotator)
    assert client.post("vote", body, Origin=f"http://127.0.0.1:{server.port}").json()["stored"]


# ------------------------------------------------------------------------------------------------------------ registration


def test_people_register_up_to_the_cap(tmp_path):
    study = small_study(tmp_path / "study", annotators=4)
    study.add_judge("somebody", [Assignment(0, False, "vote")])
    with serving(study.folder, "--register", 2) as server:
        assert sum("#" in line for line in server.said) == 2  # links of the places that nobody can take
        places = [server.client().post("register", {"panel": name}).json().get("secret") for name in ("p1", "p2", "p1")]
        assert places == [study.annotators()[3].secret, study.annotators()[2].secret, study.annotators()[3].secret]
        for panel in ("p3", "somebody", None):
            answer = server.client().post("register", {"panel": panel})
            assert answer.status_code == 422 and "places" in answer.json()["message"]
        assert "0 of these places" not in "".join(server.said) and "2 of these places are free" in "".join(server.said)
        assert server.client().post("register", {"panel": "x" * 65}).status_code == 422
        assert server.client().post("register", {"panel": ["p1"]}).status_code == 422
        assert server.client(places[0]).post("consent").json()["total"] == 7


# ------------------------------------------------------------------------------------------- kills, full disks, two servers


def test_killed_in_the_middle_every_acknowledged_vote_is_there_once(tmp_path):
    study = small_study(tmp_path / "study", annotators=8, contexts=20)
    people, acknowledged = study.annotators(), []

    def vote_on(server, annotator):
        client = server.client(annotator.secret)
        try:
            state = client.post("consent").json()
            while state["item"]:
                assignment = state["item"]["assignment"]
                state = client.vote(assignment, "A").json()
                acknowledged.append(assignment)
        except (OSError, ValueError, Exception) as error:  # noqa: B014
            assert (
                "Connect" in type(error).__name__
                or "Read" in type(error).__name__
                or "Protocol" in type(error).__name__
            ), error

    for enough in (20, 50, 90):
        with serving(study.folder) as server, ThreadPoolExecutor(8) as pool:
            work = [pool.submit(vote_on, server, one) for one in people]
            while len(acknowledged) < enough:
                time.sleep(0.005)
            server.kill()
            for one in work:
                one.result()
    given = [one for person in people for one in _voted(study, person)]
    assert len(given) == len(set(given)) and set(acknowledged) <= set(given)
    assert len(given) - len(set(acknowledged)) <= 3 * 8  # stored, and killed before it could be said
    with serving(study.folder) as server:
        for person in people:
            vote_on(server, person)
    assert len(study.votes()) == 8 * 21


def _voted(study, person):
    still = {item.assignment for item in study.items(person)}
    return [item.assignment for item in study.items(person, open_only=False) if item.assignment not in still]


def test_a_full_disk_loses_nothing_and_says_so(tmp_path):
    study = small_study(tmp_path / "study", contexts=60)
    annotator = study.annotators()[0]
    study.close()  # or its log would be left, with room in it
    size = study.database.stat().st_size
    with serving(study.folder, limit=max(size, 60_000)) as server:
        client = server.client(annotator.secret)
        state, acknowledged = client.post("consent").json(), 0
        for _ in range(61):
            answer = client.vote(state["item"]["assignment"], comment="z" * 2000)
            if answer.status_code != 200:
                break
            state, acknowledged = answer.json(), acknowledged + 1
        assert answer.status_code == 503 and "keep this page open" in answer.json()["message"] and acknowledged
        assert client.page().status_code == 200  # the server goes on
        code, said = server.end()
        assert code == 0 and "votes cannot be stored" in said
    study = Study(study.folder)
    assert len(study.votes()) == acknowledged
    with serving(study.folder) as server:
        assert server.client(annotator.secret).vote(state["item"]["assignment"]).json()["stored"]
    assert len(study.votes()) == acknowledged + 1


def test_a_database_that_another_process_has_locked(tmp_path):
    study = small_study(tmp_path / "study")
    with serving(study.folder) as server:
        annotator, client, assignments = agreed(study, server, 0)
        other = sqlite3.connect(study.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert client.vote(assignments[0]).status_code == 503
        assert client.post("open").json()["done"] == 0  # reading goes on
        other.execute("ROLLBACK")
        assert client.vote(assignments[0]).json()["stored"] and len(study.votes()) == 1


def test_a_study_that_is_removed_under_its_server(tmp_path):
    study = small_study(tmp_path / "study")
    with serving(study.folder) as server:
        _, client, assignments = agreed(study, server, 0)
        assert client.vote(assignments[0]).json()["stored"]
        study.database.unlink()
        assert client.vote(assignments[1]).status_code == 503
        code, said = server.end()
        assert (
            code == 2 and "votes cannot be stored: " in said and "votes are in" not in said and "Traceback" not in said
        )
        assert said.count("error: ") == 1 and "removed, moved or replaced" in said.partition("error: ")[2]


def test_two_servers_on_one_study_and_a_clean_end(tmp_path, capsys):
    study = small_study(tmp_path / "study")
    with serving(study.folder) as server:
        agreed(study, server, 0)[1].vote(next(study.items(study.annotators()[0])).assignment)
        assert preference_serve.main([str(study.folder), "--port", "0"]) == 2
        assert "is being served by process" in capsys.readouterr().err
        assert study.progress(study.annotators()[0]) == (1, 7)  # others may read
        code, said = server.end()
        assert code == 0 and "the server has ended; 1 of 14 votes" in said and "Traceback" not in said
    with serving(study.folder) as server:  # the lock went with its process
        assert server.client().page().status_code == 200


def test_a_request_under_way_is_answered_before_the_end(tmp_path):
    study = small_study(tmp_path / "study")
    with serving(study.folder) as server:
        _, client, assignments = agreed(study, server, 0)
        other = sqlite3.connect(study.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        answers = []
        voting = threading.Thread(target=lambda: answers.append(client.vote(assignments[0])))
        voting.start()
        time.sleep(0.3)
        server.process.terminate()
        time.sleep(0.3)
        other.execute("ROLLBACK")
        voting.join()
        assert answers[0].json()["stored"] and server.process.wait(timeout=20) == 0


# -------------------------------------------------------------------------------------------------- what cannot be served


def test_what_cannot_be_served(tmp_path, capsys, monkeypatch):
    study = small_study(tmp_path / "study")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for words, message in (
            ([tmp_path / "nowhere"], "holds no study"),
            ([study.folder, "--port", taken.getsockname()[1]], "cannot listen on 127.0.0.1"),
            ([study.folder, "--host", "0.0.0.0"], "--public_url"),
            ([study.folder, "--public_url", "study.example.org"], "--public_url must be as https://"),
            ([study.folder, "--public_url", "http://[::1"], "--public_url must be as https://"),
            ([study.folder, "--forwarded_allow_ips", "*"], "must be addresses or networks of your proxies"),
            ([study.folder, "--port", 0, "--register", 3], "more than the 2 annotators"),
            ([study.folder, "--port", 70_000], "port must be at most 65535"),
            ([study.folder, "--break_evry", 3], "did you mean '--break_every'"),
            ([], "required: STUDY"),
        ):
            assert preference_serve.main([str(word) for word in words]) == 2
            assert message in (shown := capsys.readouterr().err) and "Traceback" not in shown, shown
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert (
        preference_serve.main([str(study.folder)]) == 2
        and 'pip install "hyperfitting[preference]"' in capsys.readouterr().err
    )
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="is damaged"):
        Study(tmp_path / "damaged")


@pytest.mark.parametrize("text", ["[]", "{}", '{"context": "a", "a": "b", "b": "c", "answer": "C", "why": "d"}', "{"])
def test_practice_that_cannot_be_used(tmp_path, text):
    (tmp_path / "practice.jsonl").write_text(text + "\n")
    with pytest.raises(UserError, match="practice.jsonl, line 1"):
        make_page(tmp_path, PageOptions(), "server")


def test_instructions_are_markdown_without_markup_of_their_own(tmp_path):
    (tmp_path / "instructions.md").write_text(
        "# Our *own*\n\n<script>x()</script> [evil](javascript:x) ![pixel](https://x.example/p.png)"
    )
    html = make_page(tmp_path, PageOptions(), "server").html
    assert (
        "<h1>Our <em>own</em></h1>" in html
        and "<script>x()" not in html
        and 'javascript:x"' not in html
        and "<img" not in html
    )
    assert (
        json.loads((tmp_path / "practice.jsonl").read_text().splitlines()[0])["answer"] == "A"
    )  # the one that comes along


def test_addresses():
    assert Address("127.0.0.1", 8017, None).url == "http://127.0.0.1:8017/"
    assert Address("::1", 80, None).url == "http://[::1]:80/" and "[::1]:80" in Address("::1", 80, None).hosts
    behind = Address("127.0.0.1", 8017, "https://Study.example.org/one")
    assert (
        behind.url == "https://Study.example.org/one/"
        and "study.example.org" in behind.hosts
        and "127.0.0.1:8017" in behind.hosts
    )
    assert "0.0.0.0:8017" in Address("0.0.0.0", 8017, "http://10.0.0.2:8017").hosts


@pytest.mark.parametrize(
    ("port", "public", "right", "wrong"),
    [
        (80, None, ["127.0.0.1", "127.0.0.1:80", "LOCALHOST.", "[::1]", "[0:0::1]:80"], ["127.0.0.1:443", "127.0.0.2"]),
        (443, None, ["127.0.0.1:443"], ["127.0.0.1", "127.0.0.1:80"]),  # http on the port of https
        (
            8017,
            None,
            ["127.0.0.1:8017", "localhost.:08017"],
            ["127.0.0.1", "localhost", "127.0.0.1:8017:80", "", "a b"],
        ),
        (8017, "https://s.example:443", ["s.example", "S.Example:443", "s.example."], ["s.example:80", "x.s.example"]),
        (
            8017,
            "HTTPS://S.Example./one/",
            ["s.example", "s.example:443"],
            ["s.example:8017", "s.example..", "s.example/"],
        ),
        (8017, "http://s.example:8443/", ["s.example:8443"], ["s.example", "s.example:80"]),
        (8017, "http://[2001:DB8:0::1]:80", ["[2001:db8::1]", "[2001:db8::1]:80"], ["2001:db8::1", "[2001:db8::2]"]),
        (8017, "https://bücher.example", ["xn--bcher-kva.example"], ["b.example"]),
    ],
)
def test_names_that_are_meant_for_a_server(port, public, right, wrong):
    hosts = Address("127.0.0.1", port, public).hosts

    def status(host, origin=None):
        headers = {"Host": host, "Content-Type": "application/json"} | ({"Origin": origin} if origin else {})

        async def app(scope, receive, send):
            await JSONResponse({})(scope, receive, send)

        async def send():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(Guard(app, hosts, ""))) as client:
                return (await client.post("http://x/", headers=headers)).status_code

        return asyncio.run(send())

    assert {host: status(host) for host in right} == dict.fromkeys(right, 200)
    assert {host: status(host) for host in wrong} == dict.fromkeys(wrong, 421)
    origin = f"{'https' if public and public.lower().startswith('https') else 'http'}://{right[0]}"
    assert status(right[0], origin) == 200 and status(right[0], f"{origin}:81") == status(right[0], "null") == 403


@pytest.mark.parametrize(
    "public", ["http://[::1", "http://[::1]x", "https://x:99999", "https://x:0", "https://:443", "https://", "ftp://x", "x.example",
               "https://a@x", "https://x?a", "https://x#", "https://x y", "https://[::g]", "https://x:1:2"]
)  # fmt: skip
def test_public_addresses_that_are_none(public):
    with pytest.raises(UserError, match="--public_url must be as https://study.example.org"):
        Address("127.0.0.1", 8017, public)
