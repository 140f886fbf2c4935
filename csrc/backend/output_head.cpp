#include "backend/output_head.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/candidates.h"
#include "backend/head_input.h"
#include "base/float_environment.h"

namespace tritium {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Of more rows than the larger of these, and the share of the head, all are computed: one sequential read is faster.
constexpr int64_t kLeastLimit = 1024;
constexpr int64_t kLimitShare = 16;

bool all_finite(const std::vector<Candidate>& candidates) {
  return std::all_of(candidates.begin(), candidates.end(),
                     [](const Candidate& candidate) { return std::isfinite(candidate.logit); });
}

// One pass of a head with a small copy.
class HeadPass {
 public:
  HeadPass(const OutputHead& head, const float* x, std::span<OutputRequest> requests, float* logits, float* scratch,
           HeadStatistics* statistics)
      : head_(head),
        packed_(head.packed),
        x_(x),
        requests_(requests),
        logits_(logits),
        scratch_(scratch),
        statistics_(statistics) {}

  void estimate_all();
  void screen(const std::vector<int64_t>& rows);
  void compute_all(int64_t row, int64_t count);

 private:
  struct Row {
    int64_t place;  // among the output rows
    HeadInput input;
    const CandidateQuery& query;
    float* estimates = nullptr;  // (padded rows of the head)
    float* bounds = nullptr;     // likewise
    float least = 0;             // no other token that is wanted has a lower logit
    bool full = false;           // whether all logits have to be computed after all
    std::vector<Candidate> found = {};
  };

  void scan(std::vector<Row>& rows);
  static float least_wanted(Row& row);
  void find_reaching(std::vector<Row>& rows);
  void compute(std::vector<Row>& rows);
  int64_t limit() const { return std::max(kLeastLimit, packed_.rows / kLimitShare); }
  void exclude(const Row& row, int64_t begin, int64_t end) const;

