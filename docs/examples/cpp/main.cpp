// Classify pictures: classify cascade.onnx picture.ppm...
// Prints a JSON line per file, as `eed-edge run --json` does.
//
// A picture is a binary PPM or PGM file of the network's size: decoding and resizing are left to your image
// library, which must follow `input.preprocess` of the manifest.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using nlohmann::json;

struct Picture {
    int64_t width = 0, height = 0, channels = 0;
    std::vector<unsigned char> values;  // (height, width, channels)
};

struct Answer {
    size_t label;
    float probability;
    int64_t submodels_used;
    std::vector<int> failed_submodels;  // from 0; they gave no usable answer and were left out
    bool abstained;                     // the probability is below the bundle's threshold
};

class Cascade {
public:
    explicit Cascade(const char* path) : session_(nullptr) {
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(1);  // small nets gain nothing from more
        session_ = Ort::Session(environment_, path, options);
        manifest_ = json::parse(metadata("eed_edge.manifest"));
        classes_ = json::parse(metadata("eed_edge.classes")).get<std::vector<std::string>>();
    }

    bool can_abstain() const { return manifest_.contains("abstain"); }

    const std::string& name_of(size_t label) const { return classes_.at(label); }

    Answer operator()(const Picture& picture) {
        std::vector<float> values = prepare(picture);  // (c, h, w) in [0, 1]
        const std::vector<int64_t> shape{1, picture.channels, picture.height, picture.width};
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const auto images = Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(), 4);
        const std::string input = manifest_["input"]["name"];
        const char* inputs[] = {input.c_str()};
        const char* outputs[] = {"probabilities", "submodels_used", "failed_submodels", "abstained"};
        const size_t count = can_abstain() ? 4 : 3;
        const auto results = session_.Run(Ort::RunOptions{nullptr}, inputs, &images, 1, outputs, count);
        const float* probabilities = results[0].GetTensorData<float>();
        if (std::isnan(probabilities[0])) throw std::runtime_error("every sub-model failed: there is no answer");
        const auto best = std::max_element(probabilities, probabilities + classes_.size());
        return {static_cast<size_t>(best - probabilities), *best, results[1].GetTensorData<int64_t>()[0],
                bits_set(results[2].GetTensorData<int64_t>()[0]),
                can_abstain() && results[3].GetTensorData<bool>()[0]};
    }

private:
    static std::vector<int> bits_set(int64_t bits) {
        std::vector<int> places;
        for (int t = 0; t < 64; t++) {
            if (static_cast<uint64_t>(bits) >> t & 1) places.push_back(t);
        }
        return places;
    }

    std::string metadata(const char* key) const {
        Ort::AllocatorWithDefaultOptions allocator;
        const auto value = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(key, allocator);
        if (!value) throw std::runtime_error(std::string("expected a cascade.onnx of eed-edge, got none: no ") + key);
        return value.get();
    }

    std::vector<float> prepare(const Picture& picture) const {
        const auto& shape = manifest_["input"]["shape"];  // ["N", c, h, w]
        if (shape[1] != picture.channels || shape[2] != picture.height || shape[3] != picture.width) {
            throw std::runtime_error("expected a picture (c, h, w) as in " + shape.dump());
        }
        std::vector<float> tensor(picture.values.size());
        const int64_t plane = picture.height * picture.width;
        for (int64_t i = 0; i < plane; i++) {
            for (int64_t c = 0; c < picture.channels; c++) {
                tensor[c * plane + i] = static_cast<float>(picture.values[i * picture.channels + c]) / 255.0f;
            }
        }
        return tensor;
    }

    Ort::Env environment_;
    Ort::Session session_;
    json manifest_;
    std::vector<std::string> classes_;
};

Picture read_picture(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    int64_t largest = 0;
    Picture picture;
    file >> kind >> picture.width >> picture.height >> largest;
    file.get();  // one white space before the values
    picture.channels = kind == "P6" ? 3 : 1;
    const bool usable = (kind == "P5" || kind == "P6") && largest == 255 && picture.width > 0 &&
                        picture.width <= 10000 && picture.height > 0 && picture.height <= 10000;
    if (usable) {
        picture.values.resize(picture.width * picture.height * picture.channels);
        file.read(reinterpret_cast<char*>(picture.values.data()), picture.values.size());
    }
    if (!usable || !file) throw std::runtime_error(path + ": expected a binary PPM or PGM file with 8 bits, no comments");
    return picture;
}

int main(int count, char** arguments) {
    if (count < 3) {
        std::cerr << "usage: classify cascade.onnx picture.ppm...\n";
        return 2;
    }
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);  // POSIX; before onnxruntime starts: docs/PORTABILITY.md
    try {
        Cascade cascade(arguments[1]);
        for (int i = 2; i < count; i++) {
            const Answer answer = cascade(read_picture(arguments[i]));
            json line{{"file", arguments[i]},
                      {"label", answer.label},
                      {"class", cascade.name_of(answer.label)},
                      {"probability", answer.probability},
                      {"submodels_used", answer.submodels_used}};
            if (cascade.can_abstain()) line["abstained"] = answer.abstained;
            if (!answer.failed_submodels.empty()) line["failed_submodels"] = answer.failed_submodels;
            std::cout << line << "\n";
        }
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 1;
    }
}
