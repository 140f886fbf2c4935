// Which digits do these images show?  One image, all at once, and as they arrive.
//
//   classify_digits <folder of digits.gguf and held_out.bin> [file for all scores, float32 (n, 10)]
#include <tritium.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <vector>

namespace {

constexpr size_t kPixels = 64, kDigits = 10;

struct Digits {
  std::vector<float> images;  // (n, 8, 8), 0 to 16
  std::vector<int> labels;    // (n)
};

// The file has 65 bytes an image: its pixels and its label.
Digits read_digits(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.empty() || bytes.size() % (kPixels + 1) != 0) throw std::runtime_error("no images in " + path.string());
  Digits digits;
  for (auto image = bytes.begin(); image != bytes.end(); image += kPixels + 1) {
    digits.images.insert(digits.images.end(), image, image + kPixels);
    digits.labels.push_back(image[kPixels]);
  }
  return digits;
}

// The digit with the highest of its scores (10).
int best(std::span<const float> scores) {
  return static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

void classify(const std::filesystem::path& folder, const char* scores_path) {
  const auto model = tritium::load_model(folder / "digits.gguf");
  const Digits digits = read_digits(folder / "held_out.bin");
  const auto engine = tritium::build_engine({});
  const std::span<const float> images = digits.images;
  const size_t count = digits.labels.size();

  std::vector<float> scores(kDigits);
  engine->infer(model, images.first(kPixels), scores);
  std::printf("the first image shows a %d, by the label a %d\n", best(scores), digits.labels[0]);

  std::vector<float> batch(count * kDigits);
  engine->infer(model, images, batch);
  size_t right = 0;
  for (size_t i = 0; i < count; ++i) right += best(std::span(batch).subspan(i * kDigits, kDigits)) == digits.labels[i];
  std::printf("%zu of %zu are right, %.2f%%\n", right, count, 100.0 * double(right) / double(count));

  std::vector<float> streamed;
  tritium::SampleStream stream(engine, model, {}, [&](const tritium::SampleResult& result) {
    const auto y = result.get();
    streamed.insert(streamed.end(), y.begin(), y.end());
  });
  for (size_t i = 0; i < count; ++i) stream.push(images.subspan(i * kPixels, kPixels));
  stream.finish();
  stream.wait();
  std::printf("a stream gives the same: %s\n", streamed == batch ? "true" : "false");

  if (scores_path) {
    std::ofstream file(scores_path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(batch.data()), std::streamsize(batch.size() * sizeof(float)));
    if (!file.flush()) throw std::runtime_error(std::string("cannot write ") + scores_path);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: classify_digits FOLDER [SCORES]\n");
    return 2;
  }
  try {
    classify(argv[1], argc > 2 ? argv[2] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
