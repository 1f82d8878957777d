"""Where images come from: named datasets, folders, class names; shots; the decoded cache."""
