"""Where images come from: named datasets, folders, class names; few-shot sampling; the decoded
cache.
"""
