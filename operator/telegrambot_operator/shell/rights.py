"""Which rights the operator was found to lack, from the answers to its requests: it asks for nothing to know that."""

import time
from collections.abc import Callable

from ..core.rights import Lack, lack, target, with_group

# A right that nothing has asked for since is not spoken of any more.
LASTS_SECONDS = 900.0
_AT_MOST = 1000

Changed = Callable[[Lack, bool], None]


class Rights:
    """What is lacking now. `changed` is called with each right, and whether it is lacking, when that is news."""

    def __init__(self) -> None:
        self._refused: dict[Lack, float] = {}
        self.changed: Changed = lambda _lack, _is_lacking: None

    def refused(self, message: str) -> None:
        """Take in why a request was answered with 403."""
        lacking = lack(message)
        if lacking is None:
            return
        known = self._refused.get(lacking)
        self._refused[lacking] = time.monotonic()
        while len(self._refused) > _AT_MOST:
            del self._refused[next(iter(self._refused))]
        if known is None:
            self.changed(lacking, True)

    def allowed(self, method: str, path: str, *, watch: bool = False) -> None:
        """Take in that a request was allowed. A patch may have made an object, which is asked for within it."""
        if not self._refused:
            return
        for granted in _needed(method, path, watch=watch):
            if self._refused.pop(granted, None) is not None:
                self.changed(granted, False)

    def lacking(self, namespace: str, *, cluster: bool) -> tuple[Lack, ...]:
        """Return what is lacking in a namespace, and with `cluster` in the whole cluster."""
        if not self._refused:
            return ()
        now = time.monotonic()
        for each in [each for each, at in self._refused.items() if now - at > LASTS_SECONDS]:
            del self._refused[each]
        where = {namespace, ""} if cluster else {namespace}
        return tuple(sorted(each for each in self._refused if each.namespace in where))


def _needed(method: str, path: str, *, watch: bool) -> list[Lack]:
    """Return the rights that a request needs, or may need."""
    found = target(path)
    if found is None:
        return []
    verbs = ["patch", "create"] if method == "PATCH" else [found.verb(method, watch=watch)]
    return [Lack(verb, with_group(found.resource, found.group), found.namespace) for verb in verbs]
