// Inputs for the kernel tests: random numbers, packed weights, and the sizes at which kernels go wrong.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "kernels/kv_page.h"

namespace tritium::kernels::testing {

inline const std::vector<int64_t> kAwkwardColumns = {1, 15, 16, 17, 31, 33, 100, 640, 2560, 3200, 8640};
inline const std::vector<int64_t> kAwkwardRows = {1, 15, 16, 17, 100, 640};
inline const std::vector<int64_t> kAwkwardTokens = {1, 2, 3, 4, 5, 7, 8, 9, 33};

inline const KernelSet& scalar() { return *find_kernel_set("scalar"); }

inline std::vector<const KernelSet*> all_sets() {
  std::vector<const KernelSet*> sets;
  for (const KernelSet* const* set = compiled_kernel_sets(); *set; ++set) sets.push_back(*set);
  return sets;
}

// One test for every compiled set; skipped where the CPU cannot run it.
class EverySet : public ::testing::TestWithParam<const KernelSet*> {
 protected:
  void SetUp() override {
    if (!is_supported(set())) GTEST_SKIP() << "this CPU lacks a feature that " << set().name << " needs";
  }
  static const KernelSet& set() { return *GetParam(); }
};

inline std::string set_name(const ::testing::TestParamInfo<const KernelSet*>& info) { return info.param->name; }

class Numbers {
 public:
  explicit Numbers(uint32_t seed) : engine_(seed) {}

  int64_t integer(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  float number() { return static_cast<float>(integer(-(1 << 20), 1 << 20)) * 0x1p-20f; }
  std::vector<float> floats(int64_t count, float scale = 1.0f) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = scale * number();
    return values;
  }
  std::vector<int8_t> bytes(int64_t count, int64_t low, int64_t high) {
    std::vector<int8_t> values(static_cast<size_t>(count));
    for (int8_t& value : values) value = static_cast<int8_t>(integer(low, high));
    return values;
  }

 private:
  std::mt19937_64 engine_;
};

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Poison that no kernel gives, to see that every element is written.
inline std::vector<float> poisoned(int64_t count) {
  return std::vector<float>(static_cast<size_t>(count), float_of(0xDEADBEEFu));
}

inline ::testing::AssertionResult same_bits(const std::vector<float>& got, const std::vector<float>& wanted) {
  if (got.size() != wanted.size()) return ::testing::AssertionFailure() << got.size() << " against " << wanted.size();
  for (size_t i = 0; i < got.size(); ++i) {
    if (bits_of(got[i]) == bits_of(wanted[i]) || (got[i] != got[i] && wanted[i] != wanted[i])) continue;
    return ::testing::AssertionFailure() << "at " << i << ": " << got[i] << ", wanted " << wanted[i];
  }
  return ::testing::AssertionSuccess();
}

// A ternary matrix with its activations, packed for the kernels. Absent rows of the last panel are 0.
struct TernaryProblem {
  int64_t rows, columns, tokens;
  std::vector<int8_t> trits;  // (rows, columns)
  std::vector<int8_t> q;      // (tokens, padded_columns)
  std::vector<int32_t> q_sum;
  std::vector<uint8_t> panels;

  TernaryProblem(int64_t n, int64_t k, int64_t m, std::vector<int8_t> weights, const std::vector<int8_t>& activations)
      : rows(n), columns(k), tokens(m), trits(std::move(weights)) {
    const int64_t padded = padded_columns(columns);
    q.resize(static_cast<size_t>(tokens * padded));
    q_sum.resize(static_cast<size_t>(tokens));
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < columns; ++i) {
        const int8_t value = activations[static_cast<size_t>(t * columns + i)];
        q[static_cast<size_t>(t * padded + i)] = value;
        q_sum[static_cast<size_t>(t)] += value;
      }
    }
    panels.resize(static_cast<size_t>(panel_count(rows) * panel_bytes(columns)));
    for (int64_t panel = 0; panel < panel_count(rows); ++panel) {
      scalar().pack_panel(trits.data() + panel * kPanelRows * columns,
                          std::min<int64_t>(kPanelRows, rows - panel * kPanelRows), columns,
                          panels.data() + panel * panel_bytes(columns));
    }
  }

  int64_t width() const { return panel_count(rows) * kPanelRows; }

  // acc (tokens, width).
  std::vector<int32_t> gemm(const KernelSet& set) const {
    std::vector<int32_t> acc(static_cast<size_t>(tokens * width()), 0x5A5A5A5A);
    set.ternary_gemm(problem(0, tokens, acc.data()));
    return acc;
  }
  std::vector<int32_t> gemv(const KernelSet& set) const {
    std::vector<int32_t> acc(static_cast<size_t>(tokens * width()), 0x5A5A5A5A);
    for (int64_t t = 0; t < tokens; ++t) set.ternary_gemv(problem(t, 1, acc.data() + t * width()));
    return acc;
  }

 private:
  TernaryMatmul problem(int64_t first, int64_t count, int32_t* acc) const {
    const int64_t padded = padded_columns(columns);
    return {panels.data(), panel_count(rows), padded, q.data() + first * padded, q_sum.data() + first, count, acc};
  }
};

