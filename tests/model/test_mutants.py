"""Every rule of the Gate is needed: without it, the search finds how an invariant breaks."""

import pytest

from tests.model.gate_search import Gate
from tests.model.mutants import MUTANTS, Mutant
from tests.model.search import Search


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_search_catches_an_operator_that(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.without(monkeypatch)
    found = Search(Gate(mutant.bounds)).run()
    assert found.broken.startswith(mutant.breaks), str(found)
