"""One process of llama.cpp that does the same work.

usage: python tests/benchmarks/generation/llama_cpp_peer.py FILE.gguf [--threads N] [work]

Through the C functions of llama-cpp-python: one call of `llama_decode` for each prompt and each step, with
logits of the last token. Prints one JSON object. It imports nothing of the packages. `--check` only says
whether it could run; exit code 2 when it cannot.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.benchmarks.generation.work import Work, add_work, work_of
from tests.benchmarks.speed.lifeline import end_with_parent

try:
    import llama_cpp
except ModuleNotFoundError as missing:
    print(
        f"error: {missing.name} is not installed for {sys.executable}: install the extra with "
        "`pip install -e '.[generation-peers]'`, which compiles it, or leave llama.cpp out",
        file=sys.stderr,
    )
    raise SystemExit(2) from None


class Context:
    """A model with a cache for some texts."""

    def __init__(self, path: Path, work: Work, threads: int) -> None:
        # Kept: the library holds no reference to a function that is called back.
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = work.context * work.streams
        settings.n_batch = settings.n_ubatch = max(work.prefill, work.prompt * work.streams)
        settings.n_seq_max = work.streams
        settings.n_threads = settings.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(model, settings)
        self._batch = llama_cpp.llama_batch_init(settings.n_batch, 0, work.streams)
        if not self._context:
            raise SystemExit(f"error: {path} cannot be opened by llama.cpp")

    def forget(self) -> None:
        """Empty the cache."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)

    def run(self, ids: list[int], position: int, streams: int) -> float:
        """Take these ids into each stream from a position on; return the seconds of it."""
        batch, count = self._batch, 0
        for stream in range(streams):
            for offset, token in enumerate(ids):
                batch.token[count] = token
                batch.pos[count] = position + offset
                batch.n_seq_id[count] = 1
                batch.seq_id[count][0] = stream
                batch.logits[count] = offset == len(ids) - 1
                count += 1
        batch.n_tokens = count
        begun_s = time.perf_counter()
        code = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_get_logits_ith(self._context, count - 1)  # waits for the result
        spent_s = time.perf_counter() - begun_s
        if code:
            raise SystemExit(f"error: llama_decode returned {code}")
        return spent_s


def measure(context: Context, work: Work) -> dict[str, list[float]]:
    """Seconds of prefills and steps."""
    prefill_s = []
    for _ in range(1 + work.prefills):
        context.forget()
        prefill_s.append(context.run(work.ids(work.prefill), 0, 1))
    found = {"prefill_s": prefill_s[1:]}
    for name, streams in (("one_s", 1), ("eight_s", work.streams)):
        context.forget()
        context.run(work.ids(work.prompt), 0, streams)
        tokens = enumerate(work.ids(work.warm + work.steps), start=work.prompt)
        found[name] = [context.run([token], position, streams) for position, token in tokens][work.warm :]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true")
    add_work(parser)
    options = parser.parse_args()
    versions: dict[str, Any] = {"llama_cpp_python": llama_cpp.__version__}
    if options.check:
        print(json.dumps(versions))
        return
    if options.with_parent:
        end_with_parent()
    work = work_of(options)
    print(json.dumps({**measure(Context(options.model, work, options.threads), work), **versions}))


if __name__ == "__main__":
    main()
