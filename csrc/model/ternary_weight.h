// TernaryWeight: a matrix of weights in {-1, 0, 1} with one scale, one a row or one a group of a row's columns, and
// perhaps a bias, read row by row from whatever bytes hold it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "model/model_config.h"
#include "model/tensor_source.h"

namespace tritium {

struct TernaryWeight {
  StoredTensor tensor;  // trits, packed codes, or the floating-point masters to be ternarised
  int64_t rows = 0;     // outputs, N
  int64_t columns = 0;  // inputs, K
  // Stored with trits and packed codes; absent for masters, whose scale is mean |W| and multiplies (arXiv:2402.17764,
  // absmean).
  std::optional<float> stored_scale;
  ScaleDirection direction = ScaleDirection::kMultiply;
  std::optional<StoredTensor> bias;  // floats (rows)
  // (rows, groups) or empty: a scale for each group of columns / groups columns of each row instead, stored_scale is 1
  // then.
  std::vector<float> row_scales = {};
  int64_t groups = 1;
  bool bias_before_scale = false;  // whether the scale multiplies the bias, too

  bool scales_bias() const { return bias_before_scale && stored_scale && direction == ScaleDirection::kMultiply; }
  int64_t group_columns() const { return columns / groups; }
  bool is_masters() const { return !stored_scale.has_value(); }
};

// Scale of the matrix: the stored one, or max(mean |W|, 1e-5) over the masters, the same for every thread count.
// ModelLoadError if a master is not finite.
float weight_scale(const TernaryWeight& weight, ThreadPool& threads);

// Rows [begin, end) as trits (end - begin, columns). Masters become clip(rint(W / scale), -1, 1), half to even.
// ModelLoadError names tensor, row and column of a code 3 or another number.
void read_trits(const TernaryWeight& weight, float scale, int64_t begin, int64_t end, int8_t* trits);

// `count` elements of a plain floating-point tensor from `first` on, widened to float32.
void read_floats(const StoredTensor& tensor, int64_t first, int64_t count, float* values);

}  // namespace tritium
