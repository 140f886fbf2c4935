// ModelCache: models by key, each loaded once; those used longest ago make room for others.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "model/model.h"

namespace tritium {

struct ModelCacheStatistics {
  uint64_t hits = 0;       // calls that found the model, or waited for another caller's load
  uint64_t misses = 0;     // calls that loaded
  uint64_t evictions = 0;  // models that made room
  uint64_t entries = 0;
  uint64_t bytes = 0;
};

// Any number of threads may use it. Bytes are those of the tensors (Model::stored_bytes), mapped or read.
class ModelCache {
 public:
  // What is kept: a model, or what a caller wraps one in.
  struct Item {
    std::shared_ptr<const void> value;
    uint64_t bytes = 0;
    // Whether someone holds the model by other ways than `value`. Called with the cache locked.
    std::function<bool()> held_elsewhere = [] { return false; };
  };

  // MemoryLimitError unless there is room for at least 1 model and 1 byte.
  ModelCache(size_t capacity, uint64_t max_memory);

  // The model of a key. If there is none, load() gives it: one caller calls it, unlocked, and others that come
  // meanwhile wait. What it throws all of them get, and nothing is kept.
  // Models that nobody else holds make room. MemoryLimitError if that is not enough; then none is evicted.
  // ModelLoadError if load() asks for its own key.
  std::shared_ptr<const Model> get_or_load(const std::string& key,
                                           const std::function<std::shared_ptr<const Model>()>& load);
  std::shared_ptr<const void> get_or_load_item(const std::string& key, const std::function<Item()>& load);

  bool contains(const std::string& key) const;
  // Forgets all models; those in use live on with their users.
  void clear();
  ModelCacheStatistics statistics() const;

 private:
  struct Entry {
    std::string key;
    Item item;
  };
  struct Loading;

  std::vector<Item> make_room(const std::string& key, uint64_t bytes);

  const size_t capacity_;
  const uint64_t max_memory_;
  mutable std::mutex mutex_;
  std::condition_variable loaded_;
  std::list<Entry> entries_;  // the one used last in front
  std::map<std::string, std::list<Entry>::iterator> by_key_;
  std::map<std::string, std::shared_ptr<Loading>> loading_;
  ModelCacheStatistics statistics_;
};

}  // namespace tritium
