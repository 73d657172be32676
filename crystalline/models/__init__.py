"""Models under names in a folder: imported from elsewhere, listed, checked, exported for others."""

from __future__ import annotations

from crystalline.models.describe import Description, Summary, describe, parts_of, summarise
from crystalline.models.importing import export_model, import_model
from crystalline.models.names import check_name, is_name, name_for
from crystalline.models.record import RECORD, FileHash, Record, damages, read_record
from crystalline.models.resolve import MODELS_VARIABLE, models_folder, reading_model, resolve_model
from crystalline.models.store import Store

__all__ = [
    "MODELS_VARIABLE",
    "RECORD",
    "Description",
    "FileHash",
    "Record",
    "Store",
    "Summary",
    "check_name",
    "damages",
    "describe",
    "export_model",
    "import_model",
    "is_name",
    "models_folder",
    "name_for",
    "parts_of",
    "read_record",
    "reading_model",
    "resolve_model",
    "summarise",
]
