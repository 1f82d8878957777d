"""The search for the best student within a budget.

zoo         the students that a search considers
stages      the stages of a search that no build has
candidates  a student at a resolution: costs, limits it breaks, scores
survey      the costs of each candidate, before any training
held_out    the images that candidates are compared on
search      pruning, successive halving, the choice
record      the events and the result in the run folder
verdict     the finished build against its budget
"""
