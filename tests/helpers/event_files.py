"""TensorBoard's event files read back, record by record, with every checksum."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tensorboardX.proto.event_pb2 import Event, SessionLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def events(folder: Path) -> list[Event]:
    """Every event of a folder, in the order in which TensorBoard reads them."""
    return [event for path in sorted(folder.glob("*tfevents*")) for event in _events(path)]


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> steps and values, but those that the begin of a later session has purged."""
    kept: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        if event.session_log.status == SessionLog.START:
            kept = {tag: [row for row in rows if row[0] < event.step] for tag, rows in kept.items()}
        for value in event.summary.value:
            kept.setdefault(value.tag, []).append((event.step, value.simple_value))
    return kept


def _events(path: Path) -> Iterator[Event]:
    content = path.read_bytes()
    while content:
        head, content = content[:12], content[12:]
        (length,) = struct.unpack("<Q", head[:8])
        assert struct.unpack("<I", head[8:])[0] == _masked(head[:8])
        body, end, content = content[:length], content[length : length + 4], content[length + 4 :]
        assert struct.unpack("<I", end)[0] == _masked(body)
        yield Event.FromString(body)


def _masked(content: bytes) -> int:
    """CRC-32C by its definition, one bit at a time, then rotated and shifted as TensorFlow's records are."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
