from hashlib import sha256
from pathlib import Path

import pytest

from sentifuse.deploy import opening


@pytest.mark.parametrize("names", [["config.json"], ["config.json", "export.json"]])
def test_a_model_is_named_by_the_file_that_holds_the_digests_of_the_others(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text(name)
    assert opening.digest(tmp_path) == sha256(names[-1].encode()).hexdigest()
