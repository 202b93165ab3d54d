"""A study's file that goes away, cannot be written or is damaged, and the places of a study: what is said, and that no vote is lost."""

import asyncio
import json
import re
import shutil
import sqlite3

import httpx
import pytest
from small_study import small_pairs, small_study

from hyperfitting.commands import preference_status
from hyperfitting.errors import UserError
from hyperfitting.preference.annotators import conducts
from hyperfitting.preference.database import Displaced, Unavailable, explained
from hyperfitting.preference.page import Page
from hyperfitting.preference.server.app import Service
from hyperfitting.preference.server.clients import Guesses, Proxies
from hyperfitting.preference.server.desk import Desk
from hyperfitting.preference.study import Assignment, Study

HOST = "study.example.org"


class Served:
    """The server's application in this process."""

    def __init__(self, folder, listed=None, places=0):
        self.troubles, self.now = [], 0.0
        self.desk, guesses = Desk(folder), Guesses(lambda: self.now)
        page = Page("", "default-src 'none'")
        service = Service(self.desk, page, places, None, lambda: None, self.troubles.append, Proxies(listed), guesses)
        self.app = service.app(frozenset({HOST}))

    def post(self, path, secret=None, body=None, peer="127.0.0.1", **headers):
        async def send():
            transport = httpx.ASGITransport(self.app, client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
                return await client.post(f"/api/{path}", json=body or {}, headers=headers)

        if secret is not None:
            headers["Authorization"] = f"Bearer {secret}"
        return asyncio.run(send())

    def vote(self, secret, assignment, choice="A"):
        return self.post("vote", secret, {"assignment": assignment, "choice": choice})


@pytest.fixture
def served(tmp_path):
    """(study, server), whose first annotator has agreed."""
    study = small_study(tmp_path / "study")
    server = Served(study.folder)
    assert server.post("consent", study.annotators()[0].secret).status_code == 200
    yield study, server
    server.desk.close()
    study.close()


# ------------------------------------------------------------------------------------------------------ a file that goes away


def replace(path):
    shutil.copy(path, f"{path}.copy")
    path.with_name(f"{path.name}.copy").replace(path)


@pytest.mark.parametrize(
    ("lose", "put_back"),
    [
        (lambda f: (f / "study.db").unlink(), None),
        (lambda f: replace(f / "study.db"), None),
        (lambda f: (f / "study.db-wal").unlink(), None),
        (lambda f: (f / "study.db-shm").unlink(), None),
        (lambda f: replace(f / "study.db-wal"), None),
        (lambda f: (f / "study.db").rename(f / "old.db"), lambda f: (f / "old.db").rename(f / "study.db")),
        (lambda f: f.rename(f.parent / "moved"), lambda f: (f.parent / "moved").rename(f)),
    ],
    ids=["removed", "a copy", "log removed", "index removed", "a copy of the log", "renamed", "folder moved"],
)
def test_a_file_that_is_no_longer_the_one_that_was_opened_gets_no_votes(served, lose, put_back):
    study, server = served
    person = study.annotators()[0]
    first, second = [item.assignment for item in study.items(person)][:2]
    assert server.vote(person.secret, first).json()["stored"]
    lose(study.folder)
    answer = server.vote(person.secret, second)
    assert answer.status_code == 503 and "interrupted" in answer.json()["message"]
    assert "removed, moved or replaced after it had been opened" in server.troubles[0]
    assert server.post("open", person.secret).status_code == 503  # nobody reads a pair in vain
    with pytest.raises(Displaced):
        study.vote(person, second, "A")
    if put_back:
        put_back(study.folder)
        assert server.vote(person.secret, second).json()["stored"] and len(Study(study.folder).votes()) == 2


@pytest.mark.parametrize("whole", [False, True], ids=["the file", "its folder"])
def test_a_backup_that_is_copied_over_the_file_gets_no_votes(served, tmp_path, whole):
    study, server = served
    person = study.annotators()[0]
    first, second, third, fourth = [item.assignment for item in study.items(person)][:4]
    assert server.vote(person.secret, first).json()["stored"]
    shutil.copytree(study.folder, tmp_path / "backup")
    for assignment in (second, third):
        assert server.vote(person.secret, assignment).json()["stored"]
        # What SQLite does now and then, and somebody may, changes the file, and no vote is lost.
        study._db.row("VACUUM" if assignment == third else "PRAGMA wal_checkpoint(TRUNCATE)")
    study._db.row("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in ("study.db", "study.db-wal", "study.db-shm") if whole else ("study.db",):
        (study.folder / name).write_bytes((tmp_path / "backup" / name).read_bytes())
    assert server.vote(person.secret, fourth).status_code == 503
    assert "replaced after it had been opened" in server.troubles[0]


def test_a_file_that_goes_while_votes_are_written_acknowledges_none(served):
    study, _ = served
    person = study.annotators()[0]
    with pytest.raises(Displaced), study.together():
        study.vote(person, next(study.items(person)).assignment, "A")
        study.database.unlink()


# ---------------------------------------------------------------------------------------------------------- SQLite's errors


def full(study):
    pages = study._db.row("PRAGMA page_count")[0]
    study._db.row(f"PRAGMA max_page_count = {pages}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(full, "the disk is full"), (lambda study: study._db.row("PRAGMA query_only = 1"), "is read-only")],
    ids=["full", "read-only"],
)
def test_a_vote_that_cannot_be_written(tmp_path, spoil, message):
    study = small_study(tmp_path / "study")
    spoil(study)
    person = study.annotators()[0]
    with pytest.raises(Unavailable, match=message) as caught:
        for item in list(study.items(person)):
            study.vote(person, item.assignment, "A", comment="z" * 2000)
    assert "whole" in str(caught.value) and "damaged" not in str(caught.value)


def test_a_locked_study_is_read_and_says_why_it_is_not_written(tmp_path):
    study = Study(small_study(tmp_path / "study").folder, patience=0.01)
    other = sqlite3.connect(study.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    person = study.annotators()[0]
    with pytest.raises(Unavailable, match="locked by another process"):
        study.vote(person, next(study.items(person)).assignment, "A")
    other.execute("ROLLBACK")
    assert study.vote(person, next(study.items(person)).assignment, "A")


@pytest.mark.parametrize(
    "said", ["disk I/O error", "unable to open database file", "locking protocol", "database schema is locked"]
)
def test_no_trouble_of_a_disk_is_called_damage(tmp_path, said):
    with pytest.raises(Unavailable) as caught, explained(tmp_path / "study.db", 5):
        raise sqlite3.OperationalError(said)
    assert "damaged" not in str(caught.value) and "disk is full" not in str(caught.value)


def test_an_io_error_on_a_full_disk_is_a_full_disk(tmp_path, monkeypatch):
    """SQLite says no more when it cannot make its index beside the file."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=4096))
    with pytest.raises(Unavailable, match="the disk is full"), explained(tmp_path / "study.db", 5):
        raise sqlite3.OperationalError("disk I/O error")


def test_rules_of_the_tables_and_mistakes_of_ours_stay_what_they_are(tmp_path):
    study = small_study(tmp_path / "study")
    person = study.annotators()[0]
    study.vote(person, next(study.items(person)).assignment, "A")
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        study._db.change("UPDATE votes SET choice = 'B'")
    with pytest.raises(sqlite3.OperationalError, match="syntax"):
        study._db.change("UPDAT votes")


def test_files_that_hold_no_study(tmp_path):
    file = tmp_path / "study.db"
    for content, message in ((b"no database at all" * 100, "is damaged"), (b"", "holds no study")):
        file.write_bytes(content)
        with pytest.raises(UserError, match=message):
            Study(tmp_path)
        assert file.read_bytes() == content
    file.unlink()
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE mine (x)")
    before = file.read_bytes()
    with pytest.raises(UserError, match="holds no study"):
        Study(tmp_path)
    assert file.read_bytes() == before


# ------------------------------------------------------------------------------------------------------------ damaged facts

FACTS = {
    "conditions": ["zz-llama-base nucleus", "zz-llama-tuned greedy"], "against": "zz-original", "lengths": [128], "unit": "words",
    "contexts": 6, "plan": {"votes": 1}, "rule": {"most_failed": 0.25}, "policies": {}, "tells": {}, "left_out": {},
    "sources": {"zz-news-corpus": 6}, "cut": {"endings": {}},
}  # fmt: skip


def full_study(folder, people=4):
    """With all facts that `status` reads."""
    own = [Assignment(pair, False, "vote") for pair in range(6)]
    return Study.create(folder, small_pairs(), [own] * people, FACTS)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE facts SET value = '{' WHERE key = 'rule'", "its fact 'rule' is no JSON"),
        ("UPDATE facts SET value = CAST(x'ff22' AS TEXT) WHERE key = 'rule'", "is damaged"),
        ("UPDATE facts SET value = '{}' WHERE key = 'rule'", "its fact 'rule' has another shape"),
        ("UPDATE facts SET value = '[]' WHERE key = 'conditions'", "its fact 'conditions' has another shape"),
        ("UPDATE facts SET value = '[\"x\"]' WHERE key = 'conditions'", "say nothing of"),
        ("UPDATE facts SET value = '[1]' WHERE key = 'lengths'", "say nothing of"),
        ("DELETE FROM facts WHERE key = 'rule'", "its fact 'rule' is missing"),
        ("DELETE FROM facts WHERE key = 'conditions'", "its fact 'conditions' is missing"),
        ("DELETE FROM facts", "its fact 'format' is missing"),
        ("UPDATE facts SET value = '2' WHERE key = 'format'", "has format 2, and this version reads 1"),
        (
            "UPDATE facts SET value = CASE key WHEN 'format' THEN '2' ELSE 'new' END",
            "has format 2, and this version reads 1",
        ),
    ],
)
def test_damaged_facts_are_one_message(tmp_path, capsys, statement, message):
    study = full_study(tmp_path / "study")
    person = study.annotators()[0]
    study.vote(person, next(study.items(person)).assignment, "A")
    study.close()
    with sqlite3.connect(study.database) as db:
        db.execute(statement)
    assert preference_status.main([str(study.folder)]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("error: ") == 1 and "study.db" in shown
    assert ("is damaged: " in shown) != ("format 2" in shown)


# ---------------------------------------------------------------------------------------------------------- who is whom


def test_an_annotator_has_one_number_everywhere(tmp_path, capsys):
    study = full_study(tmp_path / "study")
    people, free = study.invite(0)
    assert [one.number for one in people] == [1, 2, 3, 4] and free == 0
    for item in list(study.items(people[3])):
        study.vote(people[3], item.assignment, "A")
    assert [(one.annotator.number, one.given) for one in conducts(study)] == [(1, 0), (2, 0), (3, 0), (4, 6)]
    assert preference_status.main([str(study.folder)]) == 0
    assert re.findall(r"│ +(\d+) │ (\d) of 6", capsys.readouterr().out) == [
        ("1", "0"),
        ("2", "0"),
        ("3", "0"),
        ("4", "6"),
    ]


# ------------------------------------------------------------------------------------------------------------------- places


def test_a_place_whose_link_was_shown_is_given_to_nobody_else(tmp_path):
    study = small_study(tmp_path / "study", annotators=4)
    people = study.annotators()
    invited, free = study.invite(1)
    assert ([one.number for one in invited], free) == ([1, 2, 3], 1)
    study.consent(people[3])  # with a link of an earlier version's serve, which did not note what it showed
    assert study.claim("somebody", 1) is None and study.claim("somebody", 4) is None
    assert all(one.external is None for one in study.annotators())


def test_links_of_an_earlier_serve_stay_with_those_who_have_them(tmp_path):
    study = small_study(tmp_path / "study", annotators=4)
    assert study.claim("first", 2).number == 4
    invited, free = study.invite(0)  # all but the one who registered, whose link is on nobody's list
    assert ([one.number for one in invited], free) == ([1, 2, 3], 0)
    assert study.claim("second", 4) is None and study.claim("first", 4).number == 4
    study = small_study(tmp_path / "other", annotators=2)
    study.invite(0)
    with pytest.raises(UserError, match="no place is given to two people"):
        study.invite(2)


def test_a_place_with_imported_votes_is_taken(tmp_path):
    study = small_study(tmp_path / "study", annotators=2)
    last = study.annotators()[1]
    study.vote(last, next(study.items(last)).assignment, "A")
    assert study.invite(2)[1] == 1 and study.claim("somebody", 2).number == 1


def test_a_study_of_an_earlier_version_is_registered_for(tmp_path):
    """Which has no table of links that were shown."""
    study = small_study(tmp_path / "study")
    assert "invited" not in [name for (name,) in study._db.rows("SELECT name FROM sqlite_master")]
    server = Served(study.folder, places=1)
    assert server.post("register", body={"panel": "p"}).json()["secret"] == study.annotators()[1].secret
    assert server.post("register", body={"panel": "q"}).status_code == 422
    server.desk.close()


# ----------------------------------------------------------------------------------------------------------- wrong secrets


def test_without_a_named_proxy_guesses_never_hold_back_a_right_secret(served):
    study, server = served
    codes = [server.post("open", "x" * 32, **{"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(22)]
    assert codes == [401] * 20 + [429] * 2
    assert server.post("open", study.annotators()[1].secret).status_code == 200
    server.now = 62
    assert server.post("open", "x" * 32).status_code == 401


def test_a_named_proxy_says_whose_guesses_they_are(tmp_path):
    study = small_study(tmp_path / "study")
    server = Served(study.folder, "10.0.0.1, fd00::/8")
    first, second = (one.secret for one in study.annotators())

    def opened(secret, forwarded, peer="10.0.0.1"):
        return server.post("open", secret, peer=peer, **{"X-Forwarded-For": forwarded}).status_code

    assert opened(first, "203.0.113.9") == 200
    codes = [
        opened("x" * 32, f"198.51.100.{n}, 203.0.113.9, fd00::2") for n in range(21)
    ]  # what stands before it is invented
    assert codes == [401] * 20 + [429]
    assert opened(second, "203.0.113.9") == 429 and opened(first, "203.0.113.9") == 200
    assert opened(second, "203.0.113.10") == 200
    assert opened("x" * 32, "203.0.113.9", peer="192.0.2.1") == 401  # no proxy: its header says nothing
    server.desk.close()


def test_who_sent_a_request():
    proxies = Proxies("127.0.0.1,10.0.0.0/8,2001:db8:1::/48")
    for peer, forwarded, client in (
        ("203.0.113.9", ["1.1.1.1"], "203.0.113.9"),
        ("127.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["1.1.1.1", "203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("::ffff:127.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("2001:db8:1::5", ["[2001:DB8:2:3:4:5:6:7]:443"], "2001:db8:2:3::/64"),
        ("127.0.0.1", ["2001:db8:2:3::1"], "2001:db8:2:3::/64"),
        ("127.0.0.1", ["1.1.1.1, unknown"], None),
        ("127.0.0.1", ["10.9.9.9"], None),
        ("127.0.0.1", [""], None),
        ("127.0.0.1", [], None),
        (None, ["203.0.113.9"], None),
    ):
        assert proxies.client(peer, forwarded) == client, (peer, forwarded)
    assert Proxies(None).client("203.0.113.9", ["1.1.1.1"]) is None
    for listed in ("*", "0.0.0.0/0", "::/0", "proxy", "127.0.0.1,", ""):
        with pytest.raises(UserError, match="--forwarded_allow_ips must be"):
            Proxies(listed)


def test_guesses_are_remembered_of_so_many_clients():
    guesses = Guesses(lambda: 0.0)
    for number in range(20_000):
        guesses.wrong(str(number))
    assert len(guesses._wrong) == 10_000


def test_annotators_and_secrets_are_in_no_fact(tmp_path):
    study = full_study(tmp_path / "study")
    study.invite(2)
    assert json.loads(json.dumps(Study(study.folder).facts)) == {**FACTS, "format": 1}
