// Where packed weights are kept from one load to the next, and how many bytes of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace tritium {

struct CacheOptions {
  std::filesystem::path folder;
  uint64_t max_bytes = default_max_bytes;  // of all entries; the one used longest ago goes first
  std::function<void(const std::string&)> warn = print_warning;

  static constexpr uint64_t default_max_bytes = 16'000'000'000;
  static void print_warning(const std::string& message);  // to standard error
};

}  // namespace tritium
