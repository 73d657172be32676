"""Looking at a living system from outside: its picture, a socket that shows it, a dump on a signal, its log.

picture           what there is, what each actor does, who waits for whom: plain data
serve_picture     shows the picture to other processes of the same user
fetch_picture     asks a process for it
dump_on_signal    writes tree, waits and all stacks when a signal comes
ActorLogFilter, JsonFormatter, install_log    log records that know in which actor they were made
"""

from actors.living.asking import NotServed, fetch_picture
from actors.living.logs import ActorLogFilter, JsonFormatter, install_log
from actors.living.picture import picture
from actors.living.signals import dump_on_signal
from actors.living.story import dump_text, picture_lines
from actors.living.window import serve_picture

__all__ = [
    "ActorLogFilter",
    "JsonFormatter",
    "NotServed",
    "dump_on_signal",
    "dump_text",
    "fetch_picture",
    "install_log",
    "picture",
    "picture_lines",
    "serve_picture",
]
