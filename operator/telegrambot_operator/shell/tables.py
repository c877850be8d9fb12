"""The lock tables, and whether the admission policies that read them are installed and do what they should."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .. import names
from ..core.actions import WriteTable
from ..core.carrier import Admission, born_unlocked
from ..core.observed import Bot
from ..core.ownership import belongs
from ..core.records import ConfigMap, Deployment, Pod, parse_config_map, parse_policy
from ..core.table import Entry, bots_of, parse
from .bots import Key
from .informer import Informer
from .kube import (
    APPLY,
    CONFIGMAPS,
    MUTATING_BINDINGS,
    MUTATING_POLICIES,
    VALIDATING_BINDINGS,
    VALIDATING_POLICIES,
    Kube,
    KubeError,
    path,
)

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
AGAIN_SECONDS = 2.0  # where the API server did not answer
# An API server that has not heard of a write for so long is not healthy: it watches the tables, and takes in changed
# policies once a second (k8s.io/apiserver, pkg/admission/plugin/policy/generic, PolicyRefreshInterval).
HEARD_SECONDS = 10.0
_POLICIES = {
    names.POLICY_LOCK: (MUTATING_POLICIES, MUTATING_BINDINGS),
    names.POLICY_PIN: (MUTATING_POLICIES, MUTATING_BINDINGS),
    names.POLICY_SCALE: (VALIDATING_POLICIES, VALIDATING_BINDINGS),
    names.POLICY_TOKEN: (VALIDATING_POLICIES, VALIDATING_BINDINGS),
}
# Which version of a policy and of its binding is there: uid and generation of both.
Version = tuple[object, ...]


@dataclass(slots=True)
class _Watched:
    """What is remembered of one Deployment: since when its entry has been there, and which pods came before and after.

    It goes with the process: then pods that were there before prove nothing, and the policies are trusted again.
    """

    entry: tuple[str, str] | None = None
    since: float = 0.0
    known: set[str] = field(default_factory=set)
    born: set[str] = field(default_factory=set)
    failed: str = ""
    failed_under: dict[str, Version] = field(default_factory=dict)


class Tables:
    """The lock tables of all namespaces. `changed` is called with the key of each bot that a change concerns."""

    def __init__(
        self,
        kube: Kube,
        paths: Iterable[str],
        changed: Callable[[Key], None],
        all_changed: Callable[[], None],
    ) -> None:
        self._kube = kube
        self._changed = changed
        self._all_changed = all_changed
        self._policies: dict[str, Version] = {}
        self._installed_since: float | None = None
        self._policies_heard = False
        self._watched: dict[Key, _Watched] = {}
        self._problems: dict[str, str] = {}
        self.tables: Informer[ConfigMap] = Informer(
            kube,
            paths,
            parse_config_map,
            self._table_changed,
            fields=f"metadata.name={names.LOCK_TABLE}",
            rights_changed=all_changed,
        )

    def _table_changed(self, before: ConfigMap | None, after: ConfigMap | None) -> None:
        old, new = before.data if before else {}, after.data if after else {}
        namespace = next((each.metadata.namespace for each in (after, before) if each is not None), "")
        touched = {key for key, value in (*old.items(), *new.items()) if old.get(key) != new.get(key)}
        for table in (old, new):
            for bot in {name for key in touched for name in bots_of(key, table.get(key, ""))}:
                self._changed((namespace, bot))

    def mentions(self, key: Key) -> bool:
        """Return whether a namespace's table speaks of a TelegramBot."""
        table = self._data(key[0])
        return any(key[1] in bots_of(each, value) for each, value in table.items())

    def entered(self, namespace: str, deployment: str) -> Entry | None:
        """Return what the table says of a Deployment."""
        return parse(self._data(namespace).get(deployment, ""))

    def _data(self, namespace: str) -> dict[str, str]:
        table = self.tables.store.get(namespace, names.LOCK_TABLE)
        return table.data if table else {}

    # --- What a pass needs ------------------------------------------------------------------------------------------

    def view(self, bot: Bot | None, namespace: str) -> Admission:
        """Return what is known of the policies and the table, for one bot."""
        denied = self.tables.denied
        problem = self._problems.get(namespace, "") or (
            f"its table cannot be read: {denied.sentence}" if denied else ""
        )
        watched = self._watched.get(bot.key) if bot else None
        return Admission(
            policies=frozenset(self._policies),
            table=self._data(namespace),
            problem=problem,
            new=self._settling,
            in_force=watched is not None and self._heard(watched),
            failed=watched.failed if watched and watched.failed_under == self._policies else "",
        )

    def _heard(self, watched: _Watched) -> bool:
        old_enough = watched.entry is not None and time.monotonic() - watched.since >= HEARD_SECONDS
        return old_enough and self._policies_heard

    def births(self, bot: Bot, deployment: Deployment | None, pods: Sequence[Pod]) -> str:
        """Note which pods are new, and return which was born under the bot's entry without the lock, "" if none."""
        watched = self._watched.setdefault(bot.key, _Watched())
        entry = self.entered(bot.namespace, bot.target)
        value = (entry.identity, str(entry.lock)) if entry is not None and entry.bot == bot.name else None
        if watched.entry != value:
            watched.entry, watched.since, watched.born = value, time.monotonic(), set()
        mine = [pod for pod in pods if belongs(pod, deployment)]
        fresh = {pod.uid for pod in mine} - watched.known
        trusted = self._heard(watched) and names.POLICY_LOCK in self._policies
        if trusted:
            watched.born |= fresh
        watched.known = {pod.uid for pod in mine}
        watched.born &= watched.known
        unlocked = born_unlocked(deployment, mine, watched.born, entry) if trusted else ""
        if unlocked:
            watched.failed, watched.failed_under = unlocked, dict(self._policies)
        return unlocked

    def seconds_until_heard(self, key: Key) -> float | None:
        """Return for how long the bot's entry is still too young to rely on, or None where it is not."""
        watched = self._watched.get(key)
        if watched is None or watched.entry is None:
            return None
        left = HEARD_SECONDS - (time.monotonic() - watched.since)
        return left if left > 0 else None

    def forget(self, key: Key) -> None:
        """Forget a bot that is gone."""
        self._watched.pop(key, None)

    def forget_all(self) -> None:
        """Forget what was remembered of all bots and tables: only whoever looks all the time knows what came when."""
        self._watched.clear()
        self._problems.clear()

    # --- Writing ----------------------------------------------------------------------------------------------------

    async def write(self, action: WriteTable) -> None:
        """Change a table, which is made where there is none. Raises KubeError."""
        where = path(CONFIGMAPS, action.namespace, names.LOCK_TABLE)
        try:
            data = await self._patch(where, action)
        except KubeError as error:
            if error.status not in {404, 409}:
                self._problems[action.namespace] = f"the lock table cannot be written: {error.sentence}"
            raise
        self._problems.pop(action.namespace, None)
        self.tables.learn(data)

    async def _patch(self, where: str, action: WriteTable) -> bytes:
        body = {"data": action.data}
        try:
            return await self._kube.patch(where, body)
        except KubeError as error:
            if error.status != 404:
                raise
        # By server-side apply, because the right to create can be given for one name only for requests that name it.
        labels = {"app.kubernetes.io/managed-by": names.FIELD_MANAGER}
        empty = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names.LOCK_TABLE, "labels": labels}}
        await self._kube.patch(where, empty, APPLY, {"force": "true"})
        return await self._kube.patch(where, body)

    # --- The policies -----------------------------------------------------------------------------------------------

    async def run(self, looked: Callable[[], None]) -> None:
        """Look at the policies for ever; `looked` is called after the first look."""
        while True:
            try:
                found = await self._look()
            except KubeError as error:
                log.debug("the admission policies could not be read: %s", error.message)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._take(found)
            looked()
            await asyncio.sleep(HEARD_SECONDS if self._settling else LOOK_SECONDS)

    @property
    def _settling(self) -> bool:
        return self._installed_since is not None and not self._policies_heard

    def _take(self, found: dict[str, Version]) -> None:
        """Take in what is installed. What is there after a while as well is heard of, by every API server.

        One that is changed later is relied on at once: a pod that it does not lock is to be noticed.
        """
        before, now = (self._policies, self._policies_heard), time.monotonic()
        if found.keys() != self._policies.keys():
            log.info("admission policies installed: %s", ", ".join(found) or "none")
        if not Admission(policies=frozenset(found)).installed:
            self._installed_since = None
        elif self._installed_since is None:
            self._installed_since = now
        self._policies_heard = self._installed_since is not None and now - self._installed_since >= HEARD_SECONDS
        self._policies = found
        if (self._policies, self._policies_heard) != before:
            self._all_changed()

    async def _look(self) -> dict[str, Version]:
        found: dict[str, Version] = {}
        for name, resources in _POLICIES.items():
            policy, binding = [await self._version(path(resource, None, name)) for resource in resources]
            if policy and binding:
                found[name] = (*policy, *binding)
        return found

    async def _version(self, where: str) -> Version | None:
        """Return which version of an object is there, None where there is none or the API server knows no such kind."""
        try:
            meta = parse_policy(await self._kube.get(where)).metadata
        except KubeError as error:
            if error.status in {403, 404}:
                return None
            raise
        return None if meta.deletion_timestamp else (meta.uid, meta.generation)
