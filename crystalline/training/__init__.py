"""Training on a tree of actors: Root coordinates, spheres compute."""

from crystalline.training.checkpoint import Checkpoint, load_checkpoint
from crystalline.training.config import TrainConfig
from crystalline.training.events import EpochDone, Event, Saved, SphereTime, StepDone, TrainReport
from crystalline.training.measured import MEASURED
from crystalline.training.progress import Progress
from crystalline.training.replaying import replay_sphere
from crystalline.training.resume import SavedRun, saved_corpus, saved_run
from crystalline.training.trainer import Trainer

__all__ = [
    "MEASURED",
    "Checkpoint",
    "EpochDone",
    "Event",
    "Progress",
    "Saved",
    "SavedRun",
    "SphereTime",
    "StepDone",
    "TrainConfig",
    "TrainReport",
    "Trainer",
    "load_checkpoint",
    "replay_sphere",
    "saved_corpus",
    "saved_run",
]
