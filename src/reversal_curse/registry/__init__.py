"""What there is, by the names that configs use: tasks, masking arms, probes.

Nothing is imported until it is asked for: reading a config loads neither torch nor matplotlib.
"""

from reversal_curse.registry.maskings import MASKINGS, MaskingArm
from reversal_curse.registry.pretrained import PRETRAINED_TABLES
from reversal_curse.registry.probes import PROBES, Probe, run_tables
from reversal_curse.registry.tasks import TASKS, Task

__all__ = [
    "MASKINGS",
    "PRETRAINED_TABLES",
    "PROBES",
    "TASKS",
    "MaskingArm",
    "Probe",
    "Task",
    "run_tables",
]
