"""Rights that the operator lacks: what the API server says of one, told so that an admin can act on it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# As every authorizer's refusal ends (k8s.io/apiserver, pkg/endpoints/handlers/responsewriters, forbiddenMessage).
_TOLD = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)" '
    r'(?:in the namespace "(?P<namespace>[^"]*)"|at the cluster scope)'
)


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
