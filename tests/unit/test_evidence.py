"""What the reader makes of a bot's log: which lines are conflicts, how many there were, and what it shows of them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrambot_operator.core.evidence import (
    LONGEST_EVIDENCE,
    READ_AT_MOST,
    ConflictKind,
    Finding,
    InvalidPattern,
    compile_pattern,
    polling_started,
    read_conflicts,
)
from telegrambot_operator.core.patterns import LOOKED_AT

CORPUS = Path(__file__).parent.parent / "corpus"
UPDATES = ConflictKind.OTHER_GET_UPDATES
ACTIVE = ConflictKind.WEBHOOK_ACTIVE
SET = ConflictKind.TERMINATED_BY_SET_WEBHOOK
OTHER_SET = ConflictKind.OTHER_SET_WEBHOOK
UNSPECIFIED = ConflictKind.UNSPECIFIED

OTHER = "terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK = "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
SECRET = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
TOKEN = f"7301948265:{SECRET}"


def kinds(text: str | bytes, *, kubelet_timestamps: bool = False) -> list[ConflictKind]:
    return [finding.kind for finding in read_conflicts(text, kubelet_timestamps=kubelet_timestamps)]


# --- One line ---------------------------------------------------------------------------------------------------------

CONFLICTS: dict[str, tuple[str, ConflictKind]] = {
    "the description alone": (f"Conflict: {OTHER}", UPDATES),
    "a webhook that is active": (f"Conflict: {WEBHOOK}", ACTIVE),
    "a poll that setWebhook cut off": ("Conflict: terminated by setWebhook request", SET),
    "a poll that another setWebhook cut off": ("Conflict: terminated by other setWebhook", OTHER_SET),
    "the older words": ("Conflict: terminated by other long poll or webhook", UNSPECIFIED),
    "the older words for a webhook": ("[Error]: Conflict: another webhook is active", ACTIVE),
    "an answer printed as it came": (f'{{"ok":false,"error_code":409,"description":"Conflict: {OTHER}"}}', UPDATES),
    "an answer escaped in a JSON line": (
        rf'{{"level":"error","msg":"got {{\"ok\":false,\"error_code\":409,\"description\":\"Conflict: {OTHER}\"}}"}}',
        UPDATES,
    ),
    "an answer printed as the value of text": (
        f'Response text: {{"ok":false,"error_code":409,"description":"Conflict: {OTHER}"}}',
        UPDATES,
    ),
    "an apostrophe escaped by a repr": (f"TelegramError('Conflict: {WEBHOOK}')".replace("n't", r"n\'t"), ACTIVE),
    "an apostrophe escaped by JSON": (f'"Conflict: {WEBHOOK}"'.replace("'", r"\u0027"), ACTIVE),
    "a time and a level before it": (f"2026-05-24 08:00:01 [ERROR] polling: Conflict: {OTHER}", UPDATES),
    "the month May before it": (f"24 May 2026 08:00:01 ERROR - Conflict: {OTHER}", UPDATES),
    "the name of a container before it": (f"echo-bot-1  | Conflict: {OTHER}", UPDATES),
    "a logger called message": (f"ERROR:shop.message:Conflict: {OTHER}", UPDATES),
    "colours around it": (f"\x1b[31mERROR\x1b[0m \x1b[1mConflict\x1b[0m: {OTHER}", UPDATES),
    "colours written as JSON": (rf'{{"msg":"\u001b[31mConflict: {OTHER}\u001b[39m"}}', UPDATES),
    "Russian around it": (f"Ошибка при получении обновлений: Conflict: {OTHER}", UPDATES),
    "a Russian word for error before it": (f"ОШИБКА Conflict: {OTHER}", UPDATES),
    "Java": (f"Error executing org.telegram.GetUpdates query: [409] Conflict: {OTHER}", UPDATES),
    "C#": (f"Telegram.Bot.Exceptions.ApiRequestException: Conflict: {OTHER}", UPDATES),
    "Go with a colon": (f"2026/11/24 08:00:01 error get updates, conflict, Conflict: {OTHER}", UPDATES),
    "Ruby": (f'has returned the error. (ok: "false", error_code: "409", description: "Conflict: {OTHER}")', UPDATES),
    "Rust, as an error's name": ("WARN teloxide: retrying after Api(TerminatedByOtherGetUpdates)", UPDATES),
    "Rust, as a sentence": (f"ERROR teloxide::error_handlers] Error: A Telegram's error: Conflict: {OTHER}", UPDATES),
    "aiogram 2 in lower case": (
        "aiogram.utils.exceptions.TerminatedByOtherGetUpdates: Terminated by other getupdates request; make sure",
        UPDATES,
    ),
    "could not, which is no advice": (f"could not get updates: 409 Conflict: {OTHER}", UPDATES),
    "an error in brackets": (f"another instance is polling (Conflict: {OTHER}), exiting", UPDATES),
    "logfmt": (f'time=2026-11-24T08:00:01Z level=error msg="poll failed" err="Conflict: {OTHER}"', UPDATES),
    "a JSON line that holds an update too": (
        f'{{"msg":"Conflict: {OTHER}","last":{{"update_id":1,"message":{{"text":"hi"}}}}}}',
        UPDATES,
    ),
    "a log line as the value of text, with a record behind it": (
        f'{{"text":"08:00 | ERROR | Conflict: {OTHER}\\n","record":{{"message":"Failed - Conflict: {OTHER}"}}}}',
        UPDATES,
    ),
    "httpx": (
        f'HTTP Request: POST https://api.telegram.org/bot{TOKEN}/getUpdates "HTTP/1.1 409 Conflict"',
        UNSPECIFIED,
    ),
    "urllib3": (f'https://api.telegram.org:443 "POST /bot{TOKEN}/getUpdates HTTP/1.1" 409 143', UNSPECIFIED),
    "urllib3 with a query": (f'"GET /bot{TOKEN}/getUpdates?offset=5&timeout=20 HTTP/1.1" 409 143', UNSPECIFIED),
    "requests": (
        f"409 Client Error: Conflict for url: https://api.telegram.org/bot{TOKEN}/getUpdates?timeout=20",
        UNSPECIFIED,
    ),
    "aiohttp": (f"409, message='Conflict', url='https://api.telegram.org/bot{TOKEN}/getUpdates'", UNSPECIFIED),
}


@pytest.mark.parametrize(("line", "kind"), CONFLICTS.values(), ids=CONFLICTS)
def test_is_a_conflict(line: str, kind: ConflictKind) -> None:
    assert kinds(line) == [kind]
    assert kinds(f"starting\n{line}\r\nbye\n".encode()) == [kind]


NO_CONFLICTS: dict[str, str] = {
    "nothing": "",
    "the Kubernetes API": 'Operation cannot be fulfilled on deployments.apps "bot": the object has been modified (409)',
    "the Kubernetes API's answer": '{"kind":"Status","status":"Failure","reason":"Conflict","code":409}',
    "Docker": 'Error response from daemon: Conflict. The container name "/bot" is already in use',
    "S3": "S3Error: OperationAborted: A conflicting conditional operation is in progress, status 409",
    "a Git host": "HTTPError: 409 Conflict: Git Repository is empty",
    "a database": "ERROR: duplicate key value violates unique constraint; code 409 conflict on conflict do nothing",
    "another HTTP client": 'HTTP Request: PUT https://shop.example/orders/17 "HTTP/1.1 409 Conflict"',
    "another method of Telegram": f'HTTP Request: GET http://api.telegram.org/bot{TOKEN}/close "HTTP/1.1 409 Conflict"',
    "a getUpdates that was fine": f'HTTP Request: POST http://api.telegram.org/bot{TOKEN}/getUpdates "HTTP/1.1 200 OK"',
    "a number": "handled 409 updates since the last getUpdates, next in 409 s",
    "an answer of 4096 bytes": f'"POST /bot{TOKEN}/getUpdates HTTP/1.1" 4096',
    "a getUpdates of offset 409": f'"GET /bot{TOKEN}/getUpdates?offset=409 HTTP/1.1" 200 4090',
    "Telegram's 401": '{"ok":false,"error_code":401,"description":"Unauthorized"} from getUpdates',
    "Telegram's 429": "getUpdates failed: 429 Too Many Requests: retry after 5",
    "Telegram's 502": f'POST https://api.telegram.org/bot{TOKEN}/getUpdates "HTTP/1.1 502 Bad Gateway"',
    "Telegram's 400": "Bad Request: bad webhook: HTTPS url must be provided for webhook",
    "a webhook that was deleted": "Webhook is active: no; deleteWebhook called before getUpdates",
    "a message in an update": f'{{"update_id":1,"message":{{"chat":{{"id":4}},"text":"409: Conflict: {OTHER}"}}}}',
    "a message in an escaped update": rf'{{"msg":"update {{\"message\":{{\"text\":\"Error: Conflict: {OTHER}\"}}}}"}}',
    "a message twice escaped": rf'{{"a":"{{\"b\":\"{{\\\"text\\\":\\\"Conflict: {OTHER}\\\"}}\"}}"}}',
    "a message with quotes inside": rf'{{"text":"it said \"Conflict: {OTHER}\", help","entities":[]}}',
    "a message that pretends to be JSON": rf'{{"text":"{{\"error\":\"Conflict: {OTHER}\"}}"}}',
    "a caption": f'{{"photo":[],"caption":"Conflict: {OTHER}"}}',
    "a message in a repr": f"Message(message_id=5, text='telegram.error.Conflict: Conflict: {OTHER}', via=None)",
    "a message in a repr with an apostrophe": f'Message(text="it\'s Conflict: {OTHER}", via=None)',
    "a message in a Go struct": f"&{{MessageID:5 From:@joe Text:Conflict: {OTHER} Entities:[]}}",
    "a message with the HTTP line": '{"text":"POST /bot1:a/getUpdates \\"HTTP/1.1 409 Conflict\\""}',
    "a chat line": f"new message from 5551234567: Conflict: {OTHER}",
    "a chat line by name": f"INFO @joe: Conflict: {OTHER}",
    "what a user said": f"user 5551234567 said: telegram.error.Conflict: {OTHER}",
    "what a user said in Russian": f"новое сообщение: Conflict: {OTHER}",
    "what the bot sends": f"sending message: 'Conflict: {OTHER}'",
    "prose": f"I often see Conflict: {OTHER}",
    "prose with quotes": f"the words 'Conflict: {OTHER}' come from Telegram",
    "advice at the start": f"If you see: Conflict: {OTHER}, stop the other one",
    "advice with a hint": f"Hint: 409 Conflict: {OTHER} means two copies",
    "advice behind the sentence": f"'Conflict: {OTHER}' means that two copies run",
    "only Telegram's advice": "make sure that only one bot instance is running",
    "source code in a trace": "    except TelegramConflictError as error:",
}


@pytest.mark.parametrize("line", NO_CONFLICTS.values(), ids=NO_CONFLICTS)
def test_is_no_conflict(line: str) -> None:
    assert kinds(line) == []
    assert kinds(f"starting\n{line}\nbye") == []


def test_a_real_conflict_is_found_beside_a_quoted_one() -> None:
    line = f'{{"update":{{"text":"Conflict: {WEBHOOK}"}},"error":"Conflict: {OTHER}"}}'
    assert kinds(line) == [UPDATES]


# --- Encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "cp1251", "cp866", "koi8-r"])
def test_reads_a_log_in_any_encoding(encoding: str) -> None:
    assert kinds(f"запуск\nОшибка: Conflict: {OTHER}\nконец\n".encode(encoding)) == [UPDATES]


def test_reads_around_bytes_that_are_no_text() -> None:
    assert kinds(b"\xff\xfe\x00\x80\n\xc3(: Conflict: " + OTHER.encode() + b"\xf0\x9f\n") == [UPDATES]


@given(st.binary(max_size=300), st.booleans())
def test_never_raises_on_bytes(data: bytes, stamped: bool) -> None:
    read_conflicts(data + b"\n\xff Conflict: terminated by other getUpdates" + data, kubelet_timestamps=stamped)


@given(st.text(max_size=300))
def test_evidence_is_one_short_printable_line(noise: str) -> None:
    for finding in read_conflicts(f"{noise}\n{noise}: Conflict: {OTHER} {noise}"):
        assert 0 < len(finding.evidence) <= LONGEST_EVIDENCE
        assert finding.evidence.isprintable()


# --- Incidents --------------------------------------------------------------------------------------------------------

SHAPES = {
    "python-telegram-bot-info": [UPDATES, UPDATES],
    "aiogram-3": [UPDATES, UPDATES],
    "aiogram-2": [UPDATES],
    "pytelegrambotapi": [UPDATES, UPDATES],
    "grammy-crash": [ACTIVE],
    "telegraf-crash": [UPDATES],
    "node-telegram-bot-api": [UPDATES, UPDATES, UPDATES],
    "go-zap-json": [UPDATES],
    "healthy-echo-bot": [],
}


def corpus(folder: str, name: str) -> str:
    return (CORPUS / folder / f"{name}.log").read_text()


@pytest.mark.parametrize(("name", "expected"), SHAPES.items(), ids=SHAPES)
def test_counts_the_incidents_of_a_library(name: str, expected: list[ConflictKind]) -> None:
    assert kinds(corpus("shapes", name)) == expected


def test_every_shape_has_a_case() -> None:
    assert {path.stem for path in (CORPUS / "shapes").glob("*.log")} == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_no_secret_of_a_library_s_log_is_shown(name: str) -> None:
    text = corpus("shapes", name).replace("Conflict: ", f"https://api.telegram.org/bot{TOKEN}/getUpdates: Conflict: ")
    assert not [finding for finding in read_conflicts(text) if SECRET[:8] in finding.evidence]


def stamped(seconds: float, line: str) -> str:
    at = datetime(2026, 11, 24, 8, 0, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}789Z {line}\n"


def test_the_kubelet_s_timestamp_is_the_time_of_the_finding() -> None:
    text = stamped(1, "hello") + stamped(2.5, f"2020-01-01 Conflict: {OTHER}")
    assert read_conflicts(text, kubelet_timestamps=True) == (
        Finding(UPDATES, datetime(2026, 11, 24, 8, 0, 2, 500_000, UTC), f"2020-01-01 Conflict: {OTHER}"),
    )


def test_a_timestamp_with_an_offset_is_understood() -> None:
    (finding,) = read_conflicts(f"2026-11-24T10:00:00+02:00 Conflict: {OTHER}", kubelet_timestamps=True)
    assert finding.time == datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize("line", [f"onflict: {OTHER}", f"2026-99-99T08:00:00Z Conflict: {OTHER}"])
def test_a_line_without_a_good_timestamp_has_no_time(line: str) -> None:
    assert [finding.time for finding in read_conflicts(line, kubelet_timestamps=True)] == [None]


def test_without_kubelet_timestamps_there_is_no_time() -> None:
    assert [finding.time for finding in read_conflicts(stamped(1, f"Conflict: {OTHER}"))] == [None]


def test_equal_lines_are_incidents_of_their_own_however_close() -> None:
    text = "".join(stamped(at, f"Conflict: {OTHER}") for at in (0, 0.001, 3))
    assert kinds(text, kubelet_timestamps=True) == [UPDATES] * 3


def test_lines_two_seconds_apart_are_never_one_incident() -> None:
    head, tail = f"GrammyError: 409: Conflict: {OTHER}", f"  description: 'Conflict: {OTHER}'"
    assert kinds(stamped(0, head) + stamped(1.9, tail), kubelet_timestamps=True) == [UPDATES]
    assert kinds(stamped(0, head) + stamped(2, tail), kubelet_timestamps=True) == [UPDATES] * 2


def test_a_chain_of_traces_is_one_incident() -> None:
    python = (
        f"Traceback (most recent call last):\nA: Conflict: {OTHER}\n\nDuring handling of the above exception, another\n"
    )
    assert kinds(f"{python}\nTraceback (most recent call last):\n  File\nB: Conflict: {OTHER}") == [UPDATES]
    assert kinds(f"BotException: Conflict: {OTHER}\n\tat x\nCaused by: ApiException: Conflict: {OTHER}") == [UPDATES]


def test_two_dumps_of_one_error_are_two_incidents() -> None:
    dump = f"Error: 409 Conflict: {OTHER}\n    at x.js:1 {{\n  description: 'Conflict: {OTHER}'\n}}\n"
    assert kinds(dump * 2) == [UPDATES] * 2


def test_a_stamped_trace_is_one_incident_per_conflict() -> None:
    lines = corpus("shapes", "python-telegram-bot-info").splitlines()
    late = next(at for at, line in enumerate(lines) if line.startswith("2026-11-24 08:00:08"))
    text = "".join(stamped(4 if at >= late else 0, line) for at, line in enumerate(lines))
    assert kinds(text, kubelet_timestamps=True) == [UPDATES, UPDATES]


def test_equal_lines_are_incidents_of_their_own() -> None:
    assert kinds(f"Conflict: {OTHER}\n" * 3) == [UPDATES] * 3


def test_a_blank_line_does_not_join_two_incidents() -> None:
    assert kinds(f"Conflict: {OTHER}\n\nConflict: {OTHER}\n") == [UPDATES] * 2


def test_different_causes_are_never_one_incident() -> None:
    text = f"GrammyError: 409: Conflict: {OTHER}\n    at loop (bot.js:1)\nGrammyError: 409: Conflict: {WEBHOOK}"
    assert kinds(text) == [UPDATES, ACTIVE]
    assert kinds("Conflict: terminated by setWebhook request\n" + f"  Conflict: {WEBHOOK}") == [SET, ACTIVE]


def test_the_request_s_line_takes_the_cause_from_the_error_behind_it() -> None:
    request = f'INFO HTTP Request: POST https://api.telegram.org/bot{TOKEN}/getUpdates "HTTP/1.1 409 Conflict"\n'
    assert kinds(f"{request}WARNING something\nERROR Conflict: {WEBHOOK}\n{request}") == [ACTIVE, UNSPECIFIED]


# --- Evidence ---------------------------------------------------------------------------------------------------------


def evidence(text: str) -> str:
    (finding,) = read_conflicts(text)
    return finding.evidence


def test_evidence_is_the_shortest_line_that_says_what_happened() -> None:
    assert evidence(corpus("shapes", "telegraf-crash")) == f"description: 'Conflict: {OTHER}'"


def test_evidence_of_a_request_s_line_hides_the_token() -> None:
    line = f'POST https://api.telegram.org/bot{TOKEN}/getUpdates "HTTP/1.1 409 Conflict"'
    assert evidence(line) == line.replace(SECRET, "<redacted>")


def test_evidence_hides_a_token_whose_beginning_is_missing() -> None:
    assert (
        evidence(f'{SECRET[5:]}/getUpdates "HTTP/1.1 409 Conflict"') == '<redacted>/getUpdates "HTTP/1.1 409 Conflict"'
    )


def test_evidence_hides_a_token_split_by_colours_and_invisible_characters() -> None:
    line = f"bot \x1b[36m7301948265\x1b[0m:\u200b{SECRET[:20]}\x00{SECRET[20:]} Error: Conflict: {OTHER}"
    assert evidence(line) == f"bot 7301948265:<redacted> Error: Conflict: {OTHER}"


def test_a_token_is_hidden_before_the_line_is_cut() -> None:
    for padding in range(150):
        text = f"{'x' * padding} {TOKEN} Error: Conflict: {OTHER} {'y' * 400}"
        assert SECRET[:4] not in evidence(text)
        assert SECRET[-4:] not in evidence(text)


def test_a_long_line_is_cut_around_the_sentence() -> None:
    text = f'{{"stack":"{"at poll " * 500}","msg":"Conflict: {OTHER}","more":"{"x" * 5000}"}}'
    assert f"Conflict: {OTHER}" in evidence(text)
    assert len(evidence(text)) <= LONGEST_EVIDENCE


def test_control_characters_and_tabs_become_one_line() -> None:
    assert evidence(f"\x07\tERROR\t\x0b Conflict:\x1f {OTHER}\u2028next") == f"ERROR Conflict: {OTHER} next"


# --- Size -------------------------------------------------------------------------------------------------------------


def test_only_the_last_mebibyte_is_read() -> None:
    sentence = f"Conflict: {OTHER}\n"
    assert kinds(sentence + "x" * READ_AT_MOST) == []
    assert kinds("x" * READ_AT_MOST + "\n" + sentence) == [UPDATES]


def test_a_line_of_several_megabytes_is_read_at_its_end() -> None:
    assert kinds(b"x" * (5 << 20) + f": Conflict: {OTHER}".encode()) == [UPDATES]


NASTY: dict[str, Callable[[int], str]] = {
    "one letter": lambda size: "a" * size,
    "spaces before the sentence": lambda size: " " * size + f"Conflict: {OTHER}",
    "half sentences": lambda size: "Conflict: terminated by other getUpdate " * (size // 40),
    "queries without an end": lambda size: "getUpdates?" * (size // 11),
    "sentences in prose": lambda size: f"we say {OTHER} " * (size // 96),
    "lines of prose": lambda size: f"we say {OTHER}\n" * (size // 96),
    "open strings": lambda size: '\\"text\\":\\"' * (size // 12) + f"Conflict: {OTHER}",
    "quotes": lambda size: '\\"' * (size // 2) + f"Conflict: {OTHER}",
    "digits": lambda size: "1" * size + f": Conflict: {OTHER}",
    "half tokens": lambda size: "12345:a" * (size // 7) + f": Conflict: {OTHER}",
    "half colours": lambda size: "\x1b[" * (size // 2) + f"Conflict: {OTHER}",
    "words and dots": lambda size: "a." * (size // 2) + f"Conflict: {OTHER}",
    "empty lines": lambda size: "\n" * size + f"Conflict: {OTHER}",
    "half requests": lambda size: "409 Conflict /bot" * (size // 17) + "getupdates",
    "words around the number": lambda size: "getUpdates error error error 40" * (size // 31),
    "the number before words": lambda size: "409 error of the call " * (size // 22) + "getupdates",
    "half sentences broken by lines": lambda size: "terminated by\n   other\n" * (size // 23) + "getupdates",
    "sentences cut short": lambda size: "can't use getUpdates method while " * (size // 34),
    "escaped half sentences": lambda size: "409%20terminated%20by" * (size // 21) + " getupdates",
    "many programs": lambda size: "".join(f"p{n} | Conflict: {OTHER}\n" for n in range(size // 100)),
    "parts that never end": lambda size: "2026-11-24T08:00:04Z stderr P getUpdates\n" * (size // 41),
    "open Docker lines": lambda size: '{"log":"getUpdates \\"\n' * (size // 22),
    "exceptions with long traces": lambda size: (
        "telegramexception: Conflict\n at getUpdat\n" * (size // 42) + "getupdates"
    ),
    "tracebacks": lambda size: f"Traceback (most recent call last)\n  Conflict: {OTHER}\n" * (size // 130),
    "points of a list": lambda size: "- " * (size // 2) + f"Conflict: {OTHER}",
}


@pytest.mark.parametrize("make", NASTY.values(), ids=NASTY)
def test_work_grows_with_the_size_and_not_with_its_square(make: Callable[[int], str]) -> None:
    def work(size: int) -> float:
        text = make(size)
        spent = []
        for _ in range(3):
            before = time.process_time_ns()
            read_conflicts(text)
            polling_started(text)
            spent.append(time.process_time_ns() - before)
        return min(spent) + 1e6

    # Sixteen times the text: with the square of its size this would be 256 times the work.
    assert work(1 << 17) < 64 * work(1 << 13)


# --- The users' own patterns ------------------------------------------------------------------------------------------


def test_a_pattern_of_the_user_finds_a_conflict_of_no_known_cause() -> None:
    patterns = [compile_pattern(r"(?i)kicked by (a )?twin")]
    assert read_conflicts(f"ok\nbot 7301948265:{SECRET} Kicked by twin\n", extra=patterns) == (
        Finding(UNSPECIFIED, None, "bot 7301948265:<redacted> Kicked by twin"),
    )


def test_a_known_cause_comes_before_the_user_s_pattern() -> None:
    assert [each.kind for each in read_conflicts(f"Conflict: {OTHER}", extra=[compile_pattern("Conflict")])] == [
        UPDATES
    ]


def test_a_pattern_reads_other_scripts() -> None:
    assert len(read_conflicts("второй экземпляр", extra=[compile_pattern(r"экземпляр$")])) == 1


@pytest.mark.parametrize("source", ["(a+)+$", "(a|aa)+$", "(.*a){9}b"])
def test_a_pattern_that_would_take_another_engine_for_ever_is_done_at_once(source: str) -> None:
    assert read_conflicts("a" * 100_000 + "c", extra=[compile_pattern(source)]) == ()


def test_a_pattern_sees_the_beginning_of_a_line_only_so_that_a_costly_one_costs_little() -> None:
    pattern = compile_pattern("duel lost")
    assert len(read_conflicts("x" * (LOOKED_AT - 9) + "duel lost", extra=[pattern])) == 1
    assert read_conflicts("x" * LOOKED_AT + "duel lost", extra=[pattern]) == ()


def test_patterns_of_one_source_are_equal() -> None:
    assert compile_pattern("a+b") == compile_pattern("a+b")


REFUSED = {
    "empty": ("", "the pattern is empty; it would match every line"),
    "blank": ("  ", "the pattern is empty; it would match every line"),
    "too long": ("a" * 201, "the pattern has 201 characters, and may have 200"),
    "matches nothing at all": ("x*", "the pattern matches an empty line, so it would match every line"),
    "unbalanced": ("[a", "the pattern is not a regular expression that RE2 understands: missing ]: [a"),
    "look-ahead": (
        "(?=a)b",
        "the pattern is not a regular expression that RE2 understands: invalid perl operator: (?=; "
        "RE2 has no look-ahead and no look-behind",
    ),
    "back-reference": (
        r"(a)\1",
        r"the pattern is not a regular expression that RE2 understands: invalid escape sequence: \1",
    ),
    "huge repetition": (
        "a{5000}",
        "the pattern is too large once its repetitions are written out (invalid repetition size: {5000}); "
        "make them smaller",
    ),
    "huge program": (
        r"\pL{900}",
        "the pattern is too large once its repetitions are written out (pattern too large - compile failed); "
        "make them smaller",
    ),
    "large program": (r"\pL{8}", "the pattern is too large once its repetitions are written out; make them smaller"),
    "half a character": ("a\ud800", "the pattern holds half of a character"),
}


@pytest.mark.parametrize(("source", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_pattern_that_cannot_be_used_is_refused_with_a_sentence(source: str, sentence: str) -> None:
    with pytest.raises(InvalidPattern) as refused:
        compile_pattern(source)
    assert str(refused.value) == sentence


# --- Good signs -------------------------------------------------------------------------------------------------------

POLLING = [
    "INFO:aiogram.dispatcher:Start polling",
    "INFO:aiogram.dispatcher:Run polling for bot @shop_bot id=7301948265 - 'Shop'",
    "2026-11-24 08:00:01,160 - telegram.ext.Application - INFO - Application started",
    "polling started",
    '{"level":"info","msg":"Started long polling"}',
    "@shop_bot is up and running",
    "Bot is running",
    "bot started",
    f'HTTP Request: POST https://api.telegram.org/bot{TOKEN}/getUpdates "HTTP/1.1 200 OK"',
    f'"GET /bot{TOKEN}/getUpdates?offset=5 HTTP/1.1" 200 23',
]
NOT_POLLING = [
    "",
    "starting",
    f"Conflict: {OTHER}",
    "failed to start polling: 401 Unauthorized",
    "cannot start long polling",
    f'HTTP Request: POST https://api.telegram.org/bot{TOKEN}/getUpdates "HTTP/1.1 409 Conflict"',
    f'HTTP Request: POST https://api.telegram.org/bot{TOKEN}/getMe "HTTP/1.1 200 OK"',
]


@pytest.mark.parametrize("line", POLLING)
def test_says_that_polling_started(line: str) -> None:
    assert polling_started(f"hello\n{line}\r\nbye".encode())


@pytest.mark.parametrize("line", NOT_POLLING)
def test_does_not_say_that_polling_started(line: str) -> None:
    assert not polling_started(line)
