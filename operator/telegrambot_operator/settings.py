"""The only reader of the environment. A wrong setting ends in one line that names it and says what it may be."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

TELEGRAM_API_URL = "https://api.telegram.org"
OPERATOR_NAMESPACE = "telegrambot-operator"
# A kubelet's longest pause before a restart is 300 s, and bots park their polls for 30 s as a rule.
# https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restarts
SILENCE_SECONDS = 330
LONGEST_SILENCE = 86_400
LOG_FORMATS = ("text", "json")
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


class SettingError(Exception):
    """A setting is wrong; the text is the one line that the user reads."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. An empty host means all addresses, port 0 any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator runs. No kubeconfig means the pod's service account; no namespaces means all of them."""

    kubeconfig: str | None
    namespaces: tuple[str, ...]
    telegram_api_url: str
    verbose: bool
    operator_namespace: str = OPERATOR_NAMESPACE
    silence_seconds: int = SILENCE_SECONDS
    listen: Address | None = None
    log_format: str = "text"
    election_namespace: str | None = None  # where the Lease is that decides who leads; None: there is no election


def read(
    environment: Mapping[str, str],
    namespaces: Sequence[str] = (),
    *,
    verbose: bool = False,
    listen: str = "",
    log_format: str = "text",
) -> Settings:
    """Return the settings. Raises SettingError."""
    return Settings(
        kubeconfig=_kubeconfig(environment),
        namespaces=_namespaces(namespaces),
        operator_namespace=_operator_namespace(environment),
        silence_seconds=_silence(environment.get("TELEGRAM_SILENCE_SECONDS") or str(SILENCE_SECONDS)),
        telegram_api_url=_telegram(environment.get("TELEGRAM_API_URL", TELEGRAM_API_URL)),
        verbose=verbose,
        listen=address(listen) if listen else None,
        log_format=_log_format(log_format),
    )


def _kubeconfig(environment: Mapping[str, str]) -> str | None:
    named = environment.get("KUBECONFIG")
    if named:
        if not any(Path(part).is_file() for part in named.split(":") if part):
            raise SettingError(f"KUBECONFIG: there is no file {named}; name a kubeconfig file, or unset it")
        return named
    default = Path(environment.get("HOME") or "~").expanduser() / ".kube" / "config"
    if default.is_file():
        return str(default)
    if environment.get("KUBERNETES_SERVICE_HOST") and SERVICE_ACCOUNT.is_file():
        return None
    raise SettingError(
        "KUBECONFIG: not set, there is no ~/.kube/config, and this is not a pod with a service account; "
        "set it to the path of a kubeconfig file"
    )


def _namespaces(names: Sequence[str]) -> tuple[str, ...]:
    wrong = next((name for name in names if not _NAMESPACE.fullmatch(name)), None)
    if wrong is not None:
        raise SettingError(
            f"--namespace: {wrong!r} is not a namespace name; use lower-case letters, digits and '-', at most 63"
        )
    return tuple(dict.fromkeys(names))


def _log_format(text: str) -> str:
    if text not in LOG_FORMATS:
        raise SettingError(f"--log-format: {text!r} is not known; use {' or '.join(LOG_FORMATS)}")
    return text


def address(text: str) -> Address:
    """Return an address as it was given, HOST:PORT or :PORT. Raises SettingError."""
    host, colon, port = text.rpartition(":")
    known_host = not host or (_HOST.fullmatch(host) and host != "[]")
    if not colon or not known_host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise SettingError(
            f"--listen: {text!r} is not an address; use HOST:PORT, or :8080 for that port on all addresses"
        )
    return Address(host.strip("[]"), int(port))


def with_election(settings: Settings, namespace: str | None) -> Settings:
    """Return the settings with an election, whose Lease is in this namespace, or in the operator's own.

    Raises SettingError.
    """
    if namespace is not None and not _NAMESPACE.fullmatch(namespace):
        raise SettingError(
            f"--leader-elect-namespace: {namespace!r} is not a namespace name; use lower-case letters, digits and '-', "
            "at most 63"
        )
    return replace(settings, election_namespace=namespace or settings.operator_namespace)


def bot_name(text: str) -> str:
    """Return the name of a TelegramBot as it was given. Raises SettingError."""
    if not _NAME.fullmatch(text) or len(text) > 253:
        raise SettingError(
            f"NAME: {text!r} is not the name of a TelegramBot; use lower-case letters, digits, '-' and '.'"
        )
    return text


_KINDS = {
    **dict.fromkeys(("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"), "deployment"),
    **dict.fromkeys(("telegrambot", "telegrambots", "tgbot", "telegrambots.singleton.bot"), "telegrambot"),
}


def kind_and_name(text: str) -> tuple[str, str]:
    """Return kind (`deployment` or `telegrambot`) and name of what is given as [KIND/]NAME. Raises SettingError."""
    kind, slash, name = text.rpartition("/")
    if slash and kind.lower() not in _KINDS:
        raise SettingError(f"NAME: {kind!r} cannot be looked at; use the name of a TelegramBot, or deployment/NAME")
    return _KINDS[kind.lower()] if slash else "telegrambot", bot_name(name)


def deployment_name(text: str) -> str:
    """Return the name of a Deployment that is given as deployment/NAME. Raises SettingError."""
    kind, _, name = text.partition("/")
    if _KINDS.get(kind.lower()) != "deployment" or not _NAME.fullmatch(name) or len(name) > 253:
        raise SettingError(
            f"--stop: {text!r} names no Deployment; use deployment/NAME, such as deployment/telegrambot-operator"
        )
    return name


def colours(environment: Mapping[str, str], *, terminal: bool) -> bool:
    """Return whether output may be coloured: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def _operator_namespace(environment: Mapping[str, str]) -> str:
    """Where the Leases are: all operators of a cluster must mean the same place, wherever they run."""
    name = environment.get("OPERATOR_NAMESPACE") or OPERATOR_NAMESPACE
    if not _NAMESPACE.fullmatch(name):
        raise SettingError(
            f"OPERATOR_NAMESPACE: {name!r} is not a namespace name; use lower-case letters, digits and '-', at most 63"
        )
    return name


def _silence(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= LONGEST_SILENCE:
        raise SettingError(
            f"TELEGRAM_SILENCE_SECONDS: {text!r} is not a number of seconds; use a whole number from 1 to "
            f"{LONGEST_SILENCE}, and less than {SILENCE_SECONDS} only in tests"
        )
    return int(text)


def _telegram(url: str) -> str:
    if not _is_base(url):
        shown = url.partition("/bot")[0]  # people paste the address of a call, with a token in it
        raise SettingError(
            f"TELEGRAM_API_URL: {shown!r} is not the base of a Bot API; use http:// or https:// and a host, "
            f"such as {TELEGRAM_API_URL}"
        )
    return url.rstrip("/")


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition(f":{parts.port}")[0] or parts.netloc
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False
    extra = parts.query or parts.fragment or "/bot" in parts.path
    return parts.scheme in {"http", "https"} and not extra and bool(_HOST.fullmatch(host))
