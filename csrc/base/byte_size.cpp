#include "base/byte_size.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"

namespace tritium {
namespace {

constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
    {"", 1},
    {"b", 1},
    {"kb", 1'000},
    {"mb", 1'000'000},
    {"gb", 1'000'000'000},
    {"tb", 1'000'000'000'000},
    {"kib", uint64_t{1} << 10},
    {"mib", uint64_t{1} << 20},
    {"gib", uint64_t{1} << 30},
    {"tib", uint64_t{1} << 40},
};
constexpr int kMostDecimals = 6;  // times the largest unit they stay below 2^63

[[noreturn]] void refuse(std::string_view text, std::string_view reason) {
  throw MemoryLimitError(concat("[memory] '", text, "' is no size: ", reason,
                                "; expected a number and B, kB, MB, GB, TB (1000) or KiB, MiB, GiB, TiB (1024)"));
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

}  // namespace

size_t parse_byte_size(std::string_view text) {
  constexpr uint64_t kMost = std::numeric_limits<size_t>::max();
  std::string_view rest = text;
  const auto skip_spaces = [&] {
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    while (!rest.empty() && rest.back() == ' ') rest.remove_suffix(1);
  };
  skip_spaces();
  if (rest.empty() || !is_digit(rest.front())) refuse(text, "it does not begin with a number");
  uint64_t whole = 0;
  for (; !rest.empty() && is_digit(rest.front()); rest.remove_prefix(1)) {
    const uint64_t digit = static_cast<uint64_t>(rest.front() - '0');
    if (whole > (kMost - digit) / 10) refuse(text, "it is too large");
    whole = whole * 10 + digit;
  }
  uint64_t decimals = 0, one = 1;
  if (!rest.empty() && rest.front() == '.') {
    rest.remove_prefix(1);
    int count = 0;
    for (; !rest.empty() && is_digit(rest.front()); rest.remove_prefix(1), ++count) {
      if (count == kMostDecimals) refuse(text, concat("it has more than ", kMostDecimals, " decimals"));
      decimals = decimals * 10 + static_cast<uint64_t>(rest.front() - '0');
      one *= 10;
    }
    if (count == 0) refuse(text, "no digit follows the point");
  }
  skip_spaces();
  const std::string name = lower(rest);
  for (const auto& [known, unit] : kUnits) {
    if (known != name) continue;
    const uint64_t part = decimals * unit / one;
    if (whole > (kMost - part) / unit) refuse(text, "it is too large");
    return static_cast<size_t>(whole * unit + part);
  }
  refuse(text, concat("'", rest, "' is no unit"));
}

}  // namespace tritium
