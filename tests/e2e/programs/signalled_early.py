"""`crystalline`, to which a signal is sent while it prepares the text: before there are actors to tell of."""

from __future__ import annotations

import os
import signal
from typing import Any

from crystalline.cli import main
from crystalline.training import trainer
from crystalline.training.prepare import prepare as whole


def signalled(*values: Any, **options: Any) -> Any:
    os.kill(os.getpid(), signal.SIGUSR2)
    return whole(*values, **options)


trainer.prepare = signalled  # type: ignore[attr-defined]  # the name under which it is called

if __name__ == "__main__":
    main()
