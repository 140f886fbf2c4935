// Picking the few largest of many logits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "backend/batch.h"

namespace tritium {

// Larger logits first, the lower id among equals.
inline bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// Calls visit(i) for i of [begin, end) where test(values[i]) holds, in order; blocks without such a value pass quickly.
template <class Value, class Test, class Visit>
void for_each_passing(const Value* values, int64_t begin, int64_t end, Test test, Visit visit) {
  constexpr int64_t kBlock = 64;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t last = std::min(first + kBlock, end);
    int found = 0;
    for (int64_t i = first; i < last; ++i) found |= test(values[i]) ? 1 : 0;
    if (!found) continue;
    for (int64_t i = first; i < last; ++i) {
      if (test(values[i])) visit(i);
    }
  }
}

// The `count` >= 1 largest values above -inf, the lower ids among equals; NaN is left out.
class Largest {
 public:
  explicit Largest(size_t count) : count_(count) {}

  // Values [begin, end); ranges come in order.
  void add(const float* values, int64_t begin, int64_t end) {
    for_each_passing(
        values, begin, end, [&](float value) { return value > least_; }, [&](int64_t i) { add(i, values[i]); });
  }
  // In no order.
  const std::vector<Candidate>& values() const { return heap_; }

 private:
  void add(int64_t i, float value) {
    heap_.push_back({static_cast<int32_t>(i), value});
    std::push_heap(heap_.begin(), heap_.end(), before);
    if (heap_.size() > count_) {
      std::pop_heap(heap_.begin(), heap_.end(), before);
      heap_.pop_back();
    }
    if (heap_.size() == count_) least_ = heap_.front().logit;
  }

  size_t count_;
  float least_ = -std::numeric_limits<float>::infinity();
  std::vector<Candidate> heap_;  // the least in front
};

}  // namespace tritium
