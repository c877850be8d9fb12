"""What goes into the image: nothing that is not loaded, and the same bytes every time."""

from __future__ import annotations

import os
from pathlib import Path

from image.assemble import GENERATED, compile_all, stamp, unused

ROOT = Path(__file__).parents[2]


def tree(folder: Path) -> dict[str, tuple[bytes, float]]:
    """Every file below a folder, and when it was changed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime) for path in files}


def test_a_generated_module_that_is_not_loaded_is_left_out_and_its_package_stays(tmp_path: Path) -> None:
    for part in GENERATED:
        (tmp_path / part).mkdir(parents=True)
        for name in ("__init__.py", "v1_pod.py", "v1_object_meta.py"):
            (tmp_path / part / name).touch()
    loaded = {str(tmp_path / GENERATED[0] / "v1_object_meta.py")}
    left_out = [str(path.relative_to(tmp_path)) for path in unused(tmp_path, loaded)]
    assert f"{GENERATED[0]}/v1_pod.py" in left_out
    assert f"{GENERATED[1]}/v1_object_meta.py" in left_out
    assert f"{GENERATED[0]}/v1_object_meta.py" not in left_out
    assert len(left_out) == 2 * len(GENERATED) - 1


def test_the_same_files_become_the_same_bytes_whenever_they_were_written(tmp_path: Path) -> None:
    found = []
    for moment in (1_000_000_000, 1_700_000_000):
        module = tmp_path / "shop" / "__init__.py"
        module.parent.mkdir(exist_ok=True)
        module.write_text("TOTAL = 1 + 1\n")
        os.utime(module, (moment, moment))
        compile_all(tmp_path)
        stamp(tmp_path)
        found.append(tree(tmp_path))
    assert found[0] == found[1]
    assert any(name.endswith(".pyc") for name in found[0])


def test_no_shell_is_needed_and_nobody_is_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().partition("FROM scratch")[2].splitlines()
    assert lines
    assert not [line for line in lines if line.startswith("RUN")]
    assert "USER 65532:65532" in lines
    assert 'ENTRYPOINT ["python3", "-m", "telegrambot_operator"]' in lines
