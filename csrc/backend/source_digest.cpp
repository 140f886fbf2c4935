#include "backend/source_digest.h"

#include <chrono>
#include <map>
#include <vector>

#include "base/checksum.h"

namespace tritium {
namespace {

constexpr size_t kBlocks = 16;
constexpr size_t kBlock = 4096;
constexpr auto kSettled = std::chrono::seconds(2);  // the coarsest clock of a file system, that of FAT

uint64_t sampled_checksum(std::span<const std::byte> bytes) {
  if (bytes.size() <= kBlocks * kBlock) return checksum(bytes);
  const size_t distance = (bytes.size() - kBlock) / (kBlocks - 1);
  std::vector<uint64_t> sums;
  for (size_t i = 0; i < kBlocks; ++i) sums.push_back(checksum(bytes.subspan(i * distance, kBlock)));
  return checksum(std::as_bytes(std::span(sums)));
}

int64_t now() {
  const auto time = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

}  // namespace

std::optional<Digest> source_digest(std::span<const StoredTensor* const> tensors, std::string_view layout) {
  std::vector<uint64_t> facts = {checksum(std::as_bytes(std::span(layout)))};
  std::map<const MappedFile*, uint64_t> files;
  for (const StoredTensor* tensor : tensors) {
    const auto [file, is_new] = files.emplace(tensor->file.get(), files.size());
    if (is_new) {
      const std::optional<FileIdentity>& identity = tensor->file->identity();
      if (!identity || now() - identity->changed < std::chrono::nanoseconds(kSettled).count()) return std::nullopt;
      for (const uint64_t fact : {identity->number, identity->size, static_cast<uint64_t>(identity->modified),
                                  static_cast<uint64_t>(identity->changed), sampled_checksum(tensor->file->bytes())}) {
        facts.push_back(fact);
      }
    }
    for (const uint64_t fact : {file->second, tensor->offset, tensor->bytes, static_cast<uint64_t>(tensor->dtype),
                                static_cast<uint64_t>(tensor->encoding)}) {
      facts.push_back(fact);
    }
    facts.push_back(tensor->shape.size());
    for (const int64_t length : tensor->shape) facts.push_back(static_cast<uint64_t>(length));
  }
  const auto bytes = std::as_bytes(std::span(facts));
  return Digest{checksum(bytes, 1), checksum(bytes, 2)};
}

}  // namespace tritium
