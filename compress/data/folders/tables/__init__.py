"""Tables of labels beside the images: their columns, their splits, the files they name."""
