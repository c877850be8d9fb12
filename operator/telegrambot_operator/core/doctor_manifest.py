"""The manifest of the TelegramBot that would adopt a Deployment."""

from typing import Any

import yaml

from .. import names
from .doctor_facts import Facts, Mail, Place

Json = dict[str, Any]

_WEBHOOK = (
    "# A webhook is set at {host}. If the bot is meant to be served by it, add delivery: Webhook and webhook.url.\n"
)
_TOKEN = "# With spec.token.secretKeyRef, the Secret and key of the bot token, more can be known and guarded.\n"  # noqa: S105


def manifest(facts: Facts) -> str:
    """Return the YAML that adopts the Deployment with all that is known of it; comments say what a person must add."""
    place = facts.place if isinstance(facts.place, Place) else None
    spec: Json = {"deploymentRef": {"name": facts.deployment_name}}
    if place is not None and place.secret is not None:
        spec["token"] = {"secretKeyRef": {"name": place.secret.name, "key": place.secret.key}}
    notes = "" if "token" in spec else _TOKEN
    if isinstance(facts.mail, Mail) and facts.mail.info.url:
        notes += _WEBHOOK.format(host=facts.mail.host)
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": facts.deployment_name, "namespace": facts.namespace},
        "spec": spec,
    }
    return notes + yaml.safe_dump(body, sort_keys=False)
