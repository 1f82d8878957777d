"""What a build would cost before it runs: images, teacher calls, model FLOPs, disk and hours."""
