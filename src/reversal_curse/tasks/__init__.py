"""The tasks, by name. To add one, write a file here with its `TASK`, and list it below."""

from reversal_curse.tasks import (
    chain,
    chain_related,
    facts,
    in_context,
    inverse,
    relational,
    reversal,
    two_hop,
)

TASKS = {
    "reversal": reversal.TASK,
    "chain": chain.TASK,
    "chain_related": chain_related.TASK,
    "in_context": in_context.TASK,
    "facts": facts.TASK,
    "inverse": inverse.TASK,
    "two_hop": two_hop.TASK,
    "relational": relational.TASK,
}
