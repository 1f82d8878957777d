"""What a device learns without training: new classes of a bundle, from a few photos."""
