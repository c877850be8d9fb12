"""The docs speak of what there is, and of all of it: reasons, Events, links, anchors, and files by name."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import yaml

from telegrambot_operator.names import ConditionType, EventReason, Reason
from telegrambot_operator.shell.metrics import Metrics

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
OPERATIONS = ROOT / "docs" / "operations.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
PAGES += [ROOT / "bench" / "README.md"]
SOURCES = ROOT / "operator" / "telegrambot_operator"

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?: {4}|\t).*$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.*?) *$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)+\.(?:py|md|yaml|toml|log)")


def prose(page: Path) -> str:
    """What is on a page, without blocks of code."""
    return _INDENTED.sub("", _FENCED.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found: Counter[str] = Counter()
    made = set()
    for heading in _HEADING.findall(_FENCED.sub("", page.read_text())):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        made.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return made


def row_names(page: Path, heading: str, column: int = 0) -> list[str]:
    """What stands in backticks in one column of the tables below a heading, up to the next one of its kind."""
    level, text = heading.partition(" ")[0], page.read_text()
    part = re.split(rf"^#{{1,{len(level)}}} ", text.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| ")]
    return [name for row in rows[1:] for name in _CODE.findall(row[column])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(prose(page)):
        place, _, anchor = target.partition("#")
        if "://" in place:
            continue
        there = (page.parent / place).resolve() if place else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = {word for words in _CODE.findall(prose(page)) for word in _FILE.findall(words)}
    places = (ROOT, SOURCES, page.parent)
    assert sorted(name for name in named if not any((place / name).exists() for place in places)) == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name not in index and page.name != "README.md"
    ] == []


def test_operations_has_an_entry_for_each_reason_and_for_nothing_else() -> None:
    assert Counter(row_names(OPERATIONS, "### Reasons")) == Counter(map(str, Reason))


def test_operations_has_an_entry_for_each_condition() -> None:
    assert row_names(OPERATIONS, "## Conditions")[:6] == list(map(str, ConditionType))


@pytest.mark.parametrize("kind", [each for each in ConditionType if each is not ConditionType.STALLED])
def test_the_readme_lists_the_reasons_of_a_condition_as_operations_does(kind: ConditionType) -> None:
    (row,) = [line for line in README.read_text().splitlines() if line.startswith(f"| `{kind}` |")]
    told = [line.split("|") for line in OPERATIONS.read_text().splitlines() if line.startswith("| `")]
    meant = [name for cells in told if kind in cells[2] for name in _CODE.findall(cells[1])]
    assert sorted(_CODE.findall(row.split("|")[3])) == sorted(meant)


def test_operations_tells_of_each_event_that_the_operator_makes_and_of_no_other() -> None:
    source = "".join(path.read_text() for path in sorted((SOURCES / "core").glob("*.py")))
    made = set(re.findall(r'(?:reason=|yield \w+\([^"]*|Pod\.of\(pod, |\.uid, )"([A-Z][A-Za-z]+)"', source))
    assert {"Pinned", "Created", "DuplicateDeleted"} <= made, "the expression above no longer finds them"
    assert set(row_names(OPERATIONS, "### Events")) == made | set(map(str, EventReason))


def test_operations_has_an_entry_for_each_metric_and_for_no_other() -> None:
    assert Counter(row_names(OPERATIONS, "## Metrics")) == Counter(each.name for each in Metrics().declared)


# --- The operator's rights --------------------------------------------------------------------------------------------

MANIFEST = ROOT / "deploy" / "install.yaml"
Right = tuple[str, str, str, str]  # where, group and resource, name or "", verb


def granted() -> set[Right]:
    """What the roles of the manifests grant, one verb on one resource each."""
    found = set()
    for role in yaml.safe_load_all(MANIFEST.read_text()):
        if role["kind"] not in {"ClusterRole", "Role"}:
            continue
        where = role["metadata"].get("namespace", "all namespaces")
        for rule in role["rules"]:
            kinds = product(rule["apiGroups"], rule["resources"], rule.get("resourceNames", [""]), rule["verbs"])
            found |= {(where, f"{group}/{kind}".lstrip("/"), name, verb) for group, kind, name, verb in kinds}
    return found


def explained() -> set[Right]:
    """What docs/security.md gives a reason for."""
    table = (
        (ROOT / "docs" / "security.md").read_text().partition("<!-- rights -->\n")[2].partition("<!-- to here -->")[0]
    )
    found = set()
    for line in table.splitlines()[2:]:
        where, resources, verbs, why = [cell.strip() for cell in line.strip("|").split("|")]
        kinds, _, named = resources.partition(" named ")
        every = product(_CODE.findall(kinds), _CODE.findall(named) or [""], verbs.split(", "))
        assert why
        found |= {(where.strip("`"), kind, name, verb) for kind, name, verb in every}
    return found


def test_security_gives_a_reason_for_each_right_and_for_no_other() -> None:
    assert explained() == granted()