inline TernaryProblem random_ternary(Numbers& numbers, int64_t rows, int64_t columns, int64_t tokens) {
  return TernaryProblem(rows, columns, tokens, numbers.bytes(rows * columns, -1, 1),
                        numbers.bytes(tokens * columns, -128, 127));
}

// Queries over a page of random keys and values, in float16 or int8.
struct PageProblem {
  bool int8;
  int64_t head_dim;
  float scale = 0.3f;
  std::vector<float> q;       // (queries, head_dim)
  std::vector<int32_t> seen;  // (queries)
  std::vector<uint8_t> page;

  PageProblem(Numbers& numbers, bool in_int8, int64_t queries, int64_t width)
      : int8(in_int8),
        head_dim(width),
        q(numbers.floats(queries * width, 3.0f)),
        seen(static_cast<size_t>(queries), kPageTokens),
        page(static_cast<size_t>(in_int8 ? int8_page_bytes(width) : f16_page_bytes(width))) {
    for (int64_t slot = 0; slot < kPageTokens; ++slot) {
      write_token(numbers.floats(head_dim, 3.0f), numbers.floats(head_dim), slot);
    }
  }

  std::string name() const {
    return (int8 ? "int8, head_dim " : "f16, head_dim ") + std::to_string(head_dim) + ", queries " +
           std::to_string(seen.size()) + ", the first sees " + std::to_string(seen[0]);
  }
  void write_token(const std::vector<float>& key, const std::vector<float>& value, int64_t slot) {
    (int8 ? append_token_int8 : append_token_f16)(scalar(), key.data(), value.data(), head_dim, slot, page.data());
  }
  void fill_queries(float value) { std::fill(q.begin(), q.end(), value); }
  PageProblem only(int64_t query) const {
    PageProblem one = *this;
    one.q.assign(q.begin() + query * head_dim, q.begin() + (query + 1) * head_dim);
    one.seen = {seen[static_cast<size_t>(query)]};
    return one;
  }

  // values (queries, head_dim), then maxima (queries), then sums (queries).
  std::vector<float> attend(const KernelSet& set) const {
    const int64_t queries = static_cast<int64_t>(seen.size());
    auto result = poisoned(queries * (head_dim + 2));
    std::vector<AttentionPart> parts;
    std::vector<int16_t> codes(static_cast<size_t>(queries * 2 * key_pairs(head_dim)));
    std::vector<float> multipliers(static_cast<size_t>(queries));
    for (int64_t i = 0; i < queries; ++i) {
      parts.push_back({0.0f, 0.0f, result.data() + i * head_dim});
      if (int8) {
        scalar().quantize_query(q.data() + i * head_dim, head_dim, scale, codes.data() + i * 2 * key_pairs(head_dim),
                                &multipliers[static_cast<size_t>(i)]);
      }
    }
    const void* read = int8 ? static_cast<const void*>(codes.data()) : static_cast<const void*>(q.data());
    (int8 ? set.attend_page_int8 : set.attend_page_f16)(
        {page.data(), page.data(), read, multipliers.data(), queries, seen.data(), head_dim, scale}, parts.data());
    for (int64_t i = 0; i < queries; ++i) {
      result[static_cast<size_t>(queries * head_dim + i)] = parts[static_cast<size_t>(i)].max;
      result[static_cast<size_t>(queries * (head_dim + 1) + i)] = parts[static_cast<size_t>(i)].sum;
    }
    return result;
  }
  // What a problem of `query` alone would give.
  static std::vector<float> part_of(const std::vector<float>& result, int64_t query, int64_t head_dim) {
    const int64_t queries = static_cast<int64_t>(result.size()) / (head_dim + 2);
    std::vector<float> part(result.begin() + query * head_dim, result.begin() + (query + 1) * head_dim);
    part.push_back(result[static_cast<size_t>(queries * head_dim + query)]);
    part.push_back(result[static_cast<size_t>(queries * (head_dim + 1) + query)]);
    return part;
  }
};

}  // namespace tritium::kernels::testing
