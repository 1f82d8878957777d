// The model in an onnxruntime session. One object may be used from several threads.
#pragma once

#include <string>
#include <vector>

#include <onnxruntime_cxx_api.h>

#include "preprocess.hpp"

struct Guess {
    int index;
    double probability;
    bool known = true;  // of the image: whether it shows one of the classes at all
};

/// What the model gives for an image; features are empty where the score of model.hpp does not read them.
struct Outputs {
    std::vector<float> logits, features;
};

class Classifier {
public:
    /// threads: of one inference; 0 lets onnxruntime choose. Throws Ort::Exception.
    /// Prototypes, if the score needs any, are read from the folder of model_file: std::runtime_error without them.
    explicit Classifier(const std::string& model_file, int threads = 0);

    /// Logits of cropped pixels (uint8, kSize x kSize x 3). Throws std::runtime_error for a model that
    /// does not belong to model.hpp, and for logits that are NaN or infinite: no class is the answer then.
    std::vector<float> logits(const std::vector<std::uint8_t>& pixels);

    /// The likeliest classes of an image, at most top_k. Throws what geometry and logits throw.
    std::vector<Guess> predict(const Image& image, int top_k = 5);

    /// Whether an image with these outputs shows one of the classes; true where model.hpp has no score.
    bool known(const Outputs& outputs) const;

private:
    Outputs run(const std::vector<std::uint8_t>& pixels, bool features);
    double prototype(const std::vector<float>& features) const;

    Ort::Env env_;
    Ort::Session session_;
    std::string input_name_;
    std::vector<float> prototypes_;
};
