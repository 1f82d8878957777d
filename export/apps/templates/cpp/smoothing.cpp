#include "smoothing.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

Smoothing::Smoothing(int frames, double margin) : weight_(2.0 / (frames + 1)), margin_(margin) {
    if (frames < 1) throw std::invalid_argument("frames to smooth over: 1 or more");
    if (!(margin >= 0 && margin < 1)) throw std::invalid_argument("margin of a change: 0 or more, below 1");
}

const std::vector<double>& Smoothing::push(const std::vector<double>& row) {
    const bool first = mean_.empty();
    if (first) mean_ = row;
    for (std::size_t i = 0; i < mean_.size(); ++i) mean_[i] += weight_ * (row[i] - mean_[i]);
    const auto best = static_cast<std::size_t>(std::max_element(mean_.begin(), mean_.end()) - mean_.begin());
    if (first || mean_[best] > mean_[shown_] + margin_) shown_ = best;
    return mean_;
}

int Smoothing::delay() const {
    const double kept = 1 - weight_;
    return kept == 0 ? 1 : static_cast<int>(std::floor(std::log((1 - margin_) / 2) / std::log(kept) + 1e-9)) + 1;
}
