// Steady answers of a stream of frames: the exponential average of the Python runtime's stream, with its hysteresis.
#pragma once

#include <cstddef>
#include <vector>

/// Joins the shares of frames; what is shown changes only when another class leads by more than the margin.
class Smoothing {
public:
    /// frames: that the average spans, 1 or more; margin: of shares, 0 or more, below 1. Throws std::invalid_argument.
    explicit Smoothing(int frames = 8, double margin = 0.2);

    /// The joint shares after another frame's: a share for each class, and a last one for "none of these".
    const std::vector<double>& push(const std::vector<double>& row);

    /// The place that is shown; meaningful after the first frame.
    std::size_t shown() const { return shown_; }

    /// Frames until a change that every frame is sure of is shown; 1: at once.
    int delay() const;

private:
    double weight_, margin_;
    std::vector<double> mean_;
    std::size_t shown_ = 0;
};
