"""What a judge's reply says: A, B, a tie, or nothing that could be counted.

A choice that is read wrongly is worse than one that is not read. So a statement counts where it can mean one thing only, and whatever
else it says makes it no answer. docs/preference.md has the rules in words.
"""

import json
import re
import unicodedata
from collections.abc import Iterable

_NAMES = r"(?:think|thinking|thoughts?|reason|reasoning|reflect|reflection|analysis|scratchpad)"
# Marks between which models think: tags in angle or square brackets, gpt-oss's channels (also without their special tokens), Granite's words.
_OPENED = re.compile(
    rf"(?i:[<\[◁]\|?\s*(?:start_|begin_of_|\w+:)?{_NAMES}(?:\s[^<>\]]{{0,99}})?\|?[>\]▷])"
    r"|(?i:<\|?channel\|?>\s*(?:analysis|commentary|thought))|\A\s*analysis(?=[A-Z])|(?i:here is my thought process:)"
)
_CLOSED = re.compile(
    rf"(?i:[<\[◁]\|?\s*(?:/|end_of_|end_)(?:\w+:)?{_NAMES}\s*\|?[>\]▷])"
    r"|(?i:<\|channel\|>\s*final[^<>]*(?:<\|constrain\|>\w+)?<\|message\|>)|(?i:<channel\|>)|assistantfinal|(?i:here is my response:)"
)
_ENDED = (
    "stop",
    "eos",
    "eos_token",
    "stop_sequence",
    "end_turn",
    "complete",
)  # what servers call an end that the model chose

_DRESS = re.compile(r"[*_`$]|\\boxed\b|\\text\b")  # what Markdown and TeX put around a word
_SPECIAL = re.compile(r"<\|[^<>|]*\|>|</?s>|<(?:eos|end_of_turn)>")
# Behind the end of its turn a model plays the one who asks.
_TURN = re.compile(r"<\|(?:im_end|eot_id|end_of_text|endoftext)\|>|<end_of_turn>|</s>")
_TAGS = re.compile(r"(?i)<(/?)(?:final_?)?answer>")
_KEYS = ("answer", "final_answer", "choice", "verdict", "winner", "preference")

_NOUN = r"(?:(?:continuation|option|text|version|candidate|response|passage|story|choice)s?\b)"
_EITHER = r"(?:a|b)\b"
_PAIR = rf"(?:both(?:\s+{_NOUN})?|they(?:\s+both)?|the\s+two(?:\s+{_NOUN})?|(?:{_NOUN}\s+)?a\s+and\s+(?:{_NOUN}\s+)?b)"
_TIE = (
    r"(?:(?:it(?:\s+i|')s\s+|they\s+are\s+)?(?:an?\s+)?(?:tie|tied|draw)\b"
    rf"|(?:{_PAIR}\s+(?:are\s+)?)?(?:equal|equally\s+good)\b)"
)
# Behind a letter may stand nothing, an explanation that names no other choice, or words that say "this one".
_PRAISE = (  # what "more" may stand before; anything else, as "more repetitive", may be a reproach
    "coherent|cohesive|consistent|logical|plausible|believable|sensible|relevant|fitting|appropriate|natural|human|fluent|readable"
    "|clear|engaging|interesting|compelling|convincing|meaningful|enjoyable|vivid|lively|varied|diverse|creative|detailed|polished"
)
_BETTER = rf"(?:better|best|stronger|strongest|superior|preferable|preferred|winner|more\s+(?:{_PRAISE}))\b"
_VERB = r"(?:is|was|reads|feels|seems|flows|works|would\s+be)\s+(?:(?:the|a|clearly|slightly|much|far|somewhat|overall|marginally)\s+)*"
_LETTER_REST = re.compile(
    rf"(?i)[\W_]*$"  # nothing but signs
    rf"|\s*[.;:!)\]\"'}}—–-]+\s+(?!{_EITHER}\W*$|(?:{_TIE}|and|or|nor)\b)(?P<said>\S.*)$"  # a new sentence
    rf"|\s*[,(]\s*(?!{_EITHER}|(?:{_TIE}|and|or|nor|maybe|perhaps)\b)(?P<aside>\S.*)$"  # an aside
    rf"|\s+(?:{_VERB}{_BETTER}|wins\b|because\b|since\b|over\s+{_NOUN}?\s*[ab]\b)(?P<why>.*)$"
    rf"|\s*>\s*[ab]\W*$"
)
_UNSURE = re.compile(
    r"(?i)\b(?:tie|tied|draw|alike|equally\s+good|as\s+good\s+as|not\s+sure|either|on\s+second\s+thought|actually"
    rf"|(?:but|though|although|however)\W+(?:(?:overall|the|{_NOUN})\W+)*[ab])\b"
)
_WINNER = re.compile(rf"(?i)\b([ab])\s+(?:wins\b|{_VERB}{_BETTER})")
# What is said of each continuation in turn, as "A: 7/10, B: 3/10", and at the beginning of lines also as "B) repeats itself".
_SCORED = re.compile(r"(?i)\b([ab])[\"'*_)\]]*\s*[:=]")
_LISTED_TEXT = re.compile(rf"(?i)[\W_]*(?:{_NOUN}[\W_]*)?\b([ab])\b[\"'*_]*\s*[:.()\]–—-]")
_CLAIM = re.compile(
    rf"(?i)[\W_]*(?:(?P<tie>{_TIE})(?P<tie_rest>.*)|(?:the\s+)?(?:{_NOUN}[\W_]*)?\b(?P<letter>[ab])\b(?P<rest>.*))$"
)
_TIE_REST = re.compile(r"(?i)[\W_]*$|\s*[.,;!(—–-]+(?!\W*[ab]\W*$).*$|\s+(?:between|because|since|as)\b.*$")
_BUT = re.compile(r"(?i)\b(?:lean(?:s|ing)?|but|or|though|although|however|slight(?:ly)?|[ab]\s+(?:is|wins))\b")

