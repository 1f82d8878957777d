"""Claim: whatever is done to a build or a bundle, nothing is lost and nothing is silent.

    python -m benchmarks.abuse --work DIR                       # all parts, hours; resumes
    python -m benchmarks.abuse kills flips --work DIR --scale 0.1

``kills``, ``full_disk``, ``flips``, ``fuzz``, ``crowd`` and ``endurance`` are its parts, a module
each. A part is a list of ``cells``; ``builds`` starts builds and compares what they leave,
``mutations`` and ``readers`` belong to ``fuzz``.
"""
