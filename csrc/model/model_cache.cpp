#include "model/model_cache.h"

#include <exception>
#include <thread>

#include "base/error.h"

namespace tritium {

struct ModelCache::Loading {
  std::thread::id thread;
  bool done = false;
  std::shared_ptr<const void> value;
  std::exception_ptr error;
};

ModelCache::ModelCache(size_t capacity, uint64_t max_memory) : capacity_(capacity), max_memory_(max_memory) {
  if (capacity < 1 || max_memory < 1) {
    throw MemoryLimitError(
        concat("[model cache] capacity and max_memory must be at least 1, got ", capacity, " and ", max_memory));
  }
}

std::shared_ptr<const Model> ModelCache::get_or_load(const std::string& key,
                                                     const std::function<std::shared_ptr<const Model>()>& load) {
  return std::static_pointer_cast<const Model>(get_or_load_item(key, [&]() -> Item {
    std::shared_ptr<const Model> model = load();
    const auto bytes = static_cast<uint64_t>(model->stored_bytes());
    return {std::move(model), bytes};
  }));
}

std::shared_ptr<const void> ModelCache::get_or_load_item(const std::string& key, const std::function<Item()>& load) {
  std::unique_lock lock(mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    ++statistics_.hits;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->item.value;
  }
  if (const auto found = loading_.find(key); found != loading_.end()) {
    const std::shared_ptr<Loading> loading = found->second;
    if (loading->thread == std::this_thread::get_id()) {
      throw ModelLoadError(concat("[model cache] loading '", key, "' asks the cache for '", key, "'"));
    }
    loaded_.wait(lock, [&] { return loading->done; });
    if (loading->error) std::rethrow_exception(loading->error);
    ++statistics_.hits;
    return loading->value;
  }
  ++statistics_.misses;
  const auto loading = std::make_shared<Loading>();
  loading->thread = std::this_thread::get_id();
  loading_.emplace(key, loading);
  lock.unlock();

  // What is dropped is destroyed unlocked: the last of a model may take a while.
  std::vector<Item> evicted;
  Item item;
  try {
    item = load();
    lock.lock();
    evicted = make_room(key, item.bytes);
    entries_.push_front({key, item});
    by_key_.emplace(key, entries_.begin());
    statistics_.bytes += item.bytes;
    loading->value = item.value;
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    loading->error = std::current_exception();
  }
  loading->done = true;
  loading_.erase(key);
  lock.unlock();
  loaded_.notify_all();
  if (loading->error) std::rethrow_exception(loading->error);
  return item.value;
}

std::vector<ModelCache::Item> ModelCache::make_room(const std::string& key, uint64_t bytes) {
  std::vector<std::list<Entry>::iterator> leaving;
  size_t entries = entries_.size();
  uint64_t used = statistics_.bytes;
  const auto fits = [&] { return bytes <= max_memory_ && used <= max_memory_ - bytes && entries < capacity_; };
  if (bytes <= max_memory_) {
    for (auto entry = entries_.end(); entry != entries_.begin() && !fits();) {
      --entry;
      if (entry->item.value.use_count() > 1 || entry->item.held_elsewhere()) continue;
      leaving.push_back(entry);
      used -= entry->item.bytes;
      --entries;
    }
  }
  if (!fits()) {
    throw MemoryLimitError(concat("[model cache] '", key, "' has ", bytes, " bytes; ", max_memory_, " bytes and ",
                                  capacity_, " models may be kept, of which ", used, " bytes and ", entries,
                                  " models are in use"));
  }
  std::vector<Item> evicted;
  for (const auto entry : leaving) {
    evicted.push_back(std::move(entry->item));
    by_key_.erase(entry->key);
    entries_.erase(entry);
  }
  statistics_.bytes = used;
  statistics_.evictions += evicted.size();
  return evicted;
}

bool ModelCache::contains(const std::string& key) const {
  std::lock_guard lock(mutex_);
  return by_key_.count(key) != 0;
}

void ModelCache::clear() {
  std::list<Entry> dropped;
  std::lock_guard lock(mutex_);
  dropped.swap(entries_);
  by_key_.clear();
  statistics_.bytes = 0;
}

ModelCacheStatistics ModelCache::statistics() const {
  std::lock_guard lock(mutex_);
  ModelCacheStatistics statistics = statistics_;
  statistics.entries = entries_.size();
  return statistics;
}

}  // namespace tritium
