"""Remedies against the curse as sentences that fine-tuning adds to the forward statements.

They are those of the task `inverse` (`tasks/inverse.py`), made from the templates of any facts:

* `bridge` (Ma et al. 2026, arXiv 2602.02470): `The name of X is X.`, and the composed form, which
  is the forward statement up to its object, gone on with as the reverse one goes on after it: `The
  composer A wrote the opera was written by the composer A.` The source writes it in English; ours
  is spliced, so that users need not write it for their facts.
* `reversal: entity` (Golovneva et al. 2024, arXiv 2403.13799): the words of the forward statement
  from last to first, with entities kept whole.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reversal_curse.config.pretrained import PretrainedModel
from reversal_curse.pretrained.facts import Fact, Layout, Questions, lay_out

_NAMED = {
    "subjects": ("subject",),
    "objects": ("object",),
    "names": ("subject", "object"),
    "full": ("object",),
}
_OTHER = {"{subject}": "{object}", "{object}": "{subject}"}


def training_sentences(
    entry: PretrainedModel, questions: Questions, tokenizer: Any
) -> list[Layout]:
    """Lay out all that an entry is fine-tuned on; raises UserError as `lay_out` does."""
    added = [
        lay_out(index, sentence, tokenizer, "forward", entry.shifted)
        for index, fact in enumerate(questions.facts)
        for sentence in _added(entry, fact)
    ]
    return questions.right["forward"] * entry.forward_copies + added


def _added(entry: PretrainedModel, fact: Fact) -> Iterator[Fact]:
    """Yield sentences as forward statements: `subject` is the entity that comes first."""
    start, _, end = fact.forward.partition("{object}")
    for entity in _NAMED.get(entry.bridge, ()):
        name, identity = getattr(fact, entity), "The name of {subject} is {object}" + end
        yield replace(fact, subject=name, object=name, forward=identity)
    if entry.bridge in ("composed", "full"):
        going_on = fact.reverse.partition("{object}")[2].replace("{subject}", "{object}")
        yield replace(fact, object=fact.subject, forward=start.rstrip() + going_on)
    if entry.reversal == "entity":
        words = re.findall(r"{subject}|{object}|\w+|[^\w\s]", fact.forward)
        turned = " ".join(_OTHER.get(word, word) for word in reversed(words))
        yield replace(fact, subject=fact.object, object=fact.subject, forward=turned)
