"""A finished bundle on labeled images that its build never saw (``compress evaluate``).

* ``matching.py`` finds the bundle's label of each class of the images; ``measure.py`` classifies
  the images; ``result.py`` is what came of it.
* ``sentences.py`` puts it into words: ``terminal.py`` for a terminal, ``page.py`` for a browser;
  ``artifact.py`` writes evaluation.json and evaluation.html.
"""
