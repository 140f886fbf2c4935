// A screened head against the full one, bit for bit, on heads and activations that are made to break it. The number of
// seeds grows with TRITIUM_HEAD_SEEDS.
#include "backend/output_head.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <set>

#include "backend/candidates.h"
#include "backend/head_input.h"
#include "error_text.h"
#include "kernels/dispatch.h"

namespace tritium {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
using Random = std::mt19937_64;

float gaussian(Random& random) { return std::normal_distribution<float>()(random); }
// Student's t with two degrees of freedom: the variance is infinite.
float heavy_tailed(Random& random) {
  const float z = gaussian(random), a = gaussian(random), b = gaussian(random);
  return z / std::sqrt((a * a + b * b) / 2 + 1e-6f);
}

struct Shape {
  int64_t rows;
  int64_t columns;
};

using MakeWeights = void (*)(Random& random, Shape shape, std::vector<float>& weights);
void fill(std::vector<float>& values, const std::function<float()>& value) {
  std::generate(values.begin(), values.end(), value);
}

struct NamedWeights {
  const char* name;
  MakeWeights make;
};
const NamedWeights kWeights[] = {
    {"Gaussian",
     [](Random& random, Shape, std::vector<float>& w) { fill(w, [&] { return 0.02f * gaussian(random); }); }},
    {"heavy-tailed",
     [](Random& random, Shape, std::vector<float>& w) { fill(w, [&] { return 0.02f * heavy_tailed(random); }); }},
    {"rows of all sizes",
     [](Random& random, Shape shape, std::vector<float>& w) {
       for (size_t i = 0; i < w.size(); ++i) {
         w[i] = std::ldexp(gaussian(random), static_cast<int>(i / static_cast<size_t>(shape.columns) % 100) - 60);
       }
     }},
    {"outlier columns",
     [](Random& random, Shape shape, std::vector<float>& w) {
       for (size_t i = 0; i < w.size(); ++i) {
         w[i] = gaussian(random) * (i % static_cast<size_t>(shape.columns) % 97 == 5 ? 60.0f : 0.02f);
       }
     }},
    {"one huge column",
     [](Random& random, Shape shape, std::vector<float>& w) {
       for (size_t i = 0; i < w.size(); ++i) {
         w[i] = i % static_cast<size_t>(shape.columns) == 3 ? 1e18f * gaussian(random) : gaussian(random);
       }
     }},
    // Every row is one of three, but for the last bit of one weight.
    {"near ties",
     [](Random& random, Shape shape, std::vector<float>& w) {
       const auto columns = static_cast<size_t>(shape.columns);
       for (size_t i = 0; i < w.size(); ++i) w[i] = i < 3 * columns ? gaussian(random) : w[i % (3 * columns)];
       for (size_t row = 3; row < static_cast<size_t>(shape.rows); ++row) {
         float& weight = w[row * columns + random() % columns];
         weight = std::nextafter(weight, row % 2 ? kInfinity : -kInfinity);
       }
     }},
    {"identical rows",
     [](Random& random, Shape shape, std::vector<float>& w) {
       const auto columns = static_cast<size_t>(shape.columns);
       for (size_t i = 0; i < w.size(); ++i) w[i] = i < 2 * columns ? gaussian(random) : w[i - 2 * columns];
     }},
    // An outlier in each group makes the codes coarse; what decides is far below one step of them.
    {"hidden by the rounding",
     [](Random& random, Shape shape, std::vector<float>& w) {
       const auto columns = static_cast<size_t>(shape.columns);
       for (size_t i = 0; i < w.size(); ++i) w[i] = i % columns % 128 == 7 ? 1.0f : 0.01f * gaussian(random);
     }},
    {"half way between codes",
     [](Random& random, Shape, std::vector<float>& w) {
       fill(w, [&] { return (static_cast<float>(random() % 15) - 7.0f + 0.5f) * 0.125f; });
     }},
    {"rows of zeros",
     [](Random& random, Shape shape, std::vector<float>& w) {
       for (size_t i = 0; i < w.size(); ++i) {
         w[i] = i / static_cast<size_t>(shape.columns) % 3 ? 0.0f : 1e-3f * gaussian(random);
       }
     }},
    {"subnormal",
     [](Random& random, Shape, std::vector<float>& w) { fill(w, [&] { return 1e-40f * gaussian(random); }); }},
    {"not finite here and there",
     [](Random& random, Shape, std::vector<float>& w) {
       const float special[] = {kInfinity, -kInfinity, kNaN, 3e38f};
       fill(w, [&] { return random() % 20000 ? gaussian(random) : special[random() % 4]; });
     }},
};

using MakeActivations = void (*)(Random& random, const std::vector<float>& weights, std::vector<float>& x);
struct NamedActivations {
  const char* name;
  MakeActivations make;
};
const NamedActivations kActivations[] = {
    {"Gaussian", [](Random& random, const auto&, auto& x) { fill(x, [&] { return gaussian(random); }); }},
    {"heavy-tailed", [](Random& random, const auto&, auto& x) { fill(x, [&] { return heavy_tailed(random); }); }},
    {"along a row",
     [](Random& random, const auto& w, auto& x) {
       const size_t row = random() % (w.size() / x.size());
       for (size_t k = 0; k < x.size(); ++k) {
         const float weight = w[row * x.size() + k];
         x[k] = 0.3f * gaussian(random) + (std::fabs(weight) < 1e10f ? 2 * weight : 0.0f);
       }
     }},
    {"one outlier",
     [](Random& random, const auto&, auto& x) {
       fill(x, [&] { return 1e-3f * gaussian(random); });
       x[random() % x.size()] = 100;
     }},
    {"one place",
     [](Random& random, const auto&, auto& x) {
       fill(x, [] { return 0.0f; });
       x[random() % x.size()] = -3;
     }},
    {"zero", [](Random&, const auto&, auto& x) { fill(x, [] { return 0.0f; }); }},
    {"subnormal", [](Random& random, const auto&, auto& x) { fill(x, [&] { return 1e-40f * gaussian(random); }); }},
    {"large", [](Random& random, const auto&, auto& x) { fill(x, [&] { return 1e15f * gaussian(random); }); }},
    {"not finite",
     [](Random& random, const auto&, auto& x) {
       fill(x, [&] { return gaussian(random); });
       x[random() % x.size()] = random() % 2 ? kInfinity : kNaN;
     }},
};

// A head in memory, its full logits, and a screened head over it.
struct Head {
  std::vector<std::byte> bytes;
  DenseMatrix matrix;
  StoredTensor tensor;