_ANSWER = re.compile(
    r"(?i)\b(?:answer|verdict)(?:\s+is)?[^\w\n:=]{0,20}(?:\([^)\n]{0,80}\))?[^\w\n:=]{0,20}(?:[:=]|\s[-–—→]>?\s)"
)
_ANSWER_BELOW = re.compile(r"(?i)(\banswer[^\w\n]*[:=])\s*\n\s*")
# A line with a bare choice and no other word; and as a list may hold it, with a word before it and "or" behind.
_BARE = rf"(?:(?:{_NOUN}\s+)?[\W_]{{0,40}}(?P<letter>[ab])|(?:an?\s+)?tie)"
_PLAIN = re.compile(rf"(?i)[\W_]*(?:final\s+)?(?:answer|verdict)[^\w]*[:=][\W_]{{0,40}}{_BARE}[^\w:]*$")
_LISTED = re.compile(
    rf"(?i)[\W_]*(?:\w+\W+)?(?:answer|verdict)[^\w]*[:=][\W_]{{0,40}}{_BARE}[^\w:]*(?:(?:or|and)\W*)?$"
)
_SAYS = re.compile(
    r"(?i)^[\W_]{0,40}(?:so|thus|therefore|overall|hence)?[\W_]{0,40}"
    r"(?:(?:the|my)?\s*(?:\w+\s+)?(?:answer|verdict|winner|choice|preference|pick|vote|better|best|stronger|preferred)"
    rf"(?:\s+(?:one|choice|is\s+for|{_NOUN}))?\s*(?:\bis\b|:|=)"
    r"|i(?:\s+would|'d|\s+will|'ll)?(?:\s+rather)?\s+(?:prefer|choose|pick|select|go\s+with|vote\s+for|(?:go\s+on|keep|continue)\s+reading)\b"
    r"|i\s+(?:think|believe|find)(?:\s+that)?\b)"
)


def read_choice(reply: str, finish_reason: str | None = None) -> str | None:
    """A, B or tie, where a reply states one of them and nothing that contradicts it; None where it does not.

    Args:
        finish_reason: as the endpoint gave it. Of a reply that was cut, only a whole line that is an answer and nothing else counts,
            its first one, or one behind closed thoughts: any other may have been thought.
    """
    said = final_answer(reply)
    if said is None:
        return None
    cut, unmarked = was_cut(finish_reason), len(said) == len(reply)
    said = _TURN.split(said)[0]
    if not cut and (held := _in_json(said)) is not None:
        return _claim(_dressed_down(held))
    said = _ANSWER_BELOW.sub(r"\1 ", _dressed_down(_TAGS.sub(lambda tag: "\n" if tag[1] else "\nAnswer: ", said)))
    lines = said.split("\n")
    lines = [line.strip() for line in (lines[:-1] if cut else lines) if line.strip()]
    stated = [(at, line) for at, line in enumerate(lines) if _ANSWER.search(line)]
    if stated:
        return None if cut and unmarked and stated[-1][0] > 0 else _of_last(stated, cut)
    lines = lines[:1] if cut and unmarked else lines
    found = {_bare(line) for line in lines if _bare(line)}
    if not cut and lines and (last := _spoken(lines)) is not None:
        found.add(last)
    return found.pop() if len(found) == 1 and "" not in found else None


