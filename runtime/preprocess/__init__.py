"""THE preprocessing: training, calibration, export and the device all call these three functions.

    decode(anything)        -> upright 8-bit RGB              (PIL.Image)
    geometry(image, spec)   -> resize shorter side, crop      uint8   (S, S, 3)
    normalize(pixels, spec) -> standardize, channels first    float32 (B, 3, S, S)

Every step is reproducible bit for bit: sizes and offsets are integer arithmetic, and normalization
is a table of 256 values per channel, computed in float64. So no compiler's fused multiply-add makes
two machines differ.
"""

from runtime.preprocess.decode import MAX_PIXELS, ImageLike, decode, is_encoded
from runtime.preprocess.normalize import PreprocessSpec, normalize, require_pixels
from runtime.preprocess.resize import INTERPOLATIONS, Geometry, geometry

__all__ = ["INTERPOLATIONS", "MAX_PIXELS", "Geometry", "ImageLike", "PreprocessSpec"]
__all__ += ["decode", "geometry", "is_encoded", "normalize", "require_pixels"]
