"""The settings of a training, and the defaults of the pipeline's two trainings.

The command line takes its defaults from here too, so this file imports nothing that is slow to
load.

Source: AdamW: Loshchilov and Hutter, arXiv 1711.05101; warm-up and cosine decay: arXiv 1608.03983;
inverse square root: Vaswani et al., arXiv 1706.03762, §5.3.
Derived in: chapter 05 and chapter 08.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from rqvae_lib.io.json_configs import check_settings

Schedule = Literal["cosine", "linear", "constant", "inverse-sqrt"]
Precision = Literal["float32", "bfloat16"]
LARGEST_SEED = 2**31 - 1
REALS = ("learning_rate", "weight_decay", "max_grad_norm", "final_share")
ENDING_AT_A_SHARE = ("cosine", "linear")
COUNTS = ("num_steps", "batch_size", "log_every", "measure_every", "save_every")


@dataclass(frozen=True)
class EarlyStop:
    """Stops a training when a measured number no longer improves, and keeps the best weights.

    Raises:
        ValueError: if a setting has another type, or patience is below 1.
    """

    metric: str  # one of the numbers that `measure` returns, by name
    patience: int  # measurements without a new best until the training stops, at least 1
    higher_is_better: bool  # False for a loss, for example

    def __post_init__(self) -> None:
        check_settings(self)
        if self.patience < 1:
            raise ValueError(f"patience is {self.patience}; it must be at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how fast and how carefully to train.

    Raises:
        ValueError: if a number is outside its range or of another type, if the schedule or
            precision is unknown, if a setting would change nothing, or unless exactly one of
            num_steps and num_epochs is given.
    """

    batch_size: int  # examples per step
    num_steps: int | None = None  # optimizer steps in total; give either these or epochs
    num_epochs: float | None = None  # passes over the data
    learning_rate: float = 1e-3  # the highest one, after the warm-up
    schedule: Schedule = "cosine"  # how the learning rate changes after the warm-up
    warmup_steps: int = 0  # steps over which the learning rate rises from zero
    final_share: float = 0.0  # cosine and linear end at this share of the learning rate
    weight_decay: float = 0.01  # AdamW's; pulls matrices toward zero, does not affect vectors
    max_grad_norm: float = 1.0  # longer gradients are scaled down to this length
    precision: Precision = "float32"  # "bfloat16": matrix products in 16 bits, by autocast
    compile: bool = False  # torch.compile the step: faster later, up to minutes at the start
    seed: int = 0  # seeds everything that is random
    log_every: int = 50  # steps between two entries of the log
    measure_every: int = 1000  # steps between two measurements, if there is a `measure`
    save_every: int = 1000  # steps between two saved states, if there is a `state_path`
    snapshot_steps: tuple[int, ...] = ()  # `snapshot` is called after these numbers of steps
    early_stop: EarlyStop | None = None  # None: all steps are done

    def __post_init__(self) -> None:
        check_settings(self)
        if (self.num_steps is None) == (self.num_epochs is None):
            raise ValueError(
                f"num_steps is {self.num_steps} and num_epochs is {self.num_epochs}: give one"
            )
        for name in COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed is {self.seed}; it must be 0 to {LARGEST_SEED}")
        if self.num_epochs is not None and not 0 < self.num_epochs < math.inf:
            raise ValueError(f"num_epochs is {self.num_epochs}; it must be finite and above 0")
        for name in (*REALS, "warmup_steps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; it must be a finite number, not below 0")
        if self.final_share > 1:
            raise ValueError(f"final_share is {self.final_share}; it must be at most 1")
        if self.final_share and self.schedule not in ENDING_AT_A_SHARE:
            raise ValueError(
                f"final_share is {self.final_share}, but a {self.schedule} schedule does not end "
                f"at a share of the learning rate: leave it out, or choose "
                f"{' or '.join(ENDING_AT_A_SHARE)}"
            )
        # Their order changes nothing, and must not make it another training to resume.
        object.__setattr__(self, "snapshot_steps", tuple(sorted(set(self.snapshot_steps))))
        if any(step < 1 for step in self.snapshot_steps):
            raise ValueError(f"snapshot_steps is {self.snapshot_steps}; each must be at least 1")
        for name, choices in (("schedule", Schedule), ("precision", Precision)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it must be one of {get_args(choices)}"
                )

    def check_snapshots(self, steps_per_epoch: int) -> None:
        """Refuse snapshots after the last step.

        Args:
            steps_per_epoch: as `total_steps`.

        Raises:
            ValueError: if one of `snapshot_steps` comes later.
        """
        total = self.total_steps(steps_per_epoch)
        late = [str(step) for step in self.snapshot_steps if step > total]
        if late:
            raise ValueError(
                f"snapshot_steps (--snapshots) asks for step {', '.join(late)}, but the training "
                f"has {total} steps: leave out what comes after the last"
            )

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return the number of steps of the training, at least 1.

        Args:
            steps_per_epoch: the number of steps in one pass over the data.
        """
        if self.num_steps is not None:
            return self.num_steps
        return max(1, round((self.num_epochs or 0) * steps_per_epoch))

    def rate_at(self, step: int, total_steps: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: counted from 0.
            total_steps: the number of steps of the training.
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, total_steps - self.warmup_steps)
        if self.schedule == "inverse-sqrt":
            return self.learning_rate * math.sqrt(max(1, self.warmup_steps) / (step + 1))
        share = {
            "cosine": (1 + math.cos(math.pi * done)) / 2,
            "linear": 1 - done,
            "constant": 1.0,
        }[self.schedule]
        return self.learning_rate * (self.final_share + (1 - self.final_share) * share)


RQVAE_STEPS = 2000
RECOMMENDER_STEPS = 1000
# The default training of a tokenizer.
RQVAE_TRAINING = TrainingConfig(num_steps=RQVAE_STEPS, batch_size=256, learning_rate=1e-3)
# The default training of a recommender.
RECOMMENDER_TRAINING = TrainingConfig(
    num_steps=RECOMMENDER_STEPS,
    batch_size=32,
    learning_rate=3e-3,
    warmup_steps=50,
    weight_decay=0.1,
    save_every=100,
)
