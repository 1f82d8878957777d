#include "classifier.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <stdexcept>

#include "model.hpp"

namespace {

Ort::SessionOptions options(int threads) {
    Ort::SessionOptions out;
    out.SetIntraOpNumThreads(threads);
    out.SetGraphOptimizationLevel(GraphOptimizationLevel::ORT_ENABLE_ALL);
    // For a GPU, with a build of onnxruntime that supports it:
    // out.AppendExecutionProvider_CUDA(OrtCUDAProviderOptions{});
    return out;
}

// The score reads the features beside the logits.
constexpr bool kReadsFeatures = model::kScore == model::Score::prototype || model::kScore == model::Score::combined;

std::vector<float> read_prototypes(const std::string& model_file) {
    std::vector<float> rows(model::kLabels.size() * model::kWidth);
    const std::size_t slash = model_file.find_last_of('/');
    const std::string folder = slash == std::string::npos ? "" : model_file.substr(0, slash + 1);
    const std::string file = folder + std::string(model::kPrototypes);
    std::ifstream stream(file, std::ios::binary);
    stream.read(reinterpret_cast<char*>(rows.data()), static_cast<std::streamsize>(rows.size() * sizeof(float)));
    if (!stream || stream.peek() != std::ifstream::traits_type::eof()) {
        throw std::runtime_error(file + " cannot be read, or does not belong to model.hpp");
    }
    return rows;
}

void require_finite(const std::vector<float>& values, const char* what) {
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
        throw std::runtime_error(std::string("the model gave no answer: its ") + what + " are not finite");
    }
}

double energy(const std::vector<float>& logits) {
    const double top = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float value : logits) sum += std::exp(value - top);
    return top + std::log(sum);
}

double scaled(double value, const model::Scale& scale) { return (value - scale.mean) / scale.spread; }

}  // namespace

Classifier::Classifier(const std::string& model_file, int threads)
    : env_(ORT_LOGGING_LEVEL_ERROR, "classifier"), session_(env_, model_file.c_str(), options(threads)) {
    Ort::AllocatorWithDefaultOptions allocator;
    input_name_ = session_.GetInputNameAllocated(0, allocator).get();
    if (kReadsFeatures) prototypes_ = read_prototypes(model_file);
}

std::vector<float> Classifier::logits(const std::vector<std::uint8_t>& pixels) { return run(pixels, false).logits; }

Outputs Classifier::run(const std::vector<std::uint8_t>& pixels, bool features) {
    std::vector<float> input = normalize(pixels);
    const std::array<std::int64_t, 4> shape = {1, 3, model::kSize, model::kSize};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const Ort::Value tensor =
        Ort::Value::CreateTensor<float>(memory, input.data(), input.size(), shape.data(), shape.size());
    const char* inputs[] = {input_name_.c_str()};
    const char* outputs[] = {"logits", "features"};  // by name: the order in the file means nothing
    const auto results = session_.Run(Ort::RunOptions{nullptr}, inputs, &tensor, 1, outputs, features ? 2 : 1);
    const auto values = [](const Ort::Value& result) {
        const float* first = result.GetTensorData<float>();
        return std::vector<float>(first, first + result.GetTensorTypeAndShapeInfo().GetElementCount());
    };
    Outputs out;
    out.logits = values(results[0]);
    if (features) out.features = values(results[1]);
    if (out.logits.size() != model::kLabels.size()) {
        throw std::runtime_error("the model has another number of classes than model.hpp");
    }
    if (features && out.features.size() != static_cast<std::size_t>(model::kWidth)) {
        throw std::runtime_error("the model has features of another width than model.hpp");
    }
    require_finite(out.logits, "logits");
    require_finite(out.features, "features");
    return out;
}

double Classifier::prototype(const std::vector<float>& features) const {
    double best = -2;  // below any cosine
    for (std::size_t row = 0; row < prototypes_.size(); row += features.size()) {
        double cosine = 0;
        for (std::size_t i = 0; i < features.size(); ++i) cosine += static_cast<double>(features[i]) * prototypes_[row + i];
        best = std::max(best, cosine);
    }
    return best;
}

bool Classifier::known(const Outputs& outputs) const {
    const double top = *std::max_element(outputs.logits.begin(), outputs.logits.end());
    switch (model::kScore) {
        case model::Score::none: return true;
        case model::Score::max_logit: return top >= model::kThreshold;
        case model::Score::energy: return energy(outputs.logits) >= model::kThreshold;
        case model::Score::prototype: return prototype(outputs.features) >= model::kThreshold;
        case model::Score::combined: break;
    }
    const double sum = scaled(top, model::kScales[0]) + scaled(energy(outputs.logits), model::kScales[1]) +
                       scaled(prototype(outputs.features), model::kScales[2]);
    return sum / model::kScales.size() >= model::kThreshold;
}

std::vector<Guess> Classifier::predict(const Image& image, int top_k) {
    const Outputs outputs = run(geometry(image), kReadsFeatures);
    const std::vector<float>& values = outputs.logits;
    const bool is_known = known(outputs);
    const double top = *std::max_element(values.begin(), values.end());
    std::vector<Guess> guesses;
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        guesses.push_back({static_cast<int>(i), std::exp((values[i] - top) / model::kTemperature), is_known});
        sum += guesses.back().probability;
    }
    std::stable_sort(guesses.begin(), guesses.end(),
                     [](const Guess& a, const Guess& b) { return a.probability > b.probability; });
    guesses.resize(std::min<std::size_t>(guesses.size(), std::max(top_k, 1)));
    for (Guess& guess : guesses) guess.probability /= sum;
    return guesses;
}
