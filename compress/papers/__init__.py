"""Published systems as tables of settings, and their tables made with this project's methods.

*.yaml       a paper each: the rows of its table as settings, its claims and its printed numbers
methods      reads them
cells        one cell: a build, and which test images its exported student gets right
reproduce    all cells of a table
page         the table and its verdicts as Markdown
statistics   differences between rows, paired over seeds and test images
"""
