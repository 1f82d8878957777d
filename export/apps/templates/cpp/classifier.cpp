#include "classifier.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
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

}  // namespace

Classifier::Classifier(const std::string& model_file, int threads)
    : env_(ORT_LOGGING_LEVEL_ERROR, "classifier"), session_(env_, model_file.c_str(), options(threads)) {
    Ort::AllocatorWithDefaultOptions allocator;
    input_name_ = session_.GetInputNameAllocated(0, allocator).get();
}

std::vector<float> Classifier::logits(const std::vector<std::uint8_t>& pixels) {
    std::vector<float> input = normalize(pixels);
    const std::array<std::int64_t, 4> shape = {1, 3, model::kSize, model::kSize};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const Ort::Value tensor =
        Ort::Value::CreateTensor<float>(memory, input.data(), input.size(), shape.data(), shape.size());
    const char* inputs[] = {input_name_.c_str()};
    const char* outputs[] = {"logits"};
    const auto results = session_.Run(Ort::RunOptions{nullptr}, inputs, &tensor, 1, outputs, 1);
    const std::size_t count = results[0].GetTensorTypeAndShapeInfo().GetElementCount();
    if (count != model::kLabels.size()) throw std::runtime_error("the model has another number of classes than model.hpp");
    const float* first = results[0].GetTensorData<float>();
    if (!std::all_of(first, first + count, [](float value) { return std::isfinite(value); })) {
        throw std::runtime_error("the model gave no answer: its logits are not finite");
    }
    return {first, first + count};
}

std::vector<Guess> Classifier::predict(const Image& image, int top_k) {
    const std::vector<float> values = logits(geometry(image));
    const double top = *std::max_element(values.begin(), values.end());
    std::vector<Guess> guesses;
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        guesses.push_back({static_cast<int>(i), std::exp(values[i] - top)});
        sum += guesses.back().probability;
    }
    std::stable_sort(guesses.begin(), guesses.end(),
                     [](const Guess& a, const Guess& b) { return a.probability > b.probability; });
    guesses.resize(std::min<std::size_t>(guesses.size(), std::max(top_k, 1)));
    for (Guess& guess : guesses) guess.probability /= sum;
    return guesses;
}
