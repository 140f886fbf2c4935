// An output head with a small copy: all logits estimated from the copy, or screened. docs/head.md says why a screened
// head gives the full head's results.
#pragma once

#include <span>
#include <vector>

#include "backend/batch.h"
#include "backend/inference_backend.h"
#include "backend/packed_head.h"
#include "backend/packed_weights.h"
#include "base/thread_pool.h"
#include "kernels/kernel_set.h"

namespace tritium {

struct OutputHead {
  const PackedHead& packed;
  const DenseMatrix& matrix;   // (vocab, columns), without bias
  const StoredTensor& tensor;  // where the matrix lies
  bool screens;
  const kernels::KernelSet& kernels;
  ThreadPool& threads;
};

// One row of the output: all logits, or only the candidates of a query.
struct OutputRequest {
  const CandidateQuery* query = nullptr;
  std::vector<Candidate> candidates = {};  // the answer to the query; empty if all logits were computed
};

// Rows that a screened head takes at once.
inline constexpr int64_t kScreenedRows = 8;

// Floats of scratch that a screened head needs for `queries` queries.
int64_t head_scratch_size(int64_t vocab, int64_t queries);

// logits (requests, vocab) of x (requests, columns). A screened head leaves the rows of queries that it answers as they
// are, and computes all others as dense_matmul does; another head estimates every row, but rows whose activations it
// cannot take are computed as well.
void run_head(const OutputHead& head, const float* x, std::span<OutputRequest> requests, float* logits, float* scratch,
              HeadStatistics* statistics);

}  // namespace tritium
