"""Who else has a bot's token: which containers of a pod, or of a pod template, use a key of a Secret or the token.

A container has the key of a Secret
- as a variable of its own (`env`), or among all keys of the Secret (`envFrom`, with a prefix or without);
- as a file, when it mounts a volume of the Secret, alone or as one source of a projected one, that holds the key.
A volume that names `items` holds no other key, and one that nobody mounts gives nobody anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from .records import Record


class KeyRef(Record, frozen=True):
    """A key of a Secret, by name."""

    name: str = ""
    key: str = ""


class ValueFrom(Record, frozen=True):
    """Where a variable's value comes from."""

    secret_key_ref: KeyRef = KeyRef()


class Variable(Record, frozen=True):
    """An environment variable."""

    name: str = ""
    value: str = ""
    value_from: ValueFrom = ValueFrom()


class SecretName(Record, frozen=True):
    """A Secret, by name."""

    name: str = ""


class Variables(Record, frozen=True):
    """Variables from all keys of a Secret."""

    secret_ref: SecretName = SecretName()


class Mount(Record, frozen=True):
    """A volume in a container's file system, or one path of it."""

    name: str = ""
    sub_path: str = ""


class Container(Record, frozen=True):
    """What a container is given."""

    name: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    env_from: tuple[Variables, ...] = ()
    volume_mounts: tuple[Mount, ...] = ()


class Item(Record, frozen=True):
    """One key of a Secret in a volume, and the file that it becomes."""

    key: str = ""
    path: str = ""


class Source(Record, frozen=True):
    """A Secret as a volume, or as one source of a projected one: those spell its name differently."""

    name: str = ""
    secret_name: str = ""
    items: tuple[Item, ...] = ()

    def path(self, secret: str, key: str) -> str | None:
        """Return the file that the key is in, or None if it is in none."""
        if secret not in {self.name, self.secret_name}:
            return None
        return next((item.path for item in self.items if item.key == key), None) if self.items else key


class Part(Record, frozen=True):
    """One source of a projected volume."""

    secret: Source = Source()


class Projected(Record, frozen=True):
    """A projected volume."""

    sources: tuple[Part, ...] = ()


class Volume(Record, frozen=True):
    """A volume, as far as it can hold a Secret."""

    name: str = ""
    secret: Source = Source()
    projected: Projected = Projected()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The Secrets in it."""
        return (self.secret, *(part.secret for part in self.projected.sources))


class PodParts(Record, frozen=True):
    """What the containers of a pod, or of a pod template, are given."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """Those that run beside each other, those that run before, and those that were added for debugging."""
        return self.containers + self.init_containers + self.ephemeral_containers


@dataclass(frozen=True, slots=True)
class Wanted:
    """The token that is looked for: a key of a Secret, and the token itself where it is known. `sole`: the only key.

    In another namespace than the Secret's its name means nothing: there only the token is looked for.
    """

    secret: str | None
    key: str
    token: str | None = None
    sole: bool = False

    def __repr__(self) -> str:
        """Name the Secret, and never the token (INV-7)."""
        return f"Wanted({self.secret}/{self.key})"


@dataclass(frozen=True, slots=True)
class Use:
    """A container that has the token, and how. `sure` is False for a whole Secret that has other keys as well."""

    container: str
    how: str
    sure: bool = True


def uses(parts: PodParts, wanted: Wanted) -> tuple[Use, ...]:
    """Return the containers that have the token, each once, in the order of the spec."""
    found = (_use(container, parts.volumes, wanted) for container in parts.all_containers)
    return tuple(use for use in found if use is not None)


def _use(container: Container, volumes: tuple[Volume, ...], wanted: Wanted) -> Use | None:
    """Return the plainest way in which a container has the token; one that leaves no doubt goes first."""
    ways = list(_written_out(container, wanted))
    if wanted.secret is not None:
        ways += [*_as_variable(container, wanted.secret, wanted), *_as_file(container, volumes, wanted.secret, wanted)]
    return next((use for use in ways if use.sure), ways[0] if ways else None)


def _written_out(container: Container, wanted: Wanted) -> Iterator[Use]:
    """The token itself stands in the spec. What it is stays here (INV-7)."""
    token = wanted.token
    if not token:
        return
    for variable in container.env:
        if _holds(variable.value, token):
            yield Use(container.name, f"written out in its variable {variable.name}")
    if any(_holds(word, token) for word in container.command + container.args):
        yield Use(container.name, "written out in its command line")


def _holds(text: str, token: str) -> bool:
    """Whether the token stands in the text, and not as a part of a longer one, which is another bot's."""
    before, found, behind = text.partition(token)
    return bool(found) and not before[-1:].isdigit() and not (behind[:1].isalnum() or behind[:1] in {"_", "-"})


def _as_variable(container: Container, secret: str, wanted: Wanted) -> Iterator[Use]:
    for variable in container.env:
        ref = variable.value_from.secret_key_ref
        if (ref.name, ref.key) == (secret, wanted.key):
            yield Use(container.name, f"from Secret {secret} in its variable {variable.name}")
    if any(each.secret_ref.name == secret for each in container.env_from):
        yield Use(container.name, f"among all keys of Secret {secret} in its variables", sure=wanted.sole)


def _as_file(container: Container, volumes: tuple[Volume, ...], secret: str, wanted: Wanted) -> Iterator[Use]:
    sources = {volume.name: volume.sources for volume in volumes}
    for mount in container.volume_mounts:
        for source in sources.get(mount.name, ()):
            path = source.path(secret, wanted.key)
            if path is not None and _shows(mount.sub_path, path):
                sure = wanted.sole or bool(source.items) or bool(mount.sub_path)
                yield Use(container.name, f"from Secret {secret} in its volume {mount.name}", sure=sure)


def _shows(sub_path: str, path: str) -> bool:
    """Whether a mount of one path of a volume, or of all of it, shows the file."""
    part = sub_path.strip("/")
    return part in {"", path} or path.startswith(f"{part}/")


def may_use(pod: bytes, wanted: Wanted) -> bool:
    """Return False for the JSON of a pod that surely does not use the token: a search for plain strings."""
    return any(needle is not None and needle.encode() in pod for needle in (wanted.secret, wanted.token))


_PARTS = msgspec.json.Decoder(PodParts)


def parse_parts(spec: bytes) -> PodParts:
    """Return what the containers of a pod's spec, given as JSON, are given. Raises msgspec.ValidationError."""
    return _PARTS.decode(spec)
