// PreparedList: the prepared models of a backend, for as long as others keep them alive.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

namespace tritium {

// At any time, from any thread.
template <class Prepared>
class PreparedList {
 public:
  void add(const std::shared_ptr<const Prepared>& prepared) {
    std::lock_guard lock(in_use_);
    std::erase_if(prepared_, [](const auto& each) { return each.expired(); });
    prepared_.push_back(prepared);
  }

  // What is given may be let go by all others meanwhile; it is not destroyed under the lock.
  std::vector<std::shared_ptr<const Prepared>> alive() const {
    std::vector<std::shared_ptr<const Prepared>> alive;
    std::lock_guard lock(in_use_);
    for (const auto& each : prepared_) {
      if (auto prepared = each.lock()) alive.push_back(std::move(prepared));
    }
    return alive;
  }

 private:
  mutable std::mutex in_use_;
  std::vector<std::weak_ptr<const Prepared>> prepared_;
};

}  // namespace tritium
