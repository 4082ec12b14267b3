"""The table of what works says what happens."""

import json

import pytest

from hypernetwork.support import BACKENDS, FILE, GUIDE, USES, attempt, columns, table
from hypernetwork.targets import KINDS

FOUND = json.loads(FILE.read_text())


@pytest.mark.long
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("column", columns())
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_the_table_says(kind, column, use):
    assert attempt(kind, use, columns()[column]) == FOUND[kind.name][use][column]


def test_the_guide_has_the_table():
    assert "\n".join(table()) in GUIDE.read_text()
    assert list(FOUND) == [kind.name for kind in KINDS]
    assert all(set(cells[use]) == set(BACKENDS) for cells in FOUND.values() for use in USES)
