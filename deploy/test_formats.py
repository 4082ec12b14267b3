"""Every model in every format gives what Keras gives, as the guide's table says."""

import json
import pathlib

import pytest

from formats import FORMATS, RESULTS, ROWS, attempt, table

GUIDE = pathlib.Path(__file__).parents[1] / "docs" / "export.md"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("text", "case", "endpoint"), ROWS, ids=[row[0] for row in ROWS])
def test_a_model_in_a_format(text, case, endpoint, kind, tmp_path):
    assert attempt(case, endpoint, kind, tmp_path) == json.loads(RESULTS.read_text())[text][kind]


def test_the_table_of_the_guide_is_what_was_found():
    assert "\n".join(table(json.loads(RESULTS.read_text()))) in GUIDE.read_text()
