"""A folder of images, or an archive of one: its layout, its classes and their names."""
