"""What there is, by the names that configs use: tasks, families, masking arms, probes, figures.

Adding one is one new module and one entry here (a masking arm is its entry alone). Nothing
is imported until it is asked for, so that reading a config loads neither torch nor
matplotlib.
"""

from reversal_curse.registry.families import FAMILIES, Family, uses
from reversal_curse.registry.figures import (
    ALL_FIGURES,
    FIGURES,
    PRETRAINED_FIGURES,
    FigureSpec,
)
from reversal_curse.registry.maskings import MASKINGS, MaskingArm
from reversal_curse.registry.pretrained import PRETRAINED_TABLES
from reversal_curse.registry.probes import PROBES, Probe, run_tables
from reversal_curse.registry.tasks import TASK_AXES, TASKS, Task

__all__ = [
    "ALL_FIGURES",
    "FAMILIES",
    "FIGURES",
    "MASKINGS",
    "PRETRAINED_FIGURES",
    "PRETRAINED_TABLES",
    "PROBES",
    "TASKS",
    "TASK_AXES",
    "Family",
    "FigureSpec",
    "MaskingArm",
    "Probe",
    "Task",
    "run_tables",
    "uses",
]
