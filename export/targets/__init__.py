"""More files from one bundle: half precision, fixed batch, pixels in, ORT format, versions."""
