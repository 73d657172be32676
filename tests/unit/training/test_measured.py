"""What may differ between two runs of one training is a field of a message each."""

from __future__ import annotations

from dataclasses import fields

from actors.messages import SCHEMAS
from crystalline.training import MEASURED


def test_every_name_is_a_field_of_a_message() -> None:
    declared = {f"{schema.tag}.{field.name}" for schema in SCHEMAS.values() for field in fields(schema.cls)}
    assert declared >= MEASURED
