// Decodes JPEG and PNG the way training did: upright, 8 bit, transparency on white. Color profiles are ignored: give sRGB.
#pragma once

#include <string>

#include "preprocess.hpp"

/// Throws std::runtime_error for a file that is no such image, damaged, truncated or too large.
Image decode(const std::string& path);