  Head(Shape shape, DType dtype, const std::vector<float>& weights) : bytes(weights.size() * dtype_size(dtype)) {
    for (size_t i = 0; i < weights.size(); ++i) {
      const auto bits = std::bit_cast<uint32_t>(weights[i]);
      const auto half = static_cast<uint16_t>(bits >> 16);
      dtype == DType::kF32 ? std::memcpy(&bytes[4 * i], &bits, 4) : std::memcpy(&bytes[2 * i], &half, 2);
    }
    matrix = {bytes.data(), element_of(dtype), shape.rows, shape.columns, {}};
    tensor = {
        "head", dtype,       Encoding::kPlain, {shape.rows, shape.columns}, MappedFile::lend(bytes, nullptr, "head"),
        0,      bytes.size()};
  }

  std::vector<float> logits(const kernels::KernelSet& kernels, const std::vector<float>& x) const {
    const int64_t tokens = static_cast<int64_t>(x.size()) / matrix.columns;
    std::vector<float> y(static_cast<size_t>(tokens * matrix.rows));
    kernels.dense_matmul(
        {matrix.data, matrix.element, matrix.columns, matrix.rows, x.data(), tokens, y.data(), matrix.rows});
    return y;
  }
};

struct Screened {
  std::vector<OutputRequest> requests;
  std::vector<float> logits;  // (requests, vocab), NaN where they were not computed
  HeadStatistics statistics;
};

Screened screen(const Head& head, const PackedHead& packed, const std::vector<float>& x,
                const std::vector<const CandidateQuery*>& queries, ThreadPool& threads,
                const kernels::KernelSet& kernels = kernels::best_kernel_set()) {
  Screened result;
  for (const CandidateQuery* query : queries) result.requests.push_back({query});
  result.logits.assign(queries.size() * static_cast<size_t>(packed.rows), kNaN);
  std::vector<float> scratch(static_cast<size_t>(head_scratch_size(packed.rows, static_cast<int64_t>(queries.size()))));
  run_head({packed, head.matrix, head.tensor, true, kernels, threads}, x.data(), result.requests, result.logits.data(),
           scratch.data(), &result.statistics);
  return result;
}

bool same(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (a != a && b != b); }

// Whether the answer holds the forced rows and all others that the query wants, with the full head's logits.
::testing::AssertionResult answers(const CandidateQuery& query, const std::vector<Candidate>& found,
                                   const std::vector<float>& logits) {
  std::set<int32_t> ids;
  for (const Candidate& candidate : found) {
    if (!ids.insert(candidate.id).second) return ::testing::AssertionFailure() << "twice: " << candidate.id;
    if (!same(candidate.logit, logits[static_cast<size_t>(candidate.id)])) {
      return ::testing::AssertionFailure()
             << candidate.id << " has " << candidate.logit << ", not " << logits[static_cast<size_t>(candidate.id)];
    }
  }
  std::vector<Candidate> others;
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (!std::binary_search(query.forced.begin(), query.forced.end(), id)) {
      others.push_back({id, logits[i]});
    } else if (!ids.count(id)) {
      return ::testing::AssertionFailure() << "forced " << id << " is missing";
    }
  }
  std::sort(others.begin(), others.end(), before);
  const float least =
      query.margin ? others[0].logit - *query.margin : others[static_cast<size_t>(query.best) - 1].logit;
  for (const Candidate& other : others) {
    if (other.logit >= least && !ids.count(other.id)) {
      return ::testing::AssertionFailure()
             << other.id << " is missing; it has " << other.logit << ", wanted is " << least;
    }
  }
  return ::testing::AssertionSuccess();
}

