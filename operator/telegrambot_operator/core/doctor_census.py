"""Who lives in the cluster, counted once for all bots that the doctor looks at, and found without a search for each."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import msgspec

from ..api.models import SecretKeyRef
from .classify import Life, life
from .doctor_facts import Gap
from .doctor_uses import User, secrets_in, tokens_in
from .observed import Bot
from .ownership import belongs, owner_of
from .records import Autoscaler, Deployment, Pod, parse_deployment, parse_pod
from .strays import PodParts

T = TypeVar("T")
Key = tuple[str, str]


class _WithParts(msgspec.Struct, frozen=True):
    spec: PodParts = PodParts()


_PARTS = msgspec.json.Decoder(_WithParts)


def parts_of(data: bytes) -> PodParts:
    """Return what the containers of a pod, or of a pod template, are given; from its JSON."""
    return _PARTS.decode(data).spec


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod and what its containers are given."""

    pod: Pod
    parts: PodParts = field(repr=False)

    @classmethod
    def of(cls, data: bytes) -> "Resident":
        """Return the pod in a JSON text."""
        return cls(parse_pod(data), parts_of(data))


@dataclass(frozen=True, slots=True)
class Employer:
    """A Deployment and what the containers of its pods are given."""

    deployment: Deployment
    parts: PodParts = field(repr=False)

    @classmethod
    def of(cls, data: bytes) -> "Employer":
        """Return the Deployment in a JSON text."""
        deployment = parse_deployment(data)
        return cls(deployment, parts_of(bytes(deployment.spec.template)))


@dataclass(frozen=True)
class Census:
    """Everybody, or who is in the one namespace that may be seen; `unseen` says why not more."""

    bots: tuple[Bot, ...] | Gap = ()
    deployments: tuple[Employer, ...] | Gap = ()
    pods: tuple[Resident, ...] | Gap = ()
    autoscalers: tuple[Autoscaler, ...] | Gap = ()
    unseen: Gap | None = None

    def employer(self, key: Key) -> Employer | None:
        """Return a Deployment that was counted."""
        return self._employers.get(key)

    def pods_of(self, deployment: Deployment | None) -> tuple[Pod, ...] | Gap:
        """Return the pods that ReplicaSets of the Deployment control."""
        if isinstance(self.pods, Gap):
            return self.pods
        if deployment is None:
            return ()
        there = self._by_owner[deployment.metadata.namespace, f"Deployment {deployment.name}"]
        return tuple(pod for pod in there if belongs(pod, deployment))

    def with_label(self, identity: str) -> list[Pod]:
        """Return the pods that carry a bot's identity."""
        return self._by_label[identity]

    def users(self, namespace: str, secret: str | None, token: str | None) -> Iterable[User]:
        """Return who may have a token: by the Secret that it is in, or by the token itself."""
        by_secret = self._by_secret[namespace, secret] if secret else []
        by_token = self._by_token[token] if token else []
        return dict.fromkeys((*by_secret, *by_token))

    def kin(self, namespace: str, ref: SecretKeyRef | None, bot_id: int | None) -> list[Bot]:
        """Return the TelegramBots of the same key of a Secret, and those of the same bot, as the operator says."""
        found = [*self._by_ref[namespace, ref], *self._by_id[bot_id]]
        return list({bot.uid: bot for bot in found}.values())

    def scaling(self, key: Key) -> tuple[str, ...] | Gap:
        """Return the autoscalers that would give a Deployment more pods than one."""
        if isinstance(self.autoscalers, Gap):
            return self.autoscalers
        return tuple(sorted(each.metadata.name for each in self._by_target[key] if each.spec.max_replicas > 1))

    @cached_property
    def _employers(self) -> dict[Key, Employer]:
        return {each.deployment.metadata.key: each for each in _known(self.deployments)}

    @cached_property
    def _by_ref(self) -> defaultdict[tuple[str, SecretKeyRef | None], list[Bot]]:
        found = defaultdict[tuple[str, SecretKeyRef | None], list[Bot]](list)
        for bot in _known(self.bots):
            if bot.spec and bot.spec.token:
                found[bot.namespace, bot.spec.token.secret_key_ref].append(bot)
        return found

    @cached_property
    def _by_id(self) -> defaultdict[int | None, list[Bot]]:
        found = defaultdict[int | None, list[Bot]](list)
        for bot in _known(self.bots):
            bot_id = (bot.status.get("bot") or {}).get("id")
            if bot_id is not None:
                found[bot_id].append(bot)
        return found

    @cached_property
    def _by_owner(self) -> defaultdict[Key, list[Pod]]:
        found = defaultdict[Key, list[Pod]](list)
        for each in _known(self.pods):
            found[each.pod.metadata.namespace, owner_of(each.pod)].append(each.pod)
        return found

    @cached_property
    def _by_target(self) -> defaultdict[Key, list[Autoscaler]]:
        found = defaultdict[Key, list[Autoscaler]](list)
        for each in _known(self.autoscalers):
            if each.spec.scale_target_ref.kind == "Deployment":
                found[each.metadata.namespace, each.spec.scale_target_ref.name].append(each)
        return found

    @cached_property
    def _by_label(self) -> defaultdict[str, list[Pod]]:
        found = defaultdict[str, list[Pod]](list)
        for each in _known(self.pods):
            found[each.pod.metadata.labels.bot or ""].append(each.pod)
        return found

    @cached_property
    def _all_users(self) -> list[User]:
        """Everybody who runs or is about to."""
        owners = [each for each in _known(self.deployments) if each.deployment.spec.replicas]
        pods = [each for each in _known(self.pods) if life(each.pod) is not Life.DEAD]
        return [
            *(User("Deployment", *each.deployment.metadata.key, "", each.parts) for each in owners),
            *(User("pod", *each.pod.metadata.key, each.pod.uid, each.parts, owner_of(each.pod)) for each in pods),
        ]

    @cached_property
    def _by_secret(self) -> defaultdict[Key, list[User]]:
        found = defaultdict[Key, list[User]](list)
        for user in self._all_users:
            for secret in secrets_in(user.parts):
                found[user.namespace, secret].append(user)
        return found

    @cached_property
    def _by_token(self) -> defaultdict[str, list[User]]:
        found = defaultdict[str, list[User]](list)
        for user in self._all_users:
            for token in tokens_in(user.parts):
                found[token].append(user)
        return found


def _known(found: tuple[T, ...] | Gap) -> tuple[T, ...]:
    return () if isinstance(found, Gap) else found
