"""Which unlabeled photos to label next: those that a bundle is unsure of, spread over the rest."""
