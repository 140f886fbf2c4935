// KVCache: the past of many sequences of one model, on the device of the backend that made it.
#pragma once

#include <cstdint>

#include "backend/batch.h"

namespace tritium {

class KVCache {
 public:
  virtual ~KVCache() = default;

  virtual SequenceId create() = 0;
  // A new sequence with the same past.
  virtual SequenceId fork(SequenceId sequence) = 0;
  virtual void free(SequenceId sequence) = 0;  // unknown ids are ignored

  virtual int64_t length(SequenceId sequence) const = 0;  // tokens
  // Makes room for `tokens` more and counts them. BatchProcessingError if max_tokens would be passed, MemoryLimitError
  // if there is no memory; nothing changes then.
  virtual void append(SequenceId sequence, int64_t tokens) = 0;
  // Forgets all but the first `length` tokens.
  virtual void truncate(SequenceId sequence, int64_t length) = 0;

  virtual int64_t max_tokens() const = 0;  // of a sequence
};

}  // namespace tritium
