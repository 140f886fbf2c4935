// The five kinds of error. Python sees the same names.
#pragma once

#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>

namespace tritium {

class TritiumError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A file, a tensor or a configuration that cannot be used.
class ModelLoadError : public TritiumError {
 public:
  using TritiumError::TritiumError;
};

// A device, a kernel set or a thread count that this machine does not have.
class DeviceError : public TritiumError {
 public:
  using TritiumError::TritiumError;
};

// A request that does not fit the model: token ids, lengths, shapes, sampling options.
class BatchProcessingError : public TritiumError {
 public:
  using TritiumError::TritiumError;
};

// A limit that would be passed.
class MemoryLimitError : public TritiumError {
 public:
  using TritiumError::TritiumError;
};

// A graph that cannot become a plan.
class OptimizationError : public TritiumError {
 public:
  using TritiumError::TritiumError;
};

// Joins its arguments into one string: concat("[batch] ", 3, " lengths given for ", 4, " sequences").
template <class... Args>
std::string concat(const Args&... args) {
  std::ostringstream out;
  out.imbue(std::locale::classic());  // a host's locale may group digits
  (out << ... << args);
  return out.str();
}

}  // namespace tritium
