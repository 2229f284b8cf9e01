"""Figures apply a plot to a sweep; the plots and titles of the papers' figures are set here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure of a config."""

    plot: str
    title: str
    group: str
    """Its heading in the report."""
    sweep: str = ""
    """The sweep that it draws; empty for pretrained models."""
    width: float | None = None
    """The widest that it may be, in inches, if it is not as the others."""


def _papers(group: str, **figures: tuple[str, str]) -> dict[str, Figure]:
    return {name: Figure(plot, title, group) for name, (plot, title) in figures.items()}


PAPER_FIGURES: dict[str, Figure] = {
    **_papers(
        "reversal",
        reversal_curve=("curves", "The reversal curse during training"),
        reversal_logits=("logits", "Logits of the answers, seen and unseen"),
        reversal_vocab=("curves", "Vocabulary size"),
        reversal_layers=("curves", "Number of layers"),
        reversal_depth_width=("curves", "Shallow and narrow models"),
        reversal_heads=("curves", "Number of heads"),
        reversal_positional=("curves", "Positional encoding"),
        reversal_entity_length=("word_curves", "Entities of several tokens"),
        reversal_frozen=("curves", "Frozen embeddings"),
        reversal_weight_decay=("decay", "Weight decay"),
        embedding_cosine=("embeddings", "Cosine similarity of embeddings"),
    ),
    **_papers(
        "chain",
        chain_curve=("curves", "Chain of thought during training"),
        chain_logits=("logits", "Logits along the chain"),
        chain_of_thought=("chain_of_thought", "Two steps against the leap"),
        chain_vocab=("curves", "Chain: vocabulary size"),
        chain_layers=("curves", "Chain: number of layers"),
        chain_heads=("curves", "Chain: number of heads"),
        chain_positional=("curves", "Chain: positional encoding"),
        chain_entity_length=("word_curves", "Chain: entities of several tokens"),
        chain_frozen=("curves", "Chain: frozen embeddings"),
        chain_related=("word_curves", "Chain: entities that share a token"),
    ),
    **_papers(
        "knowing and saying",
        tied_head=("parts", "What is known and what is said: tied heads"),
        diffusion_known=("parts", "What is known and what is said: masked diffusion"),
    ),
    **_papers("in context", in_context_curve=("curves", "Reversal in context")),
    **_papers(
        "masked diffusion",
        diffusion_vs_autoregressive=("final", "Masked diffusion against autoregression"),
        target_exposure=("final", "Every entity trained in every slot"),
        diffusion_masking=("masking", "Which tokens are ever masked"),
        attention_correlation=("attention", "Forward and reverse attention scores"),
        value_storage=("storage", "What the value side stores"),
        gradient_alignment=("gradients", "Forward and reverse gradients"),
    ),
    **_papers(
        "theory",
        bilinear_separation=("separation", "Bilinear model: separation"),
        loss_functions=("final", "Losses other than cross-entropy"),
        one_layer_bounds=("bounds", "One-layer transformer: bounds over time"),
        one_layer_chain=("chain_of_thought", "One-layer chain: A → B and A ⇝ C share a row of Y"),
        one_layer_weights=("weights", "Effective weights: asymmetric, intransitive"),
    ),
    **_papers(
        "remedies",
        mitigation_bench=("mitigation_bench", "Remedies against the curse, and what they cost"),
        bridge_positions=("bridge_positions", "Identity bridge and masked diffusion by positions"),
        two_hop_bridge=("bridge_positions", "Two hops with and without a bridge"),
        relational_decay=("decay", "Relational graphs: weight decay"),
        optimizer_asymmetry=("optimizer_asymmetry", "Asymmetry of effective weights by optimizer"),
    ),
    **_papers("overview", sweep_overview=("overview", "Said and known over the grid")),
}
"""For these, a config only names the sweep: `reversal_vocab: vocab`."""

PRETRAINED_FIGURES: dict[str, Figure] = _papers(
    "pretrained models",
    pretrained_reversal=("pretrained_reversal", "Pretrained: forward and reverse questions"),
    pretrained_attention=("pretrained_attention", "Pretrained: forward and reverse scores"),
    pretrained_gradients=("pretrained_gradients", "Pretrained: forward and reverse gradients"),
)
"""Drawn for every config with `pretrained` models."""
OWN_GROUP = "of this config"

_WRITTEN = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#F0E442")
PALETTES: dict[str, dict[str, str]] = {
    "okabe_ito": {},
    "tol": dict(
        zip(_WRITTEN, ("#4477AA", "#EE6677", "#228833", "#AA3377", "#CCBB44"), strict=True)
    ),
    "grey": dict(
        zip(_WRITTEN, ("#000000", "#777777", "#AAAAAA", "#444444", "#CCCCCC"), strict=True)
    ),
}
"""What replaces the colours of Okabe and Ito, in which plots are written."""
