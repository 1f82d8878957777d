#include "preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "model.hpp"

namespace {

constexpr int kBits = 22;  // of a fixed-point weight; Pillow keeps 32 - 8 (pixel) - 2 (overshoot and sign)
constexpr std::int64_t kMaxPixels = 64'000'000;
constexpr std::int64_t kMaxRatio = 1000;

// Source pixels and weights of the target pixels from .. from + kSize - 1.
struct Windows {
    std::vector<int> starts, lengths;
    std::vector<std::int32_t> weights;  // kSize x most
    int most = 0;
};

double filter(double value) {
    const double x = std::fabs(value);
    if (model::kInterpolation == model::Interpolation::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
    constexpr double a = -0.5;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

Windows windows(int source, int target, int from) {
    const double support = model::kInterpolation == model::Interpolation::bilinear ? 1.0 : 2.0;
    const double scale = static_cast<double>(source) / target;
    const double stretch = std::max(scale, 1.0);  // a smaller image widens the filter: antialiasing
    const double reach = support * stretch;
    Windows out;
    out.most = static_cast<int>(std::ceil(reach)) * 2 + 1;
    out.weights.resize(static_cast<std::size_t>(model::kSize) * out.most);
    std::vector<double> exact(out.most);
    for (int i = 0; i < model::kSize; ++i) {
        const double center = (from + i + 0.5) * scale;
        const int start = std::max(0, static_cast<int>(center - reach + 0.5));
        const int length = std::min(source, static_cast<int>(center + reach + 0.5)) - start;
        double sum = 0.0;
        for (int k = 0; k < length; ++k) {
            exact[k] = filter((k + start - center + 0.5) * (1.0 / stretch));
            sum += exact[k];
        }
        for (int k = 0; k < length; ++k) {
            const double fixed = (sum == 0.0 ? exact[k] : exact[k] / sum) * (1 << kBits);
            out.weights[static_cast<std::size_t>(i) * out.most + k] =
                static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
        }
        out.starts.push_back(start);
        out.lengths.push_back(length);
    }
    return out;
}

// Half of what is left over, rounded half to even.
int crop_start(int left_over) { return (left_over + ((left_over >> 1) & 1)) >> 1; }

std::uint8_t clip8(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

}  // namespace

void check_size(std::int64_t width, std::int64_t height) {
    if (width >= 1 && height >= 1 && width <= kMaxPixels && height <= kMaxPixels && width * height <= kMaxPixels &&
        std::max(width, height) <= kMaxRatio * std::min(width, height)) {
        return;
    }
    throw std::runtime_error("image of " + std::to_string(width) + " x " + std::to_string(height) +
                             " pixels, expected sides within 1:1000 and at most 64,000,000 pixels");
}

std::vector<std::uint8_t> geometry(const Image& image) {
    constexpr int size = model::kSize;
    const std::int64_t shorter = std::min(image.width, image.height);
    const int target_width = static_cast<int>(static_cast<std::int64_t>(image.width) * model::kResize / shorter);
    const int target_height = static_cast<int>(static_cast<std::int64_t>(image.height) * model::kResize / shorter);
    const Windows across = windows(image.width, target_width, crop_start(target_width - size));
    const Windows down = windows(image.height, target_height, crop_start(target_height - size));

    // First pass: only the columns of the crop, and only the rows that the second pass reads.
    const int first = down.starts.front();
    const int rows = down.starts.back() + down.lengths.back() - first;
    const std::size_t stride = static_cast<std::size_t>(size) * 3;
    std::vector<std::uint8_t> middle(static_cast<std::size_t>(rows) * stride);
    for (int y = 0; y < rows; ++y) {
        const std::uint8_t* line = image.rgb.data() + static_cast<std::size_t>(first + y) * image.width * 3;
        for (int x = 0; x < size; ++x) {
            const std::int32_t* weight = &across.weights[static_cast<std::size_t>(x) * across.most];
            std::int32_t sum[3] = {1 << (kBits - 1), 1 << (kBits - 1), 1 << (kBits - 1)};
            const std::uint8_t* pixel = line + static_cast<std::size_t>(across.starts[x]) * 3;
            for (int k = 0; k < across.lengths[x]; ++k, pixel += 3) {
                for (int c = 0; c < 3; ++c) sum[c] += pixel[c] * weight[k];
            }
            for (int c = 0; c < 3; ++c) middle[y * stride + x * 3 + c] = clip8(sum[c]);
        }
    }
    std::vector<std::uint8_t> out(size * stride);
    for (int y = 0; y < size; ++y) {
        const std::int32_t* weight = &down.weights[static_cast<std::size_t>(y) * down.most];
        const std::uint8_t* top = middle.data() + static_cast<std::size_t>(down.starts[y] - first) * stride;
        for (std::size_t x = 0; x < stride; ++x) {
            std::int32_t sum = 1 << (kBits - 1);
            for (int k = 0; k < down.lengths[y]; ++k) sum += top[k * stride + x] * weight[k];
            out[y * stride + x] = clip8(sum);
        }
    }
    return out;
}

std::vector<float> normalize(const std::vector<std::uint8_t>& pixels) {
    constexpr std::size_t plane = static_cast<std::size_t>(model::kSize) * model::kSize;
    std::vector<float> out(3 * plane);
    for (std::size_t c = 0; c < 3; ++c) {
        float table[256];
        for (int byte = 0; byte < 256; ++byte) {
            table[byte] = static_cast<float>((byte / 255.0 - model::kMean[c]) / model::kStd[c]);
        }
        for (std::size_t i = 0; i < plane; ++i) out[c * plane + i] = table[pixels[3 * i + c]];
    }
    return out;
}
