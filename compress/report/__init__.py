"""The report: report.json (the contract), report.md, and a report.html that needs nothing else.

* ``stage.py`` the stage; ``collect.py`` turns finished stages into one plain dict; ``model.py`` and
``schema.json`` say
  what that dict must look like; ``repeat.py`` finds the command line that repeats a run.
* ``page.py`` renders the dict to HTML and Markdown with ``wording.py`` (numbers, headline),
``sentences.py`` (what the
  figures say), ``plots.py`` on ``svg.py`` (inline drawings) and ``pictures.py`` (thumbnails as data
  URIs).
* Sections with rows, words and pictures of their own: ``speed.py``, ``devices.py``, ``budget.py``,
    ``mixtures.py``,
  ``changed.py``, ``domains.py``, ``recipe.py``; their drawings are in ``plots_speed.py``,
  ``plots_device.py`` and ``plots_budget.py``.
* ``rerender.py`` renders a finished run again, ``merge.py`` with what other devices measured
(``compress report``). * ``summary.py`` is the table that the command line ends with.
"""

from __future__ import annotations
