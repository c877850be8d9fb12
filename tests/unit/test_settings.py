"""A wrong setting is answered in one line that names it and says what it may be; a right one is taken as it is."""

from pathlib import Path

import pytest

from telegrambot_operator import settings
from telegrambot_operator.settings import SettingError, Settings, read


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a kubeconfig, on a machine that is no pod."""
    monkeypatch.setattr(settings, "SERVICE_ACCOUNT", tmp_path / "no-service-account")
    return tmp_path


@pytest.fixture
def config(home: Path) -> str:
    """A kubeconfig that KUBECONFIG may name."""
    path = home / "shop.yaml"
    path.write_text("{}")
    return str(path)


def refusal(environment: dict[str, str], namespaces: tuple[str, ...] = ()) -> str:
    with pytest.raises(SettingError) as caught:
        read(environment, namespaces)
    return str(caught.value)


# --- Where the cluster is -------------------------------------------------------------------------------------------


def test_kubeconfig_is_taken_first(home: Path, config: str) -> None:
    default(home)
    assert read({"KUBECONFIG": config, "HOME": str(home)}).kubeconfig == config


def test_then_the_default_file(home: Path) -> None:
    path = default(home)
    assert read({"HOME": str(home)}).kubeconfig == path


def test_an_empty_kubeconfig_is_as_none_at_all(home: Path) -> None:
    path = default(home)
    assert read({"KUBECONFIG": "", "HOME": str(home)}).kubeconfig == path


def test_then_the_pods_service_account(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = home / "token"
    account.write_text("t")
    monkeypatch.setattr(settings, "SERVICE_ACCOUNT", account)
    assert read({"HOME": str(home), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}).kubeconfig is None


def test_a_service_account_outside_a_pod_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SERVICE_ACCOUNT", Path(__file__))
    assert refusal({"HOME": str(home)}).startswith("KUBECONFIG: not set")


def test_several_files_are_passed_on_as_kubectl_takes_them(home: Path, config: str) -> None:
    both = f"{home}/missing:{config}"
    assert read({"KUBECONFIG": both}).kubeconfig == both


def test_a_kubeconfig_that_is_not_there_is_named(home: Path) -> None:
    text = refusal({"KUBECONFIG": f"{home}/missing", "HOME": str(home)})
    assert text == f"KUBECONFIG: there is no file {home}/missing; name a kubeconfig file, or unset it"


def test_a_folder_is_no_kubeconfig(home: Path) -> None:
    assert refusal({"KUBECONFIG": str(home)}).startswith("KUBECONFIG: there is no file")


def test_no_cluster_at_all_says_where_one_is_looked_for(home: Path) -> None:
    text = refusal({"HOME": str(home)})
    assert [word for word in ("KUBECONFIG", ".kube/config", "service account") if word not in text] == []


def default(home: Path) -> str:
    path = home / ".kube" / "config"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    return str(path)


# --- Which namespaces -----------------------------------------------------------------------------------------------


def test_no_namespace_is_every_namespace(config: str) -> None:
    assert read({"KUBECONFIG": config}).namespaces == ()


def test_a_namespace_that_is_named_twice_is_watched_once(config: str) -> None:
    assert read({"KUBECONFIG": config}, ("shop", "sales", "shop")).namespaces == ("shop", "sales")


@pytest.mark.parametrize("name", ["Shop", "shop_1", "-shop", "shop-", "", "a" * 64, "shop,sales", "*", "shop\n"])
def test_a_name_that_no_namespace_has_is_refused(config: str, name: str) -> None:
    text = refusal({"KUBECONFIG": config}, ("shop", name))
    assert text.startswith(f"--namespace: {name!r}")
    assert "lower-case letters" in text


# --- Where the turns are noted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [{}, {"OPERATOR_NAMESPACE": ""}], ids=["not set", "set to nothing"])
def test_one_place_for_the_turns_of_every_operator_of_a_cluster(config: str, environment: dict[str, str]) -> None:
    found = read({"KUBECONFIG": config, **environment}, ("shop",))
    assert found.operator_namespace == "telegrambot-operator"


def test_another_place_for_the_turns(config: str) -> None:
    assert read({"KUBECONFIG": config, "OPERATOR_NAMESPACE": "bots-1"}).operator_namespace == "bots-1"


@pytest.mark.parametrize("name", ["Bots", "bots_1", "-bots", "bots-", "a" * 64, "bots/1", " ", "bots\n"])
def test_a_place_that_no_namespace_can_be_is_refused(config: str, name: str) -> None:
    text = refusal({"KUBECONFIG": config, "OPERATOR_NAMESPACE": name})
    assert text.startswith(f"OPERATOR_NAMESPACE: {name!r}")
    assert "lower-case letters" in text


# --- Which Telegram -------------------------------------------------------------------------------------------------


def test_the_public_bot_api_unless_said_otherwise(config: str) -> None:
    assert read({"KUBECONFIG": config}).telegram_api_url == "https://api.telegram.org"


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("https://bots.example/api/", "https://bots.example/api"),
        ("http://[::1]:8081", "http://[::1]:8081"),
    ],
)
def test_a_bot_api_of_ones_own(config: str, url: str, taken: str) -> None:
    assert read({"KUBECONFIG": config, "TELEGRAM_API_URL": url}).telegram_api_url == taken


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.telegram.org",
        "ftp://api.telegram.org",
        "https://",
        "https:///bot",
        "https://x/?a=1",
        "https://x/#a",
        "http://[::1",
        "http://host:port",
        "http://host:99999",
        "https://a b",
    ],
)
def test_what_is_not_the_base_of_a_bot_api_is_refused(config: str, url: str) -> None:
    text = refusal({"KUBECONFIG": config, "TELEGRAM_API_URL": url})
    assert text.startswith("TELEGRAM_API_URL: ")
    assert "https://api.telegram.org" in text


@pytest.mark.parametrize("before", ["", "https://"], ids=["without a scheme", "with one"])
def test_the_token_in_the_address_of_a_call_is_refused_and_not_shown(config: str, before: str) -> None:
    """INV-7: people paste the address of a call."""
    secret = "AAFq9Zr0bXw3KjT5uYv1LmNp8sQeHd2GcRk"
    url = f"{before}api.telegram.org/bot{7301948265}:{secret}/getMe"
    text = refusal({"KUBECONFIG": config, "TELEGRAM_API_URL": url})
    assert text.startswith(f"TELEGRAM_API_URL: '{before}api.telegram.org'")
    assert secret not in text


# --- How long Telegram has to be silent ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 330),
        ({"TELEGRAM_SILENCE_SECONDS": ""}, 330),
        ({"TELEGRAM_SILENCE_SECONDS": "1"}, 1),
        ({"TELEGRAM_SILENCE_SECONDS": "86400"}, 86400),
    ],
    ids=["not set", "set to nothing", "the shortest", "the longest"],
)
def test_how_long_telegram_has_to_be_silent(config: str, environment: dict[str, str], seconds: int) -> None:
    assert read({"KUBECONFIG": config, **environment}).silence_seconds == seconds


@pytest.mark.parametrize("text", ["0", "-5", "330s", "5.5", "86401", " 330", "\u0663", "9" * 5000, "1\n"])
def test_what_is_no_such_number_of_seconds_is_refused(config: str, text: str) -> None:
    refused = refusal({"KUBECONFIG": config, "TELEGRAM_SILENCE_SECONDS": text})
    assert refused.startswith("TELEGRAM_SILENCE_SECONDS: ")
    assert "whole number from 1 to 86400" in refused


# --- All of them ----------------------------------------------------------------------------------------------------


def test_every_refusal_is_one_line(home: Path, config: str) -> None:
    refusals = [
        refusal({"HOME": str(home)}),
        refusal({"KUBECONFIG": "/nowhere"}),
        refusal({"KUBECONFIG": config}, ("Shop",)),
        refusal({"KUBECONFIG": config, "TELEGRAM_API_URL": "x"}),
        refusal({"KUBECONFIG": config, "OPERATOR_NAMESPACE": "bots\n"}),
        refusal({"KUBECONFIG": config, "TELEGRAM_SILENCE_SECONDS": "1\n"}),
    ]
    assert [text for text in refusals if "\n" in text] == []


def test_settings_cannot_be_changed_on_the_way(config: str) -> None:
    made = read({"KUBECONFIG": config}, ("shop",), verbose=True)
    assert made == Settings(config, ("shop",), "https://api.telegram.org", verbose=True)
    with pytest.raises(AttributeError):
        made.verbose = False  # type: ignore[misc]


# --- Where to listen ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8080", "", 8080),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:8080", "::1", 8080),
        ("[::]:8080", "::", 8080),
    ],
)
def test_an_address_to_listen_on(config: str, text: str, host: str, port: int) -> None:
    listen = read({"KUBECONFIG": config}, listen=text).listen
    assert listen == settings.Address(host, port)
    assert str(listen) == text


def test_nothing_listens_unless_it_is_asked_for(config: str) -> None:
    assert read({"KUBECONFIG": config}).listen is None


@pytest.mark.parametrize(
    "text", ["8080", "host", "host:", ":", ":http", ":65536", ":-1", "::1:8080", "[]:80", "a b:80", ":٨٠", "host:8080/"]
)
def test_what_is_no_address(config: str, text: str) -> None:
    with pytest.raises(SettingError) as caught:
        read({"KUBECONFIG": config}, listen=text)
    assert str(caught.value) == (
        f"--listen: {text!r} is not an address; use HOST:PORT, or :8080 for that port on all addresses"
    )


def test_the_election_is_held_where_the_operator_is_unless_told_otherwise(config: str) -> None:
    chosen = read({"KUBECONFIG": config, "OPERATOR_NAMESPACE": "bots"})
    assert chosen.election_namespace is None
    assert settings.with_election(chosen, None).election_namespace == "bots"
    assert settings.with_election(chosen, "kube-system").election_namespace == "kube-system"
