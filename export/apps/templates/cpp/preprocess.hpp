// The preprocessing that the model was trained with (Pillow's arithmetic), so that its pixels are the same bytes.
#pragma once

#include <cstdint>
#include <vector>

struct Image {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> rgb;  // height x width x 3
};

/// Throws std::runtime_error for an image that is empty, larger than 64 megapixels, or narrower than 1:1000.
void check_size(std::int64_t width, std::int64_t height);

/// The central square: shorter side to kResize, crop to kSize. uint8, kSize x kSize x 3.
std::vector<std::uint8_t> geometry(const Image& image);

/// (pixel / 255 - mean) / std, channels first. float, 3 x kSize x kSize.
std::vector<float> normalize(const std::vector<std::uint8_t>& pixels);
