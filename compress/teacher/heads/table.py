"""The heads that a CLIP teacher can have from a few shots: ``teacher.heads``, one or several.

    probe         rows, fine-tuned from the texts; CLAP's pull to them        ``../probe.py``
    tip-adapter   texts and a cache of the shots; nothing is trained          ``tip_adapter.py``
    lp++          rows ``w_k + a_k t_k``, both trained                        ``lp_plus_plus.py``
    prolip        a matrix in front of the texts, trained, held to identity   ``prolip.py``

Of several the mean of their probabilities is the answer. They err differently: one believes the
texts, another the shots. Left out is what changes the tower itself (LayerNorms, LoRA, prompts):
every stage that asks the teacher would have to load other weights.
"""

from __future__ import annotations

PROBE = "probe"

#: ``teacher.heads`` -> what fits one; references, since planning loads no torch
HEADS: dict[str, str] = {
    PROBE: "compress.teacher.probe:fitted_probe",
    "tip-adapter": "compress.teacher.heads.tip_adapter:tip_adapter",
    "lp++": "compress.teacher.heads.lp_plus_plus:lp_plus_plus",
    "prolip": "compress.teacher.heads.prolip:prolip",
}
