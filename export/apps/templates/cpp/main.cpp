// classify [--model FILE] [--top K] [--threads N] IMAGE...     one line per guess: image, index, label, probability
//                                                              of an image of no class: (label), and "not sure" behind it
// classify [--model FILE] [--margin M] --stream N IMAGE...     frames of one camera, joined over N: image, index, label, share
//                                                              of frames of no class: index -1, "not sure"
// classify [--model FILE] --golden FOLDER                      compares with the golden images; exit code 1 if this build differs
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "classifier.hpp"
#include "image.hpp"
#include "model.hpp"
#include "smoothing.hpp"

namespace {

std::vector<char> read_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw std::runtime_error(path + " cannot be opened");
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// Whether the pixels equal the golden bytes and the logits are within the tolerance.
bool check_golden(Classifier& classifier, const std::string& folder, std::size_t index) {
    const std::string stem = folder + "/" + std::to_string(index);
    const auto pixels = geometry(decode(folder + "/" + std::string(model::kGolden[index])));
    const auto want_pixels = read_file(stem + ".rgb");
    const bool same = pixels.size() == want_pixels.size() &&
                      std::memcmp(pixels.data(), want_pixels.data(), pixels.size()) == 0;

    const auto logits = classifier.logits(pixels);
    const auto raw = read_file(stem + ".f32");
    std::vector<float> want(raw.size() / sizeof(float));
    std::memcpy(want.data(), raw.data(), want.size() * sizeof(float));  // little-endian, as every edge device is
    if (want.size() != logits.size()) throw std::runtime_error(stem + ".f32 belongs to another model");
    const auto [low, high] = std::minmax_element(want.begin(), want.end());
    double worst = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        const double difference = std::fabs(static_cast<double>(want[i]) - logits[i]);
        worst = difference <= worst ? worst : difference;  // keeps a NaN
    }
    worst /= std::max(static_cast<double>(*high) - *low, 1e-6);
    const bool near = worst <= model::kTolerance;
    std::printf("%-8s golden %zu: pixels %s, largest logit difference %.2g of the spread, tolerance %g\n",
                same && near ? "ok" : "differs", index, same ? "bit-identical" : "differ", worst, model::kTolerance);
    return same && near;
}

// Prints the steady answer after each frame; false if one could not be read, and took no part.
bool stream(Classifier& classifier, const std::vector<std::string>& images, int frames, double margin) {
    Smoothing smoothing(frames, margin);
    const std::size_t classes = model::kLabels.size();
    bool good = true;
    for (const std::string& path : images) {
        try {
            std::vector<double> row(classes + 1, 0.0);
            for (const Guess& guess : classifier.predict(decode(path), static_cast<int>(classes))) {
                if (guess.known) row[static_cast<std::size_t>(guess.index)] = guess.probability;
                else row[classes] = 1;
            }
            const double share = smoothing.push(row)[smoothing.shown()];
            const bool none = smoothing.shown() == classes;
            const std::string_view label = none ? "not sure" : model::kLabels[smoothing.shown()];
            std::printf("%s\t%d\t%.*s\t%.6f\n", path.c_str(), none ? -1 : static_cast<int>(smoothing.shown()),
                        static_cast<int>(label.size()), label.data(), share);
        } catch (const std::runtime_error& error) {
            std::fprintf(stderr, "error: %s\n", error.what());
            good = false;
        }
    }
    std::fprintf(stderr, "a sure change shows after %d frames\n", smoothing.delay());
    return good;
}

int usage() {
    std::fprintf(stderr, "usage: classify [--model FILE] [--top K] [--threads N] [--stream N] [--margin M] IMAGE... | --golden FOLDER\n");
    return 2;
}

int run(int argc, char** argv) {
    std::string model_file = "model.onnx", golden;
    int top = 3, threads = 0, frames = 0;
    double margin = 0.2;
    std::vector<std::string> images;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument.rfind("--", 0) != 0) {
            images.push_back(argument);
            continue;
        }
        if (i + 1 == argc) return usage();
        const std::string value = argv[++i];
        if (argument == "--model") model_file = value;
        else if (argument == "--golden") golden = value;
        else if (argument == "--top") top = std::stoi(value);
        else if (argument == "--threads") threads = std::stoi(value);
        else if (argument == "--stream") frames = std::stoi(value);
        else if (argument == "--margin") margin = std::stod(value);
        else return usage();
    }
    if (images.empty() == golden.empty()) return usage();

    Classifier classifier(model_file, threads);
    bool good = true;
    if (!golden.empty()) {
        for (std::size_t index = 0; index < model::kGolden.size(); ++index) {
            try {
                good = check_golden(classifier, golden, index) && good;
            } catch (const std::runtime_error& error) {
                std::printf("%-8s golden %zu: %s\n", "differs", index, error.what());
                good = false;
            }
        }
        return good ? 0 : 1;
    }
    if (frames != 0) return stream(classifier, images, frames, margin) ? 0 : 1;
    for (const std::string& path : images) {
        try {
            for (const Guess& guess : classifier.predict(decode(path), top)) {
                const std::string_view label = model::kLabels[guess.index];
                std::printf(guess.known ? "%s\t%d\t%.*s\t%.6f\n" : "%s\t%d\t(%.*s)\t%.6f\tnot sure\n", path.c_str(),
                            guess.index, static_cast<int>(label.size()), label.data(), guess.probability);
            }
        } catch (const std::runtime_error& error) {  // one bad image does not end the list
            std::fprintf(stderr, "error: %s\n", error.what());
            good = false;
        }
    }
    return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
