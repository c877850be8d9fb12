"""Rights that the operator lacks: what the API server says of one, told so that an admin can act on it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# As every authorizer's refusal ends (k8s.io/apiserver, pkg/endpoints/handlers/responsewriters, forbiddenMessage).
_TOLD = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)" '
    r'(?:in the namespace "(?P<namespace>[^"]*)"|at the cluster scope)'
)
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+/(?:namespaces/(?P<namespace>[^/]+)/)?(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?"
)
VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about, read from its path; "" where the path has no such part."""

    group: str
    namespace: str
    plural: str
    name: str
    sub: str

    @property
    def resource(self) -> str:
        """The resource, with its subresource."""
        return f"{self.plural}/{self.sub}" if self.sub else self.plural

    def verb(self, method: str, *, watch: bool = False) -> str:
        """Return what a Role calls a request with this method."""
        return VERBS.get(method) or ("watch" if watch else "get" if self.name else "list")


def target(path: str) -> Target | None:
    """Return what a request with this path is about, None where that is no resource."""
    found = _PATH.fullmatch(path)
    return Target(**found.groupdict("")) if found else None


@dataclass(frozen=True, slots=True, order=True)
class Lack:
    """One verb on one resource, named with its group as kubectl takes it; `namespace` is "" for the whole cluster."""

    verb: str
    resource: str
    namespace: str = ""
    user: str = field(default="", compare=False)

    def __str__(self) -> str:
        """One sentence for a person."""
        return f"the operator may not {self.verb} {self.resource} {self._where}: grant it that verb (to {self.user})"

    @property
    def _where(self) -> str:
        return f"in namespace {self.namespace}" if self.namespace else "cluster-wide"


def lack(message: str) -> Lack | None:
    """Return which right a 403's message says is lacking, None where it is refused for another reason.

    Quotas, admission and a namespace that is being deleted answer 403 as well.
    """
    told = _TOLD.search(message)
    if told is None:
        return None
    return Lack(told["verb"], with_group(told["resource"], told["group"]), told["namespace"] or "", told["user"])


def with_group(resource: str, group: str) -> str:
    """Return a resource, perhaps with a subresource, with its group: `telegrambots.singleton.bot/status`."""
    plural, slash, sub = resource.partition("/")
    return f"{plural}{'.' if group else ''}{group}{slash}{sub}"


def told(lacking: Iterable[Lack]) -> str:
    """Return the end of a sentence that names the rights, "" where there are none."""
    return "".join(f"; {each}" for each in sorted(lacking))