  const OutputHead& head_;
  const PackedHead& packed_;
  const float* x_;  // (requests, columns)
  std::span<OutputRequest> requests_;
  float* logits_;   // (requests, vocab)
  float* scratch_;  // (2, kScreenedRows, padded rows of the head)
  HeadStatistics* statistics_;
};

// The whole head in floats for `count` rows of the output.
void HeadPass::compute_all(int64_t row, int64_t count) {
  float* y = logits_ + row * head_.matrix.rows;
  head_.threads.parallel_for(head_.matrix.rows, [&](int64_t begin, int64_t end, int) {
    head_.kernels.dense_matmul({head_.matrix.row(begin), head_.matrix.element, head_.matrix.columns, end - begin,
                                x_ + row * head_.matrix.columns, count, y + begin, head_.matrix.rows});
  });
}

// The estimates are the result.
void HeadPass::estimate_all() {
  const auto rows = static_cast<int64_t>(requests_.size());
  std::vector<HeadInput> inputs;
  std::vector<kernels::HeadRow> scanned;
  std::vector<int64_t> places;
  for (int64_t row = 0; row < rows; ++row) {
    HeadInput input(packed_, x_ + row * packed_.columns);
    if (!input.bounded()) {
      compute_all(row, 1);
      continue;
    }
    inputs.push_back(std::move(input));
    scanned.push_back(inputs.back().row());
    places.push_back(row);
  }
  const int64_t tokens = static_cast<int64_t>(scanned.size());
  if (tokens == 0) return;
  // Rows of the output do not end where panels do, and need not lie one after the other.
  constexpr int64_t kBlock = 8;  // panels
  head_.threads.parallel_for(packed_.panels(), [&](int64_t begin, int64_t end, int) {
    std::vector<float> estimates(static_cast<size_t>(tokens * kBlock * kernels::kPanelRows));
    for (int64_t panel = begin; panel < end; panel += kBlock) {
      const int64_t panels = std::min(kBlock, end - panel);
      const int64_t first = panel * kernels::kPanelRows, stride = panels * kernels::kPanelRows;
      const int64_t count = std::min(stride, packed_.rows - first);
      head_.kernels.scan_head({packed_.codes() + panel * kernels::head_panel_bytes(packed_.columns, packed_.bits),
                               panels, packed_.padded_columns(), packed_.bits, nullptr, nullptr, scanned.data(), tokens,
                               estimates.data(), nullptr, stride});
      for (int64_t t = 0; t < tokens; ++t) {
        std::copy_n(estimates.data() + t * stride, count,
                    logits_ + places[static_cast<size_t>(t)] * packed_.rows + first);
      }
    }
  });
}

// Takes rows of the head that are no candidates of their own out of estimates and bounds: the query's forced ones, and
// those that only fill a panel.
void HeadPass::exclude(const Row& row, int64_t begin, int64_t end) const {
  const auto take_out = [&](int64_t i) { row.estimates[i] = row.bounds[i] = -kInfinity; };
  const std::vector<int32_t>& forced = row.query.forced;
  for (auto id = std::lower_bound(forced.begin(), forced.end(), begin); id != forced.end() && *id < end; ++id) {
    take_out(*id);
  }
  for (int64_t i = std::max(begin, packed_.rows); i < end; ++i) take_out(i);
}

// Estimates and bounds of all rows of the head; found: the largest estimates and the forced rows.
void HeadPass::scan(std::vector<Row>& rows) {
  std::vector<kernels::HeadRow> scanned;
  for (const Row& row : rows) scanned.push_back(row.input.row());
  std::vector<std::vector<Largest>> largest(static_cast<size_t>(head_.threads.size()));
  head_.threads.parallel_for(packed_.panels(), [&](int64_t begin, int64_t end, int thread) {
    const int64_t first = begin * kernels::kPanelRows, last = end * kernels::kPanelRows;
    const float* residuals = packed_.residuals();
    head_.kernels.scan_head({packed_.codes() + begin * kernels::head_panel_bytes(packed_.columns, packed_.bits),
                             end - begin, packed_.padded_columns(), packed_.bits, packed_.norms() + first,
                             residuals ? residuals + first : nullptr, scanned.data(),
                             static_cast<int64_t>(scanned.size()), rows[0].estimates + first, rows[0].bounds + first,
                             packed_.padded_rows()});
    for (const Row& row : rows) {
      exclude(row, first, last);
      Largest& own = largest[static_cast<size_t>(thread)].emplace_back(static_cast<size_t>(row.query.best));
      own.add(row.estimates, first, last);
    }
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<Candidate>& found = rows[i].found;
    for (const std::vector<Largest>& own : largest) {
      if (!own.empty()) found.insert(found.end(), own[i].values().begin(), own[i].values().end());
    }
    std::sort(found.begin(), found.end(), before);
    found.resize(std::min(found.size(), static_cast<size_t>(rows[i].query.best)));
    for (int32_t id : rows[i].query.forced) found.push_back({id, 0});
  }
}

// From the exact logits of the largest estimates: at least `best` other tokens reach the least of them.
float HeadPass::least_wanted(Row& row) {
  const CandidateQuery& query = row.query;
  const size_t others = row.found.size() - query.forced.size();
  row.full = others < static_cast<size_t>(query.best) || !all_finite(row.found);
  if (row.full) return 0;
  const auto end = row.found.begin() + static_cast<std::ptrdiff_t>(others);
  if (query.margin) {
    const float largest = std::min_element(row.found.begin(), end, before)->logit;
    return std::nextafter(largest - *query.margin, -kInfinity);
  }
  return std::max_element(row.found.begin(), end, before)->logit;
}

// The exact logits of what was found.
void HeadPass::compute(std::vector<Row>& rows) {
  std::vector<std::pair<Row*, Candidate*>> items;
  for (Row& row : rows) {
    if (row.full) continue;
    for (Candidate& candidate : row.found) items.emplace_back(&row, &candidate);
  }
  const size_t bytes = static_cast<size_t>(head_.tensor.bytes / static_cast<uint64_t>(packed_.rows));
  head_.threads.parallel_for(static_cast<int64_t>(items.size()), [&](int64_t begin, int64_t end, int) {
    std::vector<std::byte> scratch(bytes);
    for (int64_t i = begin; i < end; ++i) {
      const auto& [row, candidate] = items[static_cast<size_t>(i)];
      const auto offset = static_cast<uint64_t>(candidate->id) * bytes;
      const std::byte* weights = head_.tensor.file->fetch(head_.tensor.offset + offset, bytes, scratch.data());
      head_.kernels.dense_matmul({weights, head_.matrix.element, head_.matrix.columns, 1,
                                  x_ + row->place * head_.matrix.columns, 1, &candidate->logit, 1});
    }
  });
}

// Replaces what was found, of which the logits are known, by it and everything else whose bound reaches `least`.
void HeadPass::find_reaching(std::vector<Row>& rows) {
  std::vector<std::vector<std::vector<Candidate>>> reaching(static_cast<size_t>(head_.threads.size()));
  for (Row& row : rows) {
    if (row.full) continue;
    for (const Candidate& candidate : row.found) row.bounds[candidate.id] = -kInfinity;
  }
  head_.threads.parallel_for(packed_.padded_rows(), [&](int64_t begin, int64_t end, int thread) {
    for (const Row& row : rows) {
      std::vector<Candidate>& own = reaching[static_cast<size_t>(thread)].emplace_back();
      if (row.full) continue;
      for_each_passing(
          row.bounds, begin, end, [&](float bound) { return !(bound < row.least); },
          [&](int64_t i) {
            if (row.bounds[i] != -kInfinity) own.push_back({static_cast<int32_t>(i), 0});
          });
    }
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].found.clear();
    for (const auto& own : reaching) {
      if (!own.empty()) rows[i].found.insert(rows[i].found.end(), own[i].begin(), own[i].end());
    }
    if (static_cast<int64_t>(rows[i].found.size()) > limit()) rows[i].full = true;
  }
}

// Answers the queries of at most kScreenedRows rows of the output.
void HeadPass::screen(const std::vector<int64_t>& places) {
  std::vector<Row> rows;
  std::vector<int64_t> full;
  for (int64_t place : places) {
    const CandidateQuery& query = *requests_[static_cast<size_t>(place)].query;
    HeadInput input(packed_, x_ + place * packed_.columns);
    const auto forced = static_cast<int64_t>(query.forced.size());
    if (input.bounded() && std::max(query.best, forced) <= limit() && query.best + forced <= packed_.rows) {
      rows.push_back({place, std::move(input), query});
    } else {
      full.push_back(place);
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].estimates = scratch_ + static_cast<int64_t>(i) * packed_.padded_rows();
    rows[i].bounds = rows[i].estimates + static_cast<int64_t>(rows.size()) * packed_.padded_rows();
  }
  if (!rows.empty()) {
    scan(rows);
    compute(rows);
    for (Row& row : rows) row.least = least_wanted(row);
    std::vector<std::vector<Candidate>> known;
    for (const Row& row : rows) known.push_back(row.found);
    find_reaching(rows);
    compute(rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::vector<Candidate>& found = rows[i].found;
      found.insert(found.end(), known[i].begin(), known[i].end());
      if (rows[i].full || !all_finite(found)) {
        full.push_back(rows[i].place);
      } else {
        statistics_->rows += static_cast<int64_t>(found.size());
        requests_[static_cast<size_t>(rows[i].place)].candidates = std::move(found);
      }
    }
  }
  statistics_->tokens += static_cast<int64_t>(places.size());
  statistics_->full_tokens += static_cast<int64_t>(full.size());
  for (int64_t place : full) compute_all(place, 1);
}

}  // namespace

int64_t head_scratch_size(int64_t vocab, int64_t queries) {
  return std::min(queries, kScreenedRows) * 2 * kernels::panel_count(vocab) * kernels::kPanelRows;
}

void run_head(const OutputHead& head, const float* x, std::span<OutputRequest> requests, float* logits, float* scratch,
              HeadStatistics* statistics) {
  const DefaultFloatEnvironment environment;  // what the bounds are derived for
  HeadPass pass(head, x, requests, logits, scratch, statistics);
  if (!head.screens) return pass.estimate_all();
  const auto rows = static_cast<int64_t>(requests.size());
  std::vector<int64_t> screened;
  for (int64_t row = 0; row < rows;) {
    const int64_t first = row;
    while (row < rows && !requests[static_cast<size_t>(row)].query) ++row;
    if (row > first) pass.compute_all(first, row - first);
    if (row < rows) screened.push_back(row++);
  }
  for (size_t first = 0; first < screened.size(); first += kScreenedRows) {
    const size_t last = std::min(screened.size(), first + size_t{kScreenedRows});
    pass.screen(
        {screened.begin() + static_cast<std::ptrdiff_t>(first), screened.begin() + static_cast<std::ptrdiff_t>(last)});
  }
}

}  // namespace tritium