def was_cut(finish_reason: str | None) -> bool:
    """Whether something else than the model ended a reply; an endpoint that gives no reason is believed."""
    return finish_reason is not None and finish_reason.lower() not in _ENDED


def final_answer(reply: str) -> str | None:
    """A reply without its thoughts; None where it ends in them. What stands before a lone closing mark was thought too: templates may
    open the thoughts in the prompt."""
    closed = max((mark.end() for mark in _CLOSED.finditer(reply)), default=0)
    opened = any(mark.start() >= closed for mark in _OPENED.finditer(reply))
    return None if opened else reply[closed:]


def _dressed_down(text: str) -> str:
    return _DRESS.sub(" ", _SPECIAL.sub("", unicodedata.normalize("NFKC", text)))


def _in_json(said: str) -> str | None:
    """What the one key that names an answer holds, where a reply is, or fences, a JSON object."""
    start, end = said.find("{"), said.rfind("}")
    try:
        found = json.loads(said[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    held = [value for key, value in found.items() if key.lower() in _KEYS]
    return held[0] if len(held) == 1 and isinstance(held[0], str) else None


def _of_last(stated: list[tuple[int, str]], cut: bool) -> str | None:
    """The choice of the last line that states an answer. Such lines one under another, as a prompt lists them, must say the same."""
    at, line = stated[-1]
    choice = _stated(line)
    if cut and not _PLAIN.match(line):
        return None
    for before, other in reversed(stated[:-1]):
        if before != at - 1 or not (_LISTED.match(line) and _LISTED.match(other)):
            break
        if _stated(other) != choice:
            return None
        at = before
    return choice


def _stated(line: str) -> str | None:
    """The choice of a line with one `Answer: …` or several; None where these differ or one of them says nothing."""
    parts = _ANSWER.split(line)[1:]
    choices = {_claim(part) for part in parts}
    return choices.pop() if len(choices) == 1 else None


def _bare(text: str) -> str:
    """The choice of a text that is one and no other word, as "(A)", "Continuation B." or "a tie"; empty where it is not."""
    found = re.fullmatch(rf"(?i)[\W_]{{0,40}}{_BARE}[^\w:]*", text)
    if found is None:
        return ""
    return found["letter"].upper() if found["letter"] else "tie"


def _spoken(lines: list[str]) -> str | None:
    """The choice of a last line such as "A is better" or "The better one is B"; empty where it, or what it ends, says one unclearly,
    None where none."""
    last = lines[-1]
    choice = _claim(last)
    if choice is None:
        return "" if _SAYS.match(last) or _CLAIM.match(last) else None
    if choice == "tie" or _SAYS.match(last):
        return choice
    named = [letter for line in lines for letter in _WINNER.findall(line)]
    if _LISTED_TEXT.match(last):
        named += [found[1] for line in lines if (found := _LISTED_TEXT.match(line))]
    return "" if _other(choice, named) else choice


def _other(choice: str, letters: Iterable[str]) -> bool:
    """Whether one of these letters is another choice."""
    return any(letter.upper() != choice for letter in letters)


def _claim(text: str) -> str | None:
    """The choice that a text begins with; None where it begins with none, or goes on as if it might be another."""
    lead = _SAYS.match(text)
    found = _CLAIM.match(text[lead.end() :] if lead else text)
    if found is None:
        return None
    if found["tie"] is not None:
        rest = found["tie_rest"]
        return "tie" if _TIE_REST.match(rest) and not _BUT.search(rest) else None
    choice, rest = found["letter"].upper(), found["rest"]
    if _UNSURE.search(rest) or _other(choice, _WINNER.findall(rest) + _SCORED.findall(rest)):
        return None
    return choice if _LETTER_REST.match(rest) else None
