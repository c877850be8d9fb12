"""The Helm chart in deploy/chart, the one source of all that is installed, and what is rendered from it.

python -m tests.bed.chart                   # what make generate does: write deploy/install.yaml and deploy/admission
render(helm, "--set", "replicas=3")         # what Helm makes of it
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.bed.gobuild import BuildError
from tests.bed.tools import program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "chart"
NAME = "telegrambot-operator"
POLICIES = ("lock", "pin", "scale", "token")
# What the chart holds a copy of: Helm packs nothing that is not in the chart's own folder.
COPIES = {
    ROOT / "crds" / "telegrambots.singleton.bot.yaml": CHART / "files" / "telegrambots.singleton.bot.yaml",
    DEPLOY / "monitoring" / "alerts.yaml": CHART / "files" / "alerts.yaml",
}
HEADER = "# Rendered from deploy/chart by `make generate`: change it there.\n"


def render(helm: Path, *options: str, release: str = NAME, hooks: bool = False) -> str:
    """What Helm makes of the chart. Raises CalledProcessError, with what Helm said."""
    command = [str(helm), "template", release, str(CHART), "--namespace", NAME, *options]
    command += [] if hooks else ["--no-hooks"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.sub(r"\n{2,}(---\n|$)", r"\n\1", re.sub(r"^# Source: .*\n", "", text, flags=re.MULTILINE))


def manifests(helm: Path) -> dict[Path, str]:
    """Every file that is rendered, with its content."""
    found = {DEPLOY / "install.yaml": HEADER + render(helm, "--set", "createNamespace=true")}
    for policy in POLICIES:
        options = ("--set", "admissionPolicy=true", "--show-only", f"templates/admission/{policy}.yaml")
        found[DEPLOY / "admission" / f"{policy}.yaml"] = HEADER + render(helm, *options)
    return found


def _write(path: Path, text: str) -> None:
    """Write a file, unless it says so already."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"Wrote {path.relative_to(ROOT)}.")


def main() -> int:
    """Copy, then render. The exit code is 1 where that cannot be done."""
    for source, copy in COPIES.items():
        _write(copy, source.read_text())
    try:
        for path, text in manifests(program("helm")).items():
            _write(path, text)
    except BuildError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"generate: helm template failed:\n{error.stderr}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
