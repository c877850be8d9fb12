"""The command line with wrong settings: exit code 2 and one line on stderr, never a traceback."""

import socket
from pathlib import Path

import pytest

from telegrambot_operator import settings
from telegrambot_operator.__main__ import main


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder without a kubeconfig, on a machine that is no pod."""
    monkeypatch.setattr(settings, "SERVICE_ACCOUNT", tmp_path / "no-service-account")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("TELEGRAM_API_URL", raising=False)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What KUBECONFIG names."""
    path = tmp_path / "kubeconfig"
    path.write_text("{}")
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was printed; it names the program, as a shell user expects."""
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("telegrambot-operator: ")
    return line


def test_no_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "KUBECONFIG: not set" in one_line(capsys)


def test_a_kubeconfig_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")
    assert main(["run"]) == 2
    assert "KUBECONFIG: there is no file /nowhere/kubeconfig" in one_line(capsys)


@pytest.mark.usefixtures("config")
def test_a_namespace_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--namespace", "shop", "--namespace", "Sales"]) == 2
    assert "--namespace: 'Sales'" in one_line(capsys)


@pytest.mark.usefixtures("config")
def test_a_token_in_the_wrong_place_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """INV-7: also where somebody pastes it for something else."""
    secret = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
    assert main(["run", "--namespace", f"7301948265:{secret}"]) == 2
    line = one_line(capsys)
    assert "--namespace: " in line
    assert secret not in line


@pytest.mark.usefixtures("config")
def test_a_bot_api_that_cannot_be(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TELEGRAM_API_URL", "api.telegram.org")
    assert main(["run"]) == 2
    assert "TELEGRAM_API_URL: 'api.telegram.org'" in one_line(capsys)


HEAD = "apiVersion: v1\nkind: Config\n"
NO_KUBECONFIGS = {
    "nothing": "",
    "a word": "hello",
    "a list": "[1, 2]",
    "YAML that does not end": "a: [",
    "a tab": "\tx",
    "no contexts": HEAD,
    "a context that is not there": f"{HEAD}current-context: x\ncontexts: []\nclusters: []\nusers: []\n",
}


@pytest.mark.parametrize("text", NO_KUBECONFIGS.values(), ids=NO_KUBECONFIGS)
def test_a_file_that_is_no_kubeconfig(text: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(text)
    assert main(["run"]) == 2
    assert "KUBECONFIG: cannot be used" in one_line(capsys)


@pytest.mark.usefixtures("config")
def test_a_name_that_no_bot_can_have_is_not_shown_where_it_is_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    secret = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
    assert main(["release", f"7301948265:{secret}", "--namespace", "shop"]) == 2
    line = one_line(capsys)
    assert "NAME: " in line
    assert secret not in line


@pytest.mark.parametrize("arguments", [["shop"], ["--all", "--namespace", "shop"]])
@pytest.mark.parametrize("text", NO_KUBECONFIGS.values(), ids=NO_KUBECONFIGS)
def test_nothing_is_released_with_a_file_that_is_no_kubeconfig(
    text: str, arguments: list[str], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(text)
    assert main(["release", *arguments]) == 2
    assert "KUBECONFIG: cannot be used" in one_line(capsys)


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("operator", ["telegrambot-operator", "pod/x", "deployment/", "deployment/A", ""])
def test_what_is_to_be_stopped_is_a_deployment(operator: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "--all", "--stop", operator]) == 2
    assert f"--stop: {operator!r} names no Deployment; use deployment/NAME" in one_line(capsys)


WORDS = [
    [],
    ["walk"],
    ["run", "--replicas", "3"],
    ["release"],
    ["release", "shop", "--all"],
    ["release", "shop", "--timeout", "nan"],
]


@pytest.mark.parametrize("arguments", WORDS, ids=" ".join)
def test_words_that_mean_nothing_are_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: telegrambot-operator")


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert [each for each in ("KUBECONFIG", "TELEGRAM_API_URL", "--namespace", "--verbose") if each not in text] == []


# --- Where to listen ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("config")
def test_an_address_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--listen", "8080"]) == 2
    assert "--listen: '8080' is not an address" in one_line(capsys)


@pytest.mark.usefixtures("config")
def test_a_port_that_is_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["run", "--listen", f"127.0.0.1:{port}"]) == 2
    line = one_line(capsys)
    assert line == (
        f"telegrambot-operator: --listen: 127.0.0.1:{port} cannot be listened on (Address already in use); "
        "name another address"
    )


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--leader-elect", "--leader-elect-namespace", "Kube"], "--leader-elect-namespace: 'Kube' is not a namespace"),
        (["--leader-elect-namespace", "kube-system"], "--leader-elect-namespace: means nothing without --leader-elect"),
    ],
)
def test_an_election_that_cannot_be(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments]) == 2
    assert said in one_line(capsys)
