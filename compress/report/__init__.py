"""The report: report.json (the contract), report.md, and a report.html that needs nothing else.

* ``stage.py`` is the stage; ``collect.py`` gathers report.json from finished stages; ``model/`` and
  ``schema.json`` are its contract; ``repeat.py`` finds the command line that repeats a run.
* ``sections/`` has a file per section of the page: rows and sentences from the typed report.
  ``charts/`` draws them as inline SVG; ``templates/`` places both; ``page.py`` renders.
* ``rerender.py`` renders a finished run again, ``merge.py`` adds what other devices measured
  (``compress report``).
"""