std::vector<CandidateQuery> queries_for(Random& random, int64_t rows) {
  std::vector<CandidateQuery> queries(4);
  queries[1].best = 1 + static_cast<int64_t>(random() % 64);
  queries[2].margin = std::uniform_real_distribution<float>(0, 3)(random);
  for (int i = 0; i < 60; ++i)
    queries[3].forced.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(rows)));
  std::sort(queries[3].forced.begin(), queries[3].forced.end());
  queries[3].forced.erase(std::unique(queries[3].forced.begin(), queries[3].forced.end()), queries[3].forced.end());
  queries[3].best = 1 + static_cast<int64_t>(random() % 8);
  return queries;
}

int seeds() {
  const char* text = std::getenv("TRITIUM_HEAD_SEEDS");
  return text ? std::atoi(text) : 2;
}

// How far estimates lie from the full logits, as a share of what the bound allows.
struct Errors {
  int64_t rows = 0;
  int64_t violations = 0;
  double largest = 0;

  void add(const Head& head, const PackedHead& packed, const std::vector<float>& x, const std::vector<float>& logits) {
    const HeadInput input(packed, x.data());
    if (!input.bounded()) return;
    const kernels::HeadRow row = input.row();
    std::vector<float> estimates(static_cast<size_t>(packed.padded_rows())), bounds = estimates;
    kernels::best_kernel_set().scan_head({packed.codes(), packed.panels(), packed.padded_columns(), packed.bits,
                                          packed.norms(), packed.residuals(), &row, 1, estimates.data(), bounds.data(),
                                          packed.padded_rows()});
    for (size_t i = 0; i < static_cast<size_t>(head.matrix.rows); ++i) {
      const double allowed = static_cast<double>(bounds[i]) - static_cast<double>(estimates[i]);
      if (!std::isfinite(allowed)) continue;  // a row that is always computed
      const double error = std::fabs(static_cast<double>(estimates[i]) - static_cast<double>(logits[i]));
      // The difference of two rounded numbers: one unit in the last place more.
      const double room = std::fabs(static_cast<double>(bounds[i])) * 0x1p-23;
      ++rows;
      violations += error <= allowed + room ? 0 : 1;
      largest = std::max(largest, error / (allowed + 1e-300));
    }
  }
};

class OutputHeadTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(, OutputHeadTest, ::testing::Values(4, 8),
                         [](const auto& info) { return std::to_string(info.param) + "_bits"; });

TEST_P(OutputHeadTest, GivesTheFullHeadsAnswersAndKeepsItsBounds) {
  ThreadPool threads(2);
  MemoryPool pool(SIZE_MAX);
  const kernels::KernelSet& kernels = kernels::best_kernel_set();
  HeadStatistics total;
  Errors all;
  for (const auto& [weights_name, make_weights] : kWeights) {
    Errors errors;
    for (int seed = 0; seed < seeds(); ++seed) {
      Random random(static_cast<uint64_t>(seed));
      constexpr Shape kShapes[] = {{5001, 320}, {2100, 97}};
      const Shape shape = kShapes[seed % 2];
      std::vector<float> weights(static_cast<size_t>(shape.rows * shape.columns));
      make_weights(random, shape, weights);
      const Head head(shape, seed % 3 ? DType::kF32 : DType::kBF16, weights);
      const auto packed = pack_head(head.tensor, GetParam(), kernels, threads, pool);
      for (const auto& [activations_name, make_activations] : kActivations) {
        std::vector<float> x(static_cast<size_t>(shape.columns));
        make_activations(random, weights, x);
        const std::vector<float> logits = head.logits(kernels, x);
        errors.add(head, *packed, x, logits);
        const std::vector<CandidateQuery> queries = queries_for(random, shape.rows);
        std::vector<float> rows;
        std::vector<const CandidateQuery*> asked;
        for (const CandidateQuery& query : queries) {
          rows.insert(rows.end(), x.begin(), x.end());
          asked.push_back(&query);
        }
        const Screened screened = screen(head, *packed, rows, asked, threads, kernels);
        for (size_t i = 0; i < queries.size(); ++i) {
          SCOPED_TRACE(testing::Message() << weights_name << " weights, " << activations_name << " activations, seed "
                                          << seed << ", query " << i);
          if (!screened.requests[i].candidates.empty()) {
            ASSERT_TRUE(answers(queries[i], screened.requests[i].candidates, logits));
            continue;
          }
          for (size_t j = 0; j < logits.size(); ++j) {
            ASSERT_TRUE(same(screened.logits[i * logits.size() + j], logits[j])) << j;
          }
        }
        total.tokens += screened.statistics.tokens;
        total.full_tokens += screened.statistics.full_tokens;
      }
    }
    EXPECT_EQ(errors.violations, 0) << weights_name;
    all.rows += errors.rows;
    std::printf("%-26s %10lld rows, largest error %.3f of its bound\n", weights_name,
                static_cast<long long>(errors.rows), errors.largest);
  }
  std::printf("%lld rows in all, %lld of %lld queries took the full head\n", static_cast<long long>(all.rows),
              static_cast<long long>(total.full_tokens), static_cast<long long>(total.tokens));
  EXPECT_LT(total.full_tokens, total.tokens * 3 / 4);
}

}  // namespace
}  // namespace tritium
